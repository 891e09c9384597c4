package hsm_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/miekg/pkcs11"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

const plantEnv = "PLANT_WHAT"

// plantPublicly is a child without any PIN, at the token.
func plantPublicly(t *testing.T) {
	p := pkcs11.New(token.ModulePath)
	require.NoError(t, p.Initialize())
	s := sessionBeside(t, p)
	id := os.Getenv("PLANT_ID")
	switch os.Getenv(plantEnv) {
	case "data":
		_, err := p.CreateObject(s, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
			pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, "mintwarden"), pkcs11.NewAttribute(pkcs11.CKA_LABEL, id), pkcs11.NewAttribute(pkcs11.CKA_VALUE, []byte("anything"))})
		require.NoError(t, err)
	case "aes":
		_, err := p.CreateObject(s, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, 32)),
			pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))})
		require.NoError(t, err)
	case "gone", "many":
		find := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))}
		require.NoError(t, p.FindObjectsInit(s, find))
		got, _, err := p.FindObjects(s, 100)
		require.NoError(t, err)
		require.NoError(t, p.FindObjectsFinal(s))
		if os.Getenv(plantEnv) == "gone" {
			require.NotEmpty(t, got)
			for _, h := range got {
				require.NoError(t, p.DestroyObject(s, h))
			}
			return
		}
		keyType, params := uint(0x40), []byte{6, 3, 0x2b, 0x65, 0x70} // CKK_EC_EDWARDS, Ed25519
		if len(got) > 0 {
			at, err := p.GetAttributeValue(s, got[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil)})
			require.NoError(t, err)
			params, keyType = at[0].Value, uint(at[1].Value[0])
		}
		for range 65 {
			point := append([]byte{4, 32}, make([]byte, 32)...)
			if keyType == pkcs11.CKK_EC {
				key, err := secp256k1.GeneratePrivateKey()
				require.NoError(t, err)
				point = append([]byte{4, 65}, key.PubKey().SerializeUncompressed()...)
			} else {
				public, _, err := ed25519.GenerateKey(rand.Reader)
				require.NoError(t, err)
				copy(point[2:], public)
			}
			_, err = p.CreateObject(s, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, keyType), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
				pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params),
				pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, point), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)), pkcs11.NewAttribute(pkcs11.CKA_LABEL, id)})
			require.NoError(t, err)
		}
	case "swap", "second":
		find := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))}
		require.NoError(t, p.FindObjectsInit(s, find))
		got, _, err := p.FindObjects(s, 2)
		require.NoError(t, err)
		require.NoError(t, p.FindObjectsFinal(s))
		require.Len(t, got, 1)
		at, err := p.GetAttributeValue(s, got[0], []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, nil), pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
		require.NoError(t, err)
		if os.Getenv(plantEnv) == "swap" {
			require.NoError(t, p.DestroyObject(s, got[0]))
			public, _, err := ed25519.GenerateKey(rand.Reader)
			require.NoError(t, err)
			at[2].Value = append([]byte{4, 32}, public...)
		}
		_, err = p.CreateObject(s, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), at[0], pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
			pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true), at[1], at[2], pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)), pkcs11.NewAttribute(pkcs11.CKA_LABEL, id)})
		require.NoError(t, err)
	}
}

func plant(t *testing.T, what, id string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestHostilePlant$")
	child.Env = append(os.Environ(), plantEnv+"="+what, "PLANT_ID="+id, tokenOfParent+"="+token.ConfPath)
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
}

func TestHostilePlant(t *testing.T) {
	if os.Getenv(plantEnv) != "" {
		plantPublicly(t)
	}
}

func reopened(t *testing.T, tok *hsm.Token) *hsm.Token {
	require.NoError(t, tok.Close())
	again, _ := open(t, nil)
	return again
}

