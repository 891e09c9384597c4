package webhook

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Run delivers whenever this process is the one that may, and archives, until ctx ends. It survives every failure
// of the store.
func (s *Service) Run(ctx context.Context) error {
	if s.archive == nil {
		return s.deliver(ctx)
	}
	defer s.archive.Close()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.deliver(ctx) })
	g.Go(func() error { return s.archive.Run(ctx) })
	return g.Wait()
}

// deliver dispatches until ctx ends.
func (s *Service) deliver(ctx context.Context) error {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	pause := least
	for {
		began := time.Now()
		err := s.dispatch(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > most {
			pause = least
		}
		s.log.Warn("webhooks: starting again", "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, most)
	}
}

// dispatcher is what delivers while this process holds the fence.
type dispatcher struct {
	*Service
	fence   *store.Fence
	arrived arrivals
	work    sync.WaitGroup

	mu    sync.Mutex
	known map[string]*known // endpoints, deleted ones too until they are gone
	whole int64             // revision of guardKey at which no endpoint is missing in known
}

// known is an endpoint as the dispatcher knows it.
type known struct {
	endpoint *Endpoint
	rev      int64
	lane     *lane // nil for a deleted one
	waiting  atomic.Int64
	// counting is held for writing while what waits is counted in the store, and for reading from before a commit that
	// changes it until waiting says so: or a count would hold what is added once more behind it.
	counting sync.RWMutex
}

// dispatch takes the fence and works until it is lost, something fails or ctx ends.
func (s *Service) dispatch(ctx context.Context) error {
	return s.store.While(ctx, dispatching, func(ctx context.Context, fence *store.Fence) error {
		d := &dispatcher{Service: s, fence: fence, arrived: newArrivals(), known: map[string]*known{}}
		s.metrics.dispatching.Set(1)
		defer func() {
			s.metrics.dispatching.Set(0)
			s.metrics.backlog.Set(0)
		}()
		return d.run(ctx)
	})
}

func (d *dispatcher) run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	defer d.work.Wait()
	from, err := d.readEndpoints(ctx)
	if err != nil {
		return err
	}
	for _, e := range d.all() {
		d.start(ctx, e)
	}
	g.Go(func() error { return d.followEndpoints(ctx, from+1) })
	g.Go(func() error { return d.followOutbox(ctx, from+1) })
	g.Go(func() error { return d.route(ctx) })
	g.Go(func() error { return d.tidy(ctx) })
	return g.Wait()
}

func (d *dispatcher) all() []*known {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := make([]*known, 0, len(d.known))
	for _, k := range d.known {
		out = append(out, k)
	}
	return out
}

// readEndpoints takes in every endpoint; the revision is where a watch goes on.
func (d *dispatcher) readEndpoints(ctx context.Context) (int64, error) {
	_, guard, _, err := d.store.Get(ctx, guardKey)
	if err != nil {
		return 0, err
	}
	var from int64
	for kv, err := range d.store.All(ctx, endpoints, func(r int64) { from = r }) {
		if err != nil {
			return 0, err
		}
		if _, err := d.take(kv); err != nil {
			return 0, err
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.whole = max(d.whole, guard)
	return from, nil
}

// take takes an endpoint in, unless what is known is newer.
func (d *dispatcher) take(kv store.KV) (*known, error) {
	e, err := decode[Endpoint](kv)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	k := d.known[e.ID]
	if k == nil {
		k = &known{}
		d.known[e.ID] = k
	}
	if kv.ModRevision > k.rev {
		k.endpoint, k.rev = e, kv.ModRevision
	}
	return k, nil
}

// start starts an endpoint's lane, or has one that runs look again.
func (d *dispatcher) start(ctx context.Context, k *known) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case k.endpoint.Deleted && k.lane != nil:
		k.lane.stop()
		k.lane = nil
	case k.endpoint.Deleted || ctx.Err() != nil:
	case k.lane == nil:
		lctx, stop := context.WithCancel(ctx)
		l := newLane(d, k, stop)
		k.lane = l
		d.work.Go(func() { l.run(lctx) })
	default:
		k.lane.wake()
	}
}

// followEndpoints starts and stops lanes as endpoints come and go, and wakes those that were nudged.
func (d *dispatcher) followEndpoints(ctx context.Context, from int64) error {
	for c := range d.store.Watch(ctx, control, from) {
		if c.Err != nil {
			return c.Err
		}
		for _, e := range c.Events {
			switch id, isNudge := strings.CutPrefix(e.Key, nudges); {
			case e.Deleted:
			case isNudge:
				d.nudge(id)
			case strings.HasPrefix(e.Key, endpoints):
				k, err := d.take(e.KV)
				if err != nil {
					return err
				}
				d.start(ctx, k)
			}
		}
	}
	return fmt.Errorf("webhook: %w", ctx.Err())
}

// nudge has an endpoint's lane look again.
func (d *dispatcher) nudge(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if k := d.known[id]; k != nil && k.lane != nil {
		k.lane.lookAgain()
	}
}

// followOutbox tells the router from which key on there is something for it. What the events are it reads
// itself: a watch that is behind holds everything in memory.
func (d *dispatcher) followOutbox(ctx context.Context, from int64) error {
	for c := range d.store.Watch(ctx, store.Outbox, from) {
		if c.Err != nil {
			return c.Err
		}
		d.arrived.note(c)
	}
	return fmt.Errorf("webhook: %w", ctx.Err())
}

// commit writes t, which is refused once another process delivers.
func (d *dispatcher) commit(ctx context.Context, t *store.Tx) error {
	_, err := d.commitAt(ctx, t)
	return err
}

// commitAt is commit, with the revision at which t was written.
func (d *dispatcher) commitAt(ctx context.Context, t *store.Tx) (int64, error) {
	d.fence.Require(t)
	rev, err := t.Commit(ctx)
	var conflict *store.ConflictError
	if errors.As(err, &conflict) && conflict.Key == d.fence.Key() {
		err = store.ErrFenceLost
	}
	return rev, err
}
