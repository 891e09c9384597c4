package backup

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
)

// Somebody who may write where backups go left a link under the name that a backup might write to.
func TestAttack_ALinkWhereABackupIsWritten(t *testing.T) {
	t.Parallel()
	dir, precious := t.TempDir(), filepath.Join(t.TempDir(), "precious")
	require.NoError(t, os.WriteFile(precious, []byte("precious"), 0o600))
	require.NoError(t, os.Symlink(precious, filepath.Join(dir, "today.tar.gz.new")))
	_, err := Take(t.Context(), &Appliance{Store: storetest.Open(t)}, filepath.Join(dir, "today.tar.gz"))
	require.ErrorContains(t, err, "no ledger")
	text, err := os.ReadFile(precious)
	require.NoError(t, err)
	require.Equal(t, "precious", string(text))
	names, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, names, 1, "what failed leaves nothing")
}

// The service's user, whose directory it is, left links to what only root may read: neither a file nor a directory
// behind one goes into a backup that root takes.
func TestAttack_LinksInAuditDir(t *testing.T) {
	t.Parallel()
	audit, outside := t.TempDir(), t.TempDir()
	secret := filepath.Join(outside, "unseal.key")
	require.NoError(t, os.WriteFile(secret, []byte("secret"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(audit, "entries"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(audit, "entries", "1"), []byte("an entry"), 0o600))
	require.NoError(t, os.Symlink(secret, filepath.Join(audit, "entries", "2")))
	require.NoError(t, os.Symlink(outside, filepath.Join(audit, "operations")))
	require.NoError(t, os.Symlink(outside, filepath.Join(audit, treeDir)))
	out, err := os.Create(filepath.Join(t.TempDir(), "backup"))
	require.NoError(t, err)
	defer func() { _ = out.Close() }()
	w := newWriter(out, time.Now())
	d, err := openAudit(audit)
	require.NoError(t, err)
	defer d.close()
	_ = w.auditFiles(d) // a link to a directory may well be an error
	_ = w.growing(d)
	require.NoError(t, w.end(&Manifest{Format: policy.Format}))
	_, err = out.Seek(0, io.SeekStart)
	require.NoError(t, err)
	b, err := Open(out.Name())
	require.NoError(t, err)
	defer func() { _ = b.Close() }()
	_, _ = b.walk(visit{file: func(_, name string, _ int64, r io.Reader) error { // its manifest says nothing, and is refused in the end
		text, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NotContains(t, string(text), "secret", name)
		return nil
	}})
}
