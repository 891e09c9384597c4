package policy

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// ErrTransaction says that an intent makes no transaction with that nonce, gas limit and fees.
var ErrTransaction = errors.New("no transaction")

const (
	// cancelGas is what a transfer of nothing costs (Ethereum yellow paper, appendix G).
	cancelGas = 21_000
	// maxCancelGas leaves room for chains whose base cost is higher.
	maxCancelGas = 100_000
)

// Transaction is what the intent puts on the chain: everything but nonce, gas limit and fees (wei a
// unit of gas) follows from the intent, and those must lie within the template's bounds for the
// call and within the fee cap. Errors wrap ErrTransaction or ErrDocument.
func (i *Intent) Transaction(nonce, gas uint64, maxFee, tip *big.Int) (*tx.Unsigned, error) {
	if err := i.Check(); err != nil {
		return nil, err
	}
	if nonce > maxNonce {
		return nil, fmt.Errorf("%w: nonce %d, at most 2^64-2", ErrTransaction, nonce)
	}
	if err := i.checkFees(gas, maxFee, tip); err != nil {
		return nil, err
	}
	to, data, lowest, highest, err := i.call(nonce)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrTransaction, i.OperationType, err)
	}
	if gas < lowest || gas > highest {
		return nil, fmt.Errorf("%w: gas limit %d of %s is outside %d to %d", ErrTransaction, gas, i.OperationType, lowest, highest)
	}
	return &tx.Unsigned{Kind: i.Scheme.Kind(), ChainID: i.ChainID, Nonce: nonce, Tip: new(big.Int).Set(tip), MaxFee: new(big.Int).Set(maxFee),
		Gas: gas, To: to, Value: new(big.Int), Data: data}, nil
}

func (i *Intent) checkFees(gas uint64, maxFee, tip *big.Int) error {
	if maxFee == nil || tip == nil || maxFee.Sign() <= 0 || tip.Sign() < 0 || tip.Cmp(maxFee) > 0 {
		return fmt.Errorf("%w: max fee %v and tip %v: want 0 ≤ tip ≤ max fee, and a max fee above 0", ErrTransaction, maxFee, tip)
	}
	fee, err := AmountFromBig(maxFee)
	if err != nil {
		return fmt.Errorf("%w: max fee: %w", ErrTransaction, err)
	}
	if total, ok := fee.Mul(gas); !ok || total.Cmp(i.FeeCap) > 0 {
		return fmt.Errorf("%w: %d gas at %s wei are above the fee cap, %s", ErrTransaction, gas, fee, i.FeeCap)
	}
	return nil
}

// call is the recipient (nil: creation), the data and the bounds of the gas limit.
func (i *Intent) call(nonce uint64) (to *tx.Address, data []byte, lowest, highest uint64, err error) {
	if i.OperationType == OpCancel {
		if want, err := strconv.ParseUint(*i.Params.Nonce, 10, 64); err != nil || want != nonce {
			return nil, nil, 0, 0, fmt.Errorf("it fills nonce %s, not %d", *i.Params.Nonce, nonce)
		}
		self := i.Performer.Address
		return &self, nil, cancelGas, maxCancelGas, nil
	}
	template, ok := qrc20.TemplateByID(i.Token.TemplateID)
	if !ok {
		return nil, nil, 0, 0, fmt.Errorf("template %s is not known", i.Token.TemplateID)
	}
	if i.OperationType == OpDeployToken {
		code, err := i.Params.InitCode(template.ID)
		if err != nil {
			return nil, nil, 0, 0, err
		}
		if have := tx.HashOf(code); have != *i.Params.InitcodeKeccak {
			return nil, nil, 0, 0, fmt.Errorf("the creation code's Keccak is %s, the intent says %s", have, i.Params.InitcodeKeccak)
		}
		lowest, highest = template.DeployGasBounds()
		return nil, code, lowest, highest, nil
	}
	call := i.tokenCall()
	if !template.HasMethod(call.Method) {
		return nil, nil, 0, 0, fmt.Errorf("template %s has no %s", template.ID, call.Method)
	}
	if i.Params.Role != "" && !template.HasRole(i.Params.Role) {
		return nil, nil, 0, 0, fmt.Errorf("template %s has no role %s", template.ID, i.Params.Role)
	}
	if data, err = call.Pack(); err != nil {
		return nil, nil, 0, 0, err
	}
	lowest, highest = qrc20.GasBounds(call.Method)
	contract := *i.Token.ContractAddress
	return &contract, data, lowest, highest, nil
}

// InitCode is a deployment's creation code with its constructor arguments: what InitcodeKeccak is
// the Keccak-256 of. Errors are of an unknown template, a missing parameter, or qrc20's.
func (p *Params) InitCode(templateID string) ([]byte, error) {
	template, ok := qrc20.TemplateByID(templateID)
	if !ok {
		return nil, fmt.Errorf("template %.64q is not known", templateID)
	}
	if p.Name == nil || p.Symbol == nil || p.Decimals == nil || p.Cap == nil || p.InitialSupply == nil ||
		p.Mintable == nil || p.Burnable == nil || p.Admin == nil {
		return nil, fmt.Errorf("a parameter of %s is missing", templateID)
	}
	return template.InitCode(qrc20.DeployArgs{Name: *p.Name, Symbol: *p.Symbol, Decimals: *p.Decimals, Cap: p.Cap.Big(),
		InitialSupply: p.InitialSupply.Big(), Mintable: *p.Mintable, Burnable: *p.Burnable, Admin: *p.Admin})
}

// tokenCall is the contract call of a well-formed intent that is neither DEPLOY_TOKEN nor CANCEL.
// What the performing wallet itself holds is burned and transferred directly, anything else by
// allowance.
func (i *Intent) tokenCall() qrc20.Call {
	p := &i.Params
	own := p.Source != nil && *p.Source == i.Performer.Address
	switch i.OperationType {
	case OpMint:
		return qrc20.Call{Method: qrc20.Mint, Amount: p.Amount.Big(), Account: *p.Recipient}
	case OpBurn:
		if own {
			return qrc20.Call{Method: qrc20.Burn, Amount: p.Amount.Big()}
		}
		return qrc20.Call{Method: qrc20.BurnFrom, Amount: p.Amount.Big(), Account: *p.Source}
	case OpTransfer:
		if own {
			return qrc20.Call{Method: qrc20.Transfer, Amount: p.Amount.Big(), To: *p.Recipient}
		}
		return qrc20.Call{Method: qrc20.TransferFrom, Amount: p.Amount.Big(), Account: *p.Source, To: *p.Recipient}
	case OpGrantRole:
		return qrc20.Call{Method: qrc20.GrantRole, Role: p.Role, Account: *p.Subject}
	case OpRevokeRole:
		return qrc20.Call{Method: qrc20.RevokeRole, Role: p.Role, Account: *p.Subject}
	case OpPause:
		return qrc20.Call{Method: qrc20.Pause}
	case OpUnpause:
		return qrc20.Call{Method: qrc20.Unpause}
	case OpFreeze:
		return qrc20.Call{Method: qrc20.Freeze, Account: *p.Subject}
	case OpUnfreeze:
		return qrc20.Call{Method: qrc20.Unfreeze, Account: *p.Subject}
	case OpAllowlistAdd:
		return qrc20.Call{Method: qrc20.Allow, Account: *p.Subject}
	case OpAllowlistRemove:
		return qrc20.Call{Method: qrc20.Disallow, Account: *p.Subject}
	}
	return qrc20.Call{} // of no method: HasMethod refuses it
}
