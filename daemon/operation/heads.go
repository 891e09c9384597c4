package operation

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// Bounds of the pause between two looks at a network's head while transactions are on their way: a fifth
// of the block period, so that a block is noticed soon after it was made.
const (
	leastPause = 50 * time.Millisecond
	mostPause  = time.Second
)

// heads is the newest block of each network as far as this process has looked. Safe for concurrent use.
type heads struct {
	chains map[string]*chain.Client
	log    *slog.Logger

	mu      sync.Mutex
	known   map[string]chain.Head
	at      map[string]time.Time // when it was asked for
	looking map[string]bool      // refresh asks now
}

func newHeads(chains map[string]*chain.Client, log *slog.Logger) *heads {
	return &heads{chains: chains, log: log, known: map[string]chain.Head{}, at: map[string]time.Time{}, looking: map[string]bool{}}
}

// last is the number of the newest block that was seen; 0 before the first.
func (h *heads) last(network string) uint64 {
	return h.get(network).Number
}

func (h *heads) get(network string) chain.Head {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[network]
}

// set takes in a head that was asked for at a moment and reports whether it is another one than before.
func (h *heads) set(network string, head chain.Head, asked time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if asked.Before(h.at[network]) {
		return false // somebody asked later and was answered sooner
	}
	h.at[network] = asked
	if h.known[network].Hash == head.Hash {
		return false
	}
	h.known[network] = head
	return true
}

// watch looks at a network's head, as long as wanted says that somebody waits for it, until ctx ends; seen
// is called with every other head than the one before.
func (h *heads) watch(ctx context.Context, network string, wanted func(context.Context) error, seen func()) {
	c := h.chains[network]
	var last tx.Hash // the head of which seen was told
	pace := min(max(c.Network().BlockPeriod/5, leastPause), mostPause)
	for {
		if wanted(ctx) != nil {
			return
		}
		pause, asked := pace, time.Now()
		head, err := c.Head(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			pause = mostPause
		case h.set(network, head, asked) || h.get(network).Hash != last:
			last = h.get(network).Hash
			seen()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}
