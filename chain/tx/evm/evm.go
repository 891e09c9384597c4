// Package evm encodes and decodes EIP-1559 transactions of unmodified Ethereum chains, signed with
// secp256k1.
//
// It promises Ethereum's own bytes: signing hash, encoding, sender. A signature is 65 bytes
// r || s || v, v being the recovery id 0 or 1; a high s (EIP-2) or a v that recovers another key
// is refused, so that one transaction has one encoding and one hash. Everything is deterministic,
// free of I/O and safe for concurrent use.
//
// It does not make signatures, knows no other transaction type, and writes no access lists: what
// this appliance sends has none, and Decode refuses one.
package evm

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
)

// Sizes in bytes.
const (
	// PublicKeySize is that of an uncompressed point X || Y, without the 0x04 in front.
	PublicKeySize = 64
	// SignatureSize is r (32), s (32), v (1).
	SignatureSize = 65
	// MaxSize bounds a whole encoding, as go-ethereum's pool does.
	MaxSize = 128 << 10
)

// typeDynamicFee is EIP-1559's transaction type.
const typeDynamicFee = 0x02

// ErrMalformed says that bytes are not the canonical encoding of an EIP-1559 transaction, or that
// fields cannot be encoded.
var ErrMalformed = errors.New("malformed evm transaction")

// ErrSignature says that a signature is out of range, has a high s, or recovers another key.
var ErrSignature = errors.New("bad secp256k1 signature")

// Fields are what an unsigned EIP-1559 transaction says. Amounts are wei, 0 to 2^256-1, never nil.
type Fields struct {
	ChainID     uint64 // at least 1
	Nonce       uint64 // at most 2^64-2 (EIP-2681)
	Tip, MaxFee *big.Int
	Gas         uint64
	To          *[20]byte // nil: contract creation
	Value       *big.Int
	Data        []byte
}

type unsignedList struct {
	ChainID     uint64
	Nonce       uint64
	Tip, MaxFee *big.Int
	Gas         uint64
	To          *[20]byte `rlp:"nil"`
	Value       *big.Int
	Data        []byte
	AccessList  []struct{}
}

type signedList struct {
	ChainID     uint64
	Nonce       uint64
	Tip, MaxFee *big.Int
	Gas         uint64
	To          *[20]byte `rlp:"nil"`
	Value       *big.Int
	Data        []byte
	AccessList  []struct{}
	V           uint64
	R, S        *big.Int
}

// SigningHash is EIP-1559's: Keccak-256(0x02 || rlp(fields)).
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
	return envelope(&unsignedList{f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, f.To, f.Value, f.Data, nil})
}

// DecodeUnsigned is the strict inverse of Unsigned: whatever it takes, Unsigned gives back byte for byte, and
// every other input is refused.
func DecodeUnsigned(raw []byte) (*Fields, error) {
	if len(raw) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(raw), MaxSize)
	}
	if len(raw) == 0 || raw[0] != typeDynamicFee {
		return nil, fmt.Errorf("%w: not of type 2 (EIP-1559)", ErrMalformed)
	}
	var l unsignedList
	if err := rlp.DecodeBytes(raw[1:], &l); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if len(l.AccessList) > 0 {
		return nil, fmt.Errorf("%w: access list of %d entries", ErrMalformed, len(l.AccessList))
	}
	f := &Fields{l.ChainID, l.Nonce, l.Tip, l.MaxFee, l.Gas, l.To, l.Value, l.Data}
	return f, f.check()
}

// Encode gives the whole signed transaction. The signature must recover to publicKey over this
// transaction's signing hash: a wrong v would send from an account that nobody meant.
func (f *Fields) Encode(publicKey, signature []byte) ([]byte, error) {
	digest, err := f.SigningHash()
	if err != nil {
		return nil, err
	}
	if err := Verify(publicKey, digest, signature); err != nil {
		return nil, err
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:64])
	b, err := envelope(&signedList{f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, f.To, f.Value, f.Data, nil, uint64(signature[64]), r, s})
	if err != nil {
		return nil, err
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(b), MaxSize)
	}
	return b, nil
}

