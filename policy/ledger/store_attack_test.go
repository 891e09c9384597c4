package ledger_test

import (
	"bytes"
	"crypto/ed25519"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// What a hostile store serves: to a fold that remembers the log up to a batch, and to one that
// remembers nothing but the root. An old store and a missing one are chains that only end sooner:
// that they do, anchor and journal know, not the fold; here it is held that nothing but the very same
// batches brings such a fold forward.

// cancelled commits n batches that end operations nobody knew.
func (w *world) cancelled(n int, reason string) {
	w.t.Helper()
	for range n {
		w.pass(time.Second)
		w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: reason}})
	}
}

// upTo is a fold of the first n batches.
func (w *world) upTo(n int) *ledger.Fold {
	w.t.Helper()
	f := ledger.NewFold(w.root)
	for _, v := range w.values[:n] {
		_, err := f.Apply(v)
		require.NoError(w.t, err)
	}
	return f
}

// fork is another history behind the first n batches, by the same author's key.
func (w *world) fork(n int) *world {
	o := &world{t: w.t, fold: w.upTo(n), root: w.root, author: w.author, term: w.term, now: w.now, values: slices.Clone(w.values[:n]), ops: 900}
	o.cancelled(len(w.values)-n+2, "in the other history")
	return o
}

// stops is true where the fold, offered the values behind its head, takes none.
func (w *world) stops(f *ledger.Fold, values [][]byte) {
	w.t.Helper()
	before := ledger.State(f)
	for _, v := range values {
		_, err := f.Apply(v)
		require.Error(w.t, err)
	}
	require.Equal(w.t, before, ledger.State(f))
}

func TestAttack_AForkedStoreBehindAMemory(t *testing.T) {
	w := begun(t)
	w.cancelled(5, "in this history")
	fork := w.fork(4)
	w.stops(w.upTo(len(w.values)), fork.values)
	w.stops(w.upTo(5), fork.values[4:])
	restored := w.restored()
	w.stops(restored, fork.values)
}

func TestAttack_AnOldStoreBehindAMemory(t *testing.T) {
	w := begun(t)
	w.cancelled(5, "in this history")
	f := w.upTo(len(w.values))
	for n := range w.values {
		w.stops(f, w.values[n:n+1])
	}
	// Written on from the old point, by an author who forgot.
	old := w.fork(6)
	w.stops(f, old.values[6:])
}

func TestAttack_AHoledStore(t *testing.T) {
	w := begun(t)
	w.cancelled(6, "in this history")
	for hole := range len(w.values) - 1 {
		holed := slices.Delete(slices.Clone(w.values), hole, hole+1)
		f := ledger.NewFold(w.root)
		for n, v := range holed {
			_, err := f.Apply(v)
			if n < hole {
				require.NoError(t, err)
			} else {
				require.Error(t, err, "batch %d after a hole at %d", n, hole)
			}
		}
		w.stops(w.upTo(hole), holed[hole:])
	}
}

// TestAttack_AnEditedStore flips bits in every batch, before a fold without memory and one with.
func TestAttack_AnEditedStore(t *testing.T) {
	w := begun(t)
	w.authorized(w.mint(w.op()))
	for n, value := range w.values {
		with := w.upTo(n)
		for at := 0; at < len(value); at += 53 {
			edited := bytes.Clone(value)
			edited[at] ^= 1 << (at % 8)
			_, err := with.Apply(edited)
			require.Error(t, err, "batch %d, byte %d", n+1, at)
		}
		if n == 0 {
			_, err := ledger.NewFold(policy.DigestOf([]byte("another"))).Apply(value)
			require.Error(t, err)
		}
	}
}

// TestAttack_ASwappedStore: the batches of another ledger, whose custodians are the same people.
func TestAttack_ASwappedStore(t *testing.T) {
	w, other := begun(t), begun(t, func(c *policy.Charter) { c.TenantID = "other" })
	_, err := ledger.NewFold(w.root).Apply(other.values[0])
	w.isRefusal(err, ledger.ReasonDocument, "charter 1 is")
	w.stops(w.upTo(1), other.values[1:])
}

// TestAttack_AStoreWrittenWithoutALedgerKey: who has all of etcd and no appliance's key adds nothing.
func TestAttack_AStoreWrittenWithoutALedgerKey(t *testing.T) {
	w := begun(t)
	b := w.batch(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "forged"}})
	for _, signature := range [][]byte{make([]byte, ed25519.SignatureSize), bytes.Repeat([]byte{0xff}, ed25519.SignatureSize)} {
		b.Signature = signature
		_, err := w.fold.Apply(w.encode(b))
		w.isRefusal(err, ledger.ReasonAuthor, "does not hold")
	}
}

