package operation

import (
	"context"
	"errors"
	"math/big"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// DeploymentEstimate is what a deployment would cost, and how it would go.
type DeploymentEstimate struct {
	*Estimate
	TokenID  string
	Wallet   *registry.Wallet // that deploys
	Contract tx.Address       // by the ledger's next nonce of the wallet
	Balance  *big.Int         // wei, the wallet's
	Nonce    uint64           // the ledger's next one
	Used     uint64           // the chain's next one: above Nonce, somebody else signs for the wallet
	Template bool             // the code that would be sent is the template's
}

// MediumFee is what the default strategy comes to at most, in wei.
func (e *DeploymentEstimate) MediumFee() *big.Int {
	for _, f := range e.Strategies {
		if f.Strategy == chain.Medium {
			return f.Total
		}
	}
	return new(big.Int)
}

// EstimateDeployment says what deploying a token would cost now, under each fee strategy, after the checks
// that its submission makes of token, state, template and values; a deployment that would revert is
// TOKEN_DEPLOYMENT_FAILED. A wallet that cannot pay is told of, not refused. Nothing is stored.
func (s *Service) EstimateDeployment(ctx context.Context, a registry.Actor, r Request) (*DeploymentEstimate, error) {
	r.Type = policy.OpDeployToken
	if err := checkShape(&r); err != nil {
		return nil, err
	}
	p, err := s.plan(ctx, a, &r)
	if err != nil {
		return nil, err
	}
	for _, check := range []func() error{p.checkState, p.checkTemplate, p.checkValues} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	to, data, err := s.call(p)
	if err != nil {
		return nil, err
	}
	gas, err := p.chain.EstimateGas(ctx, p.wallet.Address, to, data)
	var revert *chain.RevertError
	if errors.As(err, &revert) {
		return nil, registry.Refuse(registry.DeploymentFailed, "the deployment of token %s would revert: %s", p.token.ID, revert.Reason)
	}
	if err != nil {
		return nil, err
	}
	e := &DeploymentEstimate{TokenID: p.token.ID, Wallet: p.wallet, Nonce: s.registry.Fold().NextNonce(p.wallet.ID)}
	if e.Estimate, err = s.price(ctx, p.chain, r.Type, withMargin(gas, p.lowest, p.highest)); err != nil {
		return nil, err
	}
	if e.Balance, err = p.chain.Balance(ctx, p.wallet.Address); err != nil {
		return nil, err
	}
	if e.Used, err = p.chain.NonceAt(ctx, p.wallet.Address, nil); err != nil {
		return nil, err
	}
	_, err = p.template.DecodeInitCode(data)
	e.Template = err == nil
	e.Contract = tx.CreateAddress(p.wallet.Address, e.Nonce)
	return e, nil
}
