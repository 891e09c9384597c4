package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// routeWrites is how many writes a transaction of the router has at most: the fence and the endpoints are
	// compared beside them, and an event for every endpoint there can be fits.
	routeWrites = 96
	// routeEvents bounds how many events are handed on at once, and with them the chains that are read.
	routeEvents = 64
	// routeAgain is when the outbox is looked at if nothing wakes the router.
	routeAgain = 10 * time.Second
	// writesEach is what handing an event to one endpoint writes: delivery, pending, chain, due.
	writesEach = 4
)

// route hands what is in the outbox to the endpoints, for ever.
func (d *dispatcher) route(ctx context.Context) error {
	from, at := "", int64(0) // all of it, now
	for {
		err := d.pass(ctx, from, at)
		if errors.Is(err, store.ErrCompacted) {
			from, at = "", 0
			continue // the revision that the pass stood on is gone; what is left stands at a newer one
		}
		if err != nil {
			return err
		}
		if from, at, err = d.arrived.await(ctx, d.after(routeAgain)); err != nil {
			return err
		}
	}
}

// pass hands on what the outbox holds at one revision (0: now) from a key on, below which there is nothing, in
// the order of its keys: of one operation an event that was written later is never seen without those before
// it. It is read page by page.
func (d *dispatcher) pass(ctx context.Context, from string, at int64) error {
	var batch []outgoing
	writes := 0
	for kv, err := range d.store.AllFrom(ctx, store.Outbox, from, at, nil) {
		if err != nil {
			return err
		}
		o := outgoing{key: kv.Key}
		if o.event, err = store.ParsePendingEvent(kv.Value); err != nil {
			// Nobody but this appliance's own users of etcd wrote it, and it will not become an event by waiting.
			d.log.Error("webhooks: an entry of the outbox is no event and is dropped", "key", kv.Key, "error", err)
		}
		cost := 1 + writesEach*len(d.subscribers(o.event))
		if len(batch) > 0 && (writes+cost > routeWrites || len(batch) == routeEvents) {
			if err := d.handOn(ctx, batch); err != nil {
				return err
			}
			batch, writes = nil, 0
		}
		batch, writes = append(batch, o), writes+cost
	}
	if len(batch) == 0 {
		return nil
	}
	return d.handOn(ctx, batch)
}

// outgoing is an event in the outbox; nil where the entry is none.
type outgoing struct {
	key   string
	event *store.PendingEvent
}

// subscriber is an endpoint that wants an event, at the revision at which it did.
type subscriber struct {
	*known
	id  string
	rev int64
}

// subscribers are the endpoints that want an event.
func (d *dispatcher) subscribers(e *store.PendingEvent) (out []subscriber) {
	if e == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, k := range d.known {
		if !k.endpoint.Deleted && wants(k.endpoint.Events, e.Type) {
			out = append(out, subscriber{k, id, k.rev})
		}
	}
	return out
}

