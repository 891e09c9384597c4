package operation

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// propose asks the chain once more all that it was asked at submission, and for gas limit and fees. A
// reason, which begins with an error type of spec/api.md, says that the transaction must not be made.
func (s *Service) propose(ctx context.Context, o *Operation, i *policy.Intent, r *seal.AuthorizeRequest) (why string, err error) {
	p, err := s.planAtSigning(ctx, o, i)
	if err == nil {
		err = s.offer(ctx, p, o, i, r)
	}
	var refusal *registry.Refusal
	if errors.As(err, &refusal) {
		return refusal.Error(), nil
	}
	return "", err
}

// offer fills in gas limit and fees of a transaction that the chain would take.
func (s *Service) offer(ctx context.Context, p *plan, o *Operation, i *policy.Intent, r *seal.AuthorizeRequest) error {
	free := *i
	free.FeeCap = policy.MaxAmount()
	p.lowest, p.highest = boundsOf(i)
	u, err := free.Transaction(nonceFor(i), p.lowest, big.NewInt(1), new(big.Int))
	if err != nil {
		return registry.Refuse(registry.Validation, "it makes no transaction: %s", err)
	}
	ask := func(ctx context.Context, g *glances) (*facts, error) {
		f, err := s.facts(ctx, p, u.To, u.Data, g)
		if err != nil {
			return nil, err
		}
		if err := s.checkChain(p, f); err != nil {
			return nil, err
		}
		if r.Unsigned == nil {
			if err := offerFees(p, o, i, f, r); err != nil {
				return nil, err
			}
		}
		once, ok := r.MaxFee.Mul(r.GasLimit)
		if !ok {
			return nil, fmt.Errorf("operation: %d gas at %s wei for %s: more than 2^256-1", r.GasLimit, r.MaxFee, o.ID)
		}
		return f, p.checkFunds(f, once, "one transaction")
	}
	_, err = s.askTwice(ctx, ask)
	var refusal *registry.Refusal
	if p.chain.Nodes() == 1 || !errors.As(err, &refusal) {
		return err
	}
	return everybodys(refusal, p.chain.Each(ctx, func(ctx context.Context) error {
		_, err := ask(ctx, nil)
		return err
	}))
}

// contestedError says that not every configured node gives a reason to make no transaction: what one of them says alone
// ends nothing that people approved.
type contestedError struct{ attention string }

func (e *contestedError) Error() string { return e.attention }

// everybodys is the refusal if every configured node's word gives one.
func everybodys(refused *registry.Refusal, each []error) error {
	silent := false
	for _, err := range each {
		var refusal *registry.Refusal
		var dear *dearError
		switch {
		case err == nil || errors.As(err, &dear): // it can, for more
			return &contestedError{fmt.Sprintf("%s: one node says that it cannot be done (%s), another that it can; it waits until they agree, or it expires", attentionDiffer, refused.Type)}
		case !errors.As(err, &refusal):
			silent = true
		}
	}
	if silent {
		return &contestedError{fmt.Sprintf("%s: it cannot be done where it was asked for (%s); another node does not answer", attentionNodes, refused.Type)}
	}
	return refused
}

// dearError says that a block costs more than the approved cap allows: the operation waits until that falls.
type dearError struct {
	base   *big.Int // wei a unit of gas
	feeCap policy.Amount
	gas    uint64
}

func (e *dearError) Error() string {
	return fmt.Sprintf("a block costs %s wei a unit of gas, %d of which the approved fee cap of %s does not pay for; it waits until that falls, or it expires",
		e.base, e.gas, e.feeCap)
}

// offerFees are the chain's fees, as far as the intent's cap takes them.
func offerFees(p *plan, o *Operation, i *policy.Intent, f *facts, r *seal.AuthorizeRequest) (err error) {
	r.GasLimit = withMargin(f.gas, p.lowest, p.highest)
	maxFee, tip := f.fees.MaxFee, f.fees.Tip
	if most := new(big.Int).Div(i.FeeCap.Big(), new(big.Int).SetUint64(r.GasLimit)); maxFee.Cmp(most) > 0 {
		maxFee = most
	}
	if tip.Cmp(maxFee) > 0 {
		tip = maxFee
	}
	if base := new(big.Int).Sub(f.fees.MaxFee, f.fees.Tip); maxFee.Sign() == 0 || new(big.Int).Lsh(maxFee, 1).Cmp(base) < 0 {
		return &dearError{base: base.Rsh(base, 1), feeCap: i.FeeCap, gas: r.GasLimit}
	}
	if r.MaxFee, err = policy.AmountFromBig(maxFee); err != nil {
		return err
	}
	r.Tip, err = policy.AmountFromBig(tip)
	return err
}

