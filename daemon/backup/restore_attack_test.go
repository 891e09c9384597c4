package backup

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Restoring runs as root into directories of the service's user, who left links to what only root may write.
func TestAttack_LinksInTheServicesDirectory(t *testing.T) {
	outside, state, audit := t.TempDir(), t.TempDir(), t.TempDir()
	shadow := filepath.Join(outside, "shadow")
	require.NoError(t, os.WriteFile(shadow, []byte("root's"), 0o600))
	require.NoError(t, os.Symlink(shadow, filepath.Join(state, custodyFile+".new")))
	require.NoError(t, os.Symlink(outside, filepath.Join(audit, "tile")))
	r := &restoring{a: &Appliance{State: state, Audit: audit}}
	require.NoError(t, r.file("seal", custodyFile, 0, strings.NewReader("custody")))
	text, err := os.ReadFile(filepath.Join(state, custodyFile))
	require.NoError(t, err)
	require.Equal(t, "custody", string(text))
	require.Error(t, r.file("audit", "tile/0/000", 0, strings.NewReader("a tile")), "the directory is a link to elsewhere")
	require.NoError(t, r.file("audit", "entries/0/000", 0, strings.NewReader("entries")))
	names, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, names, 1, "nothing was written elsewhere")
	text, err = os.ReadFile(shadow)
	require.NoError(t, err)
	require.Equal(t, "root's", string(text))
}
