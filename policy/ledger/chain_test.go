package ledger_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// history is a log in which most things happened.
func history(t testing.TB) *world {
	w := begun(t)
	i := w.mint(w.op())
	w.authorized(i)
	w.commit(ledger.Record{Settle: &ledger.Settle{OperationID: i.OperationID, TxHash: w.authorize(i).Authorize.Tx}})
	g := w.mint(w.op(), grantTo(wallet(2).Address))
	w.pass(time.Hour)
	g = w.mint(g.OperationID, grantTo(wallet(2).Address))
	w.commit(w.approve(g, "cat"))
	w.commit(w.approve(g, "ann"))
	w.commit(w.authorize(g))
	d := w.mint(w.op(), deployOf(id("token", 2), 5))
	w.commit(append([]ledger.Record{w.approve(d, "ann"), w.approve(d, "bob")}, w.deployment(d)...)...)
	w.commit(ledger.Record{EventFreeze: &ledger.EventFreeze{TokenID: id("token", 2), Event: "seen"}}, ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	return w
}

func TestFoldAgain(t *testing.T) {
	w := history(t)
	require.Equal(t, ledger.State(w.fold), ledger.State(w.again()))
}

// TestOnlyTheNextBatch offers every batch of a log at every wrong place.
func TestOnlyTheNextBatch(t *testing.T) {
	w := history(t)
	for head := range len(w.values) {
		f := ledger.NewFold(w.root)
		for _, v := range w.values[:head] {
			_, err := f.Apply(v)
			require.NoError(t, err)
		}
		before := ledger.State(f)
		for n, v := range w.values {
			if n == head {
				continue
			}
			_, err := f.Apply(v)
			w.isRefusal(err, ledger.ReasonLink, "sequence")
		}
		require.Equal(t, before, ledger.State(f))
	}
}

// TestOneOrder applies a log with a batch dropped, repeated or moved: the fold stops there.
func TestOneOrder(t *testing.T) {
	w := history(t)
	rapid.Check(t, func(r *rapid.T) {
		values := slices.Clone(w.values)
		n := rapid.IntRange(0, len(values)-1).Draw(r, "which")
		switch rapid.SampledFrom([]string{"drop", "repeat", "move"}).Draw(r, "how") {
		case "drop":
			values = slices.Delete(values, n, n+1)
			if n == len(values) {
				return // a log that ends sooner is a log
			}
		case "repeat":
			values = slices.Insert(values, n, values[n])
		case "move":
			to := rapid.IntRange(0, len(values)-1).Draw(r, "to")
			if to == n {
				return
			}
			values[n], values[to] = values[to], values[n]
		}
		f := ledger.NewFold(w.root)
		taken := 0
		for ; taken < len(values); taken++ {
			if _, err := f.Apply(values[taken]); err != nil {
				break
			}
			require.Equal(r, w.values[taken], values[taken])
		}
		require.Less(r, taken, len(values))
	})
}

// TestTwoHistories: what another history wrote after the same beginning does not follow this one.
func TestTwoHistories(t *testing.T) {
	w := begun(t)
	other := &world{t: t, fold: w.again(), root: w.root, author: w.author, term: w.term, now: w.now}
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "here"}})
	other.ops = 7
	other.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: other.op(), Reason: "there"}})
	next := other.encode(other.batch(ledger.Record{Cancel: &ledger.Cancel{OperationID: other.op(), Reason: "there again"}}))
	_, err := w.fold.Apply(next)
	w.isRefusal(err, ledger.ReasonLink, "previous")
}

func TestHeader(t *testing.T) {
	record := func(w *world) ledger.Record {
		return ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}
	}
	for name, c := range map[string]struct {
		change func(*ledger.Batch)
		reason ledger.Reason
		says   string
	}{
		"sequence skips":        {func(b *ledger.Batch) { b.Sequence++ }, ledger.ReasonLink, "sequence 5, want 4"},
		"sequence repeats":      {func(b *ledger.Batch) { b.Sequence-- }, ledger.ReasonLink, "sequence 3, want 4"},
		"another previous":      {func(b *ledger.Batch) { b.Previous = policy.NoDigest }, ledger.ReasonLink, "previous"},
		"another instance":      {func(b *ledger.Batch) { b.Instance = "dev-2" }, ledger.ReasonLink, "instance dev-2"},
		"higher epoch":          {func(b *ledger.Batch) { b.Epoch++ }, ledger.ReasonLink, "epoch 2, want 1"},
		"lower term":            {func(b *ledger.Batch) { b.Term-- }, ledger.ReasonLink, "term 1"},
		"take-over in one term": {func(b *ledger.Batch) { b.Author = "appliance-2" }, ledger.ReasonLink, "a take-over raises the term"},
		"unknown author":        {func(b *ledger.Batch) { b.Author, b.Term = "appliance-3", 3 }, ledger.ReasonAuthor, "appliance-3 is no appliance"},
		"earlier time":          {func(b *ledger.Batch) { b.Time = b.Time.Add(-time.Second) }, ledger.ReasonLink, "time"},
	} {
		t.Run(name, func(t *testing.T) {
			w := genesis(t)
			w.term = 2
			w.commit(record(w))
			w.commit(record(w))
			b := w.batch(record(w))
			c.change(b)
			before := ledger.State(w.fold)
			_, err := w.fold.Apply(w.encode(w.signed(b)))
			w.isRefusal(err, c.reason, c.says)
			require.Equal(t, before, ledger.State(w.fold))
		})
	}
}

func TestSignature(t *testing.T) {
	w := begun(t)
	b := w.batch(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	forged := *b
	forged.Author = "appliance-2"
	w.signed(&forged)
	b.Signature = forged.Signature
	_, err := w.fold.Apply(w.encode(b))
	w.isRefusal(err, ledger.ReasonAuthor, "the signature of appliance-1 does not hold")
}

func TestTakeOver(t *testing.T) {
	w := begun(t)
	w.author, w.term = "appliance-2", 2
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	require.Equal(t, "appliance-2", w.fold.Author())
	require.Equal(t, uint64(2), w.fold.Term())
	// The author of before wakes up.
	w.author, w.term = "appliance-1", 1
	_, err := w.fold.Apply(w.encode(w.batch(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})))
	w.isRefusal(err, ledger.ReasonLink, "term 1")
}

func TestReadBesideApply(t *testing.T) {
	w := begun(t)
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				charged := w.fold.Charged(chainID, account("contract"), policy.OpMint, noon.Add(-time.Hour))
				if n := w.fold.NextNonce(id("wallet", 1)); policy.AmountOf(n*1000).Cmp(charged) < 0 {
					t.Errorf("nonce %d was read after a charge of %s", n, charged)
				}
				for _, o := range w.fold.Unsettled() {
					if o.Authorized == nil || len(o.Decisions) != 2 {
						t.Errorf("half an operation: %+v", o)
					}
				}
			}
		})
	}
	for range 12 {
		w.authorized(w.mint(w.op()))
	}
	close(stop)
	readers.Wait()
}
