package registry

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// Proposals that are looked at while another one is rehearsed wait by the few, however many there are; who comes later
// is told to ask again, and is answered once it is over.
func TestAttack_RehearsalsThatWaitAreBounded(t *testing.T) {
	s := &Service{store: storetest.Open(t), fold: ledger.NewFold(policy.DigestOf(nil)), rehearsals: newRehearsals(), now: time.Now}
	proposal := func(n int) *Policy {
		doc, err := (&policy.Policy{
			Format: policy.Format, Instance: "test-1", ID: store.NewID(policyPrefix), Version: 1, Name: fmt.Sprint("proposal ", n), Scope: policy.Scope{All: true},
			Rules:     []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}},
			CreatedAt: time.Now().UTC().Truncate(time.Second),
		}).Encode()
		require.NoError(t, err)
		return &Policy{Document: doc, DocumentDigest: policy.DigestOf(doc)}
	}
	s.rehearsals.turn <- struct{}{} // the one that is under way
	for n := range 4 * maxRehearsals {
		if _, err := s.rehearsal(t.Context(), proposal(n)); n < maxRehearsals {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, ErrRehearsing)
		}
	}
	<-s.rehearsals.turn
	for _, r := range s.rehearsals.byDigest {
		<-r.done
	}
	r, err := s.rehearsal(t.Context(), proposal(0))
	require.NoError(t, err)
	<-r.done
}
