package ledger_test

import (
	"bytes"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// trim is of the log as it stands.
func (w *world) trim(kept uint64) ledger.Record {
	w.t.Helper()
	body, err := w.fold.Snapshot()
	require.NoError(w.t, err)
	return ledger.Record{Trim: &ledger.Trim{FirstKept: kept, Snapshot: policy.DigestOf(body)}}
}

func TestTrim(t *testing.T) {
	w := history(t)
	head, _ := w.fold.Head()
	w.refused(ledger.ReasonConflict, "nothing goes", w.trim(1))
	w.refused(ledger.ReasonConflict, "behind the snapshot", w.trim(head+2))
	other := w.trim(2)
	other.Trim.Snapshot = policy.DigestOf([]byte("a snapshot that nobody made"))
	w.refused(ledger.ReasonConflict, "the trim says", other)
	w.refused(ledger.ReasonConflict, "first record of its batch", ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}}, w.trim(2))

	old := w.trim(3)
	w.commit(w.trim(3), ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	require.Equal(t, uint64(3), w.fold.LastTrim().FirstKept)
	w.refused(ledger.ReasonConflict, "it was 3 before", w.trim(3))
	old.Trim.FirstKept = 4
	w.refused(ledger.ReasonConflict, "the trim says", old) // of an older snapshot
	w.commit(w.trim(head + 2))
	require.Equal(t, ledger.State(w.fold), ledger.State(w.again()), "whoever was there makes the same snapshots")
}

// TestReadATrimmedLog: snapshot and what is kept give what all batches give, and the trim behind the
// snapshot names it.
func TestReadATrimmedLog(t *testing.T) {
	w := history(t)
	signed := w.snapshot()
	head, _ := w.fold.Head()
	w.commit(w.trim(head + 1))
	w.authorized(w.mint(w.op()))
	f, err := ledger.RestoreFold(signed, w.root)
	require.NoError(t, err)
	at, _ := f.Head()
	require.Equal(t, head, at)
	for _, value := range w.values[at:] {
		_, err := f.Apply(value)
		require.NoError(t, err)
	}
	require.Equal(t, ledger.State(w.fold), ledger.State(f))
}

// TestAttack_AnOlderSnapshotInThePlaceOfTheTrims: the batch behind a snapshot is not the batch behind
// another one.
func TestAttack_AnOlderSnapshotInThePlaceOfTheTrims(t *testing.T) {
	w := begun(t)
	older := w.snapshot()
	w.authorized(w.mint(w.op()))
	head, _ := w.fold.Head()
	w.commit(w.trim(head + 1))
	f, err := ledger.RestoreFold(older, w.root)
	require.NoError(t, err)
	_, err = f.Apply(w.values[head])
	w.isRefusal(err, ledger.ReasonLink, "sequence")
}

func values(v ...[]byte) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for _, b := range v {
			if !yield(b, nil) {
				return
			}
		}
	}
}

// whole folds an archive and the store behind it.
func (w *world) whole(a *ledger.Archive, first uint64, store [][]byte) (*ledger.Fold, error) {
	f := ledger.NewFold(w.root)
	for value, err := range ledger.Whole(a, first, values(store...)) {
		if err != nil {
			return nil, err
		}
		if _, err := f.Apply(value); err != nil {
			return nil, err
		}
	}
	return f, nil
}