// handOn takes events out of the outbox and puts a delivery of each in the chain of every endpoint that wants
// it, in one transaction: an event is in the outbox or with its endpoints, and never in both or neither.
func (d *dispatcher) handOn(ctx context.Context, batch []outgoing) error {
	for {
		err := d.tryHandOn(ctx, batch)
		switch {
		case errors.Is(err, store.ErrTooLarge) && len(batch) > 1:
			// An endpoint was made in between, or the events are large: in halves.
			if err := d.handOn(ctx, batch[:len(batch)/2]); err != nil {
				return err
			}
			batch = batch[len(batch)/2:]
		case lostRace(err):
			// An endpoint was made or changed, or a chain was worked off.
			if _, err := d.readEndpoints(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// link is one chain that a batch lengthens.
type link struct {
	chain chain
	rev   int64
	first *Delivery // the new one that is its head; nil if it had one
}

func (d *dispatcher) tryHandOn(ctx context.Context, batch []outgoing) error {
	now := d.moment()
	d.mu.Lock()
	whole := d.whole
	d.mu.Unlock()
	links, err := d.links(ctx, batch)
	if err != nil {
		return err
	}
	t, most := d.store.Tx(), d.most()
	told := map[string]subscriber{}
	added := map[string]int64{}
	var made []placed
	var dropped []func()
	for _, o := range batch {
		t.Delete(o.key)
		for _, to := range d.subscribers(o.event) {
			if to.waiting.Load()+added[to.id] >= most {
				dropped = append(dropped, func() { d.drop(to, o.event) })
				continue
			}
			told[to.id] = to
			added[to.id]++
			n := newDelivery(d.store.Tenant(), o.event, now)
			l := links[chainKey(to.id, n.Order)]
			if l == nil {
				return fmt.Errorf("%w: endpoint %s is new", store.ErrConflict, to.id) // since the chains were read
			}
			if len(l.chain.IDs) == 0 {
				l.chain.Due, l.first, n.NextAttemptAt = now, n, now
			}
			l.chain.IDs = append(l.chain.IDs, n.ID)
			made = append(made, placed{to.id, n})
		}
	}
	touched := map[string]bool{}
	for _, m := range made {
		m.put(t, m.wh)
		key := chainKey(m.wh, m.Order)
		if touched[key] {
			continue
		}
		touched[key] = true
		l := links[key]
		t.PutIf(key, encode(l.chain), l.rev)
		if l.first != nil {
			t.Put(dueKey(m.wh, l.chain.Due, m.Order), []byte(l.first.ID))
		}
	}
	for id, to := range told {
		t.Require(endpointKey(id), to.rev)
		to.counting.RLock()
		defer to.counting.RUnlock()
	}
	t.Require(guardKey, whole) // or an endpoint that was made a moment ago would miss an event
	// gofail: var routeBeforeCommit struct{}
	rev, err := d.commitAt(ctx, t)
	if err != nil {
		return err
	}
	// gofail: var routeAfterCommit struct{}
	d.arrived.handedOn(rev)
	d.metrics.events.Add(float64(len(batch)))
	for _, tell := range dropped {
		tell()
	}
	for id, to := range told {
		to.waiting.Add(added[id])
		d.start(ctx, to.known)
	}
	return nil
}

// most is how many deliveries may wait for one endpoint: those of a backlog or, while all endpoints have as many as the
// store is to hold, an equal part of these.
func (d *dispatcher) most() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting := int64(0)
	for _, k := range d.known {
		waiting += k.waiting.Load()
	}
	if waiting < d.together {
		return d.maxBacklog
	}
	return min(d.maxBacklog, d.together/int64(len(d.known)))
}

// placed is a new delivery of an endpoint.
type placed struct {
	wh string
	*Delivery
}

// drop tells that an event is not kept for an endpoint. Its operation's receipt and the API still have it.
func (d *dispatcher) drop(to subscriber, e *store.PendingEvent) {
	d.metrics.dropped.Inc()
	d.log.Error("webhooks: too much waits for an endpoint; an event is not kept for it", "webhook", to.id, "event", e.ID, "type", e.Type, "waiting", to.waiting.Load())
}

// links reads the chains that a batch may lengthen, by key.
func (d *dispatcher) links(ctx context.Context, batch []outgoing) (map[string]*link, error) {
	out := map[string]*link{}
	var keys []string
	for _, o := range batch {
		for _, to := range d.subscribers(o.event) {
			order := o.event.Order
			if order == "" {
				order = o.event.ID
			}
			if key := chainKey(to.id, order); out[key] == nil {
				out[key] = &link{}
				keys = append(keys, key)
			}
		}
	}
	if len(keys) == 0 {
		return out, nil
	}
	kvs, _, err := d.store.GetMany(ctx, keys...)
	if err != nil {
		return nil, err
	}
	for _, kv := range kvs {
		if kv.ModRevision == 0 {
			continue
		}
		c, err := decode[chain](kv)
		if err != nil {
			return nil, err
		}
		out[kv.Key].chain, out[kv.Key].rev = *c, kv.ModRevision
	}
	return out, nil
}
