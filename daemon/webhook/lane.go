package webhook

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// laneTasks is how many attempts one endpoint gets at once, each of another chain.
	laneTasks = 16
	// laneAgain is when a lane looks if nothing wakes it; also after a failure of the store.
	laneAgain = 10 * time.Second
	// lanePage is how many due deliveries are read at once. etcd counts everything behind a page, too, so that
	// small pages of a long backlog cost it more than what they hold.
	lanePage = 512
	// farewell is how long a delivery that was answered may take to be noted at a stop.
	farewell = 2 * time.Second
)

// lane delivers to one endpoint. It holds what is under way; the rest it reads from the store, as it gets
// there.
type lane struct {
	d      *dispatcher
	known  *known
	wh     string
	client *http.Client
	stop   context.CancelFunc
	woken  chan struct{}

	queue []store.KV // due deliveries that were read and have no place yet; of run's goroutine
	next  time.Time  // nothing but what is in the queue is due before; of run's goroutine

	mu   sync.Mutex
	busy map[string]bool // keys of due deliveries that are being tried
	low  string          // no due delivery stands below this key
	full time.Time       // when the whole index was last looked at
	look bool            // it is to be looked at now
}

// lookAll is how often a lane looks at its whole index, instead of from where it last was: etcd walks over
// what was deleted and is not compacted yet, and a clock that was set back may have put something below.
const lookAll = 30 * time.Second

func newLane(d *dispatcher, k *known, stop context.CancelFunc) *lane {
	return &lane{d: d, known: k, wh: k.endpoint.ID, client: newClient(d.guard, d.roots), stop: stop,
		woken: make(chan struct{}, 1), busy: map[string]bool{}}
}

func (l *lane) wake() {
	select {
	case l.woken <- struct{}{}:
	default:
	}
}

// lookAgain has the lane look at its whole index: another appliance, whose clock may be behind, put something
// there.
func (l *lane) lookAgain() {
	l.mu.Lock()
	l.look = true
	l.mu.Unlock()
	l.wake()
}

// run delivers until ctx ends.
func (l *lane) run(ctx context.Context) {
	var tasks sync.WaitGroup
	defer l.client.CloseIdleConnections()
	defer tasks.Wait()
	_, _ = l.d.count(ctx, l.known, l.wh) // where it fails, tidy counts
	for ctx.Err() == nil {
		err := l.begin(ctx, &tasks)
		wait := max(0, l.next.Sub(l.d.now()))
		if err != nil {
			wait = time.Second
			if ctx.Err() == nil {
				l.d.log.Warn("webhooks: an endpoint's deliveries cannot be read", "webhook", l.wh, "error", err)
			}
		} else if len(l.queue) > 0 {
			wait = laneAgain // an attempt that ends wakes us
		}
		select {
		case <-l.woken:
		case <-l.d.after(wait):
		case <-ctx.Done():
		}
	}
}

// begin starts an attempt for every delivery that is due, as far as there is room.
func (l *lane) begin(ctx context.Context, tasks *sync.WaitGroup) error {
	for {
		for len(l.queue) > 0 && l.claim(l.queue[0].Key) {
			kv := l.queue[0]
			l.queue = l.queue[1:]
			tasks.Go(func() { l.serve(ctx, kv) })
		}
		if len(l.queue) > 0 {
			return nil
		}
		if err := l.read(ctx); err != nil || len(l.queue) == 0 {
			return err
		}
	}
}

// read fills the queue with what is due, and finds out when it is to be read again.
func (l *lane) read(ctx context.Context) error {
	now := l.d.moment()
	l.mu.Lock()
	if l.look || now.Sub(l.full) > lookAll || now.Before(l.full) {
		l.low, l.full, l.look, l.next = "", now, false, time.Time{}
	}
	low := l.low
	l.mu.Unlock()
	end := dueKey(l.wh, now.Add(time.Millisecond), "")
	p, err := l.d.store.List(ctx, dues(l.wh), store.ListOptions{After: low, Until: end, Limit: lanePage})
	if err != nil {
		return err
	}
	// What is put there from now on is due now or later.
	below := dueKey(l.wh, now.Add(-time.Second), "")
	l.mu.Lock()
	for n, kv := range p.KVs {
		if n == 0 {
			below = min(below, kv.Key[:len(below)])
		}
		if !l.busy[kv.Key] {
			l.queue = append(l.queue, kv)
		}
	}
	l.low = below
	l.mu.Unlock()
	if len(l.queue) > 0 || l.next.After(now) {
		return nil
	}
	l.next = now.Add(laneAgain)
	after, err := l.d.store.List(ctx, dues(l.wh), store.ListOptions{After: end, Limit: 1})
	if err != nil || len(after.KVs) == 0 {
		return err
	}
	due, _, err := parseDue(l.wh, after.KVs[0].Key)
	if err == nil && due.Before(l.next) {
		l.next = due
	}
	return err
}

// claim takes a place for a delivery, if one is free.
func (l *lane) claim(key string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.busy) >= laneTasks {
		return false
	}
	l.busy[key] = true
	return true
}

// serve makes one attempt and notes what became of it.
func (l *lane) serve(ctx context.Context, due store.KV) {
	err := l.deliver(ctx, due)
	if err != nil && ctx.Err() == nil {
		l.d.log.Warn("webhooks: a delivery is tried again", "webhook", l.wh, "delivery", string(due.Value), "error", err)
		select { // the store has a moment to come back
		case <-l.d.after(time.Second):
		case <-ctx.Done():
		}
	}
	l.mu.Lock()
	delete(l.busy, due.Key)
	l.mu.Unlock()
	l.wake()
}