func TestArchive(t *testing.T) {
	w := history(t)
	dir := filepath.Join(t.TempDir(), "ledger")
	a, err := ledger.OpenArchive(dir)
	require.NoError(t, err)
	require.Zero(t, a.Last())
	require.NoError(t, a.Append(1))
	require.NoError(t, a.Append(1, w.values[:2]...))
	require.NoError(t, a.Append(3, w.values[2]))
	var bad *ledger.ArchiveError
	require.ErrorAs(t, a.Append(3, w.values[2]), &bad)
	require.ErrorAs(t, a.Append(5, w.values[4]), &bad)
	require.ErrorAs(t, a.Append(4, nil), &bad)
	require.ErrorAs(t, a.Append(4, make([]byte, ledger.MaxBatch+1)), &bad)
	require.NoError(t, a.Close())

	a, err = ledger.OpenArchive(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	require.Equal(t, uint64(3), a.Last())
	require.NoError(t, a.Append(4, w.values[3]))
	f, err := w.whole(a, 5, w.values[4:])
	require.NoError(t, err)
	require.Equal(t, ledger.State(w.fold), ledger.State(f))
	// The store may have what the archive has, as long as it is the same.
	f, err = w.whole(a, 2, w.values[1:])
	require.NoError(t, err)
	require.Equal(t, ledger.State(w.fold), ledger.State(f))
	_, err = w.whole(a, 6, w.values[5:])
	require.ErrorIs(t, err, ledger.ErrGap)
	forked := slices.Clone(w.values)
	forked[3] = bytes.Replace(forked[3], []byte("ann"), []byte("bob"), 1)
	forked[3] = append(bytes.Clone(forked[3]), ' ')
	_, err = w.whole(a, 2, forked[1:])
	require.ErrorContains(t, err, "another batch")
	lost := errors.New("the store is away")
	for _, err = range ledger.Whole(a, 5, func(yield func([]byte, error) bool) { yield(nil, lost) }) {
		if err != nil {
			break
		}
	}
	require.ErrorIs(t, err, lost)
	for range ledger.Whole(a, 5, values(w.values[4:]...)) {
		break
	}
}

// TestReadAnArchiveThatGrows: a reader sees what was there when he came, and touches nothing.
func TestReadAnArchiveThatGrows(t *testing.T) {
	w := history(t)
	dir := t.TempDir()
	_, err := ledger.ReadArchive(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	a, err := ledger.OpenArchive(dir)
	require.NoError(t, err)
	defer func() { require.NoError(t, a.Close()) }()
	require.NoError(t, a.Append(1, w.values[:3]...))
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	whole, err := os.ReadFile(names[0])
	require.NoError(t, err)
	half := append(bytes.Clone(whole), 0, 0, 7, 7, 'h', 'a', 'l', 'f')
	require.NoError(t, os.WriteFile(names[0], half, 0o600))
	reader, err := ledger.ReadArchive(dir)
	require.NoError(t, err)
	require.Equal(t, uint64(3), reader.Last())
	require.ErrorContains(t, reader.Append(4, w.values[3]), "read only")
	still, err := os.ReadFile(names[0])
	require.NoError(t, err)
	require.Equal(t, half, still)
	require.NoError(t, a.Append(4, w.values[3]))
	_, err = w.whole(reader, 4, w.values[3:])
	require.NoError(t, err)
	require.Equal(t, uint64(3), reader.Last())
	require.NoError(t, reader.Close())
}

// TestArchiveAfterACrash cuts the file at every place: what was whole is there, the rest is written
// again.
func TestArchiveAfterACrash(t *testing.T) {
	w := genesis(t)
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	dir := t.TempDir()
	a, err := ledger.OpenArchive(dir)
	require.NoError(t, err)
	require.NoError(t, a.Append(1, w.values...))
	require.NoError(t, a.Close())
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	all, err := os.ReadFile(names[0])
	require.NoError(t, err)
	first := len(all)
	for _, v := range w.values {
		first -= len(v) + 36
	}
	for _, cut := range []int{0, 1, first - 1, first, first + 1, first + 35, first + 36, first + 37, first + 36 + len(w.values[0]), len(all) - len(w.values[2]) - 1, len(all) - 1} {
		require.NoError(t, os.WriteFile(names[0], all[:cut], 0o600))
		a, err := ledger.OpenArchive(dir)
		require.NoError(t, err, "cut at %d", cut)
		require.NoError(t, a.Append(a.Last()+1, w.values[a.Last():]...))
		f, err := w.whole(a, 4, nil)
		require.NoError(t, err)
		require.Equal(t, ledger.State(w.fold), ledger.State(f))
		require.NoError(t, a.Close())
		again, err := os.ReadFile(names[0])
		require.NoError(t, err)
		require.Equal(t, all, again)
	}
}

func TestAttack_AnArchiveIsEdited(t *testing.T) {
	w := genesis(t)
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	dir := t.TempDir()
	a, err := ledger.OpenArchive(dir)
	require.NoError(t, err)
	require.NoError(t, a.Append(1, w.values...))
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(t, err)
	all, err := os.ReadFile(names[0])
	require.NoError(t, err)
	for n := 0; n < len(all); n += 97 {
		edited := bytes.Clone(all)
		edited[n] ^= 4
		require.NoError(t, os.WriteFile(names[0], edited, 0o600))
		_, err := w.whole(a, 4, nil)
		require.Error(t, err, "byte %d", n)
	}
	require.NoError(t, os.WriteFile(names[0], all[:len(all)-len(w.values[2])-36], 0o600))
	_, err = w.whole(a, 4, nil)
	require.ErrorContains(t, err, "missing; the last one is 3")
	require.NoError(t, os.Rename(names[0], filepath.Join(dir, "00000000000000000002.batches")))
	_, err = w.whole(a, 4, nil)
	require.ErrorContains(t, err, "missing")
	require.NoError(t, a.Close())
	require.NoError(t, os.Rename(filepath.Join(dir, "00000000000000000002.batches"), filepath.Join(dir, "2.batches")))
	_, err = ledger.OpenArchive(dir)
	require.ErrorContains(t, err, "no archive's name")
	require.NoError(t, os.Rename(filepath.Join(dir, "2.batches"), names[0]))
	require.NoError(t, os.WriteFile(names[0], bytes.Replace(all, []byte("mintwarden"), []byte("mintwasden"), 1), 0o600))
	_, err = ledger.OpenArchive(dir)
	require.ErrorContains(t, err, "begins with")
	_, err = ledger.OpenArchive(names[0])
	require.Error(t, err)
}
