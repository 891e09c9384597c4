package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// busy is a log of n operations, each authorized (with its charge, nonce and fee) and settled, in
// batches of 1,000 records, a second apart.
func busy(b *testing.B, n int) *world {
	w := begun(b, func(c *policy.Charter) { c.Limits.MaxOutstanding, c.Networks[0].DailyFee = 4096, policy.MaxAmount() })
	for done := 0; done < n; {
		w.pass(time.Second)
		stage := w.fold.Stage(w.now, w.author)
		for range 500 {
			i := w.mint(w.op())
			require.NoError(b, stage.Add(w.authorize(i, func(a *ledger.Authorize) { a.Nonce, a.Tx = stage.NextNonce(a.WalletID), tx.Hash{1} })))
			require.NoError(b, stage.Add(ledger.Record{Settle: &ledger.Settle{OperationID: i.OperationID, TxHash: tx.Hash{1}}}))
			done++
		}
		w.commit(stage.Records()...)
	}
	return w
}

// BenchmarkFold is of records without an envelope: what a busy day consists of beside decisions.
func BenchmarkFold(b *testing.B) {
	w := busy(b, 10_000)
	records := 0
	for b.Loop() {
		w.again()
		records += 20_000
	}
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkStage is of an author's charges against one hot counter.
func BenchmarkStage(b *testing.B) {
	w := begun(b, func(c *policy.Charter) { c.Limits.MaxOutstanding, c.Networks[0].DailyFee = 4096, policy.MaxAmount() })
	records := make([]ledger.Record, 500)
	for n := range records {
		records[n] = w.authorize(w.mint(w.op()), func(a *ledger.Authorize) { a.Nonce, a.Tx = uint64(n), tx.Hash{1} })
	}
	for b.Loop() {
		stage := w.fold.Stage(w.now, w.author)
		for _, r := range records {
			require.NoError(b, stage.Add(r))
		}
	}
	b.ReportMetric(float64(b.N)*float64(len(records))/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkDecisions is of approvals, each an envelope to verify.
func BenchmarkDecisions(b *testing.B) {
	w := begun(b)
	records := make([]ledger.Record, 100)
	for n := range records {
		records[n] = w.approve(w.mint(w.op()), "bob")
	}
	value := w.encode(w.batch(records...))
	for b.Loop() {
		f := w.again()
		_, err := f.Apply(value)
		require.NoError(b, err)
	}
	b.ReportMetric(float64(b.N)*float64(len(records))/b.Elapsed().Seconds(), "records/s")
}