// planAtSigning is the plan that an intent was made of, with what may have changed since looked up again: a
// token that was retired meanwhile is refused, save what stops things.
func (s *Service) planAtSigning(ctx context.Context, o *Operation, i *policy.Intent) (*plan, error) {
	p := &plan{
		id: o.ID, request: &Request{Type: i.OperationType, TokenID: i.Token.ID, FeeStrategy: o.FeeStrategy}, requester: i.Requester,
		now: s.now(), signing: true, role: i.Params.Role, token: &registry.Token{},
		wallet: &registry.Wallet{ID: i.Performer.WalletID, Address: i.Performer.Address, VaultAccountID: o.VaultID, Network: o.Network, Scheme: i.Scheme},
	}
	var ok bool
	if p.chain, ok = s.chains[o.Network]; !ok {
		return nil, fmt.Errorf("operation: network %s of %s is not configured", o.Network, o.ID)
	}
	if i.OperationType == policy.OpCancel {
		return p, nil
	}
	token, err := s.registry.SeenToken(ctx, i.Token.ID)
	if err != nil {
		return nil, err
	}
	if token.Status == registry.TokenRetired && !stops[i.OperationType] {
		return nil, retired(token)
	}
	if p.template, ok = qrc20.TemplateByID(i.Token.TemplateID); !ok {
		return nil, registry.Refuse(registry.TemplateNotFound, "template %s of token %s is not known", i.Token.TemplateID, i.Token.ID)
	}
	seen := *token
	seen.ContractAddress = i.Token.ContractAddress
	p.token = &seen
	if i.OperationType != policy.OpDeployToken {
		p.amount = of(i.Params.Amount)
	}
	for _, x := range []struct {
		in  *tx.Address
		out *party
	}{{i.Params.Recipient, &p.recipient}, {i.Params.Source, &p.from}, {i.Params.Subject, &p.subject}} {
		if x.in != nil {
			*x.out = party{given: true, address: *x.in}
		}
	}
	return p, nil
}

// stops is what a retired token still takes, under its policies as ever: its contract lives on, and whoever
// steals a minter's key must not be safe from us because somebody retired the token first.
var stops = map[policy.OperationType]bool{policy.OpRevokeRole: true, policy.OpPause: true, policy.OpFreeze: true, policy.OpAllowlistRemove: true}

// retired: 1704.
func retired(t *registry.Token) error {
	return registry.Refuse(registry.OperationNotAllowed, "token %s is retired: of a deployed one roles are revoked, it is paused, accounts are frozen and taken off the allowlist, and nothing else is done any more", t.ID)
}

// nonceFor is a nonce with which the intent makes a transaction.
func nonceFor(i *policy.Intent) uint64 {
	if i.Params.Nonce != nil {
		if a, err := policy.ParseAmount(*i.Params.Nonce); err == nil {
			return a.Big().Uint64()
		}
	}
	return 0
}

// boundsOf are what the seal accepts as the gas limit, as far as it is enough.
func boundsOf(i *policy.Intent) (lowest, highest uint64) {
	if i.OperationType == policy.OpDeployToken {
		if t, ok := qrc20.TemplateByID(i.Token.TemplateID); ok {
			return t.DeployGasBounds()
		}
		return 0, 0
	}
	m := methods(i.OperationType)
	if len(m) == 0 {
		return 21_000, 100_000
	}
	if i.Params.Source != nil && *i.Params.Source != i.Performer.Address {
		return qrc20.GasBounds(m[len(m)-1])
	}
	lowest, highest = qrc20.GasBounds(m[0])
	if i.OperationType == policy.OpGrantRole {
		lowest = grantGas
	}
	return lowest, highest
}

// grantGas is what a grant is given at least: one that finds the role granted, and has it taken away before it is mined,
// writes four slots (some 120,000 gas in all) of which its estimate knows nothing.
const grantGas = 150_000
