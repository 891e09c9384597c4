package operation

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// facts is what the chain says about a plan. Fields that its type does not need stay zero.
type facts struct {
	balance   *big.Int // of the performer, in wei
	fees      chain.Fees
	gas       uint64             // estimate; 0 if the call would revert
	revert    *chain.RevertError // why it would
	holds     bool               // the performer holds the role that the call needs
	held      bool               // the subject holds the role to revoke
	paused    bool
	supply    policy.Amount
	owned     policy.Amount // the source's balance of the token
	allowance policy.Amount // what the performer may take of it
	standings []standingOf  // of all whom the movement or the change of a list is about
}

// neededRole is the role that the contract asks of the performer; empty: none.
func neededRole(t policy.OperationType) qrc20.Role {
	switch t {
	case policy.OpMint:
		return qrc20.Minter
	case policy.OpBurn:
		return qrc20.Burner
	case policy.OpGrantRole, policy.OpRevokeRole:
		return qrc20.Admin
	case policy.OpPause, policy.OpUnpause:
		return qrc20.Pauser
	case policy.OpFreeze, policy.OpUnfreeze:
		return qrc20.Freezer
	case policy.OpAllowlistAdd, policy.OpAllowlistRemove:
		return qrc20.ComplianceOperator
	}
	return ""
}

// checkFacts asks the chain and refuses what it would refuse: 1304, 1705 to 1708, 1713, 1714, 1709. It
// leaves the plan's fees behind. What it sees may be different when the transaction is mined: it spares
// people's approvals, it protects nothing. What it shares with others may be a block old, and nobody is
// refused for that: a refusal is what the chain says when it is asked again. Nor is anybody for what one node says and
// another one does not: who approves is told.
func (s *Service) checkFacts(ctx context.Context, p *plan) error {
	to, data, err := s.call(p)
	if err != nil {
		return err
	}
	var together chain.Fees // what the nodes say of them together
	alone := false
	ask := func(ctx context.Context, g *glances) (*facts, error) {
		f, err := s.facts(ctx, p, to, data, g)
		if err != nil {
			return nil, err
		}
		if alone {
			f.fees = together
		}
		together = f.fees
		gas := p.lowest
		if f.revert == nil {
			gas = withMargin(f.gas, p.lowest, p.highest)
		}
		if err := s.setFees(p, f, gas); err != nil {
			return nil, err
		}
		if err := p.checkFunds(f, p.fees.cap, "the fee cap"); err != nil {
			return nil, err
		}
		return f, s.checkChain(p, f)
	}
	_, err = s.askTwice(ctx, ask)
	var refusal *registry.Refusal
	if p.chain.Nodes() == 1 || !errors.As(err, &refusal) {
		return err
	}
	alone = true
	ctx, cancel := context.WithTimeout(ctx, secondOpinions)
	defer cancel()
	var taken *fees
	p.chain.Each(ctx, func(ctx context.Context) error {
		_, err := ask(ctx, nil)
		if offer := p.fees; err == nil {
			taken = &offer
		}
		return err
	})
	if taken == nil {
		return err
	}
	p.fees, p.contested = *taken, fmt.Sprintf("%s: one node says that it cannot be done (%s), another that it can", attentionDiffer, refusal.Type)
	return nil
}

// secondOpinions is for how long a refusal waits for what each node says for itself: one that is silent keeps nobody.
const secondOpinions = 2 * time.Second

// askTwice asks with what is shared; a refusal holds only if it is given again by what is not.
func (s *Service) askTwice(ctx context.Context, ask func(context.Context, *glances) (*facts, error)) (*facts, error) {
	f, err := ask(ctx, s.glances)
	var refusal *registry.Refusal
	if errors.As(err, &refusal) {
		return ask(ctx, nil)
	}
	return f, err
}

