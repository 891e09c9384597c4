package policy

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// ErrForeign says that somebody else's transaction is none that we sign, or not the intent's.
var ErrForeign = errors.New("foreign transaction")

// Reading is what a transaction that somebody else made does, read from its bytes alone.
type Reading struct {
	Unsigned *tx.Unsigned
	Type     OperationType
	Contract tx.Address
	Params   Params
}

// ReadForeign reads a transaction that the sender is to sign: a call of a token contract, of value 0. Whatever
// else there is (coins sent, a creation, a call that no template has) is refused, for nothing of it could be
// shown to those who approve. Errors wrap ErrForeign.
func ReadForeign(kind tx.Kind, sender tx.Address, raw []byte) (*Reading, error) {
	u, err := tx.DecodeUnsigned(kind, raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	switch {
	case u.To == nil:
		return nil, fmt.Errorf("%w: it creates a contract", ErrForeign)
	case u.Value.Sign() != 0:
		return nil, fmt.Errorf("%w: it sends %s of the chain's own coin", ErrForeign, u.Value)
	}
	call, err := qrc20.Unpack(u.Data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	r := &Reading{Unsigned: u, Contract: *u.To}
	if err := r.take(call, sender); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return r, nil
}

// take is the inverse of tokenCall.
func (r *Reading) take(c qrc20.Call, sender tx.Address) error {
	p := &r.Params
	if c.Amount != nil {
		a, err := AmountFromBig(c.Amount)
		if err != nil {
			return err
		}
		p.Amount = &a
	}
	account, to := tx.Address(c.Account), tx.Address(c.To)
	switch c.Method {
	case qrc20.Mint:
		r.Type, p.Recipient = OpMint, &account
	case qrc20.Burn:
		r.Type, p.Source = OpBurn, &sender
	case qrc20.BurnFrom:
		r.Type, p.Source = OpBurn, &account
	case qrc20.Transfer:
		r.Type, p.Source, p.Recipient = OpTransfer, &sender, &to
	case qrc20.TransferFrom:
		r.Type, p.Source, p.Recipient = OpTransfer, &account, &to
	case qrc20.GrantRole:
		r.Type, p.Role, p.Subject = OpGrantRole, c.Role, &account
	case qrc20.RevokeRole:
		r.Type, p.Role, p.Subject = OpRevokeRole, c.Role, &account
	case qrc20.Pause:
		r.Type = OpPause
	case qrc20.Unpause:
		r.Type = OpUnpause
	case qrc20.Freeze:
		r.Type, p.Subject = OpFreeze, &account
	case qrc20.Unfreeze:
		r.Type, p.Subject = OpUnfreeze, &account
	case qrc20.Allow:
		r.Type, p.Subject = OpAllowlistAdd, &account
	case qrc20.Disallow:
		r.Type, p.Subject = OpAllowlistRemove, &account
	default:
		return fmt.Errorf("call %s is no operation", c.Method)
	}
	return nil
}

// Foreign reads somebody else's transaction and is nil in its error exactly if the intent says all that it
// does: with everything that the bytes say put in its place (operation, chain, contract, every parameter) the
// intent is still the same, and the transaction that is built from the intent, with the bytes' nonce, gas limit
// and fees, is those bytes. Errors wrap ErrForeign, ErrTransaction or ErrDocument.
func (i *Intent) Foreign(raw []byte) (*tx.Unsigned, error) {
	read, err := ReadForeign(i.Scheme.Kind(), i.Performer.Address, raw)
	if err != nil {
		return nil, err
	}
	said, err := i.Encode()
	if err != nil {
		return nil, err
	}
	does := *i
	does.ChainID, does.OperationType, does.Token.ContractAddress, does.Params = read.Unsigned.ChainID, read.Type, &read.Contract, read.Params
	done, err := does.Encode()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrForeign, err)
	}
	if !bytes.Equal(said, done) {
		return nil, fmt.Errorf("%w: it is %s on chain %d, contract %s, and not what the intent of operation %s says", ErrForeign,
			read.Type, read.Unsigned.ChainID, read.Contract, i.OperationID)
	}
	u := read.Unsigned
	ours, err := i.Transaction(u.Nonce, u.Gas, u.MaxFee, u.Tip)
	if err != nil {
		return nil, err
	}
	built, err := ours.EncodeUnsigned()
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(built, raw) {
		return nil, fmt.Errorf("%w: the intent of operation %s makes other bytes", ErrForeign, i.OperationID)
	}
	return ours, nil
}
