// Package quantum is the one place that knows how Quantum Chain lays out a transaction.
//
// It promises the encoding of the three transaction types (legacy, EIP-2930, EIP-1559), the
// 32-byte hash that is signed for each, and the address that a public key has. Everything is
// deterministic and free of I/O; all functions are safe for concurrent use.
//
// Quantum Chain publishes that the envelope is Ethereum's, that signatures are post-quantum and
// that an address is the first 20 bytes of Keccak-256(public key), but not where public key and
// signature stand. The decision taken here (spec chain.md, “Kind quantum”): the field list of each
// type is Ethereum's, with the trailing v, r, s replaced by publicKey, signature. A correction
// of that decision touches this file and nothing else.
//
// It does not verify signatures, and it does not judge whether a transaction is sensible (fees,
// balance, gas): that is the chain's affair.
package quantum

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Sizes in bytes.
const (
	// PublicKeySize is that of Dilithium mode 3 (round 3) and of ML-DSA-65 (FIPS 204) alike.
	PublicKeySize = 1952
	// SignatureSizeDilithium3 is the signature size of CRYSTALS-Dilithium mode 3, round 3.
	SignatureSizeDilithium3 = 3293
	// SignatureSizeMLDSA65 is the signature size of ML-DSA-65, FIPS 204.
	SignatureSizeMLDSA65 = 3309
	// MaxSize bounds a whole encoding. It is go-ethereum's limit for a pooled transaction; a
	// longer one would not be relayed.
	MaxSize = 128 << 10
)

// ErrMalformed is wrapped by every error of this package: the bytes are not the canonical
// encoding of a transaction, or the fields cannot be encoded.
var ErrMalformed = errors.New("malformed quantum transaction")

// Type is the transaction type as EIP-2718 numbers it; legacy transactions have none on the wire.
type Type byte

// The types that Quantum Chain takes.
const (
	Legacy     Type = 0
	AccessList Type = 1 // EIP-2930
	DynamicFee Type = 2 // EIP-1559
)

// AccessTuple is one entry of an EIP-2930 access list.
type AccessTuple struct {
	Address     [20]byte
	StorageKeys [][32]byte
}

// Fields are what an unsigned transaction says. Amounts are wei, 0 to 2^256-1, never nil where the
// type has them.
type Fields struct {
	Type Type
	// ChainID is at least 1 when hashed. A legacy encoding does not carry it (it is bound by the
	// signing hash alone, EIP-155), so Decode leaves it 0 there and the verifier fills in his own.
	ChainID uint64
	// Nonce is at most 2^64-2 (EIP-2681).
	Nonce uint64
	// GasPrice is for Legacy and AccessList, nil otherwise.
	GasPrice *big.Int
	// Tip (maxPriorityFeePerGas) and MaxFee are for DynamicFee, nil otherwise.
	Tip, MaxFee *big.Int
	Gas         uint64
	// To is nil for a contract creation.
	To    *[20]byte
	Value *big.Int
	Data  []byte
	// AccessList is empty for Legacy.
	AccessList []AccessTuple
}

// The signed field lists, for decoding; list gives the same ones for encoding.
type signedLegacy struct {
	Nonce     uint64
	GasPrice  *big.Int
	Gas       uint64
	To        *[20]byte `rlp:"nil"`
	Value     *big.Int
	Data      []byte
	PublicKey []byte
	Signature []byte
}

type signedAccessList struct {
	ChainID    uint64
	Nonce      uint64
	GasPrice   *big.Int
	Gas        uint64
	To         *[20]byte `rlp:"nil"`
	Value      *big.Int
	Data       []byte
	AccessList []AccessTuple
	PublicKey  []byte
	Signature  []byte
}

type signedDynamicFee struct {
	ChainID    uint64
	Nonce      uint64
	Tip        *big.Int
	MaxFee     *big.Int
	Gas        uint64
	To         *[20]byte `rlp:"nil"`
	Value      *big.Int
	Data       []byte
	AccessList []AccessTuple
	PublicKey  []byte
	Signature  []byte
}

