package evm_test

import (
	"bytes"
	"crypto/ecdsa"
	"errors"
	"math"
	"math/big"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx/evm"
)

// key is the first account of go-ethereum's own test suites.
var key = func() *ecdsa.PrivateKey {
	k, err := crypto.HexToECDSA("b71c71a67e1177ad4e901695e1b4b9ee17ae16c6668d313eac2f96dbcda3f291")
	if err != nil {
		panic(err)
	}
	return k
}()

func point(k *ecdsa.PrivateKey) []byte { return crypto.FromECDSAPub(&k.PublicKey)[1:] }

func drawUint256(t *rapid.T, label string) *big.Int {
	return new(big.Int).SetBytes(rapid.SliceOfN(rapid.Byte(), 0, 32).Draw(t, label))
}

func drawFields(t *rapid.T) *evm.Fields {
	f := &evm.Fields{
		ChainID: rapid.Uint64Range(1, math.MaxUint64).Draw(t, "chain id"),
		Nonce:   rapid.Uint64Max(math.MaxUint64-1).Draw(t, "nonce"),
		Tip:     drawUint256(t, "tip"),
		MaxFee:  drawUint256(t, "max fee"),
		Gas:     rapid.Uint64().Draw(t, "gas"),
		Value:   drawUint256(t, "value"),
		Data:    rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "data"),
	}
	if rapid.Bool().Draw(t, "call") {
		to := [20]byte(rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "to"))
		f.To = &to
	}
	return f
}

func ethereum(f *evm.Fields) *types.Transaction {
	return types.NewTx(&types.DynamicFeeTx{
		ChainID: new(big.Int).SetUint64(f.ChainID), Nonce: f.Nonce, GasTipCap: f.Tip, GasFeeCap: f.MaxFee, Gas: f.Gas,
		To: (*common.Address)(f.To), Value: f.Value, Data: f.Data,
	})
}

func TestEncodingIsGoEthereums(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawFields(t)
		signer := types.NewLondonSigner(new(big.Int).SetUint64(f.ChainID))
		digest, err := f.SigningHash()
		require.NoError(t, err)
		require.Equal(t, signer.Hash(ethereum(f)), common.Hash(digest))

		signed, err := types.SignTx(ethereum(f), signer, key)
		require.NoError(t, err)
		want, err := signed.MarshalBinary()
		require.NoError(t, err)
		sig, err := crypto.Sign(digest[:], key)
		require.NoError(t, err)
		got, err := f.Encode(point(key), sig)
		require.NoError(t, err)
		require.Equal(t, want, got)

		back, pub, sig2, err := evm.Decode(got)
		require.NoError(t, err)
		require.Equal(t, point(key), pub)
		require.Equal(t, sig, sig2)
		again, err := back.Encode(pub, sig2)
		require.NoError(t, err)
		require.Equal(t, got, again)
	})
}

func TestAddress(t *testing.T) {
	got, err := evm.Address(point(key))
	require.NoError(t, err)
	require.Equal(t, common.HexToAddress("0x71562b71999873DB5b286dF957af199Ec94617F7"), common.Address(got))
	for name, pub := range map[string][]byte{
		"nothing":      nil,
		"with 0x04":    crypto.FromECDSAPub(&key.PublicKey),
		"compressed":   crypto.CompressPubkey(&key.PublicKey),
		"not on curve": bytes.Repeat([]byte{1}, 64),
	} {
		_, err := evm.Address(pub)
		require.ErrorIs(t, err, evm.ErrMalformed, name)
	}
}

func TestVerify(t *testing.T) {
	digest := [32]byte(crypto.Keccak256([]byte("digest")))
	sig, err := crypto.Sign(digest[:], key)
	require.NoError(t, err)
	require.NoError(t, evm.Verify(point(key), digest, sig))

	n := crypto.S256().Params().N
	highS := bytes.Clone(sig)
	new(big.Int).Sub(n, new(big.Int).SetBytes(sig[32:64])).FillBytes(highS[32:64])
	highS[64] ^= 1
	recovered, err := crypto.SigToPub(digest[:], highS)
	require.NoError(t, err)
	require.Equal(t, key.PublicKey, *recovered, "a high s is the same signature to who does not look")

	with := func(f func(b []byte)) []byte {
		b := bytes.Clone(sig)
		f(b)
		return b
	}
	for name, bad := range map[string][]byte{
		"nothing":          nil,
		"a byte short":     sig[:64],
		"a byte long":      append(bytes.Clone(sig), 0),
		"high s":           highS,
		"other v":          with(func(b []byte) { b[64] ^= 1 }),
		"v of Bitcoin":     with(func(b []byte) { b[64] += 27 }),
		"v 2":              with(func(b []byte) { b[64] = 2 }),
		"r zero":           with(func(b []byte) { clear(b[:32]) }),
		"s zero":           with(func(b []byte) { clear(b[32:64]) }),
		"r is n":           with(func(b []byte) { n.FillBytes(b[:32]) }),
		"s is n":           with(func(b []byte) { n.FillBytes(b[32:64]) }),
		"one bit of s":     with(func(b []byte) { b[63] ^= 1 }),
		"DER in its stead": append([]byte{0x30, 0x44, 2, 32}, sig[:61]...),
	} {
		t.Run(name, func(t *testing.T) {
			require.ErrorIs(t, evm.Verify(point(key), digest, bad), evm.ErrSignature)
		})
	}
	other, err := crypto.GenerateKey()
	require.NoError(t, err)
	require.ErrorIs(t, evm.Verify(point(other), digest, sig), evm.ErrSignature)
	digest[0] ^= 1
	require.ErrorIs(t, evm.Verify(point(key), digest, sig), evm.ErrSignature)
}

