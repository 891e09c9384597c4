package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// full is a disk that takes no byte more, to this process, while f runs.
func full(t *testing.T, f func()) {
	t.Helper()
	signal.Ignore(unix.SIGXFSZ) // so that writing fails and does not kill
	defer signal.Reset(unix.SIGXFSZ)
	var was unix.Rlimit
	require.NoError(t, unix.Getrlimit(unix.RLIMIT_FSIZE, &was))
	require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 0, Max: was.Max}))
	defer func() { require.NoError(t, unix.Setrlimit(unix.RLIMIT_FSIZE, &was)) }()
	f()
}

// TestAFullDiskLeavesNothingInTheWay: what could not be written whole is gone, so that the same command goes on once
// there is room, and no half of a secret stays beside it.
func TestAFullDiskLeavesNothingInTheWay(t *testing.T) {
	dir := t.TempDir()
	_, shares, err := seal.NewCustody("dev-1", "appliance-1", charter().Custodians, []byte("12345678"), []byte("87654321"), time.Now())
	require.NoError(t, err)
	defer destroyShares(shares)
	keep := filepath.Join(dir, "carol.share")
	for name, write := range map[string]func() error{
		"a file put in place": func() error { return writeWhole(filepath.Join(dir, "charter1.json"), []byte("text"), 0o600, nil) },
		"a new share":         func() error { return keepShare(keep, shares["custodian-1"]) },
		"a key for one": func() error {
			_, err := makeReceiveKey(filepath.Join(dir, "carol.receive"))
			return err
		},
	} {
		full(t, func() { err = write() })
		require.ErrorIs(t, err, unix.EFBIG, name)
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Empty(t, entries, name)
	}
	require.NoError(t, keepShare(keep, shares["custodian-1"]))
	require.NoError(t, keepShare(keep, shares["custodian-1"]), "an earlier run left it")
	err = keepShare(keep, shares["custodian-2"])
	require.Equal(t, exitUsage, exitCode(err))
	require.ErrorContains(t, err, "is not this share; name another file")
}
