package dev

import (
	"context"
	"fmt"
	"time"

	"github.com/ethereum/go-ethereum/rpc"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// fundPatience is how long a wallet waits for the devnet to be up and to mine.
const fundPatience = 30 * time.Second

// fund gives a new wallet coins to pay fees with. The devnet does so once an
// address, however often it is asked.
func (a *appliance) fund(ctx context.Context, w *registry.Wallet) error {
	ctx, cancel := context.WithTimeout(ctx, fundPatience)
	defer cancel()
	c, err := rpc.DialContext(ctx, "http://"+a.o.RPC)
	if err != nil {
		return fmt.Errorf("dev: fund %s: %w", w.Address, err)
	}
	defer c.Close()
	if err := c.CallContext(ctx, nil, "devnet_fund", w.Address.String()); err != nil {
		return fmt.Errorf("dev: fund %s: %w", w.Address, err)
	}
	return nil
}
