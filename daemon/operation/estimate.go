package operation

import (
	"context"
	"math/big"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// Estimate is what a transaction costs at the network's newest block. Fees are in wei.
type Estimate struct {
	Network, Currency string
	Type              policy.OperationType
	Block             uint64
	BaseFee           *big.Int // of the next block, a unit of gas
	Gas               uint64   // the limit that is paid for at most
	Strategies        []StrategyFee
}

// StrategyFee is what a strategy offers a unit of gas, and what that comes to at most.
type StrategyFee struct {
	Strategy    FeeStrategy
	MaxFee, Tip *big.Int
	Total       *big.Int
}

// EstimateFee is the most that an operation of a type costs on a network: what its call really uses is known
// when it is submitted, and never more than this. An unknown network is NOT_FOUND; otherwise errors are the
// node's.
func (s *Service) EstimateFee(ctx context.Context, network string, t policy.OperationType) (*Estimate, error) {
	c, ok := s.chains[network]
	if !ok {
		return nil, registry.Refuse(registry.NotFound, "there is no network %q in this appliance's configuration", network)
	}
	return s.price(ctx, c, t, mostGas(t))
}

// price asks the network what gas costs now.
func (s *Service) price(ctx context.Context, c *chain.Client, t policy.OperationType, gas uint64) (*Estimate, error) {
	head, err := c.Head(ctx)
	if err != nil {
		return nil, err
	}
	net := c.Network()
	e := &Estimate{Network: net.Name, Currency: net.Currency, Type: t, Block: head.Number, Gas: gas}
	for _, strategy := range []FeeStrategy{chain.Low, chain.Medium, chain.High} {
		f, err := c.Fees(ctx, strategy)
		if err != nil {
			return nil, err
		}
		total := new(big.Int).Mul(f.MaxFee, new(big.Int).SetUint64(gas))
		e.Strategies = append(e.Strategies, StrategyFee{strategy, f.MaxFee, f.Tip, total})
		e.BaseFee = new(big.Int).Rsh(new(big.Int).Sub(f.MaxFee, f.Tip), 1)
	}
	return e, nil
}

// mostGas is the highest limit that a transaction of the type may be signed with, whatever its template.
func mostGas(t policy.OperationType) (most uint64) {
	switch t {
	case policy.OpCancel:
		_, most = boundsOf(&policy.Intent{OperationType: t})
		return most
	case policy.OpDeployToken:
		for _, template := range qrc20.Templates() {
			_, highest := template.DeployGasBounds()
			most = max(most, highest)
		}
		return most
	}
	for _, m := range methods(t) {
		_, highest := qrc20.GasBounds(m)
		most = max(most, highest)
	}
	return most
}