// checkFunds: 1304.
func (p *plan) checkFunds(f *facts, need policy.Amount, what string) error {
	short := new(big.Int).Sub(need.Big(), f.balance)
	if short.Sign() <= 0 {
		return nil
	}
	return &registry.Refusal{Type: registry.TxInsufficientFunds,
		Message: fmt.Sprintf("wallet %s (%s) has %s wei and cannot pay %s of %s wei; send it %s wei more", p.wallet.ID, p.wallet.Address, f.balance, what, need, short),
		Details: map[string]any{"address": p.wallet.Address.String(), "balance": f.balance.String(), "feeCap": need.String(), "shortfall": short.String()}}
}

// checkChain: 1705 to 1709, 1713 and 1714, in spec/api.md's order.
func (s *Service) checkChain(p *plan, f *facts) error {
	for _, check := range []func() error{
		func() error { return s.checkSupply(p, f) },
		func() error { return p.checkRole(f) },
		func() error { return p.checkBalance(f) },
		func() error { return p.checkCompliance(f) },
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if f.revert == nil {
		if f.gas > p.highest {
			return registry.Refuse(registry.ComplianceFailed, "%s would need %d gas, more than the %d that its template allows", p.request.Type, f.gas, p.highest)
		}
		return nil
	}
	if p.request.Type == policy.OpDeployToken {
		return registry.Refuse(registry.DeploymentFailed, "the deployment of token %s would revert: %s", p.token.ID, f.revert.Reason)
	}
	return registry.Refuse(registry.ComplianceFailed, "%s of token %s would revert: %s", p.request.Type, p.token.ID, f.revert.Reason)
}

// facts asks everything at once: the questions do not depend on each other. What g may share is shared.
func (s *Service) facts(ctx context.Context, p *plan, to *tx.Address, data []byte, g *glances) (*facts, error) {
	f := &facts{holds: true, held: true}
	q := newSurvey(ctx, g, p.chain)
	all, ctx := q.all, q.ctx
	answer(q, &f.balance, "balance "+string(p.wallet.Address[:]), func(ctx context.Context) (*big.Int, error) { return p.chain.Balance(ctx, p.wallet.Address) })
	answer(q, &f.fees, "fees "+string(p.request.FeeStrategy), func(ctx context.Context) (chain.Fees, error) { return p.chain.Fees(ctx, p.request.FeeStrategy) })
	answer(q, &f.gas, gasKey(p.wallet.Address, to, data), func(ctx context.Context) (uint64, error) {
		return p.chain.EstimateGas(ctx, p.wallet.Address, to, data)
	}, func(err error) bool { return errors.As(err, &f.revert) })
	if role := neededRole(p.request.Type); role != "" {
		answer(q, &f.holds, "role "+p.token.ID+string(role)+string(p.wallet.Address[:]), func(ctx context.Context) (bool, error) {
			return s.registry.HasRole(ctx, p.token, role, p.wallet.Address)
		})
	}
	switch p.request.Type {
	case policy.OpMint:
		if !p.token.SupplyPolicy.MaxSupply.Is0() {
			// Whatever of pending mints is not counted any more is on the chain under the newest head: the index sees to it.
			answer(q, &f.supply, "supply "+p.token.ID, func(ctx context.Context) (policy.Amount, error) { return s.registry.TotalSupply(ctx, p.token) })
		}
	case policy.OpBurn, policy.OpTransfer:
		all.Go(func() (err error) { f.owned, err = s.registry.BalanceOf(ctx, p.token, p.from.address); return err })
		if p.from.address != p.wallet.Address {
			all.Go(func() (err error) {
				f.allowance, err = s.registry.Allowance(ctx, p.token, p.from.address, p.wallet.Address)
				return err
			})
		}
	case policy.OpRevokeRole:
		all.Go(func() (err error) {
			f.held, err = s.registry.HasRole(ctx, p.token, p.role, p.subject.address)
			return err
		})
	}
	if minds(p.request.Type) {
		answer(q, &f.paused, "paused "+p.token.ID, func(ctx context.Context) (bool, error) { return s.registry.Paused(ctx, p.token) })
	}
	f.standings = p.standings()
	for i := range f.standings {
		x := &f.standings[i]
		answer(q, &x.Standing, "standing "+p.token.ID+string(x.address[:]), func(ctx context.Context) (registry.Standing, error) {
			return s.registry.StandingOf(ctx, p.token, x.address)
		})
	}
	if err := all.Wait(); err != nil {
		return nil, err
	}
	return f, nil
}

// call is what the plan's transaction calls: built as the seal will build it, from an intent.
func (s *Service) call(p *plan) (*tx.Address, []byte, error) {
	p.fees.cap = policy.MaxAmount()
	i, err := s.intent(p)
	if err != nil {
		return nil, nil, err
	}
	if len(i.Policies) == 0 {
		// Nothing of the call depends on it; that no policy covers the plan is refused after the chain's facts.
		i.Policies = []policy.PolicyRef{{ID: "pol_00000000000000000000000000", Version: 1, Digest: policy.NoDigest}}
	}
	p.lowest, p.highest = boundsOf(i)
	u, err := i.Transaction(nonceFor(i), p.lowest, big.NewInt(1), new(big.Int))
	if err != nil {
		return nil, nil, registry.Refuse(registry.Validation, "%s of token %s makes no transaction: %s", p.request.Type, p.token.ID, err)
	}
	return u.To, u.Data, nil
}

// emptiedGas is what a transaction costs more where others empty two slots that it writes before it is mined, as a burn of
// all there is does to a mint's: 20,000 each to fill again instead of 2,900 (EIP-2200, EIP-2929).
const emptiedGas = 2 * 17_100

// withMargin is the gas limit for an estimate, within the bounds: a quarter more, and what emptied slots cost, for the
// state may change until the transaction is mined. What is not used is not paid.
func withMargin(estimate, lowest, highest uint64) uint64 {
	return min(max(estimate+estimate/4+emptiedGas, lowest), highest)
}

// setFees computes the fee cap: four times what the transaction costs now, at most the smallest MAX_FEE in
// scope or else the network's default; if it does not fit once, policy denies it.
func (s *Service) setFees(p *plan, f *facts, gas uint64) error {
	once, err := policy.AmountFromBig(new(big.Int).Mul(f.fees.MaxFee, new(big.Int).SetUint64(gas)))
	if err != nil {
		return fmt.Errorf("operation: fees of %s: %w", p.network.Name, err)
	}
	wanted, _ := once.Mul(4)
	if u := p.unsigned; u != nil { // its maker has set its fees, and nobody raises them
		f.fees.MaxFee, f.fees.Tip, gas = u.MaxFee, u.Tip, u.Gas
		if once, err = policy.AmountFromBig(new(big.Int).Mul(u.MaxFee, new(big.Int).SetUint64(gas))); err != nil {
			return registry.Refuse(registry.Validation, "transaction %s: its fees: %s", p.foreign.Ref, err)
		}
		wanted = once
	}
	limit, rule := p.network.DefaultMaxFee, (*policy.InForce)(nil)
	for _, in := range s.policiesOf(p) {
		for _, r := range in.Policy.Rules {
			if r.Type == policy.RuleMaxFee && r.Amount != nil && (rule == nil || r.Amount.Cmp(limit) < 0) {
				limit, rule = *r.Amount, in
			}
		}
	}
	p.fees = fees{gas: gas, maxFee: f.fees.MaxFee, tip: f.fees.Tip, cap: wanted}
	if wanted.Cmp(limit) > 0 {
		p.fees.cap = limit
	}
	p.fees.once, p.fees.limit, p.fees.rule = once, limit, rule
	return nil
}

// feeDenial is the verdict that one unbumped transaction does not fit the fee cap, if that is so.
func (p *plan) feeDenial() (policy.Verdict, bool) {
	if p.fees.once.Cmp(p.fees.cap) <= 0 {
		return policy.Verdict{}, false
	}
	o := policy.RuleOutcome{Rule: policy.RuleMaxFee, Outcome: policy.Deny, Limit: p.fees.limit.String(), Requested: p.fees.once.String(),
		Message: fmt.Sprintf("one transaction costs up to %s wei now, more than the fee limit of %s wei", p.fees.once, p.fees.limit)}
	if in := p.fees.rule; in != nil {
		o.PolicyID, o.PolicyVersion = in.Policy.ID, in.Policy.Version
	}
	return policy.Verdict{Outcome: policy.Deny, Rules: []policy.RuleOutcome{o}, Reported: &o}, true
}

// checkSupply: 1705. Mints that are authorized and not mined count, and the requester's own pending ones.
func (s *Service) checkSupply(p *plan, f *facts) error {
	limit := p.token.SupplyPolicy.MaxSupply
	if p.request.Type != policy.OpMint || limit.Is0() {
		return nil
	}
	var pending *big.Int
	s.index.ask(func(t *tally) {
		if pending = t.unminted(p.token.ID, p.requester); p.signing {
			pending = t.unminted(p.token.ID, "") // those that wait like this one would all wait for each other
		}
	})
	sum := new(big.Int).Add(f.supply.Big(), pending)
	if sum.Add(sum, p.amount.Big()).Cmp(limit.Big()) <= 0 {
		return nil
	}
	return &registry.Refusal{Type: registry.SupplyExceeded,
		Message: fmt.Sprintf("minting %s would pass the maximum supply of %s: %s exist and %s are pending", p.amount, limit, f.supply, pending),
		Details: map[string]any{"maxSupply": limit.String(), "totalSupply": f.supply.String(), "pending": pending.String(), "requested": p.amount.String()}}
}

// checkRole: 1706 to 1708.
func (p *plan) checkRole(f *facts) error {
	if !f.holds {
		kind := registry.RoleRequired
		switch p.request.Type {
		case policy.OpMint:
			kind = registry.MintNotAllowed
		case policy.OpBurn:
			kind = registry.BurnNotAllowed
		}
		role := neededRole(p.request.Type)
		return &registry.Refusal{Type: kind,
			Message: fmt.Sprintf("wallet %s (%s) of vault account %s does not hold %s on token %s", p.wallet.ID, p.wallet.Address, p.wallet.VaultAccountID, role, p.token.ID),
			Details: map[string]any{"role": string(role), "address": p.wallet.Address.String()}}
	}
	if !f.held {
		return &registry.Refusal{Type: registry.RoleRequired,
			Message: fmt.Sprintf("%s does not hold %s on token %s, so it cannot be revoked", p.subject.address, p.role, p.token.ID),
			Details: map[string]any{"role": string(p.role), "address": p.subject.address.String(), "subject": true}}
	}
	return nil
}

// checkBalance: 1713 for what the source has.
func (p *plan) checkBalance(f *facts) error {
	if !p.from.given {
		return nil
	}
	refuse := func(have policy.Amount, format string, args ...any) error {
		return &registry.Refusal{Type: registry.InvalidTokenAmount, Message: fmt.Sprintf(format, args...),
			Details: map[string]any{"available": have.String(), "requested": p.amount.String(), "address": p.from.address.String(), "balance": true}}
	}
	if p.amount.Cmp(f.owned) > 0 {
		return refuse(f.owned, "%s holds %s base units of token %s, less than %s", p.from.address, f.owned, p.token.ID, p.amount)
	}
	if p.from.address != p.wallet.Address && p.amount.Cmp(f.allowance) > 0 {
		return refuse(f.allowance, "%s allows wallet %s (%s) to take %s base units of token %s, less than %s",
			p.from.address, p.wallet.ID, p.wallet.Address, f.allowance, p.token.ID, p.amount)
	}
	return nil
}
