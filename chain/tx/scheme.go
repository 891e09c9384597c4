package tx

import (
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/chain/tx/evm"
	"github.com/mintwarden/mintwarden/chain/tx/quantum"
)

// ErrKind says that a kind of network is not one of ours.
var ErrKind = errors.New("unknown kind of network")

// Kind is a kind of network; the zero value is none.
type Kind string

// The kinds.
const (
	KindQuantum Kind = "quantum" // Quantum Chain: post-quantum accounts
	KindEVM     Kind = "evm"     // any unmodified Ethereum-compatible chain
)

// Valid is true of the two kinds.
func (k Kind) Valid() bool { return k == KindQuantum || k == KindEVM }

func (k Kind) address(publicKey []byte) (Address, error) {
	switch k {
	case KindQuantum:
		a, err := quantum.Address(publicKey)
		return a, err
	case KindEVM:
		a, err := evm.Address(publicKey)
		return a, err
	}
	return Address{}, fmt.Errorf("%w: %q", ErrKind, string(k))
}

// Scheme is a signature scheme; the zero value is none.
type Scheme string

// The schemes.
const (
	Dilithium3 Scheme = "dilithium3" // CRYSTALS-Dilithium mode 3, round 3; kind quantum's default
	MLDSA65    Scheme = "ml-dsa-65"  // FIPS 204 ML-DSA-65, empty context
	Secp256k1  Scheme = "secp256k1"  // Ethereum's ECDSA, 65 bytes r || s || v
)

// Valid is true of the three schemes.
func (s Scheme) Valid() bool { return s.Kind() != "" }

// Kind is the kind of network whose transactions the scheme signs, empty if the scheme is invalid.
func (s Scheme) Kind() Kind {
	switch s {
	case Dilithium3, MLDSA65:
		return KindQuantum
	case Secp256k1:
		return KindEVM
	}
	return ""
}

// PublicKeySize is in bytes; 0 if the scheme is invalid.
func (s Scheme) PublicKeySize() int {
	switch s.Kind() {
	case KindQuantum:
		return quantum.PublicKeySize
	case KindEVM:
		return evm.PublicKeySize
	}
	return 0
}

// SignatureSize is in bytes; 0 if the scheme is invalid.
func (s Scheme) SignatureSize() int {
	switch s {
	case Dilithium3:
		return quantum.SignatureSizeDilithium3
	case MLDSA65:
		return quantum.SignatureSizeMLDSA65
	case Secp256k1:
		return evm.SignatureSize
	}
	return 0
}
