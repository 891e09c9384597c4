package hsm_test

import (
	"crypto/sha256"
	"fmt"
	"sync"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// Half of what the token signs comes back with a high s; what leaves here has a low
// one and the recovery id of the key.
func TestSecp256k1(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	id := fresh("secp")
	_, err := tok.Secp256k1Public(ctx, id)
	require.ErrorIs(t, err, hsm.ErrNotFound)
	public, err := tok.GenerateSecp256k1(ctx, "wallet", id)
	require.NoError(t, err)
	require.Len(t, public, 64)
	again, err := tok.GenerateSecp256k1(ctx, "wallet", id)
	require.NoError(t, err)
	require.Equal(t, public, again)
	seen := map[byte]int{}
	for i := range 40 {
		digest := sha256.Sum256(fmt.Append(nil, i))
		sig, err := tok.SignSecp256k1(ctx, id, digest)
		require.NoError(t, err)
		require.Len(t, sig, 65)
		seen[sig[64]]++
		// The library's own recovery, which refuses a high s elsewhere only.
		recovered, _, err := ecdsa.RecoverCompact(append([]byte{27 + sig[64]}, sig[:64]...), digest[:])
		require.NoError(t, err)
		require.Equal(t, public, recovered.SerializeUncompressed()[1:])
		require.Less(t, sig[32], byte(0x80), "s is low")
	}
	require.Len(t, seen, 2)
	require.NotContains(t, seen, byte(2))
	check, err := tok.CheckValue(ctx, id)
	require.NoError(t, err)
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(public)), check)
}

// A key is of the kind that it was made as, for whoever asks by its id.
func TestAKeyOfAnotherKind(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	secp, ed, p256 := fresh("secp"), fresh("ed"), fresh("p256")
	_, err := tok.GenerateSecp256k1(ctx, "wallet", secp)
	require.NoError(t, err)
	_, err = tok.GenerateEd25519(ctx, "ledger", ed)
	require.NoError(t, err)
	_, err = tok.SignEd25519(ctx, secp, []byte("m"))
	require.ErrorIs(t, err, hsm.ErrMismatch)
	_, err = tok.SignSecp256k1(ctx, ed, [32]byte{})
	require.ErrorIs(t, err, hsm.ErrMismatch)
	_, err = tok.SignDigest(ctx, ed, [32]byte{})
	require.ErrorIs(t, err, hsm.ErrNotFound, "a ledger's key signs no transaction")
	require.NoError(t, tok.Close())
	makeKey(t, ecdsaKeyPairGen, p256Params, p256, p256, pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false))
	tok, _ = open(t, nil)
	_, err = tok.SignSecp256k1(ctx, p256, [32]byte{})
	require.ErrorIs(t, err, hsm.ErrMismatch, "another curve")
	_, err = tok.GenerateSecp256k1(ctx, "wallet", p256)
	require.ErrorIs(t, err, hsm.ErrMismatch)
}