func example() *evm.Fields {
	return &evm.Fields{ChainID: 1337, Nonce: 1, Tip: big.NewInt(2), MaxFee: big.NewInt(3), Gas: 21000, To: &[20]byte{19: 1},
		Value: new(big.Int), Data: []byte{}}
}

func sign(t testing.TB, f *evm.Fields) []byte {
	t.Helper()
	digest, err := f.SigningHash()
	if err != nil {
		t.Fatal(err)
	}
	sig, err := crypto.Sign(digest[:], key)
	if err != nil {
		t.Fatal(err)
	}
	return sig
}

func TestEncodeRefuses(t *testing.T) {
	for name, spoil := range map[string]func(f *evm.Fields){
		"no tip":              func(f *evm.Fields) { f.Tip = nil },
		"no max fee":          func(f *evm.Fields) { f.MaxFee = nil },
		"no value":            func(f *evm.Fields) { f.Value = nil },
		"negative tip":        func(f *evm.Fields) { f.Tip = big.NewInt(-1) },
		"value above 2^256-1": func(f *evm.Fields) { f.Value = new(big.Int).Lsh(big.NewInt(1), 256) },
		"chain id 0":          func(f *evm.Fields) { f.ChainID = 0 },
		"nonce 2^64-1":        func(f *evm.Fields) { f.Nonce = math.MaxUint64 },
	} {
		f := example()
		spoil(f)
		_, err := f.SigningHash()
		require.ErrorIs(t, err, evm.ErrMalformed, name)
		_, err = f.Encode(point(key), make([]byte, 65))
		require.ErrorIs(t, err, evm.ErrMalformed, name)
	}
	f := example()
	sig := sign(t, f)
	f.Nonce++
	_, err := f.Encode(point(key), sig)
	require.ErrorIs(t, err, evm.ErrSignature, "another transaction's signature would send from nobody's account")
	f.Data = make([]byte, evm.MaxSize)
	_, err = f.Encode(point(key), sign(t, f))
	require.ErrorIs(t, err, evm.ErrMalformed)
}

func TestDecodeRefuses(t *testing.T) {
	f := example()
	sig := sign(t, f)
	r, s := new(big.Int).SetBytes(sig[:32]), new(big.Int).SetBytes(sig[32:64])
	list := func() []any {
		return []any{f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, f.To, f.Value, f.Data, []any{}, uint(sig[64]), r, s}
	}
	encode := func(items []any) []byte {
		b, err := rlp.EncodeToBytes(items)
		require.NoError(t, err)
		return append([]byte{2}, b...)
	}
	valid := encode(list())
	_, _, _, err := evm.Decode(valid)
	require.NoError(t, err)

	set := func(i int, v any) []byte {
		items := list()
		items[i] = v
		return encode(items)
	}
	n := crypto.S256().Params().N
	for name, raw := range map[string][]byte{
		"empty":                 {},
		"type alone":            {2},
		"type 1":                append([]byte{1}, valid[1:]...),
		"no type":               valid[1:],
		"a byte short":          valid[:len(valid)-1],
		"a byte long":           append(bytes.Clone(valid), 0),
		"an item missing":       encode(list()[:11]),
		"an item more":          encode(append(list(), uint(1))),
		"chain id 0":            set(0, uint(0)),
		"nonce, leading zero":   set(1, []byte{0, 1}),
		"to of 19 bytes":        set(5, make([]byte, 19)),
		"to is an empty list":   set(5, []any{}),
		"value of 33 bytes":     set(6, bytes.Repeat([]byte{1}, 33)),
		"an access list":        set(8, []any{[]any{make([]byte, 20), []any{}}}),
		"access list of lists":  set(8, []any{[]any{}}),
		"access list, a string": set(8, []byte{}),
		"v 2":                   set(9, uint(2)),
		"v 27":                  set(9, uint(27)),
		"r of 33 bytes":         set(10, bytes.Repeat([]byte{1}, 33)),
		"r zero":                set(10, uint(0)),
		"s zero":                set(11, uint(0)),
		"high s":                set(11, new(big.Int).Sub(n, s)),
		"larger than relayed":   set(7, make([]byte, evm.MaxSize)),
	} {
		t.Run(name, func(t *testing.T) {
			_, _, _, err := evm.Decode(raw)
			require.Error(t, err)
			require.True(t, errors.Is(err, evm.ErrMalformed) || errors.Is(err, evm.ErrSignature), err)
		})
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []*evm.Fields{example(), {ChainID: 1, Tip: new(big.Int), MaxFee: new(big.Int), Value: big.NewInt(9), Data: []byte{1, 2, 3}}} {
		raw, err := seed.Encode(point(key), sign(f, seed))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		fields, pub, sig, err := evm.Decode(raw)
		if err != nil {
			return
		}
		again, err := fields.Encode(pub, sig)
		if err != nil || !bytes.Equal(again, raw) {
			t.Fatalf("Decode took %x, Encode gives %x, %v", raw, again, err)
		}
		var eth types.Transaction
		if err := eth.UnmarshalBinary(raw); err != nil {
			t.Fatalf("go-ethereum refuses %x: %v", raw, err)
		}
	})
}
