package registry

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// pulseEvery is how often the store is asked whether it still answers.
	pulseEvery = 250 * time.Millisecond
	// stale is how old the last answer may be for a key to be honoured from
	// memory: what a watch did not tell because its connection is dead is
	// noticed within this, and not after the transport's own keep-alive.
	stale = time.Second
	// pulsePatience is how long a request waits for the store to answer again.
	pulsePatience = 2 * time.Second
	// pulseWaiters is how many requests wait for that at once: they have no place
	// in any budget yet.
	pulseWaiters = 256
	pulseKey     = "/mw/pulse" // never written: what is asked is whether anybody answers
)

// pulse tells whether the store was within reach a moment ago. Without it an
// appliance whose way to the store is cut in silence would honour, from its
// memory, keys that others revoked since.
type pulse struct {
	mu   sync.Mutex
	at   time.Time     // when the last question that was answered was asked
	beat chan struct{} // closed at the next answer

	waiting chan struct{} // holds one for each that waits
}

func newPulse() *pulse {
	return &pulse{beat: make(chan struct{}), waiting: make(chan struct{}, pulseWaiters)}
}

func (p *pulse) run(ctx context.Context, s *store.Store) {
	for {
		asked := time.Now()
		limit, cancel := context.WithTimeout(ctx, stale)
		_, _, _, err := s.Get(limit, pulseKey)
		cancel()
		if err == nil {
			p.mu.Lock()
			p.at = asked
			close(p.beat)
			p.beat = make(chan struct{})
			p.mu.Unlock()
		}
		if pause(ctx, pulseEvery) != nil {
			return
		}
	}
}

// fresh waits until memory is as new as the store was a moment ago, or says that
// the store is out of reach. Beyond [pulseWaiters] it says so without waiting.
func (p *pulse) fresh(ctx context.Context) error {
	p.mu.Lock()
	at, beat := p.at, p.beat
	p.mu.Unlock()
	if time.Since(at) < stale {
		return nil
	}
	select {
	case p.waiting <- struct{}{}:
		defer func() { <-p.waiting }()
	default:
		return fmt.Errorf("%w: no answer for %s, and %d others wait for one", store.ErrUnavailable, time.Since(at).Round(time.Millisecond), pulseWaiters)
	}
	t := time.NewTimer(pulsePatience)
	defer t.Stop()
	select {
	case <-beat:
		return nil
	case <-t.C:
		return fmt.Errorf("%w: no answer for %s, so whether a key was revoked is not known", store.ErrUnavailable, time.Since(at).Round(time.Millisecond))
	case <-ctx.Done():
		return fmt.Errorf("registry: %w", ctx.Err())
	}
}
