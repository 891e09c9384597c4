package operation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// laneIdle is how long a lane without operations keeps its fence.
	laneIdle = 30 * time.Second
	// laneTick is how often a lane looks at its operations when nothing wakes it: expiries, retries.
	laneTick = time.Second
	// Bounds of the pause before a failed step is tried again.
	leastRetry = 100 * time.Millisecond
	mostRetry  = 5 * time.Second
)

// errLaneLost says that another process holds the lane now.
var errLaneLost = errors.New("operation: lane lost")

// lane is one wallet's operations on their way, while this process holds its fence. Steps of different
// operations run side by side; each operation has one step at a time, and sending is one step of the lane.
type lane struct {
	s      *Service
	w      *worker
	wallet string
	woken  chan struct{}

	mu      sync.Mutex
	busy    map[string]bool    // a step of this key runs: an operation's id, or sending
	retry   map[string]attempt // failed steps
	looked  map[string]tx.Hash // the head at which an operation's confirmation was last looked at
	asked   map[string]uint64  // operations of which the seal recorded something, and in which batch
	sent    map[string]bool    // operations whose bytes a node took in this run
	sendTop uint64             // nonces below it were sent or are on the chain
	sendSet bool               // sendTop is known
}

// attempt says when a failed step may run again. It is about the status in which the step failed: an
// operation that has moved on since starts afresh.
type attempt struct {
	at     time.Time
	pause  time.Duration
	status Status
}

// sending is the key of the lane's sending step.
const sending = "send"

func newLane(w *worker, wallet string) *lane {
	return &lane{s: w.s, w: w, wallet: wallet, woken: make(chan struct{}, 1)}
}

