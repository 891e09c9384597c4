package ledger_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/policytest"
)

// archived is an archive of a log's batches up to one, its only file and what that holds.
func (w *world) archived(last int) (dir, name string, held []byte) {
	w.t.Helper()
	dir = w.t.TempDir()
	a, err := ledger.OpenArchive(dir)
	require.NoError(w.t, err)
	require.NoError(w.t, a.Append(1, w.values[:last]...))
	require.NoError(w.t, a.Close())
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	require.NoError(w.t, err)
	require.Len(w.t, names, 1)
	held, err = os.ReadFile(names[0])
	require.NoError(w.t, err)
	return dir, names[0], held
}

// entry is where the n-th batch's entry begins, from 1.
func (w *world) entry(all []byte, n int) int {
	at := len(all)
	for _, v := range w.values[n-1:] {
		at -= len(v) + 36
	}
	return at
}

// isCut asserts that the archive opens with that many batches, takes the others, and then holds all.
func (w *world) isCut(dir, name string, last int, all []byte) {
	w.t.Helper()
	reader, err := ledger.ReadArchive(dir)
	require.NoError(w.t, err)
	require.Equal(w.t, uint64(last), reader.Last())
	a, err := ledger.OpenArchive(dir)
	require.NoError(w.t, err)
	defer func() { require.NoError(w.t, a.Close()) }()
	require.Equal(w.t, uint64(last), a.Last())
	require.NoError(w.t, a.Append(uint64(last)+1, w.values[last:]...))
	held, err := os.ReadFile(name)
	require.NoError(w.t, err)
	require.True(w.t, bytes.Equal(all, held))
	f, err := w.whole(a, uint64(len(w.values))+1, nil)
	require.NoError(w.t, err)
	require.Equal(w.t, ledger.State(w.fold), ledger.State(f))
}

// TestArchiveAfterACrashThatLeftZeros: the file had grown, and what was to stand there had not come, or
// came but for one page. Nothing of the two batches before is touched.
func TestArchiveAfterACrashThatLeftZeros(t *testing.T) {
	const page = 64
	w := history(t)
	_, _, all := w.archived(len(w.values))
	dir, name, before := w.archived(2)
	for _, grown := range []int{1, 4, 35, 36, 37, 1000, 200_000} {
		require.NoError(t, os.WriteFile(name, append(bytes.Clone(before), make([]byte, grown)...), 0o600))
		w.isCut(dir, name, 2, all)
	}

	require.NoError(t, os.WriteFile(name, before, 0o600))
	a, err := ledger.OpenArchive(dir)
	require.NoError(t, err)
	require.NoError(t, ledger.Interrupted(a, w.values[2:]...))
	written, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Len(t, written, len(all))
	w.isCut(dir, name, 2, all)
	places := 40
	if policytest.Brief() {
		places = 10
	}
	step := (len(written) - len(before)) / places
	for at := len(before) + 1; at < len(written); at += step {
		holed := bytes.Clone(written)
		clear(holed[at:min(at+page, len(holed))])
		require.NoError(t, os.WriteFile(name, holed, 0o600))
		w.isCut(dir, name, 2, all)
		require.NoError(t, os.WriteFile(name, holed[:at], 0o600))
		w.isCut(dir, name, 2, all)
	}
}

// TestArchiveAfterACrashInItsFirstMoment: a file of which there is the name and a length.
func TestArchiveAfterACrashInItsFirstMoment(t *testing.T) {
	w := history(t)
	dir, name, all := w.archived(len(w.values))
	for _, size := range []int{0, 1, 21, 22, 5000} {
		require.NoError(t, os.WriteFile(name, make([]byte, size), 0o600))
		w.isCut(dir, name, 0, all)
	}
}

// TestArchiveWithoutTheEndOfItsLastBatch: nothing that is whole comes behind, so it is what a crash
// leaves.
func TestArchiveWithoutTheEndOfItsLastBatch(t *testing.T) {
	w := history(t)
	dir, name, all := w.archived(len(w.values))
	last := len(w.values)
	for _, hole := range [][2]int{{w.entry(all, last), len(all)}, {w.entry(all, last) + 4, w.entry(all, last) + 36}, {len(all) - 100, len(all) - 50}, {len(all) - 1, len(all)}} {
		holed := bytes.Clone(all)
		clear(holed[hole[0]:hole[1]])
		require.NoError(t, os.WriteFile(name, holed, 0o600))
		w.isCut(dir, name, last-1, all)
	}
}

// TestAttack_AHoleInTheArchive: damage in front of whole batches is no crash's. Nothing is cut off,
// for the store may have let them go.
func TestAttack_AHoleInTheArchive(t *testing.T) {
	w := history(t)
	dir, name, all := w.archived(len(w.values))
	last := w.entry(all, len(w.values))
	for _, hole := range [][2]int{{0, 21}, {0, last}, {21, 22}, {w.entry(all, 2), w.entry(all, 2) + 4}, {w.entry(all, 2), w.entry(all, 2) + 36}, {w.entry(all, 2), w.entry(all, 3)},
		{w.entry(all, 3) - 50, w.entry(all, 3) + 50}, {last - 1, last}, {w.entry(all, 2) + 4, w.entry(all, 2) + 5}} {
		holed := bytes.Clone(all)
		clear(holed[hole[0]:hole[1]])
		if bytes.Equal(holed, all) {
			holed[hole[0]] ^= 1
		}
		require.NoError(t, os.WriteFile(name, holed, 0o600))
		var bad *ledger.ArchiveError
		_, err := ledger.OpenArchive(dir)
		require.ErrorAs(t, err, &bad, "hole at %v", hole)
		_, err = ledger.ReadArchive(dir)
		require.ErrorAs(t, err, &bad)
		still, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, holed, still)
	}
}
