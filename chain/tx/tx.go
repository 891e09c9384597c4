// Package tx is one unsigned transaction for both kinds of network, and everything that turns it
// into bytes and back: signing hash, encoding, decoding, sender address, signature check.
//
// It promises that an encoding is a function of its fields alone, that Decode takes exactly what
// Encode gives, and that the transaction hash is Keccak-256 of the whole encoding. All functions
// are pure and safe for concurrent use.
//
// The layouts themselves are in [github.com/mintwarden/mintwarden/chain/tx/quantum] and
// [github.com/mintwarden/mintwarden/chain/tx/evm]; this package dispatches. It makes no
// signatures, holds no keys, and does not judge fees, balances or gas.
package tx

import (
	"fmt"
	"math/big"

	"github.com/mintwarden/mintwarden/chain/tx/evm"
	"github.com/mintwarden/mintwarden/chain/tx/quantum"
)

// MaxSize bounds every encoding, in bytes.
const MaxSize = quantum.MaxSize

// Unsigned is an EIP-1559 transaction with an empty access list: the only sort that this appliance
// signs. Amounts are wei, 0 to 2^256-1.
type Unsigned struct {
	Kind        Kind
	ChainID     uint64 // at least 1
	Nonce       uint64 // at most 2^64-2
	Tip, MaxFee *big.Int
	Gas         uint64
	To          *Address // nil: contract creation
	Value       *big.Int
	Data        []byte
}

// SigningHash is the 32 bytes that a wallet signs. Errors wrap ErrKind or the malformed error of
// the kind's package.
func (u *Unsigned) SigningHash() (Hash, error) {
	switch u.Kind {
	case KindQuantum:
		h, err := u.quantum().SigningHash()
		return h, err
	case KindEVM:
		h, err := u.evm().SigningHash()
		return h, err
	}
	return Hash{}, fmt.Errorf("%w: %q", ErrKind, string(u.Kind))
}

// Encode gives the whole signed transaction, as a node takes it. It checks sizes; only kind evm's
// encoding verifies the signature too, for there the wrong one is another sender's.
func (u *Unsigned) Encode(publicKey, signature []byte) ([]byte, error) {
	switch u.Kind {
	case KindQuantum:
		return u.quantum().Encode(publicKey, signature)
	case KindEVM:
		return u.evm().Encode(publicKey, signature)
	}
	return nil, fmt.Errorf("%w: %q", ErrKind, string(u.Kind))
}

func (u *Unsigned) quantum() *quantum.Fields {
	return &quantum.Fields{Type: quantum.DynamicFee, ChainID: u.ChainID, Nonce: u.Nonce, Tip: u.Tip, MaxFee: u.MaxFee,
		Gas: u.Gas, To: (*[20]byte)(u.To), Value: u.Value, Data: u.Data}
}

func (u *Unsigned) evm() *evm.Fields {
	return &evm.Fields{ChainID: u.ChainID, Nonce: u.Nonce, Tip: u.Tip, MaxFee: u.MaxFee,
		Gas: u.Gas, To: (*[20]byte)(u.To), Value: u.Value, Data: u.Data}
}
