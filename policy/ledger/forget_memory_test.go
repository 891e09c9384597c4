package ledger_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// finish takes so many operations from two approvals to their settlement, and keeps nothing of it but
// what the fold does.
func (w *world) finish(operations int) {
	w.t.Helper()
	var decided, authorized, settled []ledger.Record
	for range operations {
		i := w.mint(w.op())
		nonce := w.fold.NextNonce(i.Performer.WalletID) + uint64(len(authorized))
		decided = append(decided, w.approve(i, "bob"), w.approve(i, "dan"))
		authorized = append(authorized, w.authorize(i, func(a *ledger.Authorize) {
			a.Nonce, a.Tx = nonce, w.digest(i, nonce, a.GasLimit, a.MaxFee, a.Tip)
		}))
		settled = append(settled, ledger.Record{Settle: &ledger.Settle{OperationID: i.OperationID, TxHash: tx.Hash{1}}})
	}
	for _, records := range [][]ledger.Record{decided[:operations], decided[operations:], authorized, settled} {
		w.commit(records...)
	}
	w.values = nil
}

// What the fold holds is the operations of the horizon, each little once it is over, and
// nothing of those before, however long the log is.
func TestAHistoryDoesNotFillTheMemory(t *testing.T) {
	const day, mostOfOne = 64, 5 << 10
	w := begun(t, func(c *policy.Charter) { c.Limits.MaxOutstanding, c.Networks[0].DailyFee = 4096, policy.MaxAmount() })
	finish := func() int64 {
		w.finish(day)
		require.LessOrEqual(t, ledger.Remembered(w.fold), 1024)
		ledger.Unremember(w.fold) // it is bounded, and else larger at one time than at another
		heap()                    // what has a cleanup goes in two turns
		held := heap()
		runtime.KeepAlive(w.fold)
		return int64(held)
	}
	first := finish()
	one := (finish() - first) / day
	t.Logf("%d bytes an operation that is over", one)
	require.Less(t, one, int64(mostOfOne), "bytes of an operation that is over")

	w.pass(25 * time.Hour)
	before := finish()
	for range 2 {
		w.pass(25 * time.Hour)
		require.Less(t, finish()-before, int64(day*mostOfOne/4), "bytes that a day left behind")
	}
	operations, _, _, looks := ledger.Held(w.fold)
	require.LessOrEqual(t, operations, day)
	require.LessOrEqual(t, looks, day)
}
