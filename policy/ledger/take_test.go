package ledger_test

import (
	"bytes"
	"encoding/base64"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// TestTakeIsApply commits every batch of a history once by its bytes and once as the stage that it
// was: charter 1, a take-over, a recover and a deployment too.
func TestTakeIsApply(t *testing.T) {
	w := history(t)
	w.author, w.term = "appliance-2", 5
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "taken over"}})
	w.values = append(w.values, w.encode(w.recovered(w.recovering(func(d *ledger.Recover) { d.Lanes[0].Nonce = 9 }))))
	_, err := w.fold.Apply(w.values[len(w.values)-1])
	require.NoError(t, err)
	taken, applied := ledger.NewFold(w.root), ledger.NewFold(w.root)
	for _, value := range w.values {
		b, err := applied.Apply(value)
		require.NoError(t, err)
		stage := taken.Stage(b.Time, b.Author)
		require.NoError(t, stage.Add(b.Records...))
		own := w.signed(stage.Batch(b.Term))
		require.Equal(t, value, w.encode(own))
		require.NoError(t, taken.Take(stage, own, value))
		require.Equal(t, ledger.State(applied), ledger.State(taken))
	}
}

// TestTakeRefusesAnythingButItsOwn: what Take does not verify again, it must not be led to believe.
func TestTakeRefusesAnythingButItsOwn(t *testing.T) {
	w := begun(t)
	record := func(reason string) ledger.Record {
		return ledger.Record{Cancel: &ledger.Cancel{OperationID: opAt(w.now, 1), Reason: reason}}
	}
	stage := w.fold.Stage(w.now, w.author)
	require.NoError(t, stage.Add(record("expired")))
	batch := func(change func(*ledger.Batch)) *ledger.Batch {
		b := stage.Batch(w.term)
		change(b)
		return w.signed(b)
	}
	good := batch(func(*ledger.Batch) {})
	value := w.encode(good)
	refused := func(reason ledger.Reason, says string, s *ledger.Stage, b *ledger.Batch, value []byte) {
		t.Helper()
		before := ledger.State(w.fold)
		w.isRefusal(w.fold.Take(s, b, value), reason, says)
		require.Equal(t, before, ledger.State(w.fold), "the fold changed")
	}
	for says, change := range map[string]func(*ledger.Batch){
		"batch 5 of":         func(b *ledger.Batch) { b.Sequence++ },
		"after sha256:00000": func(b *ledger.Batch) { b.Previous = policy.NoDigest },
		"of appliance-2":     func(b *ledger.Batch) { b.Author = "appliance-2" },
		"12:00:01":           func(b *ledger.Batch) { b.Time = b.Time.Add(time.Second) },
		"term 0":             func(b *ledger.Batch) { b.Term = 0 },
		"epoch 2":            func(b *ledger.Batch) { b.Epoch++ },
		"instance dev-2":     func(b *ledger.Batch) { b.Instance = "dev-2" },
	} {
		b := stage.Batch(w.term)
		change(b)
		refused(ledger.ReasonLink, says, stage, b, value)
	}
	refused(ledger.ReasonConflict, "other records", stage, batch(func(b *ledger.Batch) { b.Records = []ledger.Record{record("forged")} }), value)
	malformed := *good
	malformed.Format = 2
	refused(ledger.ReasonEncoding, "format 2", stage, &malformed, value)
	// The right batch with other bytes, and other bytes that are a batch of their own.
	refused(ledger.ReasonEncoding, "not the stage's batch", stage, good, bytes.Replace(value, []byte("expired"), []byte("Expired"), 1))
	refused(ledger.ReasonEncoding, "not the stage's batch", stage, good, w.encode(w.batch(record("forged"))))
	refused(ledger.ReasonEncoding, "not the stage's batch", stage, good, nil)
	refused(ledger.ReasonEncoding, "not the stage's batch", stage, good, append(value[:len(value):len(value)], ' '))
	// The signature where it does not belong.
	signature := []byte(`,"signature":"` + base64.StdEncoding.EncodeToString(good.Signature) + `"`)
	elsewhere := bytes.Replace(bytes.Replace(value, signature, nil, 1), []byte(`,"epoch"`), append(signature, `,"epoch"`...), 1)
	require.Len(t, elsewhere, len(value))
	refused(ledger.ReasonEncoding, "not the stage's batch", stage, good, elsewhere)
	short := *good
	short.Signature = good.Signature[:63]
	refused(ledger.ReasonEncoding, "signature of 63 bytes", stage, &short, value)
	forged := batch(func(*ledger.Batch) {})
	forged.Signature = bytes.Repeat([]byte{1}, 64)
	refused(ledger.ReasonAuthor, "does not hold", stage, forged, w.encode(forged))
	// Another fold's stage, and one that may write nothing.
	other := w.again()
	foreign := other.Stage(w.now, w.author)
	require.NoError(t, foreign.Add(record("expired")))
	refused(ledger.ReasonStale, "the stage began at", foreign, good, value)
	unknown := w.fold.Stage(w.now, "mallory")
	refused(ledger.ReasonAuthor, "mallory is no appliance", unknown, unknown.Batch(2), value)
	half := w.fold.Stage(w.now.Add(-time.Hour), w.author)
	refused(ledger.ReasonLink, "is before the last batch's", half, half.Batch(1), value)

	require.NoError(t, w.fold.Take(stage, good, value))
	refused(ledger.ReasonStale, "the log is at batch 4, the stage began at 3", stage, good, value)
	w.isRefusal(stage.Add(record("again")), ledger.ReasonStale, "began at 3")
	_, err := other.Apply(value)
	require.NoError(t, err)
	require.Equal(t, ledger.State(other), ledger.State(w.fold))
}