// TestAttack_TheLostHistoryComesBackAfterARecover: what was given up does not go on, and what people
// decided in it is decided no more.
func TestAttack_TheLostHistoryComesBackAfterARecover(t *testing.T) {
	w := begun(t)
	approved, open := w.mint(w.op()), w.mint(w.op())
	w.commit(w.approve(approved, "ann"), w.approve(approved, "bob"))
	kept := len(w.values)
	lost := &world{t: t, fold: w.upTo(kept), root: w.root, author: w.author, term: w.term, now: w.now, values: slices.Clone(w.values), ops: 500}
	lost.commit(lost.approve(open, "ann"), lost.approve(open, "bob"))
	lost.commit(lost.authorize(open), lost.authorize(approved, func(a *ledger.Authorize) { a.Nonce = 1 }))
	decided := []ledger.Record{lost.approve(open, "ann"), lost.approve(open, "bob")}

	head, digest := lost.fold.Head()
	d := w.recovering(func(d *ledger.Recover) {
		d.Lost = ledger.Point{Sequence: head, Head: digest}
		d.Lanes[0].Nonce = 2
	})
	value := w.encode(w.recovered(d))
	_, err := w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)

	w.stops(w.fold, lost.values)
	w.stops(lost.fold, w.values)
	_, err = lost.fold.Apply(value)
	w.isRefusal(err, ledger.ReasonLink, "sequence") // a seal that remembers the lost log reads the accepted one anew
	again := w.again()
	require.Equal(t, ledger.State(w.fold), ledger.State(again))

	w.now = time.Date(2026, 4, 28, 0, 0, 0, 0, time.UTC)
	for _, r := range decided {
		w.refused(ledger.ReasonDocument, "of epoch 1, this is 2", r)
	}
	w.refused(ledger.ReasonExpired, "expired", w.authorize(approved))
	fresh := w.mint(w.op())
	w.commit(w.approve(fresh, "ann"), w.approve(fresh, "bob"))
	w.refused(ledger.ReasonNonce, "nonce 1", w.authorize(fresh, func(a *ledger.Authorize) { a.Nonce = 1 })) // the lost log may have spent it
	w.commit(w.authorize(fresh))
}

// TestAttack_ARecoverIsPlayedAgain: neither over the log that it was for nor over another one.
func TestAttack_ARecoverIsPlayedAgain(t *testing.T) {
	w := begun(t)
	before := len(w.values)
	d := w.recovering()
	r := ledger.Record{Recover: sign(t, policy.DocRecover, d, "custodian-1", "custodian-3")}
	b := w.batch(r)
	b.Epoch = 2
	value := w.encode(w.signed(b))
	_, err := w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)
	again := w.batch(r)
	again.Epoch = 3
	_, err = w.fold.Apply(w.encode(w.signed(again)))
	w.isRefusal(err, ledger.ReasonDuplicate, "recorded already")

	other := w.fork(before - 1)
	replay := other.batch(r)
	replay.Epoch = 2
	_, err = other.fold.Apply(other.encode(other.signed(replay)))
	w.isRefusal(err, ledger.ReasonDocument, "recover accepts batch")
}

func TestRecoverOfNothing(t *testing.T) {
	w := begun(t)
	d := w.recovering(func(d *ledger.Recover) { d.Lost = d.Accepted })
	_, err := w.fold.Apply(w.encode(w.recovered(d)))
	w.isRefusal(err, ledger.ReasonDocument, "nothing to recover")
}

// TestRecoverStandsFirst: what a batch says before it could only be of the epoch that ends.
func TestRecoverStandsFirst(t *testing.T) {
	w := begun(t)
	b := w.batch(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}},
		ledger.Record{Recover: sign(t, policy.DocRecover, w.recovering(), "custodian-1", "custodian-3")})
	b.Epoch = 2
	_, err := w.fold.Apply(w.encode(w.signed(b)))
	w.isRefusal(err, ledger.ReasonConflict, "first record of its batch")
}

// TestRecoverStaysInASnapshot: the limits stand at their limits after a restart too, in every zone.
func TestRecoverStaysInASnapshot(t *testing.T) {
	w := begun(t)
	w.authorized(w.mint(w.op()))
	value := w.encode(w.recovered(w.recovering()))
	_, err := w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)
	f := w.restored()
	require.Equal(t, uint64(2), f.Epoch())
	require.True(t, f.Gap(id("wallet", 1), 3))
	for _, east := range []time.Duration{-12 * time.Hour, -1, 0, 1, 12 * time.Hour} {
		midnight := time.Date(2026, 4, 28, 0, 0, 0, 0, time.UTC).Add(east)
		require.Equal(t, policy.MaxAmount(), f.Charged(chainID, account("contract"), policy.OpMint, midnight.Add(-24*time.Hour)))
		if east >= 0 {
			require.Equal(t, policy.Amount{}, f.Charged(chainID, account("contract"), policy.OpMint, midnight))
		}
	}
	require.Equal(t, policy.MaxAmount(), f.Fees(id("wallet", 1), noon))
}
