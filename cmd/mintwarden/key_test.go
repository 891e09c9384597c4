package main

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
	"github.com/mintwarden/mintwarden/policy"
)

// personsToken is a token with somebody's Ed25519 key: its URI, whose pin-source is
// a file, and the public key.
func personsToken(t *testing.T) (uri string, public policy.PublicKey) {
	t.Helper()
	dir := t.TempDir()
	token, err := softhsm.Create(t.Context(), filepath.Join(dir, "token"), "yubi", []byte("so-pin-1"), []byte("pin-4321"))
	require.NoError(t, err)
	t.Setenv(softhsm.EnvConf, token.ConfPath)
	opened, err := hsm.Open(t.Context(), token.Config(), []byte("pin-4321"), quiet(), nil)
	require.NoError(t, err)
	key, err := opened.GenerateEd25519(t.Context(), "me", "me")
	require.NoError(t, err)
	require.NoError(t, opened.Close())
	pin := filepath.Join(dir, "pin")
	require.NoError(t, os.WriteFile(pin, []byte("pin-4321\n"), 0o600))
	public, err = policy.NewPublicKey(key)
	require.NoError(t, err)
	return "pkcs11:token=yubi;object=me?module-path=" + token.ModulePath + "&pin-source=file:" + pin, public
}

// TestKeysInTokens: a pkcs11: URI is taken wherever a key file is.
func TestKeysInTokens(t *testing.T) {
	uri, public := personsToken(t)
	w := newWorld(t, func(c *policy.Charter) {
		for n := range c.Persons {
			if c.Persons[n].Name == "ann" {
				c.Persons[n].Keys = append(c.Persons[n].Keys, public)
			}
		}
	})
	a := serve(t, w)
	i := w.mint(1)
	op := a.offer(i)
	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", uri)
	require.Equal(t, exitDone, got.code, got.err)
	charter, _ := w.fold.Charter()
	d, err := charter.VerifyDecision(a.sent()[0])
	require.NoError(t, err)
	require.Equal(t, "ann", d.Approver)
	require.Equal(t, []string{public.KeyID()}, a.sent()[0].KeyIDs())
	require.Equal(t, op.IntentDigest, string(d.IntentDigest()))

	// Not a custodian's.
	got = mintwarden(t, "charter", "freeze", "--person", "bob", "--yes", "--key", uri)
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "ann is no custodian")

	for says, wrong := range map[string]string{
		"no PIN from a pipe": "pkcs11:token=yubi;object=me?module-path=" + os.Getenv("MODULE"),
		"no such key":        uri + "x",
		"no URI":             "pkcs11:tokn=yubi",
	} {
		got = mintwarden(t, "approve", i.OperationID, "--yes", "--key", wrong)
		require.Equal(t, exitUsage, got.code, says)
		require.NotContains(t, got.err, "pin-4321")
	}
}

// TestAKeyThatOthersReadIsNotTaken: an approver's, a custodian's, by whatever path it is named. What it takes to have it
// taken is said as a command.
func TestAKeyThatOthersReadIsNotTaken(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	a.offer(i)
	key := keyFileOf(t, "ann")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(key, link))
	for _, mode := range []os.FileMode{0o640, 0o604, 0o644} {
		require.NoError(t, os.Chmod(key, mode))
		for _, path := range []string{key, link} {
			got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", path)
			require.Equal(t, exitUsage, got.code, got.err)
			require.Contains(t, got.err, fmt.Sprintf("signing key %s can be read by others than its owner (%s): chmod 600 %s", path, mode, path))
		}
	}
	require.Empty(t, a.sent())

	require.NoError(t, os.Chmod(key, 0o600))
	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", link)
	require.Equal(t, exitDone, got.code, got.err)
	require.Len(t, a.sent(), 1)
}

// TestAKeyOfAServiceIsTaken: what systemd or Kubernetes hands to a service is root's and its group's, and no service can
// change that. Everybody's it is not.
func TestAKeyOfAServiceIsTaken(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root gives files away")
	}
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	a.offer(i)
	key := keyFileOf(t, "ann")
	require.NoError(t, os.Chown(key, 65534, 0)) // another's than who runs this
	require.NoError(t, os.Chmod(key, 0o444))
	got := mintwarden(t, "approve", i.OperationID, "--yes", "--key", key)
	require.Equal(t, exitUsage, got.code, got.err)
	require.Empty(t, a.sent())
	require.NoError(t, os.Chmod(key, 0o440))
	got = mintwarden(t, "approve", i.OperationID, "--yes", "--key", key)
	require.Equal(t, exitDone, got.code, got.err)
}
