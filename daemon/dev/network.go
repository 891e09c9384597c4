package dev

import (
	"fmt"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	// networkName is the network that a development charter has.
	networkName = "quantum-chain-devnet"
	// defaultMaxFee in wei (1 QC) is what an operation may cost where no MAX_FEE is in scope; a deployment needs about 0.04.
	defaultMaxFee = 1e18
	// dailyFee in wei (1,000 QC, what the devnet funds a wallet with) a wallet and day.
	dailyFee = "1000000000000000000000"
)

// chooseNetwork is the network that charter 1 has, or is to have: its signatures
// are chosen once, at the first start.
func (d *directory) chooseNetwork(scheme string) (policy.Network, error) {
	known, err := d.readCharter1()
	if err != nil {
		return policy.Network{}, err
	}
	if known != nil {
		c, err := policy.ParseCharter(known.Payload)
		if err != nil {
			return policy.Network{}, fmt.Errorf("dev: config/charter1.json: %w", err)
		}
		n, ok := c.Network(networkName)
		if !ok {
			return policy.Network{}, fmt.Errorf("dev: config/charter1.json has no network %s", networkName)
		}
		if scheme != "" && scheme != string(n.Scheme) {
			return policy.Network{}, fmt.Errorf("dev: --scheme %q, and the charter in %s says %s; name another --dir", scheme, d.root, n.Scheme)
		}
		return *n, nil
	}
	daily, err := policy.ParseAmount(dailyFee)
	if err != nil {
		return policy.Network{}, err
	}
	n := policy.Network{Name: networkName, Kind: "quantum", ChainID: devnet.DefaultChainID,
		Currency: "QC", DefaultMaxFee: policy.AmountOf(defaultMaxFee), DailyFee: daily}
	switch scheme {
	case "", "dilithium3":
		n.Scheme = "dilithium3"
	case "ml-dsa-65":
		n.Scheme = "ml-dsa-65"
	default:
		return n, fmt.Errorf("dev: --scheme %q is none of the devnet's, dilithium3 and ml-dsa-65", scheme)
	}
	return n, nil
}
