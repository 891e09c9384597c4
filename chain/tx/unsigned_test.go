package tx_test

import (
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

func unsigned(kind tx.Kind) *tx.Unsigned {
	return &tx.Unsigned{Kind: kind, ChainID: 2080377, Nonce: 3, Tip: big.NewInt(1), MaxFee: big.NewInt(2_000_000_000), Gas: 90_000,
		To: &tx.Address{1, 2, 3}, Value: new(big.Int), Data: []byte{0x84, 0x56, 0xcb, 0x59}}
}

func TestUnsignedIsWhatIsHashed(t *testing.T) {
	for _, kind := range []tx.Kind{tx.KindQuantum, tx.KindEVM} {
		u := unsigned(kind)
		raw, err := u.EncodeUnsigned()
		require.NoError(t, err)
		want, err := u.SigningHash()
		require.NoError(t, err)
		require.Equal(t, want, tx.HashOf(raw), kind)
		again, err := tx.DecodeUnsigned(kind, raw)
		require.NoError(t, err)
		require.Equal(t, u, again)

		to := common.Address(*u.To)
		theirs := types.NewTx(&types.DynamicFeeTx{ChainID: big.NewInt(2080377), Nonce: 3, GasTipCap: u.Tip, GasFeeCap: u.MaxFee, Gas: u.Gas, To: &to,
			Value: u.Value, Data: u.Data})
		require.Equal(t, common.Hash(want), types.LatestSignerForChainID(big.NewInt(2080377)).Hash(theirs), "go-ethereum signs the same")
	}
}

func TestUnsignedIsReadStrictly(t *testing.T) {
	raw, err := unsigned(tx.KindQuantum).EncodeUnsigned()
	require.NoError(t, err)
	list := func(access any, chainID any) []byte {
		b, err := rlp.EncodeToBytes([]any{chainID, uint64(3), big.NewInt(1), big.NewInt(2), uint64(90_000), &tx.Address{1}, new(big.Int), []byte{}, access})
		require.NoError(t, err)
		return append([]byte{2}, b...)
	}
	for name, b := range map[string][]byte{
		"nothing":            {},
		"a byte more":        append(append([]byte{}, raw...), 0),
		"a byte less":        raw[:len(raw)-1],
		"another type":       append([]byte{1}, raw[1:]...),
		"no type":            raw[1:],
		"an access list":     list([]tx.AccessTuple{{Address: [20]byte{1}}}, uint64(5)),
		"chain id 0":         list([]tx.AccessTuple{}, uint64(0)),
		"a leading zero":     list([]tx.AccessTuple{}, []byte{0, 5}),
		"more than it holds": make([]byte, tx.MaxSize+1),
	} {
		for _, kind := range []tx.Kind{tx.KindQuantum, tx.KindEVM} {
			_, err := tx.DecodeUnsigned(kind, b)
			require.Error(t, err, "%s, %s", name, kind)
		}
	}
	_, err = tx.DecodeUnsigned("", raw)
	require.ErrorIs(t, err, tx.ErrKind)
}

// TestOwnershipDigest: Keccak-256 of the tag and the address in lower case, computed elsewhere.
func TestOwnershipDigest(t *testing.T) {
	a, err := tx.ParseAddress("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed")
	require.NoError(t, err)
	require.Equal(t, tx.HashOf([]byte("qustody:register:0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed")), tx.OwnershipDigest(a))
}

// FuzzDecodeUnsigned: whatever decodes, encodes to the same bytes.
func FuzzDecodeUnsigned(f *testing.F) {
	for _, evm := range []bool{false, true} {
		raw, err := unsigned(map[bool]tx.Kind{false: tx.KindQuantum, true: tx.KindEVM}[evm]).EncodeUnsigned()
		require.NoError(f, err)
		f.Add(evm, raw)
	}
	f.Fuzz(func(t *testing.T, evm bool, raw []byte) {
		kind := tx.KindQuantum
		if evm {
			kind = tx.KindEVM
		}
		u, err := tx.DecodeUnsigned(kind, raw)
		if err != nil {
			return
		}
		again, err := u.EncodeUnsigned()
		if err != nil || string(again) != string(raw) {
			t.Fatalf("DecodeUnsigned took %x, EncodeUnsigned gives %x, %v", raw, again, err)
		}
	})
}
