package dev

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	// networkName is the network that a development charter has, if it is not asked for kind evm.
	networkName = "quantum-chain-devnet"
	// evmNetworkName is the one that it has then: go-ethereum's own node, on a chain of its own.
	evmNetworkName = "evm-devnet"
	// evmChainID is that node's, chain/devnet/geth.ChainID; a test holds the two together.
	evmChainID = 1337
	// defaultMaxFee in wei (1 QC) is what an operation may cost where no MAX_FEE is in scope; a deployment needs about 0.04.
	defaultMaxFee = 1e18
	// dailyFee in wei (1,000 QC, what the devnet funds a wallet with) a wallet and day.
	dailyFee = "1000000000000000000000"
)

// chooseNetwork is the network that charter 1 has, or is to have: its kind and
// its signatures are chosen once, at the first start.
func (d *directory) chooseNetwork(kind, scheme string) (policy.Network, error) {
	known, err := d.readCharter1()
	if err != nil {
		return policy.Network{}, err
	}
	if known != nil {
		return d.knownNetwork(known, kind, scheme)
	}
	daily, err := policy.ParseAmount(dailyFee)
	if err != nil {
		return policy.Network{}, err
	}
	n := policy.Network{Name: networkName, Kind: "quantum", ChainID: devnet.DefaultChainID, Scheme: "dilithium3",
		Currency: "QC", DefaultMaxFee: policy.AmountOf(defaultMaxFee), DailyFee: daily}
	schemes := []string{"dilithium3", "ml-dsa-65"}
	switch kind {
	case "", "quantum":
	case "evm":
		n.Name, n.Kind, n.ChainID, n.Scheme, n.Currency = evmNetworkName, "evm", evmChainID, "secp256k1", "ETH"
		schemes = []string{"secp256k1"}
	default:
		return n, fmt.Errorf("dev: --network %q is neither quantum nor evm", kind)
	}
	if scheme == "" {
		return n, nil
	}
	if !slices.Contains(schemes, scheme) {
		return n, fmt.Errorf("dev: --scheme %q is none of network %s: %s", scheme, n.Name, strings.Join(schemes, ", "))
	}
	n.Scheme = tx.Scheme(scheme)
	return n, nil
}

// knownNetwork is the charter's network, if it is what is asked for.
func (d *directory) knownNetwork(known *policy.Envelope, kind, scheme string) (policy.Network, error) {
	c, err := policy.ParseCharter(known.Payload)
	if err != nil {
		return policy.Network{}, fmt.Errorf("dev: config/charter1.json: %w", err)
	}
	n, ok := c.Network(networkName)
	if !ok {
		n, ok = c.Network(evmNetworkName)
	}
	if !ok {
		return policy.Network{}, fmt.Errorf("dev: config/charter1.json has neither network %s nor %s", networkName, evmNetworkName)
	}
	if kind != "" && kind != string(n.Kind) {
		return policy.Network{}, fmt.Errorf("dev: --network %q, and the charter in %s says %s; name another --dir", kind, d.root, n.Kind)
	}
	if scheme != "" && scheme != string(n.Scheme) {
		return policy.Network{}, fmt.Errorf("dev: --scheme %q, and the charter in %s says %s; name another --dir", scheme, d.root, n.Scheme)
	}
	return *n, nil
}

// period is the time between the blocks of a network's node; go-ethereum counts it in whole seconds.
func period(n policy.Network, asked time.Duration) time.Duration {
	if n.Kind != "evm" {
		return asked
	}
	return max(time.Second, (asked + time.Second - 1).Truncate(time.Second))
}