// position is a delivery at the head of its chain, as the store has it.
type position struct {
	endpoint    *Endpoint
	endpointRev int64
	chain       *chain
	chainRev    int64
	delivery    *Delivery
	deliveryRev int64
}

// errGone says that a delivery is not there any more, or not the next one of its chain.
var errGone = errors.New("webhook: nothing to deliver")

func (l *lane) position(ctx context.Context, order, id string) (*position, error) {
	kvs, _, err := l.d.store.GetMany(ctx, endpointKey(l.wh), chainKey(l.wh, order), deliveryKey(l.wh, id))
	if err != nil {
		return nil, err
	}
	for _, kv := range kvs {
		if kv.ModRevision == 0 {
			return nil, errGone
		}
	}
	p := &position{endpointRev: kvs[0].ModRevision, chainRev: kvs[1].ModRevision, deliveryRev: kvs[2].ModRevision}
	if p.endpoint, err = decode[Endpoint](kvs[0]); err != nil {
		return nil, err
	}
	if p.chain, err = decode[chain](kvs[1]); err != nil {
		return nil, err
	}
	if p.delivery, err = parseDelivery(kvs[2]); err != nil {
		return nil, err
	}
	if p.endpoint.Deleted || len(p.chain.IDs) == 0 || p.chain.IDs[0] != id {
		return nil, errGone
	}
	return p, nil
}

// deliver tries the delivery that stands at due. A crash between the answer and the note of it delivers it
// once more.
func (l *lane) deliver(ctx context.Context, due store.KV) error {
	_, order, err := parseDue(l.wh, due.Key)
	if err != nil {
		return err
	}
	id := string(due.Value)
	p, err := l.position(ctx, order, id)
	if errors.Is(err, errGone) || err == nil && dueKey(l.wh, p.chain.Due, order) != due.Key {
		return nil // it was replayed, or put off, since it was read
	}
	if err != nil {
		return err
	}
	began := l.d.moment()
	clock := time.Now() // what passed is measured by the clock that nobody sets
	r := l.attempt(ctx, p, began)
	took := time.Since(clock)
	if ctx.Err() != nil && r.outcome != delivered {
		return ctx.Err() // we broke it off, and nobody counts it
	}
	l.d.metrics.attempts.WithLabelValues(string(r.outcome)).Inc()
	l.d.metrics.seconds.Observe(took.Seconds())
	wctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
	defer cancel()
	for {
		err := l.note(wctx, p, r, Attempt{At: began, Status: r.status, Error: r.text, Took: took.Milliseconds()})
		if !lostRace(err) {
			return err
		}
		// The chain grew, the endpoint or the delivery was changed: what the answer was remains.
		if p, err = l.position(wctx, order, id); errors.Is(err, errGone) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

func (l *lane) attempt(ctx context.Context, p *position, at time.Time) result {
	secrets, err := l.d.secrets(p.endpoint, at)
	if err != nil {
		return result{noSecret, 0, "it cannot be signed: this appliance's key does not open the secret; rotate it"}
	}
	// The scheme is looked at again: what dev took, production may not be told to send.
	if _, err := CheckURL(p.endpoint.URL, l.d.plain()); err != nil {
		return result{address, 0, "the URL is not https"}
	}
	return post(ctx, l.client, p.endpoint.URL, p.delivery.EventID, []byte(p.delivery.Body), secrets, at)
}

// note writes what became of an attempt, and what follows: the next one of the chain is due, or this one
// again later, or it is dead and the next one is due.
func (l *lane) note(ctx context.Context, p *position, r result, a Attempt) error {
	now, d, c := l.d.moment(), *p.delivery, *p.chain
	d.Attempts = append(d.Attempts[:len(d.Attempts):len(d.Attempts)], a)
	if n := len(d.Attempts); n > maxAttempts {
		d.Attempts = d.Attempts[n-maxAttempts:]
	}
	d.Tries++
	t := l.d.store.Tx()
	t.Require(endpointKey(l.wh), p.endpointRev)
	was := dueKey(l.wh, c.Due, d.Order)
	switch {
	case r.outcome == delivered:
		d.Status = Delivered
	case d.Tries > len(pauses):
		d.Status = Dead
		t.Put(deadKey(l.wh, d.ID), nil)
	default:
		c.Due = now.Add(pauses[d.Tries-1])
		d.NextAttemptAt = c.Due
	}
	if d.Status != Pending {
		d.FinishedAt, d.NextAttemptAt = now, time.Time{}
		c.IDs, c.Due = c.IDs[1:], now
		t.Delete(pendingKey(l.wh, d.ID))
	}
	if len(c.IDs) == 0 {
		t.DeleteIf(chainKey(l.wh, d.Order), p.chainRev)
		t.Delete(was)
	} else {
		t.PutIf(chainKey(l.wh, d.Order), encode(c), p.chainRev)
		is := dueKey(l.wh, c.Due, d.Order)
		t.Put(is, []byte(c.IDs[0]))
		if was != is {
			t.Delete(was)
		}
	}
	t.PutIf(deliveryKey(l.wh, d.ID), d.stored(), p.deliveryRev)
	l.known.counting.RLock()
	defer l.known.counting.RUnlock()
	if err := l.d.commit(ctx, t); err != nil {
		return err
	}
	if d.Status != Pending {
		l.known.waiting.Add(-1)
	}
	if d.Status == Dead {
		l.d.metrics.dead.Inc()
		l.d.log.Warn("webhooks: a delivery is dead", "webhook", l.wh, "delivery", d.ID, "event", d.EventID, "type", d.EventType, "why", r.text)
	}
	return nil
}
