package webhook

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"strconv"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Status is how far a delivery has come. The zero value is invalid.
type Status string

const (
	Pending   Status = "PENDING"
	Delivered Status = "DELIVERED"
	Dead      Status = "DEAD" // no attempt is left; it can be replayed
)

// pauses are between the end of an attempt and the next one: at once, 30 s, 2 min, 10 min, 1 h, 6 h after the
// one before. A delivery is dead after one attempt more than there are pauses.
var pauses = []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 6 * time.Hour}

// maxAttempts is how many attempts are kept of a delivery that is replayed again and again: the last ones.
const maxAttempts = 24

// Delivery is an event on its way to one endpoint, as the store holds it.
type Delivery struct {
	ID        string    `json:"id"`
	EventID   string    `json:"eventId"`
	EventType string    `json:"eventType"`
	Order     string    `json:"order"` // its chain
	Status    Status    `json:"status"`
	Attempts  []Attempt `json:"attempts,omitzero"` // first to last
	Tries     int       `json:"tries,omitzero"`    // attempts since it was made or replayed
	CreatedAt time.Time `json:"createdAt"`
	// NextAttemptAt is when it is tried next: zero where it waits behind another one of its chain, or is done.
	NextAttemptAt time.Time `json:"nextAttemptAt,omitzero"`
	FinishedAt    time.Time `json:"finishedAt,omitzero"`
	Body          string    `json:"body"` // the exact bytes that are sent
}

// Attempt is one attempt to deliver.
type Attempt struct {
	At     time.Time `json:"at"`
	Status int       `json:"status,omitzero"` // HTTP; 0 where there was no answer
	Error  string    `json:"error,omitzero"`  // why it failed; empty where it did not
	Took   int64     `json:"ms"`              // milliseconds
}

// chain is what is to be delivered of one order, the next one first.
type chain struct {
	Due time.Time `json:"due"` // of the first one
	IDs []string  `json:"ids"`
}

