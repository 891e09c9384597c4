package tx_test

import (
	stdmldsa "crypto/mldsa"
	"encoding/hex"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"flag"
	"math/big"
	"os"
	"testing"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

var update = flag.Bool("update", false, "write testdata/vectors.json anew")

// vector is a transaction, who signs it, and what must come out, byte for byte. The file is also
// what an implementer of a Quantum Chain node can hold his decoder against.
type vector struct {
	Name        string     `json:"name"`
	Scheme      tx.Scheme  `json:"scheme"`
	Seed        string     `json:"seed"` // 32 bytes: the scheme's key seed, or secp256k1's private key
	Type        tx.Type    `json:"type"`
	ChainID     uint64     `json:"chainId"`
	Nonce       uint64     `json:"nonce"`
	GasPrice    string     `json:"gasPrice,omitzero"`
	Tip         string     `json:"tip,omitzero"`
	MaxFee      string     `json:"maxFee,omitzero"`
	Gas         uint64     `json:"gas"`
	To          string     `json:"to,omitzero"`
	Value       string     `json:"value"`
	Data        string     `json:"data"`
	AccessList  []tupleHex `json:"accessList,omitempty"`
	Sender      tx.Address `json:"sender"`
	SigningHash tx.Hash    `json:"signingHash"`
	Hash        tx.Hash    `json:"hash"`
	Raw         string     `json:"raw"`
}

type tupleHex struct {
	Address     string   `json:"address"`
	StorageKeys []string `json:"storageKeys"`
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signer is a key of a scheme, made from a seed, that signs without randomness.
func signer(t testing.TB, scheme tx.Scheme, seed [32]byte) (pub []byte, sign func(digest tx.Hash) []byte) {
	t.Helper()
	switch scheme {
	case tx.Dilithium3:
		pk, sk := mode3.NewKeyFromSeed(&seed)
		return pk.Bytes(), func(digest tx.Hash) []byte {
			sig := make([]byte, mode3.SignatureSize)
			mode3.SignTo(sk, digest[:], sig)
			return sig
		}
	case tx.MLDSA65:
		pk, sk := mldsa65.NewKeyFromSeed(&seed)
		return pk.Bytes(), func(digest tx.Hash) []byte {
			sig := make([]byte, mldsa65.SignatureSize)
			if err := mldsa65.SignTo(sk, digest[:], nil, false, sig); err != nil {
				t.Fatal(err)
			}
			return sig
		}
	case tx.Secp256k1:
		k, err := crypto.ToECDSA(seed[:])
		if err != nil {
			t.Fatal(err)
		}
		return crypto.FromECDSAPub(&k.PublicKey)[1:], func(digest tx.Hash) []byte {
			sig, err := crypto.Sign(digest[:], k)
			if err != nil {
				t.Fatal(err)
			}
			return sig
		}
	}
	t.Fatalf("scheme %q", scheme)
	return nil, nil
}

// signed is the vector's transaction without public key and signature.
func (v *vector) signed(t testing.TB) *tx.Signed {
	t.Helper()
	amount := func(s string) *big.Int {
		if s == "" {
			return nil
		}
		n, ok := new(big.Int).SetString(s, 10)
		require.True(t, ok, s)
		return n
	}
	s := &tx.Signed{Type: v.Type, GasPrice: amount(v.GasPrice)}
	s.Kind, s.ChainID, s.Nonce, s.Gas = v.Scheme.Kind(), v.ChainID, v.Nonce, v.Gas
	s.Tip, s.MaxFee, s.Value, s.Data = amount(v.Tip), amount(v.MaxFee), amount(v.Value), unhex(t, v.Data)
	if v.To != "" {
		to, err := tx.ParseAddress(v.To)
		require.NoError(t, err)
		s.To = &to
	}
	for _, tuple := range v.AccessList {
		a, err := tx.ParseAddress(tuple.Address)
		require.NoError(t, err)
		entry := tx.AccessTuple{Address: a}
		for _, k := range tuple.StorageKeys {
			entry.StorageKeys = append(entry.StorageKeys, [32]byte(unhex(t, k)))
		}
		s.AccessList = append(s.AccessList, entry)
	}
	return s
}

func vectors(t testing.TB) []*vector {
	t.Helper()
	b, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all []*vector
	if err := json.Unmarshal(b, &all, json.RejectUnknownMembers(true)); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestVectors(t *testing.T) {
	all := vectors(t)
	require.NotEmpty(t, all)
	for _, v := range all {
		t.Run(v.Name, func(t *testing.T) {
			pub, sign := signer(t, v.Scheme, [32]byte(unhex(t, v.Seed)))
			s := v.signed(t)
			digest, err := s.SigningHash()
			require.NoError(t, err)
			s.PublicKey, s.Signature = pub, sign(digest)
			raw, err := s.Encode()
			require.NoError(t, err)
			sender, err := tx.Sender(s.Kind, pub)
			require.NoError(t, err)
			if *update {
				v.SigningHash, v.Raw, v.Hash, v.Sender = digest, hex.EncodeToString(raw), tx.HashOf(raw), sender
			}
			require.Equal(t, v.SigningHash, digest)
			require.Equal(t, v.Sender, sender)
			require.Equal(t, v.Raw, hex.EncodeToString(raw))
			require.Equal(t, v.Hash, tx.HashOf(raw))

			got, err := tx.Decode(s.Kind, raw)
			require.NoError(t, err)
			require.Equal(t, v.Hash, got.Hash)
			require.Equal(t, v.Sender, got.Sender)
			require.Equal(t, raw, got.Raw)
			require.Equal(t, v.Type, got.Type)
			if v.Type == tx.Legacy {
				require.False(t, got.Verify(v.Scheme), "nobody said for which chain")
				got.ChainID = v.ChainID
			}
			require.True(t, got.Verify(v.Scheme))
			got.ChainID++
			require.False(t, got.Verify(v.Scheme), "not for another chain")
		})
	}
	if *update {
		b, err := json.Marshal(all, jsontext.WithIndent(" "), json.Deterministic(true))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile("testdata/vectors.json", append(b, '\n'), 0o644))
	}
}

// TestMLDSAAgreesWithTheStandardLibrary holds circl's ML-DSA-65 to crypto/mldsa: same key from the
// same seed, each verifies the other's signature, empty context.
func TestMLDSAAgreesWithTheStandardLibrary(t *testing.T) {
	seed := [32]byte{1, 2, 3}
	pub, sign := signer(t, tx.MLDSA65, seed)
	std, err := stdmldsa.NewPrivateKey(stdmldsa.MLDSA65(), seed[:])
	require.NoError(t, err)
	require.Equal(t, std.PublicKey().Bytes(), pub)
	digest := tx.HashOf([]byte("the same 32 bytes"))

	theirs, err := std.SignDeterministic(digest[:], &stdmldsa.Options{})
	require.NoError(t, err)
	require.Equal(t, theirs, sign(digest))
	require.NoError(t, stdmldsa.Verify(std.PublicKey(), digest[:], sign(digest), nil))

	hedged, err := std.Sign(nil, digest[:], &stdmldsa.Options{})
	require.NoError(t, err)
	require.True(t, tx.VerifySignature(tx.MLDSA65, pub, digest, hedged))
	withContext, err := std.Sign(nil, digest[:], &stdmldsa.Options{Context: "mintwarden"})
	require.NoError(t, err)
	require.False(t, tx.VerifySignature(tx.MLDSA65, pub, digest, withContext))
}

func TestVerifySignatureRefuses(t *testing.T) {
	digest, other := tx.HashOf([]byte("one")), tx.HashOf([]byte("another"))
	for _, scheme := range []tx.Scheme{tx.Dilithium3, tx.MLDSA65, tx.Secp256k1} {
		t.Run(string(scheme), func(t *testing.T) {
			pub, sign := signer(t, scheme, [32]byte{31: 1})
			stranger, _ := signer(t, scheme, [32]byte{31: 2})
			sig := sign(digest)
			require.Len(t, pub, scheme.PublicKeySize())
			require.Len(t, sig, scheme.SignatureSize())
			require.True(t, tx.VerifySignature(scheme, pub, digest, sig))

			require.False(t, tx.VerifySignature(scheme, pub, other, sig))
			require.False(t, tx.VerifySignature(scheme, stranger, digest, sig))
			require.False(t, tx.VerifySignature(scheme, pub, digest, sig[:len(sig)-1]))
			require.False(t, tx.VerifySignature(scheme, pub, digest, append(sig[:len(sig):len(sig)], 0)))
			require.False(t, tx.VerifySignature(scheme, pub[1:], digest, sig))
			require.False(t, tx.VerifySignature(scheme, nil, digest, nil))
			for _, at := range []int{0, len(sig) / 2, len(sig) - 1} {
				bad := append([]byte(nil), sig...)
				bad[at] ^= 1
				require.False(t, tx.VerifySignature(scheme, pub, digest, bad), at)
			}
			for _, wrong := range []tx.Scheme{tx.Dilithium3, tx.MLDSA65, tx.Secp256k1, "", "ed25519"} {
				require.Equal(t, wrong == scheme, tx.VerifySignature(wrong, pub, digest, sig), wrong)
			}
		})
	}
}

func TestKindsAndSchemes(t *testing.T) {
	require.Equal(t, tx.KindQuantum, tx.Dilithium3.Kind())
	require.Equal(t, tx.KindQuantum, tx.MLDSA65.Kind())
	require.Equal(t, tx.KindEVM, tx.Secp256k1.Kind())
	require.False(t, tx.Scheme("").Valid())
	require.False(t, tx.Scheme("ML-DSA-65").Valid())
	require.Zero(t, tx.Scheme("").PublicKeySize())
	require.Zero(t, tx.Scheme("").SignatureSize())
	require.True(t, tx.KindEVM.Valid())
	require.False(t, tx.Kind("").Valid())

	u := &tx.Unsigned{ChainID: 1, Tip: new(big.Int), MaxFee: new(big.Int), Value: new(big.Int)}
	_, err := u.SigningHash()
	require.ErrorIs(t, err, tx.ErrKind)
	_, err = u.Encode(nil, nil)
	require.ErrorIs(t, err, tx.ErrKind)
	_, err = tx.Decode("solana", []byte{2})
	require.ErrorIs(t, err, tx.ErrKind)
	_, err = tx.Sender("", nil)
	require.ErrorIs(t, err, tx.ErrKind)
}

// TestUnsignedIsTheSameForBothKinds: only the signature's place differs, so the hash is one.
func TestUnsignedIsTheSameForBothKinds(t *testing.T) {
	u := tx.Unsigned{Kind: tx.KindQuantum, ChainID: 5, Nonce: 6, Tip: big.NewInt(7), MaxFee: big.NewInt(8), Gas: 9, Value: new(big.Int), Data: []byte{1}}
	q, err := u.SigningHash()
	require.NoError(t, err)
	u.Kind = tx.KindEVM
	e, err := u.SigningHash()
	require.NoError(t, err)
	require.Equal(t, q, e)
}

// FuzzDecode: whatever decodes, encodes to the same bytes, for both kinds.
func FuzzDecode(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.Scheme.Kind() == tx.KindEVM, unhex(f, v.Raw))
	}
	f.Fuzz(func(t *testing.T, evm bool, raw []byte) {
		kind := tx.KindQuantum
		if evm {
			kind = tx.KindEVM
		}
		s, err := tx.Decode(kind, raw)
		if err != nil {
			return
		}
		again, err := s.Encode()
		if err != nil || string(again) != string(raw) {
			t.Fatalf("Decode took %x, Encode gives %x, %v", raw, again, err)
		}
	})
}

func FuzzParseAddress(f *testing.F) {
	for _, s := range eip55 {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := tx.ParseAddress(s)
		if err != nil {
			return
		}
		if b, err := tx.ParseAddress(a.String()); err != nil || b != a {
			t.Fatalf("%q: %v, %v", s, b, err)
		}
	})
}
