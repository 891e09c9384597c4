package main

import (
	"encoding/json/v2"
	"os"
	"path/filepath"
	"strings"
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

// TestWhatIsWrittenIsJSONToo: a program learns of every file that was written.
func TestWhatIsWrittenIsJSONToo(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, tt := range []struct{ typed, files string }{
		{"ca ca --name acme", "ca/root-ecdsa.crt ca/root-mldsa.crt"},
		{"issue laptop --ca ca --out .", "laptop-ecdsa.crt laptop-mldsa.crt"},
		{"renew laptop-mldsa.crt --ca ca", "laptop-mldsa.crt"},
		{"revoke laptop-mldsa.crt --ca ca", "ca/crl-ecdsa.pem ca/crl-mldsa.pem"},
	} {
		got := mintwarden(t, append([]string{"cert", "--json"}, strings.Fields(tt.typed)...)...)
		require.Equal(t, exitDone, got.code, got.err)
		var said listed[struct {
			File string `json:"file"`
		}]
		require.NoError(t, json.Unmarshal([]byte(got.out), &said), got.out)
		var files []string
		for _, f := range said.Data {
			require.FileExists(t, f.File)
			files = append(files, f.File)
		}
		require.Equal(t, tt.files, strings.Join(files, " "))
	}

	serve(t, newWorld(t))
	got := mintwarden(t, "transaction", "export", "--json")
	require.Equal(t, exitDone, got.code, got.err)
	require.JSONEq(t, "[]", got.out)
}
