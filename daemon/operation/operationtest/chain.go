// Package operationtest gives tests what an appliance stands on and cannot be itself: a chain of either kind, and
// the real seal as a process with a SoftHSM2 token, its people and its charter, as storetest gives them a real
// etcd. It is imported by tests only.
package operationtest

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/devnet/geth"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// Network is the name of every chain here.
const Network = "quantum-chain-devnet"

// Kinds are the kinds of network that there are.
func Kinds() []tx.Kind { return []tx.Kind{tx.KindQuantum, tx.KindEVM} }

// aheadOfClock is how far blocks may run ahead of the clock on a chain whose blocks' times must differ by a second:
// less than what the seal takes for a wrong clock.
const aheadOfClock = 10 * time.Second

// Chain is a node that makes blocks until the test ends: Quantum Chain's devnet, or go-ethereum unmodified. Safe for
// concurrent use.
type Chain struct {
	Kind   tx.Kind
	Scheme tx.Scheme
	ID     uint64

	devnet *devnet.Node // of kind quantum
	geth   *geth.Node   // of kind evm
}

// StartChain starts a node that makes a block each period. Of kind evm blocks come as often while they are less than
// aheadOfClock ahead of the clock, and each second from then on.
func StartChain(tb testing.TB, kind tx.Kind, period time.Duration) *Chain {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "chain")
	c := &Chain{Kind: kind, Scheme: tx.Dilithium3, ID: devnet.DefaultChainID}
	var err error
	if kind == tx.KindQuantum {
		if c.devnet, err = devnet.Start(context.Background(), devnet.Config{Dir: dir, Period: period}); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = c.devnet.Close() })
		return c
	}
	c.Scheme, c.ID = tx.Secp256k1, geth.ChainID
	if c.geth, err = geth.Start(context.Background(), geth.Config{Dir: dir, Addr: "127.0.0.1:0", Period: geth.Manual}); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.geth.Close() })
	end := make(chan struct{})
	var mining sync.WaitGroup
	mining.Go(func() { c.mineEach(period, end) })
	tb.Cleanup(func() { close(end); mining.Wait() })
	return c
}

// mineEach makes a block each period until end closes, or the node does.
func (c *Chain) mineEach(period time.Duration, end <-chan struct{}) {
	for {
		ahead := time.Until(time.Unix(int64(c.geth.Head().Time), 0)) - aheadOfClock
		select {
		case <-end:
			return
		case <-time.After(max(period, ahead)):
			if _, err := c.geth.Mine(1); err != nil {
				return
			}
		}
	}
}

// URL is where the node answers JSON-RPC.
func (c *Chain) URL() string {
	if c.geth != nil {
		return c.geth.URL()
	}
	return c.devnet.URL()
}

// Fund gives a wallet coins, once.
func (c *Chain) Fund(ctx context.Context, who tx.Address) error {
	var err error
	if c.geth != nil {
		_, err = c.geth.Fund(ctx, common.Address(who))
	} else {
		_, err = c.devnet.Fund(common.Address(who))
	}
	return err
}
