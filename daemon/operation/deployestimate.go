package operation

import (
	"context"
	"errors"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// EstimateDeployment says what deploying a token would cost now, under each fee strategy, after the checks
// that its submission makes of token, state, template and values; a deployment that would revert is
// TOKEN_DEPLOYMENT_FAILED. Whether anybody can pay is not looked at. Nothing is stored.
func (s *Service) EstimateDeployment(ctx context.Context, a registry.Actor, r Request) (*Estimate, error) {
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
	return s.price(ctx, p.chain, r.Type, withMargin(gas, p.lowest, p.highest))
}
