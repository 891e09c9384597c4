package webhook

import (
	"context"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// arrivals is what the outbox's watch told, as far as the router needs it: from which key on the outbox must be
// read, and as of which revision. A read of all of it passes by everything that was handed on since etcd's last
// compaction, which under load is a thousand times what waits.
//
// At the revision that the watch has come to, all that was ever put into the outbox has been told of; so what
// waits there stands at the lowest key that was told since the router last asked, or above, once the watch has
// told the router's own deletions, too. Safe for concurrent use.
type arrivals struct {
	mu     sync.Mutex
	lowest string // key of an event that came since the last await; empty: none came
	seen   int64  // revision that the watch has come to
	handed int64  // revision of the router's own newest transaction
	news   chan struct{}
}

func newArrivals() arrivals { return arrivals{news: make(chan struct{}, 1)} }

// note takes in what the watch tells.
func (a *arrivals) note(c store.Changes) {
	a.mu.Lock()
	for _, e := range c.Events {
		if !e.Deleted && (a.lowest == "" || e.Key < a.lowest) {
			a.lowest = e.Key
		}
	}
	a.seen = max(a.seen, c.Revision)
	due := a.due()
	a.mu.Unlock()
	if due {
		select {
		case a.news <- struct{}{}:
		default:
		}
	}
}

// due reports whether there is something to hand on, and the watch has come as far as to tell what is left of
// it. The caller holds the lock.
func (a *arrivals) due() bool { return a.lowest != "" && a.seen >= a.handed }

// handedOn notes the router's own transaction, before which the outbox held what it holds no more.
func (a *arrivals) handedOn(rev int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handed = max(a.handed, rev)
}

// await says from which key on, and at which revision, the outbox is to be read next, once something came; all
// of it as it is now (no key, revision 0) when late fires before, or ctx's error.
func (a *arrivals) await(ctx context.Context, late <-chan time.Time) (from string, at int64, err error) {
	for {
		a.mu.Lock()
		if a.due() {
			from, at = a.lowest, a.seen
			a.lowest = ""
			a.mu.Unlock()
			return from, at, nil
		}
		a.mu.Unlock()
		select {
		case <-a.news:
		case <-late:
			return "", 0, nil
		case <-ctx.Done():
			return "", 0, ctx.Err()
		}
	}
}
