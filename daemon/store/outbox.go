package store

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"regexp"
	"time"

	"github.com/oklog/ulid/v2"
)

const (
	// Outbox holds what changes told the world of themselves and nobody has passed on yet: <ULID>/<nn>,
	// written with the change.
	Outbox = "/mw/outbox/"
	// MaxEventData bounds an event's data, in bytes: each endpoint that subscribes gets a copy, and all copies
	// of one event are written in one transaction.
	MaxEventData = 16 << 10
	// eventSize is what an event in the outbox holds beside its data, at most, in bytes.
	eventSize = 512
)

// Emission is an event on its way into the outbox.
type Emission struct {
	Type string // as "token.minted"
	// Data is what the event tells: one JSON object, at most MaxEventData.
	Data jsontext.Value
	// Order names what the event belongs to, an operation's id say: events of one order are passed on in the
	// order of At, those of different ones side by side. Empty: by itself.
	Order string
	// At is when it happened, in whole milliseconds. Later events of one order MUST have a later At, whichever
	// appliance they happen on. Zero: now.
	At time.Time
}

// Event types have a dot, so that subscriptions can name groups of them.
var eventType = regexp.MustCompile(`^[a-z]+(\.[a-z_]+)+$`)

// Orders stand in keys.
var eventOrder = regexp.MustCompile(`^[0-9A-Za-z_]{0,64}$`)

// PendingEvent is an event in the outbox.
type PendingEvent struct {
	ID    string         `json:"id"` // evt_…
	Type  string         `json:"type"`
	At    time.Time      `json:"at"`
	Order string         `json:"order,omitzero"`
	Data  jsontext.Value `json:"data"`
}

// Emit adds an event to the change and returns its id: if the change is written, the event is, and it is
// passed on at least once.
func (t *Tx) Emit(e Emission) string {
	id := NewID("evt_")
	if !eventType.MatchString(e.Type) {
		t.fail(fmt.Errorf("store: %q is no event's type", e.Type))
		return id
	}
	if !eventOrder.MatchString(e.Order) {
		t.fail(fmt.Errorf("store: event %s: %q is no order", e.Type, e.Order))
		return id
	}
	if len(e.Data) > MaxEventData || e.Data.Kind() != '{' || !e.Data.IsValid() {
		t.fail(fmt.Errorf("%w: the data of event %s is no JSON object of at most %d bytes: it has %d", ErrTooLarge, e.Type, MaxEventData, len(e.Data)))
		return id
	}
	if e.At.IsZero() {
		e.At = time.Now()
	}
	e.At = e.At.UTC().Truncate(time.Millisecond)
	b, err := json.Marshal(PendingEvent{ID: id, Type: e.Type, At: e.At, Order: e.Order, Data: e.Data})
	if err != nil {
		t.fail(fmt.Errorf("store: event %s: %w", e.Type, err))
		return id
	}
	if t.events == 0 {
		// The key sorts by when the change happened: what happened to one operation stands in that order,
		// whatever the clocks of the appliances say.
		if t.outbox, err = ulid.New(ulid.Timestamp(e.At), ulid.DefaultEntropy()); err != nil {
			t.fail(fmt.Errorf("store: event %s at %s: %w", e.Type, e.At, err))
			return id
		}
	}
	t.Put(fmt.Sprintf("%s%s/%02d", Outbox, t.outbox, t.events), b)
	t.events++
	return id
}

// ParsePendingEvent reads an outbox entry.
func ParsePendingEvent(b []byte) (*PendingEvent, error) {
	if len(b) > MaxEventData+eventSize {
		return nil, fmt.Errorf("%w: an event of %d bytes", ErrTooLarge, len(b))
	}
	var e PendingEvent
	if err := json.Unmarshal(b, &e, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("store: event: %w", err)
	}
	switch {
	case !ValidID("evt_", e.ID):
		return nil, fmt.Errorf("store: event: id %q", e.ID)
	case !eventType.MatchString(e.Type):
		return nil, fmt.Errorf("store: event %s: type %q", e.ID, e.Type)
	case !eventOrder.MatchString(e.Order):
		return nil, fmt.Errorf("store: event %s: order %q", e.ID, e.Order)
	case e.At.IsZero():
		return nil, fmt.Errorf("store: event %s: no time", e.ID)
	case e.Data.Kind() != '{':
		return nil, fmt.Errorf("store: event %s: its data is no object", e.ID)
	}
	return &e, nil
}

// FirstID is the first id of that prefix that can be drawn at a moment: ids from before sort below it.
func FirstID(prefix string, at time.Time) string {
	var u ulid.ULID
	if err := u.SetTime(ulid.Timestamp(at)); err != nil {
		u = ulid.ULID{}
	}
	return prefix + u.String()
}
