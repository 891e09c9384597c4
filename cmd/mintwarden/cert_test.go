package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestARenewedPairKeepsItsReaders: root renews what a service's user reads.
func TestARenewedPairKeepsItsReaders(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, args := range [][]string{{"ca", "ca", "--name", "acme"}, {"issue", "api", "--host", "127.0.0.1", "--ca", "ca", "--out", ".", "--algorithm", "ecdsa"}} {
		got := mintwarden(t, append([]string{"cert"}, args...)...)
		require.Equal(t, exitDone, got.code, got.err)
	}
	reader := owner{os.Getuid(), os.Getgid()}
	if os.Geteuid() == 0 {
		reader = owner{65534, 65534}
	}
	for _, file := range []string{"api-ecdsa.crt", "api-ecdsa.key"} {
		require.NoError(t, os.Chown(file, reader.uid, reader.gid))
	}
	for mode, want := range map[os.FileMode]os.FileMode{0o440: 0o440, 0o600: 0o600, 0o644: 0o640} {
		require.NoError(t, os.Chmod("api-ecdsa.key", mode))
		before, err := os.ReadFile("api-ecdsa.key")
		require.NoError(t, err)
		got := mintwarden(t, "cert", "renew", "api-ecdsa.crt", "--ca", "ca")
		require.Equal(t, exitDone, got.code, got.err)
		after, err := os.ReadFile("api-ecdsa.key")
		require.NoError(t, err)
		require.NotEqual(t, string(before), string(after))
		for file, mode := range map[string]os.FileMode{"api-ecdsa.crt": 0o644, "api-ecdsa.key": want} {
			info, err := os.Stat(filepath.Join(dir, file))
			require.NoError(t, err)
			require.Equal(t, mode, info.Mode().Perm(), file)
			require.Equal(t, &reader, ownerOf(info), file)
		}
	}
}