// list is the type's field list as the yellow paper (with EIP-155), EIP-2930 and EIP-1559 have it,
// without the trailing v, r, s.
func (f *Fields) list() []any {
	switch f.Type {
	case AccessList:
		return []any{f.ChainID, f.Nonce, f.GasPrice, f.Gas, f.To, f.Value, f.Data, f.AccessList}
	case DynamicFee:
		return []any{f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, f.To, f.Value, f.Data, f.AccessList}
	default:
		return []any{f.Nonce, f.GasPrice, f.Gas, f.To, f.Value, f.Data}
	}
}

// SigningHash is the 32 bytes that are signed: Ethereum's own for the type (legacy: EIP-155).
func (f *Fields) SigningHash() ([32]byte, error) {
	b, err := f.Unsigned()
	if err != nil {
		return [32]byte{}, err
	}
	return crypto.Keccak256Hash(b), nil
}

// Unsigned is the encoding that is signed, of which SigningHash is the Keccak-256.
func (f *Fields) Unsigned() ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if f.ChainID == 0 {
		return nil, fmt.Errorf("%w: chain id 0: a signature must be bound to a chain", ErrMalformed)
	}
	list := f.list()
	if f.Type == Legacy {
		list = append(list, f.ChainID, uint(0), uint(0))
	}
	return f.envelope(list)
}

// unsignedDynamicFee is the field list of EIP-1559 without a signature.
type unsignedDynamicFee struct {
	ChainID    uint64
	Nonce      uint64
	Tip        *big.Int
	MaxFee     *big.Int
	Gas        uint64
	To         *[20]byte `rlp:"nil"`
	Value      *big.Int
	Data       []byte
	AccessList []AccessTuple
}

// DecodeUnsigned is the strict inverse of Unsigned for EIP-1559, the one type that is made here: whatever it
// takes, Unsigned gives back byte for byte, and every other input is refused.
func DecodeUnsigned(raw []byte) (*Fields, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(raw), MaxSize)
	}
	if len(raw) == 0 || Type(raw[0]) != DynamicFee {
		return nil, fmt.Errorf("%w: not of type 2 (EIP-1559)", ErrMalformed)
	}
	var l unsignedDynamicFee
	if err := rlp.DecodeBytes(raw[1:], &l); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	f := &Fields{Type: DynamicFee, ChainID: l.ChainID, Nonce: l.Nonce, Tip: l.Tip, MaxFee: l.MaxFee, Gas: l.Gas, To: l.To,
		Value: l.Value, Data: l.Data, AccessList: l.AccessList}
	return f, f.check()
}

// Encode gives the whole signed transaction, as a node takes it.
func (f *Fields) Encode(publicKey, signature []byte) ([]byte, error) {
	if err := f.check(); err != nil {
		return nil, err
	}
	if err := checkSizes(publicKey, signature); err != nil {
		return nil, err
	}
	b, err := f.envelope(append(f.list(), publicKey, signature))
	if err != nil {
		return nil, err
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxSize)
	}
	return b, nil
}

