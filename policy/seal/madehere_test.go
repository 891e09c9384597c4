package seal_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// What cannot be read as a list of keys is an error, not an empty list.
func TestKeysThatWereMadeHere(t *testing.T) {
	dir := t.TempDir()
	none, err := seal.MadeHere(dir)
	require.NoError(t, err)
	require.Empty(t, none)
	var keys []policy.PublicKey
	for _, m := range custodians(t, 1, 3).Members {
		keys = append(keys, m.Keys...)
	}
	require.NoError(t, seal.NoteMadeHere(dir, keys[0]))
	require.NoError(t, seal.NoteMadeHere(dir, keys[0], keys[1]))
	require.NoError(t, seal.NoteMadeHere(dir))
	have, err := seal.MadeHere(dir)
	require.NoError(t, err)
	require.Equal(t, map[string]bool{keys[0].KeyID(): true, keys[1].KeyID(): true}, have)
	path := filepath.Join(dir, seal.MadeHereFile)
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, keys[0].KeyID()+"\n"+keys[1].KeyID()+"\n", string(text))

	require.NoError(t, os.WriteFile(path, append(text, "sha256:12\n"...), 0o600))
	_, err = seal.MadeHere(dir)
	require.ErrorContains(t, err, "line 3")
	require.Error(t, seal.NoteMadeHere(dir, keys[2]))
	require.NoError(t, os.WriteFile(path, make([]byte, 2<<20), 0o600))
	_, err = seal.MadeHere(dir)
	require.ErrorContains(t, err, "more than")
	require.ErrorIs(t, seal.NoteMadeHere(filepath.Join(dir, "none"), keys[0]), fs.ErrNotExist)
}

func FuzzMadeHere(f *testing.F) {
	f.Add([]byte(policy.NoDigest + "\n"))
	f.Add([]byte("sha256:\n\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		keys, err := seal.ParseMadeHere(text)
		for id := range keys {
			require.NoError(t, err)
			require.True(t, policy.Digest(id).Valid())
		}
	})
}

// Who notes it may be root, and the directory is the seal's user's: a link there would have root make a file anywhere and
// give it to that user.
func TestAttack_ALinkWhereKeysMadeHereAreNoted(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "cron")
	require.NoError(t, os.Symlink(elsewhere, filepath.Join(dir, seal.MadeHereFile)))
	public := custodians(t, 1, 1).Members[0].Keys[0]
	require.Error(t, seal.NoteMadeHere(dir, public))
	require.NoFileExists(t, elsewhere)
}
