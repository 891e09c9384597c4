package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// tick commits a batch that changes nothing that lasts.
func (w *world) tick() {
	w.t.Helper()
	size := uint64(1)
	if c := w.fold.LastCheckpoint(); c != nil {
		size = c.Size + 1
	}
	w.commit(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: size, Root: policy.NoDigest}})
}

func (w *world) known(op string) bool {
	_, ok := w.fold.Operation(op)
	return ok
}

func TestForgetOperations(t *testing.T) {
	const skew = 30 * time.Second
	w := begun(t)
	settled, open, undecided, cancelled := w.mint(w.op()), w.mint(w.op()), w.mint(w.op()), w.op()
	w.authorized(settled)
	w.authorized(open)
	w.commit(w.approve(undecided, "ann"), ledger.Record{Cancel: &ledger.Cancel{OperationID: cancelled, Reason: "expired"}},
		ledger.Record{Settle: &ledger.Settle{OperationID: settled.OperationID, TxHash: tx.Hash{1}}})

	// Their intents expire within the hour; their ids count for as long as any intent may live.
	w.now = noon.Add(24*time.Hour + skew)
	w.tick()
	for _, op := range []string{settled.OperationID, open.OperationID, undecided.OperationID, cancelled} {
		require.True(t, w.known(op), op)
	}
	w.pass(time.Second)
	w.tick()
	require.False(t, w.known(settled.OperationID))
	require.False(t, w.known(undecided.OperationID))
	require.False(t, w.known(cancelled))
	require.True(t, w.known(open.OperationID), "its transaction may still be mined")

	// What went does not come back under another intent.
	again := w.mint(settled.OperationID)
	w.refused(ledger.ReasonExpired, "older than the ledger remembers", w.approve(again, "ann"))
	w.refused(ledger.ReasonExpired, "older than the ledger remembers", w.decide(policy.Reject, again, "ann"))
	w.refused(ledger.ReasonExpired, "older than the ledger remembers", w.authorize(again))
	w.refused(ledger.ReasonExpired, "older than the ledger remembers", ledger.Record{Cancel: &ledger.Cancel{OperationID: cancelled, Reason: "again"}})

	// What waited is over a moment after it settled.
	w.commit(w.bump(open, 2, 2))
	w.commit(ledger.Record{Settle: &ledger.Settle{OperationID: open.OperationID, TxHash: tx.Hash{1}}})
	require.Equal(t, 0, w.fold.Outstanding(id("wallet", 1)))
	require.False(t, w.known(open.OperationID))
	require.Equal(t, ledger.State(w.fold), ledger.State(w.again()))
}

// TestForgetLate: an intent that outlives its operation's id is waited for.
func TestForgetLate(t *testing.T) {
	w := begun(t)
	op := w.op()
	w.pass(20 * time.Hour)
	late := w.mint(op, func(i *policy.Intent) { i.ExpiresAt = w.now.Add(24 * time.Hour) })
	w.commit(w.approve(late, "ann"))
	w.now = late.ExpiresAt.Add(30 * time.Second)
	w.tick()
	require.True(t, w.known(op))
	w.pass(time.Second)
	w.tick()
	require.False(t, w.known(op))
}

func TestForgetUsage(t *testing.T) {
	w := begun(t)
	w.authorized(w.mint(w.op()))
	charged := func() policy.Amount {
		return w.fold.Charged(chainID, account("contract"), policy.OpMint, noon)
	}
	w.now = noon.Add(49 * time.Hour)
	w.tick()
	require.Equal(t, policy.AmountOf(1000), charged())
	w.pass(15 * time.Minute)
	w.tick()
	require.Equal(t, policy.Amount{}, charged())
	_, buckets, _, _ := ledger.Held(w.fold)
	require.Zero(t, buckets)
}

func TestForgetPolicyVersions(t *testing.T) {
	w := begun(t)
	first, _ := w.fold.Policy(id("pol", 1))
	second := w.policy()
	second.Version, second.Replaces = 2, &first.Digest
	w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, second, "custodian-1", "custodian-2")})
	w.now = noon.Add(24 * time.Hour)
	w.tick()
	_, ok := w.fold.PolicyVersion(id("pol", 1), 1)
	require.True(t, ok)
	w.pass(15 * time.Minute)
	w.tick()
	_, ok = w.fold.PolicyVersion(id("pol", 1), 1)
	require.False(t, ok)
	_, ok = w.fold.Policy(id("pol", 1))
	require.True(t, ok)
}

// TestMemoryIsNotHistory: ten days of work leave no more than one and a bit, of whatever a fold holds:
// its snapshot is all of that.
func TestMemoryIsNotHistory(t *testing.T) {
	w := begun(t)
	var most, longest int
	for day := range 10 {
		for range 24 {
			w.pass(time.Hour)
			i := w.mint(w.op())
			w.commit(w.authorize(i), ledger.Record{Settle: &ledger.Settle{OperationID: i.OperationID, TxHash: tx.Hash{1}}})
		}
		operations, buckets, _, looks := ledger.Held(w.fold)
		size := len(w.snapshot())
		if day == 3 {
			most, longest = operations+buckets+looks, size+100 // numbers get longer
		}
		if day > 3 {
			require.LessOrEqual(t, operations+buckets+looks, most)
			require.LessOrEqual(t, size, longest)
		}
	}
	require.Equal(t, uint64(240), w.fold.NextNonce(id("wallet", 1)))
}
