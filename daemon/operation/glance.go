package operation

import (
	"context"
	"math/big"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// glances shares what a node says of one block's state among all who ask while that block is the newest:
// many submissions at once cost the node little more than one. What depends on more than the newest block is not asked
// this way. Safe for concurrent use.
type glances struct {
	heads *heads

	mu   sync.Mutex
	seen map[string]*sight // by network
}

// sight is what was asked under one head.
type sight struct {
	head  tx.Hash
	said  map[string]*said
	bytes int // of what is in said, at about saidBytes beside each key
}

const (
	// sightBytes bounds what is kept of one head: whoever asks for something else each time, on a chain that has no new
	// blocks, must not fill the memory.
	sightBytes = 16 << 20
	saidBytes  = 512
)

// said is an answer on its way or there.
type said struct {
	done  chan struct{}
	value any
	err   error
}

func newGlances(h *heads) *glances { return &glances{heads: h, seen: map[string]*sight{}} }

// under is the answer to key under a head, and whether the caller is to find it.
func (g *glances) under(network string, head tx.Hash, key string) (a *said, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.seen[network]
	if v != nil && v.head == head {
		if a = v.said[key]; a != nil {
			return a, false
		}
	}
	if v == nil || v.head != head || v.bytes > sightBytes {
		v = &sight{head: head, said: map[string]*said{}}
		g.seen[network] = v
	}
	a = &said{done: make(chan struct{})}
	v.said[key], v.bytes = a, v.bytes+len(key)+saidBytes
	return a, true
}

// forget lets an error be asked again.
func (g *glances) forget(network, key string, a *said) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if v := g.seen[network]; v != nil && v.said[key] == a {
		delete(v.said, key)
		v.bytes -= len(key) + saidBytes
	}
}

// glance asks, or takes what somebody else asked under the same head; with nil for g, or where no head is to be had, it
// asks. The answer is shared: not to be changed.
func glance[T any](ctx context.Context, g *glances, c *chain.Client, key string, ask func(context.Context) (T, error)) (T, error) {
	if g == nil {
		return ask(ctx)
	}
	head, err := g.heads.current(ctx, c)
	if err != nil {
		return ask(ctx)
	}
	return glanceUnder(ctx, g, c, head.Hash, key, ask)
}

// glanceUnder asks for what a head's hash settles, or takes what somebody else was answered for the same head, however
// long ago that was.
func glanceUnder[T any](ctx context.Context, g *glances, c *chain.Client, head tx.Hash, key string, ask func(context.Context) (T, error)) (T, error) {
	network := c.Network().Name
	a, first := g.under(network, head, key)
	return share(ctx, g, network, key, a, first, ask)
}

// known is the answer to key under a head that is taken for the newest, if it is there.
func (g *glances) known(network, key string) (any, bool) {
	head, is := g.heads.recent(network)
	if !is {
		return nil, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	v := g.seen[network]
	if v == nil || v.head != head.Hash || v.said[key] == nil {
		return nil, false
	}
	a := v.said[key]
	select {
	case <-a.done:
		return a.value, a.err == nil
	default:
		return nil, false
	}
}

// survey asks a chain many questions at once. What is known is taken as it is, without the cost of asking beside the
// others; the rest is asked by wait's goroutines.
type survey struct {
	ctx context.Context
	g   *glances // nil: everything is asked
	c   *chain.Client
	all *errgroup.Group
}

func newSurvey(ctx context.Context, g *glances, c *chain.Client) survey {
	all, ctx := errgroup.WithContext(ctx)
	return survey{ctx, g, c, all}
}

// answer puts the answer to key where into points; it is there after all.Wait. What one of excused takes is no error.
func answer[T any](s survey, into *T, key string, ask func(context.Context) (T, error), excused ...func(error) bool) {
	if s.g != nil {
		if v, ok := s.g.known(s.c.Network().Name, key); ok {
			*into = v.(T)
			return
		}
	}
	s.all.Go(func() error {
		v, err := glance(s.ctx, s.g, s.c, key, ask)
		*into = v
		if err != nil && slices.ContainsFunc(excused, func(is func(error) bool) bool { return is(err) }) {
			return nil
		}
		return err
	})
}

// share finds the answer for all who wait for it, or is one of those.
func share[T any](ctx context.Context, g *glances, network, key string, a *said, first bool, ask func(context.Context) (T, error)) (T, error) {
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

// gasKey is under what key an estimate is shared.
func gasKey(from tx.Address, to *tx.Address, data []byte) string {
	key := "gas " + string(from[:]) + string(data)
	if to != nil {
		key += string(to[:])
	}
	return key
}

// hashUnder is the hash of a head's chain at a number.
func hashUnder(ctx context.Context, g *glances, c *chain.Client, head chain.Head, number uint64) (tx.Hash, error) {
	return glanceUnder(ctx, g, c, head.Hash, "block "+strconv.FormatUint(number, 10), func(ctx context.Context) (tx.Hash, error) { return c.HashAt(ctx, number) })
}

// usedUnder is how many of an account's nonces are used up while a head is the newest.
func usedUnder(ctx context.Context, g *glances, c *chain.Client, head chain.Head, who tx.Address) (uint64, error) {
	return glanceUnder(ctx, g, c, head.Hash, "nonce of "+string(who[:]), func(ctx context.Context) (uint64, error) { return c.NonceAt(ctx, who, nil) })
}

// nonceUnder is how many of an account's nonces are used up at a number of a head's chain.
func nonceUnder(ctx context.Context, g *glances, c *chain.Client, head chain.Head, who tx.Address, number uint64) (uint64, error) {
	return glanceUnder(ctx, g, c, head.Hash, "nonce "+strconv.FormatUint(number, 10)+string(who[:]), func(ctx context.Context) (uint64, error) {
		return c.NonceAt(ctx, who, new(big.Int).SetUint64(number))
	})
}
