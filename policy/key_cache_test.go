package policy

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestParsedKeysAreBounded: more keys than a charter uses are parsed again, and none is another.
func TestParsedKeysAreBounded(t *testing.T) {
	var keys []PublicKey
	for n := range 2 * maxParsedKeys {
		var seed [ed25519.SeedSize]byte
		binary.BigEndian.PutUint64(seed[:], uint64(n))
		private := ed25519.NewKeyFromSeed(seed[:])
		k, err := NewPublicKey(private.Public())
		require.NoError(t, err)
		require.True(t, k.verify("", []byte("message"), ed25519.Sign(private, []byte("message"))))
		require.False(t, k.verify("", []byte("messagf"), ed25519.Sign(private, []byte("message"))))
		keys = append(keys, k)
	}
	parsedKeys.mu.RLock()
	held := len(parsedKeys.known)
	parsedKeys.mu.RUnlock()
	require.LessOrEqual(t, held, maxParsedKeys)
	for n, k := range keys {
		require.Equal(t, keys[n].SPKI(), k.SPKI())
		require.Equal(t, string(DigestOf(k.SPKI())), k.KeyID())
		require.Equal(t, Ed25519, k.Algorithm())
	}
}

// TestAKeyThatIsNoneIsNotHeld: what cannot be parsed verifies nothing, asked twice too.
func TestAKeyThatIsNoneIsNotHeld(t *testing.T) {
	broken := publicKeyOf([]byte("no key"))
	for range 2 {
		require.Empty(t, broken.Algorithm())
		require.False(t, broken.verify("", nil, nil))
		require.False(t, PublicKey{}.verify("", nil, nil))
	}
	require.Equal(t, string(DigestOf(nil)), PublicKey{}.KeyID())
	// Every kind stays what it is in the cache.
	for _, alg := range []Algorithm{ECDSAP256, Ed25519, MLDSA65} {
		_, public, err := GenerateKeyPEM(alg)
		require.NoError(t, err)
		k, err := ParsePublicKeyPEM(public)
		require.NoError(t, err)
		for range 2 {
			switch k.key().(type) {
			case *ecdsa.PublicKey:
				require.Equal(t, ECDSAP256, alg)
			case ed25519.PublicKey:
				require.Equal(t, Ed25519, alg)
			case *mldsa.PublicKey:
				require.Equal(t, MLDSA65, alg)
			default:
				t.Fatalf("%T", k.key())
			}
		}
	}
}
