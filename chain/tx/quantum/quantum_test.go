package quantum_test

import (
	"bytes"
	"math"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx/quantum"
)

const chainID = 2080377

func drawUint256(t *rapid.T, label string) *big.Int {
	return new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, label))
}

func drawBytes(t *rapid.T, n int, label string) []byte {
	return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, label)
}

// drawFields gives the fields of any transaction that can be signed.
func drawFields(t *rapid.T) *quantum.Fields {
	f := &quantum.Fields{
		Type:    rapid.SampledFrom([]quantum.Type{quantum.Legacy, quantum.AccessList, quantum.DynamicFee}).Draw(t, "type"),
		ChainID: rapid.Uint64Range(1, math.MaxUint64).Draw(t, "chain id"),
		Nonce:   rapid.Uint64Max(math.MaxUint64-1).Draw(t, "nonce"),
		Gas:     rapid.Uint64().Draw(t, "gas"),
		Value:   drawUint256(t, "value"),
		Data:    rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
	}
	if rapid.Bool().Draw(t, "call") {
		to := [20]byte(drawBytes(t, 20, "to"))
		f.To = &to
	}
	if f.Type == quantum.DynamicFee {
		f.Tip, f.MaxFee = drawUint256(t, "tip"), drawUint256(t, "max fee")
	} else {
		f.GasPrice = drawUint256(t, "gas price")
	}
	if f.Type != quantum.Legacy {
		for range rapid.IntRange(0, 3).Draw(t, "tuples") {
			tuple := quantum.AccessTuple{Address: [20]byte(drawBytes(t, 20, "tuple"))}
			for range rapid.IntRange(0, 2).Draw(t, "keys") {
				tuple.StorageKeys = append(tuple.StorageKeys, [32]byte(drawBytes(t, 32, "key")))
			}
			f.AccessList = append(f.AccessList, tuple)
		}
	}
	return f
}

// ethereum is the same transaction as go-ethereum has it.
func ethereum(f *quantum.Fields) *types.Transaction {
	var to *common.Address
	if f.To != nil {
		a := common.Address(*f.To)
		to = &a
	}
	list := make(types.AccessList, 0)
	for _, t := range f.AccessList {
		tuple := types.AccessTuple{Address: t.Address}
		for _, k := range t.StorageKeys {
			tuple.StorageKeys = append(tuple.StorageKeys, k)
		}
		list = append(list, tuple)
	}
	id := new(big.Int).SetUint64(f.ChainID)
	switch f.Type {
	case quantum.Legacy:
		return types.NewTx(&types.LegacyTx{Nonce: f.Nonce, GasPrice: f.GasPrice, Gas: f.Gas, To: to, Value: f.Value, Data: f.Data})
	case quantum.AccessList:
		return types.NewTx(&types.AccessListTx{ChainID: id, Nonce: f.Nonce, GasPrice: f.GasPrice, Gas: f.Gas, To: to,
			Value: f.Value, Data: f.Data, AccessList: list})
	default:
		return types.NewTx(&types.DynamicFeeTx{ChainID: id, Nonce: f.Nonce, GasTipCap: f.Tip, GasFeeCap: f.MaxFee, Gas: f.Gas,
			To: to, Value: f.Value, Data: f.Data, AccessList: list})
	}
}

// items are the RLP items of an encoding's list, each still encoded.
func items(t require.TestingT, raw []byte) []rlp.RawValue {
	if raw[0] < 0xc0 {
		raw = raw[1:]
	}
	var all []rlp.RawValue
	require.NoError(t, rlp.DecodeBytes(raw, &all))
	return all
}

func TestSigningHashIsEthereums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFields(t)
		got, err := f.SigningHash()
		require.NoError(t, err)
		want := types.NewLondonSigner(new(big.Int).SetUint64(f.ChainID)).Hash(ethereum(f))
		require.Equal(t, want, common.Hash(got))
	})
}

// TestLayout holds the encoding to what chain.md says: Ethereum's envelope and field list, with the
// trailing v, r, s replaced by public key and signature.
func TestLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFields(t)
		pub := drawBytes(t, quantum.PublicKeySize, "public key")
		sig := drawBytes(t, rapid.SampledFrom([]int{quantum.SignatureSizeDilithium3, quantum.SignatureSizeMLDSA65}).Draw(t, "size"), "signature")
		raw, err := f.Encode(pub, sig)
		require.NoError(t, err)
		eth, err := ethereum(f).MarshalBinary()
		require.NoError(t, err)
		if f.Type != quantum.Legacy {
			require.Equal(t, eth[0], raw[0])
		}
		got, want := items(t, raw), items(t, eth)
		n := len(want) - 3
		require.Equal(t, want[:n], got[:n])
		require.Len(t, got, n+2)
		for i, b := range [][]byte{pub, sig} {
			var item []byte
			require.NoError(t, rlp.DecodeBytes(got[n+i], &item))
			require.Equal(t, b, item)
		}
	})
}

