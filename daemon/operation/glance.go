package operation

import (
	"context"
	"encoding/hex"
	"math/big"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// glanceAge is for how long the newest block that was seen is taken for the newest there is.
const glanceAge = leastPause

// glances shares what a node says of one block's state among all who ask while that block is the newest:
// many submissions at once cost the node little more than one. What must be exact at the moment of asking,
// like a supply that pending mints are added to, is not asked this way. Safe for concurrent use.
type glances struct {
	heads *heads

	mu   sync.Mutex
	seen map[string]*sight // by network
}

// sight is what was asked under one head.
type sight struct {
	head tx.Hash
	said map[string]*said
}

// said is an answer on its way or there.
type said struct {
	done  chan struct{}
	value any
	err   error
}

func newGlances(h *heads) *glances { return &glances{heads: h, seen: map[string]*sight{}} }

// at is the answer to key under the newest head, and whether the caller is to find it; nil if no head is
// known well enough to share under.
func (g *glances) at(network, key string) (a *said, first bool) {
	head, fresh := g.heads.fresh(network, glanceAge)
	if !fresh {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.seen[network]
	if v == nil || v.head != head.Hash {
		v = &sight{head.Hash, map[string]*said{}}
		g.seen[network] = v
	}
	if a = v.said[key]; a != nil {
		return a, false
	}
	a = &said{done: make(chan struct{})}
	v.said[key] = a
	return a, true
}

// forget lets an error be asked again.
func (g *glances) forget(network, key string, a *said) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.seen[network]; v != nil && v.said[key] == a {
		delete(v.said, key)
	}
}

// glance asks, or takes what somebody else asked under the same head; with nil for g it asks. The answer is
// shared: not to be changed.
func glance[T any](ctx context.Context, g *glances, c *chain.Client, key string, ask func(context.Context) (T, error)) (T, error) {
	if g == nil {
		return ask(ctx)
	}
	network := c.Network().Name
	a, first := g.at(network, key)
	if a == nil {
		g.heads.refresh(c)
		return ask(ctx)
	}
	if first {
		// Whoever waits beside us has patience of his own.
		v, err := ask(context.WithoutCancel(ctx))
		a.value, a.err = v, err
		if err != nil {
			g.forget(network, key, a)
		}
		close(a.done)
		return v, err
	}
	select {
	case <-a.done:
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
	if a.err != nil {
		return ask(ctx)
	}
	return a.value.(T), nil
}

func glanceBalance(ctx context.Context, g *glances, c *chain.Client, who tx.Address) (*big.Int, error) {
	return glance(ctx, g, c, "balance "+string(who[:]), func(ctx context.Context) (*big.Int, error) { return c.Balance(ctx, who) })
}

func glanceFees(ctx context.Context, g *glances, c *chain.Client, f FeeStrategy) (chain.Fees, error) {
	return glance(ctx, g, c, "fees "+string(f), func(ctx context.Context) (chain.Fees, error) { return c.Fees(ctx, f) })
}

func glanceGas(ctx context.Context, g *glances, c *chain.Client, from tx.Address, to *tx.Address, data []byte) (uint64, error) {
	key := "gas " + string(from[:]) + hex.EncodeToString(data)
	if to != nil {
		key += string(to[:])
	}
	return glance(ctx, g, c, key, func(ctx context.Context) (uint64, error) { return c.EstimateGas(ctx, from, to, data) })
}

// fresh is the newest block that was seen, and whether that was a moment ago.
func (h *heads) fresh(network string, age time.Duration) (chain.Head, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[network], time.Since(h.at[network]) < age
}

// passed says that the block with the number before next is there: a head that is older is not the newest.
func (h *heads) passed(network string, next uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[network].Number+1 < next {
		h.at[network] = time.Time{}
	}
}

// refresh looks at a network's head in the background, unless somebody does already.
func (h *heads) refresh(c *chain.Client) {
	network := c.Network().Name
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.looking[network] {
		return
	}
	h.looking[network] = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), mostPause)
		defer cancel()
		began := time.Now()
		head, err := c.Head(ctx)
		if err == nil {
			h.set(network, head, began)
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.looking[network] = false
	}()
}