// Whoever reaches the token without a PIN swaps the public half of a pair, takes it away, or makes more of them than
// anybody looks at: the key keeps its public key, and signs.
func TestAttack_PublicHalvesThatAreSwappedTakenAwayOrTooMany(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	ctx := t.Context()
	tok, _ := open(t, nil)
	own := map[string]ed25519.PublicKey{}
	for _, id := range []string{"swap", "gone", "many"} {
		var err error
		own[id], err = tok.GenerateEd25519(ctx, id, id)
		require.NoError(t, err)
	}
	wallets := map[string][]byte{}
	for _, id := range []string{"w-gone", "w-many", "w-unknown"} {
		var err error
		wallets[id], err = tok.GenerateSecp256k1(ctx, id, id)
		require.NoError(t, err)
	}
	require.NoError(t, tok.Close())
	tok, reg := open(t, nil)
	plant(t, "swap", "swap")
	for _, id := range []string{"gone", "w-gone", "w-unknown", "many"} {
		plant(t, "gone", id)
	}
	plant(t, "many", "many")   // in the right one's place
	plant(t, "many", "w-many") // and beside it
	for id, public := range own {
		again, err := tok.GenerateEd25519(ctx, id, id)
		require.NoError(t, err, id)
		require.Equal(t, public, again, id)
		require.NoError(t, tok.Canary(ctx, id), id)
	}
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
		# HELP mintwarden_hsm_errors_total Failed uses of the token by call and class of error.
		# TYPE mintwarden_hsm_errors_total counter
		mintwarden_hsm_errors_total{call="public_half",class="mismatch"} 3
	`), "mintwarden_hsm_errors_total"), "it is noticed")

	// What a wallet's public key is, who uses the token knows; what he says is tried.
	for id := range wallets {
		_, err := tok.SignDigest(ctx, id, [32]byte{})
		require.ErrorContains(t, err, id, "nobody knows it")
	}
	tok.Known(func(id string) []byte {
		if id == "w-unknown" {
			return wallets["w-gone"]
		}
		return wallets[id]
	})
	for _, id := range []string{"w-gone", "w-many"} {
		public, protection, err := tok.CreateKey(ctx, id, hsm.Secp256k1, "none")
		require.NoError(t, err, id)
		require.Equal(t, wallets[id], public, id)
		require.Equal(t, hsm.Native, protection)
		_, err = tok.SignDigest(ctx, id, [32]byte{})
		require.NoError(t, err, id)
	}
	_, err := tok.SignDigest(ctx, "w-unknown", [32]byte{})
	require.ErrorIs(t, err, hsm.ErrNotFound, "it is another key's")
	_, _, err = tok.CreateKey(ctx, "w-unknown", hsm.Secp256k1, "none")
	require.ErrorContains(t, err, "has no public half", "no second key under its id")
}

// The public half goes while the key is in use: what it was in this process it is.
func TestAttack_APublicHalfTakenAwayFromARunningSeal(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, throughShim)
	_, err := tok.GenerateSecp256k1(t.Context(), "running", "running")
	require.NoError(t, err)
	plant(t, "gone", "running")
	tell(t, "C_SignInit 0x60") // the handle is forgotten
	_, err = tok.SignDigest(t.Context(), "running", [32]byte{})
	require.NoError(t, err)
	require.NoFileExists(t, control)
}

// Public halves that stand under an id before its key is made prevent no key.
func TestAttack_PublicHalvesThatAreThereBeforeTheKey(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	plant(t, "many", "before")
	public, err := tok.GenerateEd25519(t.Context(), "before", "before")
	require.NoError(t, err)
	tok = reopened(t, tok)
	again, err := tok.Ed25519Public(t.Context(), "before")
	require.NoError(t, err)
	require.Equal(t, public, again)
}

// A key that was made before public keys were kept is kept from its next use on, and
// what is kept of another key that had the id before is not gone by.
func TestAPublicKeyIsKept(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	public, err := tok.GenerateEd25519(t.Context(), "kept", "kept")
	require.NoError(t, err)
	require.NoError(t, tok.DestroyObject(t.Context(), "public:kept"))
	tok = reopened(t, tok)
	require.NoError(t, tok.KeepEd25519Public(t.Context(), "kept"))
	require.NoError(t, tok.KeepEd25519Public(t.Context(), "none"))
	kept, err := tok.Object(t.Context(), "public:kept")
	require.NoError(t, err)
	require.Equal(t, []byte(public), kept)
	_, err = tok.Object(t.Context(), "public:none")
	require.ErrorIs(t, err, hsm.ErrNotFound)

	require.NoError(t, tok.ReplaceObject(t.Context(), "public:kept", make([]byte, 32)))
	tok = reopened(t, tok)
	plant(t, "gone", "kept")
	_, err = tok.SignEd25519(t.Context(), "kept", []byte("m"))
	require.ErrorIs(t, err, hsm.ErrNotFound)
}

// A public object that anybody can make stops no key.
func TestAttack_ASecondPublicHalf(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	_, err := tok.GenerateSecp256k1(t.Context(), "second-1", "second-1")
	require.NoError(t, err)
	tok = reopened(t, tok)
	plant(t, "second", "second-1")
	_, err = tok.SignDigest(t.Context(), "second-1", sha256.Sum256(nil))
	require.NoError(t, err)
}

// Nor does a data object of the name under which a wrapped key stands.
func TestAttack_APublicDataObjectOfAWrappedKeysName(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "d-1", "d-1"))
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "d-2", "d-2"))
	_, err := tok.CreateSeedKey(t.Context(), "seed-d", hsm.Dilithium3, "d-1")
	require.NoError(t, err)
	tok = reopened(t, tok)
	plant(t, "data", "seed:seed-d")
	plant(t, "data", "seed:other")
	_, err = tok.SignDigest(t.Context(), "seed-d", sha256.Sum256(nil))
	require.NoError(t, err)
	_, err = tok.Rewrap(t.Context(), "d-2")
	require.NoError(t, err)
	require.NoError(t, tok.DestroyAESKey(t.Context(), "d-1"))
}

// An AES key that no login sees beside the wrapping key, under its id.
func TestAttack_APublicAESKeyOfTheWrappingKeysID(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	require.NoError(t, tok.GenerateAESWrappingKey(t.Context(), "a-1", "a-1"))
	_, err := tok.CreateSeedKey(t.Context(), "seed-a", hsm.Dilithium3, "a-1")
	require.NoError(t, err)
	tok = reopened(t, tok)
	plant(t, "aes", "a-1")
	_, err = tok.SignDigest(t.Context(), "seed-a", sha256.Sum256(nil))
	require.NoError(t, err)
}
