package hsm_test

import (
	"crypto"
	"crypto/ed25519"
	"crypto/mldsa"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// ockCases run inside, one after the other; the last one locks the PIN.
var ockCases = []struct {
	name string
	run  func(*testing.T)
}{
	{"native ML-DSA", ockNative},
	{"keys of other schemes", ockOthers},
	{"signer", ockSigner},
	{"objects", ockObjects},
	{"many at once", ockMany},
	{"forged envelope", ockForged},
	{"stale handle", ockStale},
	{"a wrong PIN is tried once", ockWrongPIN},
}

func ockNative(t *testing.T) {
	tok := ockOpen(t)
	require.True(t, tok.Info().Software())
	require.Equal(t, "Soft", tok.Info().Model)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-1"))
	public, protection, err := tok.CreateKey(ctx, "wlt-native", hsm.MLDSA65, "aes-1")
	require.NoError(t, err)
	require.Equal(t, hsm.Native, protection)
	var circl mldsa65.PublicKey
	require.NoError(t, circl.UnmarshalBinary(public))
	std, err := mldsa.NewPublicKey(mldsa.MLDSA65(), public)
	require.NoError(t, err)
	for i := range 20 {
		digest := sha256.Sum256(fmt.Append(nil, i))
		sig, err := tok.SignDigest(ctx, "wlt-native", digest)
		require.NoError(t, err)
		require.True(t, mldsa65.Verify(&circl, digest[:], nil, sig))
		require.NoError(t, mldsa.Verify(std, digest[:], sig, &mldsa.Options{}))
	}
	require.NoError(t, tok.Close())

	tok = ockOpen(t)
	again, scheme, protection, err := tok.KeyPublic(ctx, "wlt-native")
	require.NoError(t, err)
	require.Equal(t, []any{public, hsm.MLDSA65, hsm.Native}, []any{again, scheme, protection})
	sig, err := tok.SignDigest(ctx, "wlt-native", [32]byte{1})
	require.NoError(t, err)
	digest := [32]byte{1}
	require.True(t, mldsa65.Verify(&circl, digest[:], nil, sig))
	_, _, err = tok.CreateKey(ctx, "wlt-native", hsm.Dilithium3, "aes-1")
	require.ErrorIs(t, err, hsm.ErrMismatch)
	_, err = tok.SignMLDSA(ctx, "wlt-none", nil)
	require.ErrorIs(t, err, hsm.ErrNotFound)
	check, err := tok.CheckValue(ctx, "wlt-native")
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(public)), check)
}

func ockOthers(t *testing.T) {
	tok := ockOpen(t)
	ctx := t.Context()
	for scheme, want := range map[hsm.Scheme]hsm.Protection{hsm.Dilithium3: hsm.Wrapped, hsm.Secp256k1: hsm.Native} {
		id := "wlt-" + string(scheme)
		_, protection, err := tok.CreateKey(ctx, id, scheme, "aes-1")
		require.NoError(t, err)
		require.Equal(t, want, protection)
		_, err = tok.SignDigest(ctx, id, [32]byte{2})
		require.NoError(t, err)
	}
	public, err := tok.GenerateEd25519(ctx, "ledger", "ed-1")
	require.NoError(t, err)
	sig, err := tok.SignEd25519(ctx, "ed-1", []byte("m"))
	require.NoError(t, err)
	require.True(t, ed25519.Verify(public, []byte("m"), sig))
	require.NoError(t, tok.Canary(ctx, "ed-1"))
	check, err := tok.CheckValue(ctx, "aes-1")
	require.NoError(t, err)
	require.Len(t, check, 6)
}

// A person's key, with the context that ML-DSA's signatures of documents have.
func ockSigner(t *testing.T) {
	tok := ockOpen(t)
	_, err := tok.GenerateMLDSA(t.Context(), "alice", "alice")
	require.NoError(t, err)
	require.NoError(t, tok.Close())
	s := openSigner(t, "pkcs11:token="+ockLabel+";object=alice?module-path="+ockModule, askFor(ockPIN))
	public := s.Public().(*mldsa.PublicKey)
	for _, context := range []string{"application/vnd.mintwarden.decision+json", ""} {
		o := &mldsa.Options{Context: context}
		sig, err := s.Sign(nil, []byte("a message"), o)
		require.NoError(t, err)
		require.NoError(t, mldsa.Verify(public, []byte("a message"), sig, o))
		require.Error(t, mldsa.Verify(public, []byte("a message"), sig, &mldsa.Options{Context: "other"}))
	}
	_, err = s.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorContains(t, err, "mldsa.Options")
}

