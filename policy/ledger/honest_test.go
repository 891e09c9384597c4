package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/policytest"
)

// honest is a log whose author authorizes exactly what the policies allow, of operations in random
// states at random times, some of which ended.
func honest(rt *rapid.T, t testing.TB) (w *world, intents []*policy.Intent) {
	w = begun(t)
	w.amended(twoApprovers(), dailyLimit(rapid.Uint64Range(1000, 4000).Draw(rt, "a day"), "Asia/Tokyo"), office())
	for range rapid.IntRange(1, 6).Draw(rt, "operations") {
		i := w.asked(amountOf(rapid.Uint64Range(1, 2000).Draw(rt, "amount")))
		if rapid.IntRange(0, 4).Draw(rt, "asked by ann") == 0 {
			i.Requester = "ann"
		}
		intents = append(intents, i)
	}
	people := []string{"ann", "bob", "cat", "dan"}
	for range rapid.IntRange(1, 14).Draw(rt, "events") {
		i := rapid.SampledFrom(intents).Draw(rt, "operation")
		s := w.fold.Stage(w.now, w.author)
		switch rapid.IntRange(0, 8).Draw(rt, "event") {
		case 0:
			w.pass(time.Duration(rapid.IntRange(1, 40).Draw(rt, "minutes")) * time.Minute)
		case 1:
			tryCommit(w, s, ledger.Record{Cancel: &ledger.Cancel{OperationID: i.OperationID, Reason: "CANCELLED: by oscar"}})
		case 2:
			tryCommit(w, s, w.decide(policy.Reject, i, rapid.SampledFrom(people).Draw(rt, "who")))
		default:
			tryCommit(w, s, w.approve(i, rapid.SampledFrom(people).Draw(rt, "who")))
		}
		for _, i := range intents {
			if w.judged(i).Outcome == policy.Allow {
				tryCommit(w, w.fold.Stage(w.now, w.author), w.authorize(i))
			}
		}
	}
	return w, intents
}

// tryCommit commits what the ledger takes.
func tryCommit(w *world, s *ledger.Stage, r ledger.Record) {
	if s.Add(r) == nil {
		w.commit(r)
	}
}

// What an honest author wrote is explained as it is, every operation of it; a rehearsal of what is in
// force changes nothing; and one of less than that stops only what was authorized, exactly where the
// policies would have said so.
func TestAnHonestLogIsExplainedAndRehearsedAsItIs(t *testing.T) {
	ended := map[ledger.Recorded]int{}
	stopped := 0
	policytest.Check(t, func(rt *rapid.T) {
		w, intents := honest(rt, t)
		authorized := map[string]bool{}
		for _, i := range intents {
			op, ok := w.fold.Operation(i.OperationID)
			if !ok {
				continue
			}
			e, err := ledger.Explain(w.log(), w.root, ledger.Question{OperationID: i.OperationID})
			require.NoError(rt, err)
			require.False(rt, e.Differs, "%v", e.Words())
			require.Equal(rt, op.Authorized != nil, e.Recorded == ledger.RecordedAuthorized)
			authorized[i.OperationID] = op.Authorized != nil
			ended[e.Recorded]++
		}
		inForce, _ := w.fold.Policy(id("pol", 1))
		r, err := ledger.Rehearse(w.log(), w.root, w.proposed(inForce.Policy.Rules...), noon)
		require.NoError(rt, err)
		require.Empty(rt, r.Otherwise)
		require.Equal(rt, len(authorized), r.Judged)

		most := rapid.Uint64Range(1, 2000).Draw(rt, "most")
		r, err = ledger.Rehearse(w.log(), w.root, w.beside(maxAmountOf(most)), noon)
		require.NoError(rt, err)
		want := 0
		for _, i := range intents {
			if authorized[i.OperationID] && i.Params.Amount.Cmp(policy.AmountOf(most)) > 0 {
				want++
			}
		}
		require.Len(rt, r.Otherwise, want)
		for _, o := range r.Otherwise {
			require.Equal(rt, ledger.RecordedAuthorized, o.Recorded)
			require.Equal(rt, policy.Deny, o.Would)
			stopped++
		}
	}, func() bool { return len(ended) == 4 && stopped > 0 })
}
