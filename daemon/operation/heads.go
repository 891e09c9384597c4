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
	looking map[string]*look     // a question on its way
}

// look is a question for a head.
type look struct {
	done chan struct{}
	head chain.Head // set, or err is, before done is closed
	err  error
}

func newHeads(chains map[string]*chain.Client, log *slog.Logger) *heads {
	return &heads{chains: chains, log: log, known: map[string]chain.Head{}, at: map[string]time.Time{}, looking: map[string]*look{}}
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

// pace is the pause between two looks at a network's head.
func (h *heads) pace(network string) time.Duration {
	c, ok := h.chains[network]
	if !ok {
		return leastPause
	}
	return min(max(c.Network().BlockPeriod/5, leastPause), mostPause)
}

// watch looks at a network's head, as long as wanted says that somebody waits for it, until ctx ends; seen
// is called with every other head than the one before.
func (h *heads) watch(ctx context.Context, network string, wanted func(context.Context) error, seen func()) {
	c := h.chains[network]
	var last tx.Hash // the head of which seen was told
	pace := h.pace(network)
	for {
		if wanted(ctx) != nil {
			return
		}
		pause := pace
		if left := pace - h.age(network); left > 0 {
			pause = left // somebody looked a moment ago
		} else if _, err := h.look(c).wait(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			pause = mostPause
		}
		if head := h.get(network); head.Hash != last {
			last = head.Hash
			seen()
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// wait is the answer, or ctx's end.
func (l *look) wait(ctx context.Context) (chain.Head, error) {
	select {
	case <-l.done:
		return l.head, l.err
	case <-ctx.Done():
		return chain.Head{}, ctx.Err()
	}
}

// recent is the newest block that was seen, and whether that was a moment ago: then it is taken for the newest there is.
func (h *heads) recent(network string) (chain.Head, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.known[network], time.Since(h.at[network]) < leastPause
}

// passed says that the block with the number before next is there: a head that is older is not the newest.
func (h *heads) passed(network string, next uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.known[network].Number+1 < next {
		h.at[network] = time.Time{}
	}
}

// current is the newest block there is, asked for once by all who want it at the same time.
func (h *heads) current(ctx context.Context, c *chain.Client) (chain.Head, error) {
	network := c.Network().Name
	if head, is := h.recent(network); is {
		return head, nil
	}
	return h.look(c).wait(ctx)
}

// age is how long ago a network's head was asked for.
func (h *heads) age(network string) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Since(h.at[network])
}

// look is the question that is on its way, or a new one.
func (h *heads) look(c *chain.Client) *look {
	network := c.Network().Name
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.looking[network]; l != nil {
		return l
	}
	l := &look{done: make(chan struct{})}
	h.looking[network] = l
	go func() {
		began := time.Now()
		// Whoever waits has patience of his own; the client bounds each node's.
		if l.head, l.err = c.Head(context.Background()); l.err == nil {
			h.set(network, l.head, began)
		}
		h.mu.Lock()
		delete(h.looking, network)
		h.mu.Unlock()
		close(l.done)
	}()
	return l
}