func TestDecodeAndEncodeAreInverses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFields(t)
		pub := drawBytes(t, quantum.PublicKeySize, "public key")
		sig := drawBytes(t, quantum.SignatureSizeDilithium3, "signature")
		raw, err := f.Encode(pub, sig)
		require.NoError(t, err)
		got, gotPub, gotSig, err := quantum.Decode(raw)
		require.NoError(t, err)
		require.Equal(t, pub, gotPub)
		require.Equal(t, sig, gotSig)
		if f.Type == quantum.Legacy {
			require.Zero(t, got.ChainID, "the encoding does not say it")
			got.ChainID = f.ChainID
		}
		want, err := f.SigningHash()
		require.NoError(t, err)
		hash, err := got.SigningHash()
		require.NoError(t, err)
		require.Equal(t, want, hash)
		again, err := got.Encode(gotPub, gotSig)
		require.NoError(t, err)
		require.Equal(t, raw, again)
	})
}

var (
	somePub = bytes.Repeat([]byte{7}, quantum.PublicKeySize)
	someSig = bytes.Repeat([]byte{9}, quantum.SignatureSizeDilithium3)
)

// wire is a transaction item by item, so that a test can spoil one.
type wire struct {
	prefix []byte
	items  []any
}

// Positions in the type 2 list.
const (
	iChainID, iNonce, iTip, iMaxFee, iGas, iTo, iValue, iData, iList, iPub, iSig = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
)

func good() *wire {
	return &wire{[]byte{2}, []any{uint(chainID), uint(1), uint(2), uint(3), uint(21000), make([]byte, 20), uint(0), []byte{}, []any{}, somePub, someSig}}
}

func (w *wire) raw(t *testing.T) []byte {
	b, err := rlp.EncodeToBytes(w.items)
	require.NoError(t, err)
	return append(bytes.Clone(w.prefix), b...)
}

func TestDecodeRefuses(t *testing.T) {
	valid := good().raw(t)
	_, _, _, err := quantum.Decode(valid)
	require.NoError(t, err)

	set := func(i int, v any) func(w *wire) { return func(w *wire) { w.items[i] = v } }
	for name, spoil := range map[string]func(w *wire){
		"type 0":                           func(w *wire) { w.prefix = []byte{0} },
		"type 3":                           func(w *wire) { w.prefix = []byte{3} },
		"no type":                          func(w *wire) { w.prefix = nil },
		"type 1 with type 2's fields":      func(w *wire) { w.prefix = []byte{1} },
		"type twice":                       func(w *wire) { w.prefix = []byte{2, 2} },
		"an item missing":                  func(w *wire) { w.items = w.items[:10] },
		"an item more":                     func(w *wire) { w.items = append(w.items, []byte{1}) },
		"r and s after all":                func(w *wire) { w.items = append(w.items, uint(1), uint(2)) },
		"chain id 0":                       set(iChainID, uint(0)),
		"chain id of 9 bytes":              set(iChainID, bytes.Repeat([]byte{1}, 9)),
		"nonce with a leading zero":        set(iNonce, []byte{0, 1}),
		"nonce zero as a byte":             set(iNonce, []byte{0}),
		"nonce 2^64-1":                     set(iNonce, uint64(math.MaxUint64)),
		"gas with a leading zero":          set(iGas, []byte{0, 0x52, 0x08}),
		"tip of 33 bytes":                  set(iTip, bytes.Repeat([]byte{1}, 33)),
		"max fee with a leading zero":      set(iMaxFee, []byte{0, 9}),
		"value of 33 bytes":                set(iValue, bytes.Repeat([]byte{1}, 33)),
		"value is a list":                  set(iValue, []any{}),
		"to of 19 bytes":                   set(iTo, make([]byte, 19)),
		"to of 21 bytes":                   set(iTo, make([]byte, 21)),
		"to is an empty list":              set(iTo, []any{}),
		"to is a zero byte":                set(iTo, []byte{0}),
		"data size not shortest":           set(iData, rlp.RawValue{0xb8, 0}),
		"nonce with a size byte":           set(iNonce, rlp.RawValue{0x81, 1}),
		"data is a list":                   set(iData, []any{uint(1)}),
		"access list is a string":          set(iList, []byte{}),
		"storage key of 31 bytes":          set(iList, []any{[]any{make([]byte, 20), []any{make([]byte, 31)}}}),
		"tuple without keys":               set(iList, []any{[]any{make([]byte, 20)}}),
		"tuple of three":                   set(iList, []any{[]any{make([]byte, 20), []any{}, []any{}}}),
		"public key a byte short":          set(iPub, somePub[1:]),
		"public key a byte long":           set(iPub, append([]byte{1}, somePub...)),
		"no public key":                    set(iPub, []byte{}),
		"signature a byte short":           set(iSig, someSig[1:]),
		"signature a byte long":            set(iSig, append([]byte{1}, someSig...)),
		"no signature":                     set(iSig, []byte{}),
		"public key and signature swapped": func(w *wire) { w.items[iPub], w.items[iSig] = w.items[iSig], w.items[iPub] },
		"larger than a node relays":        set(iData, make([]byte, quantum.MaxSize)),
	} {
		t.Run(name, func(t *testing.T) {
			w := good()
			spoil(w)
			_, _, _, err := quantum.Decode(w.raw(t))
			require.ErrorIs(t, err, quantum.ErrMalformed)
		})
	}

	bytewise := map[string][]byte{
		"empty":             {},
		"type alone":        {2},
		"empty list":        {0xc0},
		"a string":          {0x83, 1, 2, 3},
		"a byte short":      valid[:len(valid)-1],
		"a byte long":       append(bytes.Clone(valid), 0),
		"list size too big": append([]byte{2, 0xf9, valid[2], valid[3] + 1}, valid[4:]...),
		// f9 and two bytes say the size; fa and three say it again, with a leading zero.
		"list size not shortest": append([]byte{2, 0xfa, 0}, valid[2:]...),
		"wrapped as a string":    append([]byte{0xb9, byte(len(valid) >> 8), byte(len(valid))}, valid...),
	}
	for name, raw := range bytewise {
		t.Run(name, func(t *testing.T) {
			require.NotEqual(t, valid, raw)
			_, _, _, err := quantum.Decode(raw)
			require.ErrorIs(t, err, quantum.ErrMalformed)
		})
	}
}