func TestCreateKey(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-create"))
	verify := map[hsm.Scheme]func(public, digest, sig []byte) bool{
		hsm.Secp256k1: func(public, digest, sig []byte) bool {
			key, _, err := ecdsa.RecoverCompact(append([]byte{27 + sig[64]}, sig[:64]...), digest)
			return err == nil && string(key.SerializeUncompressed()[1:]) == string(public)
		},
		hsm.Dilithium3: func(public, digest, sig []byte) bool {
			var pk mode3.PublicKey
			return pk.UnmarshalBinary(public) == nil && mode3.Verify(&pk, digest, sig)
		},
		hsm.MLDSA65: func(public, digest, sig []byte) bool {
			var pk mldsa65.PublicKey
			return pk.UnmarshalBinary(public) == nil && mldsa65.Verify(&pk, digest, nil, sig)
		},
	}
	// SoftHSM2 has no ML-DSA of its own.
	protection := map[hsm.Scheme]hsm.Protection{hsm.Secp256k1: hsm.Native, hsm.Dilithium3: hsm.Wrapped, hsm.MLDSA65: hsm.Wrapped}
	ids, publics := map[hsm.Scheme]string{}, map[hsm.Scheme][]byte{}
	for scheme, want := range protection {
		id := fresh("wlt")
		_, _, _, err := tok.KeyPublic(ctx, id)
		require.ErrorIs(t, err, hsm.ErrNotFound)
		_, err = tok.SignDigest(ctx, id, [32]byte{})
		require.ErrorIs(t, err, hsm.ErrNotFound)
		public, have, err := tok.CreateKey(ctx, id, scheme, "aes-create")
		require.NoError(t, err)
		require.Equal(t, want, have)
		again, have, err := tok.CreateKey(ctx, id, scheme, "aes-create")
		require.NoError(t, err)
		require.Equal(t, []any{public, want}, []any{again, have})
		for other := range protection {
			if other != scheme {
				_, _, err = tok.CreateKey(ctx, id, other, "aes-create")
				require.ErrorIs(t, err, hsm.ErrMismatch)
			}
		}
		ids[scheme], publics[scheme] = id, public
	}
	_, _, err := tok.CreateKey(ctx, fresh("wlt"), "rsa", "aes-create")
	require.ErrorContains(t, err, "rsa")
	_, err = tok.GenerateMLDSA(ctx, "wlt", fresh("wlt"))
	require.ErrorIs(t, err, hsm.ErrUnsupported)
	_, err = tok.SignMLDSA(ctx, "wlt", []byte("m"))
	require.ErrorIs(t, err, hsm.ErrUnsupported)
	for range 2 { // as it was made, and as a new process finds it
		for scheme, id := range ids {
			digest := sha256.Sum256([]byte(id))
			for range 2 { // not seen before, and seen
				sig, err := tok.SignDigest(ctx, id, digest)
				require.NoError(t, err)
				require.True(t, verify[scheme](publics[scheme], digest[:], sig), scheme)
			}
			public, have, protected, err := tok.KeyPublic(ctx, id)
			require.NoError(t, err)
			require.Equal(t, []any{publics[scheme], scheme, protection[scheme]}, []any{public, have, protected})
		}
		tok = reopen(t, tok)
	}
}

// A token that lists ML-DSA and does not do it has none: a key of it would be lost
// the day it is needed.
func TestAMechanismThatIsListedOnly(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-listed"))
	tell(t, "C_GetMechanismList lie")
	_, protection, err := tok.CreateKey(ctx, fresh("wlt"), hsm.MLDSA65, "aes-listed")
	require.NoError(t, err)
	require.Equal(t, hsm.Wrapped, protection)
	require.False(t, broken(tok))
}

// What is asked for while the list of mechanisms cannot be had is not taken for a
// token without them.
func TestMechanismsThatCannotBeHad(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-listed"))
	id := fresh("wlt")
	tell(t, "C_GetMechanismList 0x70")
	_, _, err := tok.CreateKey(ctx, id, hsm.MLDSA65, "aes-listed")
	var e *hsm.Error
	require.ErrorAs(t, err, &e)
	_, _, err = tok.CreateKey(ctx, id, hsm.MLDSA65, "aes-listed")
	require.NoError(t, err)
}

// Nor is it while the token lists ML-DSA and trying it fails for another reason: the keys of a process would be made
// outside the token ever after.
func TestAMechanismThatCannotBeTried(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-listed"))
	tell(t, "C_GetMechanismList lie\nC_GenerateKeyPair 0x101 keep") // CKR_USER_NOT_LOGGED_IN
	_, _, err := tok.CreateKey(ctx, fresh("wlt"), hsm.MLDSA65, "aes-listed")
	var e *hsm.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, hsm.ClassLogin, e.Class)
}

// A token without CKA_CHECK_VALUE encrypts the block that it is taken from.
func TestCheckValueOfATokenThatKeepsNone(t *testing.T) {
	tok, _ := open(t, throughShim)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes", "aes-check"))
	want, err := tok.CheckValue(ctx, "aes-check")
	require.NoError(t, err)
	require.Len(t, want, 6)
	tell(t, "C_GetAttributeValue blank")
	got, err := tok.CheckValue(ctx, "aes-check")
	require.NoError(t, err)
	require.Equal(t, want, got)

	// Also in the middle of wrapping a seed.
	tok = reopen(t, tok)
	tell(t, "C_GetAttributeValue blank")
	id := fresh("wlt")
	_, err = tok.CreateSeedKey(ctx, id, hsm.Dilithium3, "aes-check")
	require.NoError(t, err)
	_, err = tok.SignSeed(ctx, id, [32]byte{})
	require.NoError(t, err)
}

func TestPairsManyAtOnce(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	id := fresh("secp")
	_, err := tok.GenerateSecp256k1(ctx, "wallet", id)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 10 {
				if _, err := tok.SignDigest(ctx, id, sha256.Sum256(fmt.Append(nil, i, j))); err != nil {
					t.Error(err)
				}
			}
			if _, err := tok.GenerateSecp256k1(ctx, "wallet", fresh("secp")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
