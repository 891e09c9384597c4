package hsm_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"os"
	"os/exec"
	"testing"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

const plantEnv = "PLANT_WHAT"

// plantPublicly is a child without any PIN, at the token.
func plantPublicly(t *testing.T) {
	p := pkcs11.New(token.ModulePath)
	require.NoError(t, p.Initialize())
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	for _, slot := range slots {
		info, err := p.GetTokenInfo(slot)
		require.NoError(t, err)
		if info.Label != token.Label {
			continue
		}
		s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		require.NoError(t, err)
		id := os.Getenv("PLANT_ID")
		switch os.Getenv(plantEnv) {
		case "data":
			_, err = p.CreateObject(s, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA), pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
				pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, "mintwarden"), pkcs11.NewAttribute(pkcs11.CKA_LABEL, id), pkcs11.NewAttribute(pkcs11.CKA_VALUE, []byte("anything"))})
			require.NoError(t, err)
		case "aes":
			_, err = p.CreateObject(s, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
				pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false), pkcs11.NewAttribute(pkcs11.CKA_VALUE, make([]byte, 32)),
				pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))})
			require.NoError(t, err)
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

// Whoever reaches the token without a PIN swaps the public half of a pair.
func TestAttack_ASwappedPublicHalfBecomesTheLedgersKey(t *testing.T) {
	if withOwnToken(t) {
		return
	}
	tok, _ := open(t, nil)
	public, err := tok.GenerateEd25519(t.Context(), "swap-1", "swap-1")
	require.NoError(t, err)
	tok = reopened(t, tok)
	plant(t, "swap", "swap-1")
	again, err := tok.GenerateEd25519(t.Context(), "swap-1", "swap-1")
	require.ErrorIs(t, err, hsm.ErrMismatch, "%x was told, the key is %x", again, public)
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
