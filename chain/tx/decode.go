package tx

import (
	"fmt"
	"math/big"

	"github.com/mintwarden/mintwarden/chain/tx/evm"
	"github.com/mintwarden/mintwarden/chain/tx/quantum"
)

// Type is the EIP-2718 transaction type. Kind quantum has all three, kind evm only DynamicFee.
type Type = quantum.Type

// The types.
const (
	Legacy     = quantum.Legacy
	AccessList = quantum.AccessList
	DynamicFee = quantum.DynamicFee
)

// AccessTuple is one entry of an access list.
type AccessTuple = quantum.AccessTuple

// Signed is a decoded transaction, of any type.
type Signed struct {
	// Unsigned holds what all types share. For Legacy and AccessList its Tip and MaxFee both equal
	// GasPrice, which is how EIP-1559 reads them. For Legacy its ChainID is 0, since the encoding
	// does not say it: the verifier sets his own before he asks for SigningHash.
	Unsigned
	Type       Type
	GasPrice   *big.Int // nil for DynamicFee
	AccessList []AccessTuple
	PublicKey  []byte // as Sender takes it; recovered for kind evm
	Signature  []byte
	Raw        []byte // a copy of what was decoded
	Hash       Hash
	Sender     Address
}

// Decode reads a signed transaction. It is strict: Encode of the result is raw again, and nothing
// else decodes. It verifies no post-quantum signature (a verifier calls Verify); for kind evm the
// sender is what the signature recovers.
func Decode(kind Kind, raw []byte) (*Signed, error) {
	s := &Signed{Type: DynamicFee, Unsigned: Unsigned{Kind: kind}}
	switch kind {
	case KindQuantum:
		f, pub, sig, err := quantum.Decode(raw)
		if err != nil {
			return nil, err
		}
		s.Type, s.GasPrice, s.AccessList = f.Type, f.GasPrice, f.AccessList
		s.PublicKey, s.Signature = pub, sig
		s.Unsigned = Unsigned{kind, f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, (*Address)(f.To), f.Value, f.Data}
		if f.Type != DynamicFee {
			s.Tip, s.MaxFee = f.GasPrice, f.GasPrice
		}
	case KindEVM:
		f, pub, sig, err := evm.Decode(raw)
		if err != nil {
			return nil, err
		}
		s.PublicKey, s.Signature = pub, sig
		s.Unsigned = Unsigned{kind, f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, (*Address)(f.To), f.Value, f.Data}
	default:
		return nil, fmt.Errorf("%w: %q", ErrKind, string(kind))
	}
	sender, err := Sender(kind, s.PublicKey)
	if err != nil {
		return nil, err
	}
	s.Sender = sender
	s.Raw = append([]byte(nil), raw...)
	s.Hash = HashOf(raw)
	return s, nil
}

// SigningHash is the 32 bytes that were signed, by the rules of the transaction's own type.
func (s *Signed) SigningHash() (Hash, error) {
	if s.Kind == KindQuantum {
		h, err := s.fields().SigningHash()
		return h, err
	}
	return s.Unsigned.SigningHash()
}

// Encode gives the whole transaction again.
func (s *Signed) Encode() ([]byte, error) {
	if s.Kind == KindQuantum {
		return s.fields().Encode(s.PublicKey, s.Signature)
	}
	return s.Unsigned.Encode(s.PublicKey, s.Signature)
}

// Verify is true exactly if the signature is scheme's over this transaction by its public key. It
// is false for a legacy transaction whose ChainID nobody filled in.
func (s *Signed) Verify(scheme Scheme) bool {
	if scheme.Kind() != s.Kind {
		return false
	}
	digest, err := s.SigningHash()
	return err == nil && VerifySignature(scheme, s.PublicKey, digest, s.Signature)
}

func (s *Signed) fields() *quantum.Fields {
	f := s.Unsigned.quantum()
	f.Type, f.GasPrice, f.AccessList = s.Type, s.GasPrice, s.AccessList
	if s.Type != DynamicFee {
		f.Tip, f.MaxFee = nil, nil
	}
	return f
}
