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
// What is looked at is what changed, what a new block may have changed, and once a tick everything.
type lane struct {
	s      *Service
	w      *worker
	wallet string
	woken  chan struct{}

	mu      sync.Mutex
	due     agenda              // operations to look at
	blocks  bool                // a new head: look at what is on its way
	busy    map[string]bool     // a step of this key runs: an operation's id, or sending
	retry   map[string]attempt  // failed steps
	looked  map[string]tx.Hash  // the head at which an operation's confirmation was last looked at
	inside  map[string]ending   // the block in which it was found then
	asked   map[string]uint64   // operations of which the seal recorded something, and in which batch
	checked map[string]standing // operations that wait for approvals, and by what they were last found to
	queued  map[string]bool     // operations that wait for a place
	waits   map[string]wait     // operations that a node has in its pool
	refused map[string]bool     // operations whose newest bytes no node takes at these fees
	resent  map[string]bool     // operations whose bytes were sent before: every node is to have them
	unsent  map[string]bool     // operations whose bytes no node took in this run yet
	sent    map[string]bool     // and those whose a node took
	tosend  bool                // there is news for the sending step
	sendTop uint64              // nonces below it were sent or are on the chain
	sendSet bool                // sendTop is known
	topAt   time.Time           // when the chain was last asked for it
	gapAt   time.Time           // since when it says that a lower nonce than the next one's is unused; zero: it does not
	turnTop uint64              // nonces below it are BROADCASTING, or about to be, once sendTop is known
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
	l := &lane{s: w.s, w: w, wallet: wallet, woken: make(chan struct{}, 1)}
	l.reset()
	return l
}

// reset forgets everything: it may be old by the time the fence is held again.
func (l *lane) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.due, l.blocks, l.tosend, l.sendSet, l.turnTop, l.gapAt = newAgenda(), false, false, false, 0, time.Time{}
	l.busy, l.retry, l.looked, l.asked = map[string]bool{}, map[string]attempt{}, map[string]tx.Hash{}, map[string]uint64{}
	l.checked, l.queued, l.unsent, l.sent = map[string]standing{}, map[string]bool{}, map[string]bool{}, map[string]bool{}
	l.waits, l.refused, l.resent, l.inside = map[string]wait{}, map[string]bool{}, map[string]bool{}, map[string]ending{}
}

// note changes what the lane knows.
func (l *lane) note(f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f()
}

// poke has the lane look at its agenda.
func (l *lane) poke() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// look has the lane look at an operation.
func (l *lane) look(id string) {
	l.note(func() { l.due.add(id) })
	l.poke()
}

// lookAtBlocks has the lane look at every operation whose bytes are on their way.
func (l *lane) lookAtBlocks() {
	l.note(func() { l.blocks = true })
	l.poke()
}