// poke has the lane look at its operations.
func (l *lane) poke() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// work runs steps until the lane is idle (nil), lost, or ctx ends.
func (l *lane) work(ctx context.Context, fence *store.Fence) error {
	l.busy, l.retry, l.looked, l.sent = map[string]bool{}, map[string]attempt{}, map[string]tx.Hash{}, map[string]bool{}
	l.asked, l.sendSet = map[string]uint64{}, false
	ctx, cancel := context.WithCancel(ctx)
	var steps sync.WaitGroup
	defer steps.Wait()
	defer cancel()
	idle := time.Time{}
	for {
		ops := l.s.index.lane(l.wallet)
		if len(ops) > 0 {
			idle = time.Time{}
		} else if idle.IsZero() {
			idle = time.Now()
		} else if time.Since(idle) > laneIdle {
			return nil
		}
		l.start(ctx, &steps, fence, ops)
		select {
		case <-l.woken:
		case <-time.After(laneTick):
		case <-fence.Lost():
			return errLaneLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// start starts every step that is due.
func (l *lane) start(ctx context.Context, steps *sync.WaitGroup, fence *store.Fence, ops []entry) {
	l.prune(ops)
	send := false
	for _, e := range ops {
		send = send || e.op.Status == Signed || (e.op.Status == Broadcasting && !l.wasSent(e.op.ID))
		if step := l.next(e); step != nil {
			l.launch(ctx, steps, e.op.ID, e.op.Status, func(ctx context.Context) error { return step(ctx, fence, e) })
		}
	}
	if send {
		l.launch(ctx, steps, sending, "", func(ctx context.Context) error { return l.send(ctx, fence) })
	}
}

// prune forgets what was noted of operations that are closed since.
func (l *lane) prune(ops []entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.looked)+len(l.asked)+len(l.sent)+len(l.retry) < 8*(len(ops)+laneTasks) {
		return
	}
	open := map[string]bool{sending: true}
	for _, e := range ops {
		open[e.op.ID] = true
	}
	maps.DeleteFunc(l.looked, func(id string, _ tx.Hash) bool { return !open[id] })
	maps.DeleteFunc(l.asked, func(id string, _ uint64) bool { return !open[id] })
	maps.DeleteFunc(l.sent, func(id string, _ bool) bool { return !open[id] })
	maps.DeleteFunc(l.retry, func(id string, _ attempt) bool { return !open[id] })
}

// step is one thing to do for one operation.
type step func(context.Context, *store.Fence, entry) error

// recorded notes that the seal recorded something of an operation: it has no next step until that is
// carried in, which changes it and wakes the lane.
func (l *lane) recorded(id string, sequence uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked[id] = sequence
}

// awaits reports whether something that the seal recorded of an operation is still on its way here.
func (l *lane) awaits(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	sequence, ok := l.asked[id]
	if ok && l.s.registry.Carried() >= sequence {
		delete(l.asked, id)
		return false
	}
	return ok
}

// next is what is due for an operation now, or nil.
func (l *lane) next(e entry) step {
	o, now := e.op, l.s.now()
	if l.awaits(o.ID) {
		return nil
	}
	expired := !now.Before(o.ExpiresAt)
	switch o.Status {
	case PendingAuthorization:
		if expired {
			return l.expire
		}
		if now.Sub(o.since()) > laneTick {
			return l.recheck
		}
	case Approved, PendingSignature:
		return l.sign
	case Queued:
		if expired || o.Authorized || l.hasPlace() {
			return l.sign
		}
	case Broadcasting, Confirming:
		head := l.s.heads.get(o.Network)
		l.mu.Lock()
		defer l.mu.Unlock()
		if !head.Hash.IsZero() && l.looked[o.ID] != head.Hash {
			return l.confirm
		}
	case Completed, Failed, Rejected, Cancelled:
		if o.Authorized && !o.Settled {
			return l.settle
		}
	}
	return nil
}

// hasPlace reports whether the wallet may have one more unconfirmed authorization.
func (l *lane) hasPlace() bool {
	fold := l.s.registry.Fold()
	charter, _ := fold.Charter()
	return charter != nil && fold.Outstanding(l.wallet) < charter.MaxOutstanding()
}

// launch runs f in a goroutine of its own, unless a step of that key runs, or failed a moment ago in the
// same status.
func (l *lane) launch(ctx context.Context, steps *sync.WaitGroup, key string, status Status, f func(context.Context) error) {
	l.mu.Lock()
	again, failed := l.retry[key]
	if l.busy[key] || len(l.busy) >= laneTasks || (failed && again.status == status && time.Now().Before(again.at)) {
		l.mu.Unlock()
		return
	}
	l.busy[key] = true
	l.mu.Unlock()
	steps.Go(func() {
		var err error
		select {
		case l.w.tasks <- struct{}{}:
			err = f(ctx)
			<-l.w.tasks
		case <-ctx.Done():
			err = ctx.Err()
		}
		l.done(ctx, key, status, err)
	})
}

// done ends a step; a failed one is tried again later, later each time.
func (l *lane) done(ctx context.Context, key string, status Status, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, key)
	if err == nil || ctx.Err() != nil {
		delete(l.retry, key)
		l.poke()
		return
	}
	var last time.Duration
	if again := l.retry[key]; again.status == status {
		last = again.pause
	}
	pause := min(max(2*last, leastRetry), mostRetry)
	l.retry[key] = attempt{time.Now().Add(pause), pause, status}
	// Said when it begins and when it lasts, not each time: while the seal is sealed every operation tries.
	if (last == 0 || last < mostRetry && pause == mostRetry) && !errors.Is(err, errNothingNew) {
		l.s.log.Warn("lane: a step is tried again", "wallet", l.wallet, "operation", key, "error", err, "pause", pause)
	}
	time.AfterFunc(pause, l.poke)
}

func (l *lane) wasSent(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent[id]
}

// change makes a change of an operation in one transaction under the fence. f gets a copy of the operation
// and changes it, and stages what else belongs to the change; it reports whether there is anything to
// change, for the operation may have moved on. The result is the operation as it is afterwards.
func (l *lane) change(ctx context.Context, fence *store.Fence, id string, f func(*Operation, *store.Tx) (bool, error)) (*Operation, error) {
	e, ok := l.s.index.get(id)
	for {
		if !ok {
			var err error
			if e, err = l.s.loadState(ctx, id); err != nil {
				return nil, err
			}
		}
		after := *e.op
		t := l.s.store.Tx()
		fence.Require(t)
		change, err := f(&after, t)
		if err != nil || !change {
			return e.op, err
		}
		after.UpdatedAt = moment(l.s.now())
		err = l.s.commit(ctx, t, &after, e.rev, e.op)
		if err == nil {
			return &after, nil
		}
		var conflict *store.ConflictError
		if errors.As(err, &conflict) && conflict.Key == fence.Key() {
			return nil, fmt.Errorf("%w: %w", errLaneLost, err)
		}
		if !lostRace(err) {
			return nil, err
		}
		ok = false
	}
}

// loadState reads an operation's state alone.
func (s *Service) loadState(ctx context.Context, id string) (entry, error) {
	v, rev, ok, err := s.store.Get(ctx, store.OpState(id))
	if err != nil {
		return entry{}, err
	}
	if !ok {
		return entry{}, unknown(id)
	}
	o, err := decode(v)
	if err != nil {
		return entry{}, err
	}
	return entry{o, rev}, nil
}

// transition is the change from one of the states in from to another.
func (l *lane) transition(ctx context.Context, fence *store.Fence, id string, to Status, from []Status, metadata map[string]any, more func(*Operation, *store.Tx) error) (*Operation, error) {
	return l.change(ctx, fence, id, func(o *Operation, t *store.Tx) (bool, error) {
		if !slices.Contains(from, o.Status) {
			return false, nil
		}
		if err := o.move(to, l.s.now()); err != nil {
			return false, err
		}
		if more != nil {
			if err := more(o, t); err != nil {
				return false, err
			}
		}
		meta := map[string]any{}
		for k, v := range metadata {
			meta[k] = v
		}
		t.Audit(o.draft(registry.SystemActor(), to.action(), meta))
		return true, nil
	})
}