func ockObjects(t *testing.T) {
	tok := ockOpen(t)
	ctx := t.Context()
	for _, value := range []string{"one", "two"} {
		require.NoError(t, tok.ReplaceObject(ctx, "anchor", []byte(value)))
		same, err := tok.SameObject(ctx, "anchor", []byte(value))
		require.NoError(t, err)
		require.True(t, same)
	}
	require.NoError(t, tok.ExchangeObject(ctx, "anchor", []byte("three"), []byte("two")))
	all, err := tok.Objects(ctx, "anchor")
	require.NoError(t, err)
	require.Equal(t, [][]byte{[]byte("three")}, all)
	require.NoError(t, tok.DestroyObject(ctx, "anchor"))
	_, err = tok.Object(ctx, "anchor")
	require.ErrorIs(t, err, hsm.ErrNotFound)
}

func ockMany(t *testing.T) {
	tok := ockOpen(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				for _, id := range []string{"wlt-native", "wlt-dilithium3", "wlt-secp256k1"} {
					if _, err := tok.SignDigest(ctx, id, sha256.Sum256(fmt.Append(nil, i, j))); err != nil {
						t.Error(id, err)
					}
				}
			}
			if _, err := tok.GenerateMLDSA(ctx, "many", fmt.Sprint("many-", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Tampering has another code than in SoftHSM2 and means the same.
func ockForged(t *testing.T) {
	tok := ockOpen(t)
	ctx := t.Context()
	value, err := tok.Object(ctx, "seed:wlt-dilithium3")
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(value, &fields))
	fields["id"] = "wlt-forged"
	forged, err := json.Marshal(fields)
	require.NoError(t, err)
	require.NoError(t, tok.PutObject(ctx, "seed:wlt-forged", forged))
	for range 5 {
		_, err = tok.SignDigest(ctx, "wlt-forged", [32]byte{})
		require.ErrorIs(t, err, hsm.ErrNotAuthentic)
	}
	require.False(t, broken(tok))
	_, err = tok.SignDigest(ctx, "wlt-dilithium3", [32]byte{})
	require.NoError(t, err)
}

// A key that another session destroyed is not signed with: its handle is stale,
// and it is not found again.
func ockStale(t *testing.T) {
	tok := ockOpen(t)
	ctx := t.Context()
	_, err := tok.GenerateMLDSA(ctx, "stale", "stale")
	require.NoError(t, err)
	_, err = tok.SignMLDSA(ctx, "stale", []byte("m"))
	require.NoError(t, err)
	p := pkcs11.New(ockModule)
	slots, err := p.GetSlotList(true)
	require.NoError(t, err)
	s, err := p.OpenSession(slots[0], pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	require.NoError(t, err)
	require.NoError(t, p.FindObjectsInit(s, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ID, []byte("stale"))}))
	found, _, err := p.FindObjects(s, 10)
	require.NoError(t, err)
	require.NoError(t, p.FindObjectsFinal(s))
	require.Len(t, found, 2)
	for _, h := range found {
		require.NoError(t, p.DestroyObject(s, h))
	}
	require.NoError(t, p.CloseSession(s))
	_, err = tok.SignMLDSA(ctx, "stale", []byte("m"))
	require.ErrorIs(t, err, hsm.ErrNotFound)
	require.False(t, broken(tok))
	_, err = tok.SignDigest(ctx, "wlt-native", [32]byte{3})
	require.NoError(t, err)
}

// This token counts wrong PINs and locks: each Open costs one attempt, no more, and
// a locked PIN is the operator's.
func ockWrongPIN(t *testing.T) {
	flags := func() uint {
		p := pkcs11.New(ockModule)
		require.NoError(t, p.Initialize())
		defer func() { require.NoError(t, p.Finalize()) }()
		slots, err := p.GetSlotList(true)
		require.NoError(t, err)
		info, err := p.GetTokenInfo(slots[0])
		require.NoError(t, err)
		return info.Flags & (pkcs11.CKF_USER_PIN_COUNT_LOW | pkcs11.CKF_USER_PIN_FINAL_TRY | pkcs11.CKF_USER_PIN_LOCKED)
	}
	wrong := func() *hsm.Error {
		pin := []byte("pinwrong")
		_, err := hsm.Open(t.Context(), ockConfig(), pin, quiet, nil)
		require.ErrorIs(t, err, hsm.ErrWrongPIN)
		require.Equal(t, make([]byte, len(pin)), pin)
		var code *hsm.Error
		require.ErrorAs(t, err, &code)
		require.Equal(t, hsm.ClassOperator, code.Class)
		return code
	}
	require.Zero(t, flags())
	wrong()
	require.Equal(t, uint(pkcs11.CKF_USER_PIN_COUNT_LOW), flags(), "one attempt")
	attempts := 1
	for flags()&pkcs11.CKF_USER_PIN_LOCKED == 0 {
		wrong()
		attempts++
		require.Less(t, attempts, 20)
	}
	t.Logf("locked after %d wrong PINs", attempts)
	require.Equal(t, uint(pkcs11.CKR_PIN_LOCKED), wrong().Code)
	_, err := hsm.Open(t.Context(), ockConfig(), []byte(ockPIN), quiet, nil)
	require.ErrorIs(t, err, hsm.ErrWrongPIN, "the right one, too")
}