// work runs steps until the lane is idle (nil), lost, or ctx ends.
func (l *lane) work(ctx context.Context, fence *store.Fence) error {
	l.reset()
	ctx, cancel := context.WithCancel(ctx)
	var steps sync.WaitGroup
	defer steps.Wait()
	defer cancel()
	idle := time.Time{}
	tick := time.NewTicker(laneTick)
	defer tick.Stop()
	l.lookAtAll()
	for {
		if !l.s.index.idle(l.wallet) {
			idle = time.Time{}
		} else if idle.IsZero() {
			idle = time.Now()
		} else if time.Since(idle) > laneIdle {
			return nil
		}
		l.start(ctx, &steps, fence)
		select {
		case <-l.woken:
		case <-tick.C:
			if l.s.registry.Suspended() {
				return errLaneLost
			}
			l.lookAtAll()
		case <-fence.Lost():
			return errLaneLost
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// lookAtAll puts every open operation on the agenda: for expiries, and whatever did not wake us.
func (l *lane) lookAtAll() {
	ids := l.s.index.lane(l.wallet)
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, id := range ids {
		l.due.add(id)
	}
	l.tosend = true
}

// start starts every step that is due, the oldest operations first.
func (l *lane) start(ctx context.Context, steps *sync.WaitGroup, fence *store.Fence) {
	l.mu.Lock()
	blocks := l.blocks
	l.blocks = false
	l.mu.Unlock()
	if blocks {
		for _, id := range l.s.index.onTheirWay(l.wallet) {
			l.note(func() { l.due.add(id) })
		}
	}
	for {
		id, ok := l.take()
		if !ok {
			break
		}
		e, open := l.s.index.get(id)
		if !open {
			l.forget(id)
			continue
		}
		l.sort(e.op)
		if step := l.next(e); step != nil {
			l.launch(ctx, steps, id, e.op.Status, l.traced(e.op, func(ctx context.Context) error { return step(ctx, fence, e) }))
		}
	}
	l.mu.Lock()
	send := l.tosend && len(l.unsent) > 0
	l.mu.Unlock()
	if send && l.launch(ctx, steps, sending, "", func(ctx context.Context) error { return l.send(ctx, fence) }) {
		l.note(func() { l.tosend = false })
	}
}

// sort notes what an operation waits for.
func (l *lane) sort(o *Operation) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if delete(l.queued, o.ID); o.Status == Queued {
		l.queued[o.ID] = true
	}
	if (o.Status == Signed || o.Status == Broadcasting) && !l.sent[o.ID] && !l.unsent[o.ID] {
		l.unsent[o.ID], l.tosend = true, true
	}
}

// take is the next operation on the agenda, while there is room for a step.
func (l *lane) take() (string, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.busy) >= laneTasks {
		return "", false
	}
	return l.due.take()
}

// forget drops what was noted of an operation that is closed. Its place is free for one that waits.
func (l *lane) forget(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.looked, id)
	delete(l.inside, id)
	delete(l.asked, id)
	delete(l.checked, id)
	delete(l.queued, id)
	delete(l.unsent, id)
	delete(l.sent, id)
	delete(l.waits, id)
	delete(l.refused, id)
	delete(l.resent, id)
	if !l.busy[id] {
		delete(l.retry, id)
	}
	for waits := range l.queued {
		l.due.add(waits)
	}
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
		if now.Sub(o.since()) > laneTick && l.unjudged(o) {
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
		if l.unsent[o.ID] && !l.resent[o.ID] && o.Status == Broadcasting {
			return nil // it is about to be sent; before that nothing becomes of it
		}
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

// unjudged reports whether the approvals of an operation may be other than when they were last judged.
func (l *lane) unjudged(o *Operation) bool {
	by := l.s.standing(o)
	if l.s.index.wasJudged(o.ID, by) {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.checked[o.ID] != by
}

// hasPlace reports whether the wallet may have one more unconfirmed authorization.
func (l *lane) hasPlace() bool {
	fold := l.s.registry.Fold()
	charter, _ := fold.Charter()
	return charter != nil && fold.Outstanding(l.wallet) < charter.MaxOutstanding()
}

// launch runs f in a goroutine of its own, unless a step of that key runs, or failed a moment ago in the
// same status; it reports whether it did.
func (l *lane) launch(ctx context.Context, steps *sync.WaitGroup, key string, status Status, f func(context.Context) error) bool {
	l.mu.Lock()
	again, failed := l.retry[key]
	if l.busy[key] || (failed && again.status == status && time.Now().Before(again.at)) {
		l.mu.Unlock()
		return false
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
	return true
}

// done ends a step and has its operation looked at again; a failed one is tried again later, later each time.
func (l *lane) done(ctx context.Context, key string, status Status, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, key)
	if err == nil || ctx.Err() != nil {
		delete(l.retry, key)
		l.again(key)
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
	l.again(key) // at once, if it is in another status by now
	time.AfterFunc(pause, func() { l.note(func() { l.again(key) }) })
}

// again has a key looked at once more; the caller holds the lock.
func (l *lane) again(key string) {
	if key == sending {
		l.tosend = l.tosend || l.retry[sending].pause > 0
	} else {
		l.due.add(key)
	}
	l.poke()
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

// loadState reads an operation's state alone; one that is archived has no revision.
func (s *Service) loadState(ctx context.Context, id string) (entry, error) {
	v, rev, ok, err := s.store.Get(ctx, store.OpState(id))
	if err != nil {
		return entry{}, err
	}
	if !ok {
		kvs := []store.KV{{Key: store.OpState(id)}}
		if err := s.fill([]string{id}, kvs); err != nil {
			return entry{}, err
		}
		if v = kvs[0].Value; v == nil {
			return entry{}, unknown(id)
		}
	}
	o, err := decode(v)
	if err != nil {
		return entry{}, err
	}
	return entry{o, rev}, nil
}

// leg is one transition, and what its audit entry tells beside it.
type leg struct {
	to       Status
	metadata map[string]any
}

// walk takes an operation, if it is in one of the states in from, over legs to the last one's state, all in
// one transaction in which each leg has its own audit entry and place in the history; legs up to the state
// in which it is are behind it.
func (l *lane) walk(ctx context.Context, fence *store.Fence, id string, from []Status, legs []leg, more func(*Operation, *store.Tx) error) (*Operation, error) {
	return l.change(ctx, fence, id, func(o *Operation, t *store.Tx) (bool, error) {
		if !slices.Contains(from, o.Status) {
			return false, nil
		}
		ahead := legs[1+slices.IndexFunc(legs, func(g leg) bool { return g.to == o.Status }):]
		for _, g := range ahead {
			if err := o.move(g.to, l.s.now()); err != nil {
				return false, err
			}
		}
		if more != nil {
			if err := more(o, t); err != nil {
				return false, err
			}
		}
		for _, g := range ahead {
			t.Audit(o.draft(registry.SystemActor(), g.to.action(), maps.Clone(g.metadata)))
		}
		return true, nil
	})
}