// TestTakeAfterApply: what somebody else wrote first is not overwritten.
func TestTakeAfterApply(t *testing.T) {
	w := begun(t)
	stage := w.fold.Stage(w.now, w.author)
	require.NoError(t, stage.Add(ledger.Record{Cancel: &ledger.Cancel{OperationID: opAt(w.now, 1), Reason: "mine"}}))
	b := w.signed(stage.Batch(w.term))
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: opAt(w.now, 2), Reason: "theirs"}})
	w.isRefusal(w.fold.Take(stage, b, w.encode(b)), ledger.ReasonStale, "the log is at batch 4")
}

// TestWhatIsTakenIsWhatWasHeldAgainstTheStage: between the two halves of Take neither the stage nor the fold may
// have changed.
func TestWhatIsTakenIsWhatWasHeldAgainstTheStage(t *testing.T) {
	w := begun(t)
	cancel := func(n int) ledger.Record {
		return ledger.Record{Cancel: &ledger.Cancel{OperationID: opAt(w.now, n), Reason: "expired"}}
	}
	taking := func() (*ledger.Stage, *ledger.Taking) {
		stage := w.fold.Stage(w.now, w.author)
		require.NoError(t, stage.Add(cancel(1)))
		b := w.signed(stage.Batch(w.term))
		tk, err := w.fold.Taking(stage, b, w.encode(b))
		require.NoError(t, err)
		return stage, tk
	}
	before := ledger.State(w.fold)
	grown, tk := taking()
	require.Equal(t, before, ledger.State(w.fold), "nothing is true yet")
	require.NoError(t, grown.Add(cancel(2)))
	w.isRefusal(tk.Take(), ledger.ReasonConflict, "the batch has 1 records, the stage 2")
	require.Equal(t, before, ledger.State(w.fold))

	_, late := taking()
	_, first := taking()
	require.NoError(t, first.Take())
	w.isRefusal(first.Take(), ledger.ReasonStale, "the log is at batch 4")
	w.isRefusal(late.Take(), ledger.ReasonStale, "the log is at batch 4")
}

// TestWhatARefusedRecordLeftBehindIsGone: a stage's layer is used again for what is added next, and nothing of
// what it refused is found there.
func TestWhatARefusedRecordLeftBehindIsGone(t *testing.T) {
	w := begun(t)
	stage := w.fold.Stage(w.now, w.author)
	done, half, next := opAt(w.now, 1), opAt(w.now, 2), opAt(w.now, 3)
	cancel := func(id string) ledger.Record {
		return ledger.Record{Cancel: &ledger.Cancel{OperationID: id, Reason: "expired"}}
	}
	require.NoError(t, stage.Add(cancel(done)))
	for range 3 {
		require.Error(t, stage.Add(cancel(half), cancel(done)), "the second is cancelled already, so the first is not added")
		_, there := stage.Operation(half)
		require.False(t, there)
	}
	require.NoError(t, stage.Add(cancel(next)))
	require.Len(t, stage.Records(), 2)
	_, there := stage.Operation(half)
	require.False(t, there)
	own := w.signed(stage.Batch(w.term))
	value := w.encode(own)
	follower := w.again()
	require.NoError(t, w.fold.Take(stage, own, value))
	_, err := follower.Apply(value)
	require.NoError(t, err)
	require.Equal(t, ledger.State(follower), ledger.State(w.fold))
}
