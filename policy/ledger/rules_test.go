package ledger_test

import (
	"flag"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

var writeFormat1 = flag.Bool("write-format1", false, "write testdata/format1 anew; only while format 1 is in no ledger yet")

// TestFormat1 reads a ledger of format 1, in which everything happened, under today's program.
func TestFormat1(t *testing.T) {
	dir := filepath.Join("testdata", "format1")
	if *writeFormat1 {
		w := eventful(t)
		require.NoError(t, os.RemoveAll(dir))
		a, err := ledger.OpenArchive(dir)
		require.NoError(t, err)
		require.NoError(t, a.Append(1, w.values...))
		require.NoError(t, a.Close())
		body, err := w.fold.Snapshot()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "digests"), []byte(string(w.root)+"\n"+string(policy.DigestOf(body))+"\n"), 0o600))
	}
	digests, err := os.ReadFile(filepath.Join(dir, "digests"))
	require.NoError(t, err)
	root, snapshot, ok := strings.Cut(strings.TrimSpace(string(digests)), "\n")
	require.True(t, ok)
	a, err := ledger.ReadArchive(dir)
	require.NoError(t, err)
	f := ledger.NewFold(policy.Digest(root))
	var none iter.Seq2[[]byte, error] = func(func([]byte, error) bool) {}
	for value, err := range ledger.Whole(a, a.Last()+1, none) {
		require.NoError(t, err)
		_, err = f.Apply(value)
		require.NoError(t, err)
	}
	body, err := f.Snapshot()
	require.NoError(t, err)
	require.Equal(t, snapshot, string(policy.DigestOf(body)))
}