// envelope is what endpoints are sent (spec/api.md, “Webhooks”).
type envelope struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"createdAt"`
	TenantID  string         `json:"tenantId"`
	Data      jsontext.Value `json:"data"`
}

// newDelivery is an event on its way to one endpoint. Events without an order are a chain of their own.
func newDelivery(tenant string, e *store.PendingEvent, now time.Time) *Delivery {
	d := &Delivery{ID: store.NewID(deliveryPrefix), EventID: e.ID, EventType: e.Type, Order: e.Order, Status: Pending, CreatedAt: now,
		Body: string(encode(envelope{e.ID, e.Type, e.At.UTC().Truncate(time.Second), tenant, e.Data}))}
	if d.Order == "" {
		d.Order = e.ID
	}
	return d
}

// put writes a delivery that is pending.
func (d *Delivery) put(t *store.Tx, wh string) {
	t.Put(deliveryKey(wh, d.ID), d.stored())
	t.Put(pendingKey(wh, d.ID), nil)
}

// delivery reads one delivery and its revision, which is 0 if it is archived; nil if there is none.
func (s *Service) delivery(ctx context.Context, wh, id string) (*Delivery, int64, error) {
	v, rev, ok, err := s.store.Get(ctx, deliveryKey(wh, id))
	if err != nil {
		return nil, 0, err
	}
	if !ok {
		if err := s.whole(ctx); err != nil {
			return nil, 0, err
		}
		d, err := s.archived(wh, id)
		return d, 0, err
	}
	d, err := parseDelivery(store.KV{Key: deliveryKey(wh, id), Value: v})
	return d, rev, err
}

// testEvery is how far apart tests of one endpoint are at least, whichever appliances are asked.
const testEvery = time.Second

// room refuses what would wait behind as much as may for an endpoint.
func (s *Service) room(ctx context.Context, id string) error {
	n, err := s.store.Count(ctx, pendings(id))
	if err == nil && n >= s.maxBacklog {
		err = refuse(Full, "%d deliveries wait for webhook %s, as many as may; see that it takes them, or delete it", n, id)
	}
	return err
}

// spaceTests refuses a test right after another one, and lets t pass only if none came in between.
func (s *Service) spaceTests(ctx context.Context, t *store.Tx, id string, now time.Time) error {
	v, rev, ok, err := s.store.Get(ctx, testedKey(id))
	if err != nil {
		return err
	}
	if ok {
		ms, err := strconv.ParseInt(string(v), 10, 64)
		if err != nil {
			return fmt.Errorf("webhook: the value of %s: %w", testedKey(id), err)
		}
		// One of the future is another appliance's clock's, and holds nobody up.
		if since := now.Sub(time.UnixMilli(ms)); since >= 0 && since < testEvery {
			return refuse(TooSoon, "webhook %s was tested %s ago; it is tested once in %s", id, since, testEvery)
		}
	}
	t.PutIf(testedKey(id), strconv.AppendInt(nil, now.UnixMilli(), 10), rev)
	return nil
}

// Test sends an endpoint an event of its own, whatever it subscribed to, once a second at most and not while
// its backlog is full. The delivery is still to be made.
func (s *Service) Test(ctx context.Context, w Who, id string, idem *store.Idempotent) (*Delivery, error) {
	for {
		e, rev, err := s.endpoint(ctx, id)
		if err != nil {
			return nil, err
		}
		now := s.moment()
		data, err := json.Marshal(map[string]any{"webhookId": id, "requestedBy": w.Name}, json.Deterministic(true))
		if err != nil {
			return nil, fmt.Errorf("webhook: test of %s: %w", id, err)
		}
		d := newDelivery(s.store.Tenant(), &store.PendingEvent{ID: store.NewID("evt_"), Type: TestEvent, At: now, Data: data}, now)
		d.NextAttemptAt = now
		t := s.store.Tx()
		t.Require(endpointKey(id), rev)
		if err := s.spaceTests(ctx, t, id, now); err != nil {
			return nil, err
		}
		if err := s.room(ctx, id); err != nil {
			return nil, err
		}
		d.put(t, id)
		s.startChain(t, id, d, now)
		t.Audit(w.draft("webhook.tested", e, map[string]any{"deliveryId": d.ID}))
		t.Idempotent(idem, d)
		if _, err = t.Commit(ctx); !lostRace(err) {
			return d, err
		}
	}
}

// startChain makes d the one delivery of its chain, due at once, and has the lane look.
func (s *Service) startChain(t *store.Tx, wh string, d *Delivery, now time.Time) {
	t.PutIfAbsent(chainKey(wh, d.Order), encode(chain{now, []string{d.ID}}))
	t.Put(dueKey(wh, now, d.Order), []byte(d.ID))
	t.Put(nudgeKey(wh), []byte(d.ID))
}

// Replay delivers an event once more, under its own id, with attempts counted anew; an archived one comes back into
// the store for that. One that is still pending
// is tried at once if it is the next one of its operation, and otherwise stays where it is; another one is
// refused while the endpoint's backlog is full.
func (s *Service) Replay(ctx context.Context, w Who, id, deliveryID string, idem *store.Idempotent) (*Delivery, error) {
	for {
		e, endpointRev, err := s.endpoint(ctx, id)
		if err != nil {
			return nil, err
		}
		var d *Delivery
		var rev int64
		if store.ValidID(deliveryPrefix, deliveryID) {
			if d, rev, err = s.delivery(ctx, id, deliveryID); err != nil {
				return nil, err
			}
		}
		if d == nil {
			return nil, refuse(NotFound, "webhook %s has no delivery %q; GET /v1/webhooks/%s/deliveries lists them", id, deliveryID, id)
		}
		t := s.store.Tx()
		t.Require(endpointKey(id), endpointRev)
		t.Require(deliveryKey(id, d.ID), rev)
		if err := s.stageReplay(ctx, t, id, d); err != nil {
			return nil, err
		}
		t.Audit(s.replayed(w, e, d))
		t.Idempotent(idem, d)
		if _, err = t.Commit(ctx); !lostRace(err) {
			return d, err
		}
	}
}

func (s *Service) replayed(w Who, e *Endpoint, d *Delivery) audit.Draft {
	return w.draft("webhook.replayed", e, map[string]any{"deliveryId": d.ID, "eventId": d.EventID, "eventType": d.EventType})
}

func (s *Service) stageReplay(ctx context.Context, t *store.Tx, wh string, d *Delivery) error {
	now := s.moment()
	if d.Status != Pending {
		if err := s.room(ctx, wh); err != nil {
			return err
		}
		if d.Status == Dead {
			t.Delete(deadKey(wh, d.ID))
		}
		// It stands by itself: what came after it has not waited, and what comes now need not.
		d.Status, d.Tries, d.Order, d.NextAttemptAt, d.FinishedAt = Pending, 0, d.ID, now, time.Time{}
		d.put(t, wh)
		t.Put(replayKey(wh, d.ID), nil)
		s.startChain(t, wh, d, now)
		return nil
	}
	v, rev, ok, err := s.store.Get(ctx, chainKey(wh, d.Order))
	if err != nil || !ok {
		return err
	}
	c, err := decode[chain](store.KV{Key: chainKey(wh, d.Order), Value: v})
	if err != nil || len(c.IDs) == 0 || c.IDs[0] != d.ID || !c.Due.After(now) {
		return err
	}
	t.Delete(dueKey(wh, c.Due, d.Order))
	t.Put(dueKey(wh, now, d.Order), []byte(d.ID))
	c.Due, d.NextAttemptAt, d.Tries = now, now, 0
	t.PutIf(chainKey(wh, d.Order), encode(c), rev)
	t.Put(deliveryKey(wh, d.ID), d.stored())
	t.Put(nudgeKey(wh), []byte(d.ID))
	return nil
}
