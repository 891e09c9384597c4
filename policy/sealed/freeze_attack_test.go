package sealed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// A mint so small that it asked nobody was signed; then a custodian freezes the token. Its fees are
// not raised any more, as those of a mint that people approved are not.
func TestAttack_FeesOfAnUnaskedMintAreRaisedThoughItsTokenIsFrozen(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	mint := []policy.OperationType{policy.OpMint}
	replaces := i.policy.Digest
	pol := &policy.Policy{Format: 1, Instance: i.charter.Instance, ID: i.policy.ID, Version: 2, Replaces: &replaces, Name: "small ones pass",
		Scope: policy.Scope{All: true}, CreatedAt: policy.Seconds(time.Now()), Rules: []policy.Rule{
			{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers", Operations: mint, AboveAmount: amountPtr("100")},
			{Type: policy.RuleDailyLimit, Amount: amountPtr("1000"), Operations: mint}}}
	payload, err := pol.Encode()
	e := sign(t, policy.DocPolicy, payload, err, i.people.custodians[:2]...)
	_, err = r.PolicyApply(t.Context(), e)
	require.NoError(t, err)
	i.policy = policy.PolicyRef{ID: pol.ID, Version: 2, Digest: e.PayloadDigest()}
	asked, unasked := i.mint("200"), i.mint("50")
	i.approve(asked, 0, 1)
	for _, in := range []*policy.Intent{asked, unasked} {
		out, err := r.Authorize(t.Context(), i.request(in))
		require.NoError(t, err)
		i.verified(out)
	}
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{TokenID: i.token.ID, Event: "a thief"})
	require.NoError(t, err)
	before := signatures(t)
	for name, in := range map[string]*policy.Intent{"asked": asked, "unasked": unasked} {
		t.Run(name, func(t *testing.T) {
			text, err := in.Encode()
			require.NoError(t, err)
			_, err = r.Bump(t.Context(), seal.BumpRequest{OperationID: in.OperationID, MaxFee: amount("2000000000"), Tip: amount("2000000"), Intent: text})
			t.Log(name, err)
			requireKind(t, seal.KindDenied, err)
		})
	}
	require.Equal(t, before, signatures(t))
}
