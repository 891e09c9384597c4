package hsm_test

import (
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// signsAs shows that the key signs as ever.
func signsAs(t *testing.T, tok *hsm.Token, id string, public []byte) {
	t.Helper()
	digest := sha256.Sum256([]byte(t.Name()))
	sig, err := tok.SignSeed(t.Context(), id, digest)
	require.NoError(t, err)
	var pk mode3.PublicKey
	require.NoError(t, pk.UnmarshalBinary(public))
	require.True(t, mode3.Verify(&pk, digest[:], sig))
}

// withOwnToken runs the test in a child process whose token holds nothing else: what is
// rewrapped is all that a token has. It is false in that child.
func withOwnToken(t *testing.T) bool {
	t.Helper()
	if os.Getenv("OWN_TOKEN") != "" {
		return false
	}
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "OWN_TOKEN=1", tokenOfParent+"="+filepath.Join(t.TempDir(), "softhsm2.conf"))
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return true
}

// Another process rewraps and destroys the old key, while this one has the envelopes
// and the old key's handle in its caches.
func TestSeedsAreRewrapped(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	if os.Getenv("REWRAP") != "" {
		require.ErrorIs(t, tok.DestroyAESKey(t.Context(), "rewrap-1"), hsm.ErrMismatch, "seeds are under it")
		_, err := tok.Rewrap(t.Context(), "rewrap-3")
		require.ErrorIs(t, err, hsm.ErrNotFound)
		n, err := tok.Rewrap(t.Context(), "rewrap-2")
		require.NoError(t, err)
		require.GreaterOrEqual(t, n, 3)
		n, err = tok.Rewrap(t.Context(), "rewrap-2")
		require.NoError(t, err)
		require.Zero(t, n)
		require.NoError(t, tok.DestroyAESKey(t.Context(), "rewrap-1"))
		require.NoError(t, tok.DestroyAESKey(t.Context(), "rewrap-1"), "again it finds itself done")
		return
	}
	for _, id := range []string{"rewrap-1", "rewrap-2"} {
		require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), id, id))
	}
	keys, err := tok.AESKeys(t.Context(), "rewrap-")
	require.NoError(t, err)
	require.Equal(t, []string{"rewrap-1", "rewrap-2"}, keys)
	public := map[string][]byte{}
	for _, id := range []string{"seed-a", "seed-b", "seed-c"} {
		public[id], err = tok.CreateSeedKey(t.Context(), id, hsm.Dilithium3, "rewrap-1")
		require.NoError(t, err)
		signsAs(t, tok, id, public[id])
	}
	child := exec.Command(os.Args[0], "-test.run=^TestSeedsAreRewrapped$")
	child.Env = append(os.Environ(), "REWRAP=1", tokenOfParent+"="+token.ConfPath)
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	for id, key := range public {
		signsAs(t, tok, id, key)
	}
	keys, err = tok.AESKeys(t.Context(), "rewrap-")
	require.NoError(t, err)
	require.Equal(t, []string{"rewrap-2"}, keys)
}

// A run that fails anywhere leaves every key usable, and the next one finishes.
func TestARewrappingThatFailsAnywhereFinishes(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, throughShim)
	last := "again-0"
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), last, last))
	public, err := tok.CreateSeedKey(t.Context(), "seed-again", hsm.Dilithium3, last)
	require.NoError(t, err)
	for n, fault := range []string{"C_DecryptInit 0x21", "C_EncryptInit 0x21", "C_Encrypt 0x21", "C_CreateObject 0x21", "C_DestroyObject 0x21", "C_FindObjectsInit 0x21"} {
		next := "again-" + string(rune('1'+n))
		require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), next, next))
		tell(t, fault)
		_, err := tok.Rewrap(t.Context(), next)
		require.Error(t, err, fault)
		_ = os.Remove(control)
		_, err = tok.Rewrap(t.Context(), next)
		require.NoError(t, err, fault)
		require.NoError(t, tok.DestroyAESKey(t.Context(), last), fault)
		signsAs(t, tok, "seed-again", public)
		last = next
	}
}
