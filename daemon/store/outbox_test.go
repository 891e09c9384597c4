package store_test

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

func outbox(t *testing.T, s *store.Store) (events []*store.PendingEvent) {
	t.Helper()
	for kv, err := range s.All(t.Context(), store.Outbox, nil) {
		if err != nil {
			t.Fatal(err)
		}
		e, err := store.ParsePendingEvent(kv.Value)
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
	return events
}

// TestEventStandsWithItsChange: a change that is refused has told nobody.
func TestEventStandsWithItsChange(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	change := func(key string) (string, error) {
		tx := s.Tx()
		tx.PutIfAbsent(key, nil)
		id := tx.Emit(store.Emission{Type: "token.minted", Order: "op_1", Data: jsontext.Value(`{"tokenId":"token_1"}`)})
		_, err := tx.Commit(t.Context())
		return id, err
	}
	id, err := change("/mw/x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := change("/mw/x"); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("the second change: %v", err)
	}
	events := outbox(t, s)
	if len(events) != 1 || events[0].ID != id || events[0].Type != "token.minted" || events[0].Order != "op_1" || string(events[0].Data) != `{"tokenId":"token_1"}` {
		t.Fatalf("the outbox holds %+v", events)
	}
}

// TestEventsStandInOrder: by when things happened, and within one change as they were told; not by which
// appliance's clock is ahead.
func TestEventsStandInOrder(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	base := time.Now()
	for _, at := range []int{0, 3, 1, 2} {
		tx := s.Tx()
		for n := range 12 {
			tx.Emit(store.Emission{Type: "a.b", Data: jsontext.Value(fmt.Sprintf(`{"n":%d}`, 100*at+n)), At: base.Add(time.Duration(at) * time.Millisecond)})
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	for _, e := range outbox(t, s) {
		got = append(got, string(e.Data))
	}
	var want []string
	for at := range 4 {
		for n := range 12 {
			want = append(want, fmt.Sprintf(`{"n":%d}`, 100*at+n))
		}
	}
	if !slices.Equal(got, want) {
		t.Fatalf("got %v", got)
	}
}

func TestEmitRefuses(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	for name, e := range map[string]store.Emission{
		"no type":         {Data: jsontext.Value(`{}`)},
		"a type in caps":  {Type: "Token.minted", Data: jsontext.Value(`{}`)},
		"no data":         {Type: "a.b"},
		"an array":        {Type: "a.b", Data: jsontext.Value(`[]`)},
		"broken data":     {Type: "a.b", Data: jsontext.Value(`{`)},
		"too much data":   {Type: "a.b", Data: jsontext.Value(`{"a":"` + strings.Repeat("x", store.MaxEventData) + `"}`)},
		"a path as order": {Type: "a.b", Order: "../x", Data: jsontext.Value(`{}`)},
	} {
		tx := s.Tx()
		tx.Emit(e)
		if _, err := tx.Commit(t.Context()); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	if events := outbox(t, s); len(events) != 0 {
		t.Fatalf("the outbox holds %d events", len(events))
	}
}

func FuzzParsePendingEvent(f *testing.F) {
	f.Add([]byte(`{"id":"evt_01JXXXXXXXXXXXXXXXXXXXXXXX","type":"token.minted","at":"2026-04-27T10:14:00Z","order":"op_1","data":{"a":1}}`))
	f.Add([]byte(`{"id":"evt_01JXXXXXXXXXXXXXXXXXXXXXXX","type":"token.minted","at":"2026-04-27T10:14:00Z","data":[]}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := store.ParsePendingEvent(b)
		if err != nil {
			return
		}
		if !store.ValidID("evt_", e.ID) || strings.ContainsAny(e.Order, "/.") || e.Data.Kind() != '{' {
			t.Fatalf("%q was read as %+v", b, e)
		}
	})
}
