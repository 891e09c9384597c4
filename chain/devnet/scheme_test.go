package devnet

import (
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

func TestSignatureMustVerify(t *testing.T) {
	b := start(t, Config{Period: Manual, Schemes: []tx.Scheme{tx.Dilithium3}})
	w := b.funded(t, tx.Dilithium3)
	other := newWallet(t, tx.Dilithium3)
	u := unsigned(0)
	digest, err := u.SigningHash()
	require.NoError(t, err)
	forged, err := u.Encode(w.public, other.sign(digest[:]))
	require.NoError(t, err)
	flipped := w.signed(t, u)
	flipped[len(flipped)-100] ^= 1
	value := unsigned(0)
	digest, err = value.SigningHash()
	require.NoError(t, err)
	signature := w.sign(digest[:])
	value.Value.SetInt64(2)
	changed, err := value.Encode(w.public, signature)
	require.NoError(t, err)
	elsewhere := b.funded(t, tx.MLDSA65)

	for name, raw := range map[string][]byte{
		"another's signature":      forged,
		"a flipped bit":            flipped,
		"other fields than signed": changed,
		"a scheme not accepted":    elsewhere.signed(t, unsigned(0)),
	} {
		_, err := b.sendRaw(raw)
		require.ErrorContains(t, err, "invalid signature", name)
		require.False(t, b.known(t, common.Hash(tx.HashOf(raw))), name)
	}
	require.Empty(t, b.mineOne(t).txs)
	b.mustSend(t, w.signed(t, unsigned(0)))
}

// TestOlderTypes sends a legacy and an EIP-2930 transaction, which Quantum Chain has as well.
func TestOlderTypes(t *testing.T) {
	b := start(t, Config{Period: 0})
	w := b.funded(t, tx.Dilithium3)
	for nonce, kind := range []tx.Type{tx.Legacy, tx.AccessList} {
		raw := w.signedAs(t, kind, uint64(nonce))
		hash := b.mustSend(t, raw)
		r, err := b.eth.TransactionReceipt(t.Context(), hash)
		require.NoError(t, err)
		require.EqualValues(t, kind, r.Type)
		require.EqualValues(t, 1, r.Status)
		require.Equal(t, int64(3e9), r.EffectiveGasPrice.Int64(), "its gas price, whatever the base fee")
	}
}
