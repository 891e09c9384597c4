package tx

import (
	"bytes"
	"fmt"

	"github.com/mintwarden/mintwarden/chain/tx/evm"
	"github.com/mintwarden/mintwarden/chain/tx/quantum"
)

// EncodeUnsigned is the encoding that is signed: SigningHash is its Keccak-256.
func (u *Unsigned) EncodeUnsigned() ([]byte, error) {
	switch u.Kind {
	case KindQuantum:
		return u.quantum().Unsigned()
	case KindEVM:
		return u.evm().Unsigned()
	}
	return nil, fmt.Errorf("%w: %q", ErrKind, string(u.Kind))
}

// DecodeUnsigned reads what somebody else wants to have signed. It is strict: EncodeUnsigned of the result is
// raw again, and nothing else decodes, so no other type than EIP-1559 and no access list.
func DecodeUnsigned(kind Kind, raw []byte) (*Unsigned, error) {
	var u *Unsigned
	switch kind {
	case KindQuantum:
		f, err := quantum.DecodeUnsigned(raw)
		if err != nil {
			return nil, err
		}
		if n := len(f.AccessList); n > 0 {
			return nil, fmt.Errorf("%w: access list of %d entries", quantum.ErrMalformed, n)
		}
		u = &Unsigned{kind, f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, (*Address)(f.To), f.Value, f.Data}
	case KindEVM:
		f, err := evm.DecodeUnsigned(raw)
		if err != nil {
			return nil, err
		}
		u = &Unsigned{kind, f.ChainID, f.Nonce, f.Tip, f.MaxFee, f.Gas, (*Address)(f.To), f.Value, f.Data}
	default:
		return nil, fmt.Errorf("%w: %q", ErrKind, string(kind))
	}
	again, err := u.EncodeUnsigned()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(again, raw) {
		return nil, fmt.Errorf("%w: another encoding of it is the canonical one", quantum.ErrMalformed)
	}
	return u, nil
}