// Decode is the strict inverse of Encode: whatever it takes, Encode gives back byte for byte, and
// every other input is refused. The public key is the one that the signature recovers.
func Decode(raw []byte) (f *Fields, publicKey, signature []byte, err error) {
	if len(raw) > MaxSize {
		return nil, nil, nil, fmt.Errorf("%w: %d bytes, at most %d", ErrMalformed, len(raw), MaxSize)
	}
	if len(raw) == 0 || raw[0] != typeDynamicFee {
		return nil, nil, nil, fmt.Errorf("%w: not of type 2 (EIP-1559)", ErrMalformed)
	}
	var l signedList
	if err := rlp.DecodeBytes(raw[1:], &l); err != nil {
		return nil, nil, nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	if len(l.AccessList) > 0 {
		return nil, nil, nil, fmt.Errorf("%w: access list of %d entries", ErrMalformed, len(l.AccessList))
	}
	if l.V > 1 || l.R.BitLen() > 256 || l.S.BitLen() > 256 {
		return nil, nil, nil, fmt.Errorf("%w: v, r or s out of range", ErrSignature)
	}
	f = &Fields{l.ChainID, l.Nonce, l.Tip, l.MaxFee, l.Gas, l.To, l.Value, l.Data}
	digest, err := f.SigningHash()
	if err != nil {
		return nil, nil, nil, err
	}
	signature = make([]byte, SignatureSize)
	l.R.FillBytes(signature[:32])
	l.S.FillBytes(signature[32:64])
	signature[64] = byte(l.V)
	publicKey, err = Recover(digest, signature)
	if err != nil {
		return nil, nil, nil, err
	}
	return f, publicKey, signature, nil
}

// Recover gives the public key (X || Y) whose signature over digest this is. It refuses r and s
// outside 1..n-1, s above n/2 (EIP-2) and v above 1.
func Recover(digest [32]byte, signature []byte) ([]byte, error) {
	if len(signature) != SignatureSize {
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrSignature, len(signature), SignatureSize)
	}
	if signature[64] > 1 {
		return nil, fmt.Errorf("%w: recovery id %d", ErrSignature, signature[64])
	}
	var s secp256k1.ModNScalar
	if s.SetByteSlice(signature[32:64]) || s.IsOverHalfOrder() {
		return nil, fmt.Errorf("%w: s is above half the group's order", ErrSignature)
	}
	// decred puts the recovery code first, offset by Bitcoin's 27.
	compact := append([]byte{27 + signature[64]}, signature[:64]...)
	key, _, err := ecdsa.RecoverCompact(compact, digest[:])
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrSignature, err)
	}
	return key.SerializeUncompressed()[1:], nil
}

// Verify is nil exactly if signature recovers to publicKey over digest.
func Verify(publicKey []byte, digest [32]byte, signature []byte) error {
	got, err := Recover(digest, signature)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, publicKey) {
		return fmt.Errorf("%w: recovers to another key", ErrSignature)
	}
	return nil
}

// Address is Ethereum's: the last 20 bytes of Keccak-256(X || Y). A point that is not on the curve
// has none.
func Address(publicKey []byte) ([20]byte, error) {
	if len(publicKey) != PublicKeySize {
		return [20]byte{}, fmt.Errorf("%w: public key of %d bytes, want %d", ErrMalformed, len(publicKey), PublicKeySize)
	}
	if _, err := secp256k1.ParsePubKey(append([]byte{4}, publicKey...)); err != nil {
		return [20]byte{}, fmt.Errorf("%w: public key: %v", ErrMalformed, err)
	}
	return [20]byte(crypto.Keccak256(publicKey)[12:]), nil
}

func envelope(list any) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte(typeDynamicFee)
	if err := rlp.Encode(&b, list); err != nil {
		return nil, fmt.Errorf("%w: %v", ErrMalformed, err)
	}
	return b.Bytes(), nil
}

func (f *Fields) check() error {
	for _, a := range []struct {
		name string
		v    *big.Int
	}{{"tip", f.Tip}, {"maxFee", f.MaxFee}, {"value", f.Value}} {
		if a.v == nil {
			return fmt.Errorf("%w: %s is missing", ErrMalformed, a.name)
		}
		if a.v.Sign() < 0 || a.v.BitLen() > 256 {
			return fmt.Errorf("%w: %s %v is not a uint256", ErrMalformed, a.name, a.v)
		}
	}
	if f.ChainID == 0 {
		return fmt.Errorf("%w: chain id 0", ErrMalformed)
	}
	if f.Nonce == math.MaxUint64 {
		return fmt.Errorf("%w: nonce %d is above 2^64-2", ErrMalformed, f.Nonce)
	}
	return nil
}