// Decode is the strict inverse of Encode: whatever it takes, Encode gives back byte for byte, and
// every other input is refused. The results do not share memory with raw.
func Decode(raw []byte) (f *Fields, publicKey, signature []byte, err error) {
	if len(raw) > MaxSize {
		return nil, nil, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(raw), MaxSize)
	}
	if len(raw) == 0 {
		return nil, nil, nil, fmt.Errorf("%w: empty", ErrMalformed)
	}
	switch first := raw[0]; {
	case first >= 0xc0: // an RLP list: no type byte
		var l signedLegacy
		err = rlp.DecodeBytes(raw, &l)
		f = &Fields{Type: Legacy, Nonce: l.Nonce, GasPrice: l.GasPrice, Gas: l.Gas, To: l.To, Value: l.Value, Data: l.Data}
		publicKey, signature = l.PublicKey, l.Signature
	case Type(first) == AccessList:
		var l signedAccessList
		err = rlp.DecodeBytes(raw[1:], &l)
		f = &Fields{Type: AccessList, ChainID: l.ChainID, Nonce: l.Nonce, GasPrice: l.GasPrice, Gas: l.Gas, To: l.To,
			Value: l.Value, Data: l.Data, AccessList: l.AccessList}
		publicKey, signature = l.PublicKey, l.Signature
	case Type(first) == DynamicFee:
		var l signedDynamicFee
		err = rlp.DecodeBytes(raw[1:], &l)
		f = &Fields{Type: DynamicFee, ChainID: l.ChainID, Nonce: l.Nonce, Tip: l.Tip, MaxFee: l.MaxFee, Gas: l.Gas, To: l.To,
			Value: l.Value, Data: l.Data, AccessList: l.AccessList}
		publicKey, signature = l.PublicKey, l.Signature
	default:
		return nil, nil, nil, fmt.Errorf("%w: first byte 0x%02x is no transaction type", ErrMalformed, first)
	}
	if err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if err := f.check(); err != nil {
		return nil, nil, nil, err
	}
	if err := checkSizes(publicKey, signature); err != nil {
		return nil, nil, nil, err
	}
	return f, publicKey, signature, nil
}

// Address is the account of a public key: the first 20 bytes of its Keccak-256, where Ethereum
// takes the last.
func Address(publicKey []byte) ([20]byte, error) {
	if len(publicKey) != PublicKeySize {
		return [20]byte{}, fmt.Errorf("%w: public key of %d bytes, want %d", ErrMalformed, len(publicKey), PublicKeySize)
	}
	return [20]byte(crypto.Keccak256(publicKey)[:20]), nil
}

// envelope is EIP-2718's: type byte, then payload; a legacy transaction is the bare payload.
func (f *Fields) envelope(list []any) ([]byte, error) {
	var b bytes.Buffer
	if f.Type != Legacy {
		b.WriteByte(byte(f.Type))
	}
	if err := rlp.Encode(&b, list); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return b.Bytes(), nil
}

// check holds what RLP's own types do not: which amounts a type has, their range, the nonce's. A
// typed transaction carries its chain id, which is therefore never 0.
func (f *Fields) check() error {
	if f.Type > DynamicFee {
		return fmt.Errorf("%w: type %d", ErrMalformed, f.Type)
	}
	dynamic := f.Type == DynamicFee
	for _, a := range []struct {
		name string
		v    *big.Int
		has  bool
	}{{"value", f.Value, true}, {"gasPrice", f.GasPrice, !dynamic}, {"maxFee", f.MaxFee, dynamic}, {"tip", f.Tip, dynamic}} {
		if (a.v != nil) != a.has {
			return fmt.Errorf("%w: type %d: %s is missing or does not belong", ErrMalformed, f.Type, a.name)
		}
		if a.has && (a.v.Sign() < 0 || a.v.BitLen() > 256) {
			return fmt.Errorf("%w: %s %v is not a uint256", ErrMalformed, a.name, a.v)
		}
	}
	if f.Type == Legacy && len(f.AccessList) > 0 {
		return fmt.Errorf("%w: a legacy transaction has no access list", ErrMalformed)
	}
	if f.Type != Legacy && f.ChainID == 0 {
		return fmt.Errorf("%w: chain id 0", ErrMalformed)
	}
	if f.Nonce == math.MaxUint64 {
		return fmt.Errorf("%w: nonce %d is above 2^64-2", ErrMalformed, f.Nonce)
	}
	return nil
}

func checkSizes(publicKey, signature []byte) error {
	if len(publicKey) != PublicKeySize {
		return fmt.Errorf("%w: public key of %d bytes, want %d", ErrMalformed, len(publicKey), PublicKeySize)
	}
	if n := len(signature); n != SignatureSizeDilithium3 && n != SignatureSizeMLDSA65 {
		return fmt.Errorf("%w: signature of %d bytes, want %d or %d", ErrMalformed, n, SignatureSizeDilithium3, SignatureSizeMLDSA65)
	}
	return nil
}
