package ledger_test

import (
	"io"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// busyFor is a log of so many records: operations, each authorized (with its charge, nonce and fee)
// and settled, in batches of 1,000 records, 10,000 records a day. Nobody decided on them: verifying
// signatures is BenchmarkDecisions.
func busyFor(b testing.TB, records int) *world {
	w := begun(b, func(c *policy.Charter) { c.Limits.MaxOutstanding, c.Networks[0].DailyFee = 4096, policy.MaxAmount() })
	charge := []ledger.Charge{{Amount: policy.AmountOf(1000), ChainID: chainID, Contract: account("contract"), Operation: policy.OpMint}}
	for done := 0; done < records; done += 1000 {
		w.pass(24 * time.Hour / 10)
		stage := w.fold.Stage(w.now, w.author)
		batch := make([]ledger.Record, 0, 1000)
		for n := range 500 {
			op := w.op()
			batch = append(batch, ledger.Record{Authorize: &ledger.Authorize{OperationID: op, Intent: policy.NoDigest, Charges: charge, WalletID: id("wallet", 1),
				Nonce: uint64(done/2 + n), GasLimit: 60_000, MaxFee: fee, Tip: fee, Tx: tx.Hash{1}, Expiry: w.now.Add(time.Hour)}},
				ledger.Record{Settle: &ledger.Settle{OperationID: op, TxHash: tx.Hash{1}}})
		}
		require.NoError(b, stage.Add(batch...))
		own := w.signed(stage.Batch(w.term))
		value := w.encode(own)
		require.NoError(b, w.fold.Take(stage, own, value))
		w.values = append(w.values, value)
	}
	return w
}

// historySize is how many records the benchmarks fold: 1,000,000 under MINTWARDEN_LONG=1.
func historySize() int {
	if os.Getenv("MINTWARDEN_LONG") == "1" {
		return 1_000_000
	}
	return 200_000
}

// heap is what is in use, in bytes, after everything that is not was let go of.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkFold is from nothing and from a snapshot of everything but the last day. Its name says how
// many records. held-MB is what the fold keeps of them, snapshot-MB what its snapshot has.
func BenchmarkFold(b *testing.B) {
	n := historySize()
	w := busyFor(b, n)
	lastDay := len(w.values) - 10
	before := &world{t: b, fold: w.upTo(lastDay), root: w.root, author: w.author}
	signed := before.snapshot()
	b.Run("records="+strconv.Itoa(n)+"/from=nothing", func(b *testing.B) {
		var held uint64
		for b.Loop() {
			base := heap()
			f := w.again()
			held = heap() - base
			runtime.KeepAlive(f)
		}
		b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(float64(held)/1e6, "held-MB")
	})
	b.Run("records="+strconv.Itoa(n)+"/from=snapshot", func(b *testing.B) {
		for b.Loop() {
			f, err := ledger.RestoreFold(signed, w.root)
			require.NoError(b, err)
			for _, v := range w.values[lastDay:] {
				_, err := f.Apply(v)
				require.NoError(b, err)
			}
		}
		b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(b.Elapsed().Seconds()*1000/float64(b.N), "start-ms")
		b.ReportMetric(float64(len(signed))/1e6, "snapshot-MB")
	})
}

// BenchmarkSnapshot is of a fold with a day of 10,000 records in it.
func BenchmarkSnapshot(b *testing.B) {
	w := busyFor(b, 30_000)
	for b.Loop() {
		require.NoError(b, w.fold.WriteSnapshot(io.Discard))
	}
	operations, _, _, _ := ledger.Held(w.fold)
	b.ReportMetric(float64(operations), "operations")
}

// BenchmarkTake is what an author does a batch of 64 charges with, as many as 64 clients wait for:
// stage, encode, commit to its own fold. The signature is the caller's and an HSM's.
func BenchmarkTake(b *testing.B) {
	w := begun(b, func(c *policy.Charter) { c.Limits.MaxOutstanding, c.Networks[0].DailyFee = 4096, policy.MaxAmount() })
	charge := []ledger.Charge{{Amount: policy.AmountOf(1), ChainID: chainID, Contract: account("contract"), Operation: policy.OpMint}}
	nonce := uint64(0)
	var staged []string
	for b.Loop() {
		w.pass(time.Second)
		stage := w.fold.Stage(w.now, w.author)
		for _, op := range staged {
			require.NoError(b, stage.Add(ledger.Record{Settle: &ledger.Settle{OperationID: op, TxHash: tx.Hash{1}}}))
		}
		staged = staged[:0]
		for range 64 {
			op := w.op()
			require.NoError(b, stage.Add(ledger.Record{Authorize: &ledger.Authorize{OperationID: op, Intent: policy.NoDigest, Charges: charge, WalletID: id("wallet", 1),
				Nonce: nonce, GasLimit: 60_000, MaxFee: fee, Tip: fee, Tx: tx.Hash{1}, Expiry: w.now.Add(time.Hour)}}))
			nonce++
			staged = append(staged, op)
		}
		own := w.signed(stage.Batch(w.term))
		require.NoError(b, w.fold.Take(stage, own, w.encode(own)))
	}
	b.ReportMetric(float64(b.N)*64/b.Elapsed().Seconds(), "charges/s")
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
