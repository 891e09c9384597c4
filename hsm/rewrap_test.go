package hsm_test

import (
	"bytes"
	"crypto/sha256"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/miekg/pkcs11"
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
	for n, fault := range []string{"C_DecryptInit 0x21", "C_EncryptInit 0x21", "C_Encrypt 0x21", "C_CreateObject 0xB1 keep", "C_DestroyObject 0x21", "C_FindObjectsInit 0x21"} {
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

// While keys are rewrapped the token says of the handles that it has just found that there are none such, as it does
// after a login that ended beside it or a failover. Nothing was rewrapped then, and the old key is worth every wallet.
func TestAttack_HandlesGoStaleWhileTheOldWrappingKeyIsDestroyed(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, throughShim)
	from, to := fresh("stale-from"), fresh("stale-to")
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), from, from))
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), to, to))
	id := fresh("seed-stale")
	public, err := tok.CreateSeedKey(t.Context(), id, hsm.Dilithium3, from)
	require.NoError(t, err)
	signsAs(t, tok, id, public)
	tell(t, "C_GetAttributeValue 0x82 keep")
	n, rewrapping := tok.Rewrap(t.Context(), to)
	destroying := tok.DestroyAESKey(t.Context(), from)
	_ = os.Remove(control)
	t.Logf("rewrapped %d: %v; destroyed: %v", n, rewrapping, destroying)
	keys, err := tok.AESKeys(t.Context(), from)
	require.NoError(t, err)
	require.Contains(t, keys, from, "a key is under it")
	signsAs(t, tok, id, public)
}

// A handle that is stale for one moment, of the one key that matters: it is rewrapped all the same, or the caller is told.
func TestAttack_AHandleIsStaleWhileKeysAreListed(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, throughShim)
	from, to := fresh("moment-from"), fresh("moment-to")
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), from, from))
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), to, to))
	id := fresh("seed-moment")
	_, err := tok.CreateSeedKey(t.Context(), id, hsm.Dilithium3, from)
	require.NoError(t, err)
	all, err := tok.Rewrap(t.Context(), from) // whatever other tests left
	require.NoError(t, err)
	t.Log(all)
	tell(t, "C_GetAttributeValue 0x82")
	n, err := tok.Rewrap(t.Context(), to)
	require.True(t, err != nil || n >= 1, "it says that it rewrapped all, and did %d", n)
}

// The token's login ends while keys are listed: what is private is not there then, which is no word on whether it is.
func TestAttack_TheLoginEndsWhileKeysAreListed(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, throughShim)
	from, to := fresh("logout-from"), fresh("logout-to")
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), from, from))
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), to, to))
	id := fresh("seed-logout")
	_, err := tok.CreateSeedKey(t.Context(), id, hsm.Dilithium3, from)
	require.NoError(t, err)
	tell(t, "C_FindObjectsInit logout")
	n, err := tok.Rewrap(t.Context(), to)
	require.True(t, err != nil || n >= 1, "it says that it rewrapped all, and did %d", n)
}

// Whoever reaches the token, without any PIN, puts a public AES key there whose id is the next wrapping key's. It is
// no key of ours, and must not count as a rotation that was begun.
func TestAttack_APublicKeyIsPlantedAsTheNextWrappingKey(t *testing.T) {
	if os.Getenv("PLANT") != "" {
		p := pkcs11.New(token.ModulePath)
		require.NoError(t, p.Initialize())
		s := sessionBeside(t, p)
		_, err := p.CreateObject(s, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, false),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, true), pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, 32)), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte("plant-2")), pkcs11.NewAttribute(pkcs11.CKA_LABEL, "plant-2")})
		require.NoError(t, err)
		return
	}
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "plant-1", "plant-1"))
	_, err := tok.CreateSeedKey(t.Context(), fresh("seed-plant"), hsm.Dilithium3, "plant-1")
	require.NoError(t, err)
	child := exec.Command(os.Args[0], "-test.run=^TestAttack_APublicKeyIsPlanted")
	child.Env = append(os.Environ(), "PLANT=1", tokenOfParent+"="+token.ConfPath)
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	n, err := tok.Rewrap(t.Context(), "plant-2")
	t.Logf("rewrapped under the planted key: %d, %v", n, err)
	require.Error(t, err, "under a key that everybody reads")
	keys, err := tok.AESKeys(t.Context(), "plant-")
	require.NoError(t, err)
	require.Equal(t, []string{"plant-1"}, keys, "it takes the place of the wrapping key in use")
}

// Who can write objects moves a key's envelope to another id, or puts another key's beside it: what is rewrapped is what
// its id says, or nothing.
func TestAttack_EnvelopesThatAreMovedAreNotRewrapped(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	ctx := t.Context()
	for _, id := range []string{"moved-1", "moved-2"} {
		require.NoError(t, tok.GenerateAESWrappingKey(ctx, id, id))
	}
	public, err := tok.CreateSeedKey(ctx, "a", hsm.Dilithium3, "moved-1")
	require.NoError(t, err)
	_, err = tok.CreateSeedKey(ctx, "b", hsm.Dilithium3, "moved-1")
	require.NoError(t, err)
	b, err := tok.Object(ctx, "seed:b")
	require.NoError(t, err)

	require.NoError(t, tok.PutObject(ctx, "seed:c", b))
	_, err = tok.WrappedUnder(ctx, "c")
	require.ErrorIs(t, err, hsm.ErrMismatch)
	_, err = tok.Rewrap(ctx, "moved-2")
	require.ErrorIs(t, err, hsm.ErrMismatch)
	require.ErrorContains(t, err, `envelope of "b" stands under "c"`)
	require.NoError(t, tok.DestroyObject(ctx, "seed:c"))
	signsAs(t, tok, "a", public)

	_, err = tok.AddObject(ctx, "seed:a", bytes.Replace(b, []byte(`"id":"b"`), []byte(`"id":"a"`), 1))
	require.NoError(t, err)
	_, err = tok.Rewrap(ctx, "moved-1")
	require.ErrorIs(t, err, hsm.ErrMismatch)
	require.ErrorContains(t, err, "two keys")
	all, err := tok.Objects(ctx, "seed:a")
	require.NoError(t, err)
	require.Len(t, all, 2, "neither is destroyed")
}

// The wrapping key is destroyed and another one made under its id, while this process has seen the first: it takes no
// other in its place.
func TestAttack_AnotherKeyUnderTheWrappingKeysID(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	if os.Getenv("REMAKE") != "" {
		require.NoError(t, tok.DestroyAESKey(t.Context(), "remade"))
		require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "remade", "remade"))
		return
	}
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "remade", "remade"))
	_, err := tok.CheckValue(t.Context(), "remade")
	require.NoError(t, err)
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "REMAKE=1", tokenOfParent+"="+token.ConfPath)
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, err = tok.CheckValue(t.Context(), "remade")
	require.ErrorIs(t, err, hsm.ErrMismatch)
	_, err = tok.CreateSeedKey(t.Context(), "of-remade", hsm.Dilithium3, "remade")
	require.ErrorIs(t, err, hsm.ErrMismatch, "nothing is wrapped under it")
}
