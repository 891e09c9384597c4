package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// amendedCharter commits the charter that replaces the one in force.
func (w *world) amendedCharter(change func(*policy.Charter)) {
	w.t.Helper()
	c, digest := w.fold.Charter()
	next := *c
	next.Version, next.Replaces = c.Version+1, &digest
	change(&next)
	w.commit(ledger.Record{Charter: sign(w.t, policy.DocCharter, &next, "custodian-1", "custodian-3")})
}

func approvers(names ...string) func(*policy.Charter) {
	return func(c *policy.Charter) { c.Groups = map[string][]string{"approvers": names} }
}

// Somebody who is of no group approves, and waits for the charter that lets him in: what a DELAY is for is that others
// see an operation coming that can be signed, so it counts from that charter and not from his approval.
func TestAttack_AQuorumThatALaterCharterCompletes(t *testing.T) {
	w := begun(t, approvers("ann", "bob"))
	w.amended(twoApprovers(), policy.Rule{Type: policy.RuleDelay, Seconds: 1800})
	i := w.asked(func(i *policy.Intent) { i.ExpiresAt = w.now.Add(2 * time.Hour) })
	w.commit(w.approve(i, "ann"), w.approve(i, "dan"))
	w.pass(40 * time.Minute)
	require.Equal(t, policy.RuleRequireApproval, reported(w.judged(i)))
	w.amendedCharter(approvers("ann", "bob", "dan"))
	waits := func(why string) {
		t.Helper()
		require.Equal(t, policy.RuleDelay, reported(w.judged(i)), why)
		require.Equal(t, policy.Wait, w.judged(i).Outcome, why)
	}
	waits("the quorum is complete since just now")
	stage := w.fold.Stage(w.now, w.author)
	require.Equal(t, policy.RuleDelay, reported(stage.Judge(i, w.digestOf(i), w.now)))

	w.amendedCharter(func(*policy.Charter) {}) // one that changes nobody's groups begins nothing anew
	w.pass(15 * time.Minute)
	w.cancelled(1, "so that the snapshot is of now")
	restored := w.restored()
	waits("half of the DELAY")
	w.pass(15 * time.Minute)
	require.Equal(t, policy.Allow, w.judged(i).Outcome)
	require.Equal(t, policy.RuleDelay, reported(restored.Judge(i, w.digestOf(i), w.now)), "a snapshot does not say when a charter came: at its own time it was there")
	w.pass(15 * time.Minute)
	require.Equal(t, policy.Allow, restored.Judge(i, w.digestOf(i), w.now).Outcome)
}

// Of two who approved before, one left the group and another one came into it: those who count now never counted
// together before.
func TestAttack_AQuorumOfOthersThanBefore(t *testing.T) {
	w := begun(t, approvers("ann", "bob"))
	w.amended(twoApprovers(), policy.Rule{Type: policy.RuleDelay, Seconds: 1800})
	i := w.asked()
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"), w.approve(i, "dan"))
	w.pass(30 * time.Minute)
	require.Equal(t, policy.Allow, w.judged(i).Outcome)
	w.amendedCharter(approvers("ann", "dan"))
	require.Equal(t, policy.RuleDelay, reported(w.judged(i)))
}

// A charter that comes between the approvals and the end of a DELAY, and takes nothing from them, costs no time.
func TestADelayGoesOnOverACharter(t *testing.T) {
	w := begun(t, approvers("ann", "bob"))
	w.amended(twoApprovers(), policy.Rule{Type: policy.RuleDelay, Seconds: 1800})
	i := w.asked()
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
	w.pass(15 * time.Minute)
	w.amendedCharter(approvers("ann", "bob", "cat"))
	restored := w.restored()
	w.pass(15*time.Minute - time.Second)
	require.Equal(t, policy.RuleDelay, reported(w.judged(i)))
	w.pass(time.Second)
	require.Equal(t, policy.Allow, w.judged(i).Outcome)
	require.Equal(t, policy.Allow, restored.Judge(i, w.digestOf(i), w.now).Outcome)
}
