package store

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"strings"
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

// maxOrder bounds an event's order, in bytes.
const maxOrder = 64

// isEventType reports whether s is words of lower-case letters, the later ones with underscores too, with a dot between
// each two: types have at least one, so that subscriptions can name groups of them.
func isEventType(s string) bool {
	first, rest, dotted := strings.Cut(s, ".")
	if !dotted || !consists(first, isLower) {
		return false
	}
	for word := range strings.SplitSeq(rest, ".") {
		if !consists(word, func(c byte) bool { return isLower(c) || c == '_' }) {
			return false
		}
	}
	return true
}

// isOrder reports whether s may stand in a key as an order.
func isOrder(s string) bool {
	return s == "" || len(s) <= maxOrder && consists(s, func(c byte) bool {
		return isLower(c) || c == '_' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z'
	})
}

func isLower(c byte) bool { return 'a' <= c && c <= 'z' }

// consists reports whether s is not empty and all of its bytes are as is says.
func consists(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return s != ""
}

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
	if !isEventType(e.Type) {
		t.fail(fmt.Errorf("store: %q is no event's type", e.Type))
		return id
	}
	if !isOrder(e.Order) {
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
	b := PendingEvent{ID: id, Type: e.Type, At: e.At, Order: e.Order, Data: e.Data}.encode()
	if t.events == 0 {
		var err error
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

// encode is the event as json.Marshal has it, without a third look at data that was made as JSON and found to be it:
// nothing else in an event needs an escape.
func (e PendingEvent) encode() []byte {
	b := make([]byte, 0, len(e.Data)+eventSize)
	b = append(append(b, `{"id":"`...), e.ID...)
	b = append(append(b, `","type":"`...), e.Type...)
	b = append(e.At.AppendFormat(append(b, `","at":"`...), time.RFC3339Nano), '"')
	if e.Order != "" {
		b = append(append(append(b, `,"order":"`...), e.Order...), '"')
	}
	return append(append(append(b, `,"data":`...), e.Data...), '}')
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
	case !isEventType(e.Type):
		return nil, fmt.Errorf("store: event %s: type %q", e.ID, e.Type)
	case !isOrder(e.Order):
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
