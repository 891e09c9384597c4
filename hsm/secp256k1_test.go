package hsm

import (
	"crypto/sha256"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/stretchr/testify/require"
)

func TestRecoverable(t *testing.T) {
	private, err := secp256k1.GeneratePrivateKey()
	require.NoError(t, err)
	public := private.PubKey().SerializeUncompressed()[1:]
	other, err := secp256k1.GeneratePrivateKey()
	require.NoError(t, err)
	for i := range 50 {
		digest := sha256.Sum256([]byte{byte(i)})
		compact := ecdsa.SignCompact(private, digest[:], false)
		low := append([]byte(nil), compact[1:]...)
		want := append(append([]byte(nil), low...), compact[0]-27)
		require.Equal(t, want, recoverable(public, digest[:], low))

		var s secp256k1.ModNScalar
		s.SetByteSlice(low[32:])
		s.Negate()
		high := append([]byte(nil), low[:32]...)
		b := s.Bytes()
		high = append(high, b[:]...)
		require.Equal(t, want, recoverable(public, digest[:], high), "a high s is the same signature")

		require.Nil(t, recoverable(other.PubKey().SerializeUncompressed()[1:], digest[:], low))
		digest[0] ^= 1
		require.Nil(t, recoverable(public, digest[:], low))
		digest[0] ^= 1
		for _, bad := range [][]byte{nil, low[:63], append(make([]byte, 32), low[32:]...), append(append([]byte(nil), low[:32]...), make([]byte, 32)...)} {
			require.Nil(t, recoverable(public, digest[:], bad))
		}
	}
	require.Nil(t, recoverable(public, make([]byte, 32), append(bytesOf(0xff, 32), bytesOf(1, 32)...)), "r is no scalar")
}

func bytesOf(b byte, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = b
	}
	return out
}
