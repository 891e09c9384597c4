package hsm_test

import (
	"crypto/mldsa"
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
)

// TestCosigningKey: a seed of ML-DSA-44 signs whole messages, which the standard
// library verifies; keys of wallets do not.
func TestCosigningKey(t *testing.T) {
	tok, _ := open(t, nil)
	ctx := t.Context()
	require.NoError(t, tok.GenerateAESWrappingKey(ctx, "aes-c", "aes-c"))
	public, err := tok.CreateSeedKey(ctx, "cosign", hsm.MLDSA44, "aes-c")
	require.NoError(t, err)
	again, err := tok.CreateSeedKey(ctx, "cosign", hsm.MLDSA44, "aes-c")
	require.NoError(t, err)
	require.Equal(t, public, again)
	key, err := mldsa.NewPublicKey(mldsa.MLDSA44(), public)
	require.NoError(t, err)
	message := []byte("subtree/v1\n\x00 and whatever length it has")
	sig, err := tok.SignSeedMessage(ctx, "cosign", message)
	require.NoError(t, err)
	require.NoError(t, mldsa.Verify(key, message, sig, nil))
	require.Error(t, mldsa.Verify(key, message[1:], sig, nil))

	_, err = tok.CreateSeedKey(ctx, "cosign", hsm.MLDSA65, "aes-c")
	require.ErrorIs(t, err, hsm.ErrMismatch)
	wallet, err := tok.CreateSeedKey(ctx, "wlt-c", hsm.MLDSA65, "aes-c")
	require.NoError(t, err)
	require.NotEmpty(t, wallet)
	_, err = tok.SignSeedMessage(ctx, "wlt-c", message)
	require.ErrorIs(t, err, hsm.ErrMismatch)
	sig, err = tok.SignSeed(ctx, "wlt-c", sha256.Sum256(message))
	require.NoError(t, err)
	require.NotEmpty(t, sig)
}