func TestEncodeRefuses(t *testing.T) {
	valid := func() *quantum.Fields {
		return &quantum.Fields{Type: quantum.DynamicFee, ChainID: chainID, Tip: big.NewInt(1), MaxFee: big.NewInt(2), Value: new(big.Int)}
	}
	_, err := valid().Encode(somePub, someSig)
	require.NoError(t, err)
	for name, spoil := range map[string]func(f *quantum.Fields){
		"unknown type":             func(f *quantum.Fields) { f.Type = 3 },
		"no value":                 func(f *quantum.Fields) { f.Value = nil },
		"no tip":                   func(f *quantum.Fields) { f.Tip = nil },
		"no max fee":               func(f *quantum.Fields) { f.MaxFee = nil },
		"gas price in type 2":      func(f *quantum.Fields) { f.GasPrice = new(big.Int) },
		"fees of type 2 in type 1": func(f *quantum.Fields) { f.Type, f.GasPrice = quantum.AccessList, new(big.Int) },
		"negative value":           func(f *quantum.Fields) { f.Value = big.NewInt(-1) },
		"value above 2^256-1":      func(f *quantum.Fields) { f.Value = new(big.Int).Lsh(big.NewInt(1), 256) },
		"nonce 2^64-1":             func(f *quantum.Fields) { f.Nonce = math.MaxUint64 },
		"chain id 0":               func(f *quantum.Fields) { f.ChainID = 0 },
		"legacy with an access list": func(f *quantum.Fields) {
			*f = quantum.Fields{GasPrice: f.Tip, Value: f.Value, ChainID: 1, AccessList: make([]quantum.AccessTuple, 1)}
		},
		"legacy hashed without a chain": func(f *quantum.Fields) { *f = quantum.Fields{GasPrice: f.Tip, Value: f.Value} },
	} {
		t.Run(name, func(t *testing.T) {
			f := valid()
			spoil(f)
			_, err := f.SigningHash()
			require.ErrorIs(t, err, quantum.ErrMalformed)
		})
	}
	for name, c := range map[string][2][]byte{
		"no public key":  {nil, someSig},
		"no signature":   {somePub, nil},
		"short":          {somePub[1:], someSig},
		"one in between": {somePub, make([]byte, quantum.SignatureSizeMLDSA65-1)},
	} {
		_, err := valid().Encode(c[0], c[1])
		require.ErrorIs(t, err, quantum.ErrMalformed, name)
	}
	big := valid()
	big.Data = make([]byte, quantum.MaxSize)
	_, err = big.Encode(somePub, someSig)
	require.ErrorIs(t, err, quantum.ErrMalformed)
}

func TestAddressIsTheFirst20Bytes(t *testing.T) {
	got, err := quantum.Address(somePub)
	require.NoError(t, err)
	digest := crypto.Keccak256(somePub)
	require.Equal(t, digest[:20], got[:])
	require.NotEqual(t, digest[12:], got[:], "the last 20 are Ethereum's")
	_, err = quantum.Address(somePub[1:])
	require.ErrorIs(t, err, quantum.ErrMalformed)
}

func FuzzDecode(f *testing.F) {
	to := [20]byte{1}
	one := big.NewInt(1)
	for _, seed := range []*quantum.Fields{
		{Type: quantum.Legacy, GasPrice: one, Value: one, To: &to, Data: []byte{1, 2}},
		{Type: quantum.AccessList, ChainID: 1, GasPrice: one, Value: one, AccessList: []quantum.AccessTuple{{Address: to, StorageKeys: [][32]byte{{1}}}}},
		{Type: quantum.DynamicFee, ChainID: 1, Tip: one, MaxFee: one, Value: one},
	} {
		raw, err := seed.Encode(somePub, someSig)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fields, pub, sig, err := quantum.Decode(raw)
		if err != nil {
			return
		}
		again, err := fields.Encode(pub, sig)
		if err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("Decode took %x, Encode gives %x, %v", raw, again, err)
		}
	})
}
