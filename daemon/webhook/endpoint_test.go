package webhook_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

// TestSubscriptions: what each kind of subscription covers, on one endpoint each.
func TestSubscriptions(t *testing.T) {
	w := newWorld(t)
	events := []string{"token.minted", "token.operation_failed", "approval.required", "webhook.test"}
	want := map[string]string{"*": "token.minted token.operation_failed approval.required webhook.test", "token.*": "token.minted token.operation_failed",
		"token.minted": "token.minted", "approval.*": "approval.required", "token.mint": "", "approval.decision": ""}
	sinks := map[string]*sink{}
	ids := map[string]string{}
	for subscribed := range want {
		sinks[subscribed] = newSink(t, nil)
		e, _ := w.endpoint(sinks[subscribed], subscribed)
		ids[subscribed] = e.ID
	}
	for n, e := range events {
		w.emit(e, "op_1", n)
	}
	w.run()
	w.until("everything is handed on", func() bool { return len(w.keys(store.Outbox)) == 0 })
	for subscribed, types := range want {
		w.until(subscribed+" is delivered", func() bool { return len(w.keys("/mw/webhook/pending/"+ids[subscribed]+"/")) == 0 })
		var got []string
		for _, r := range sinks[subscribed].all() {
			got = append(got, r.event.Type)
		}
		require.Equal(t, types, strings.Join(got, " "), subscribed)
	}
}

func TestSpecsThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, c := range map[string]struct {
		spec webhook.Spec
		want webhook.Kind
	}{
		"no events":        {webhook.Spec{}, webhook.InvalidEvents},
		"a star in a word": {webhook.Spec{Events: []string{"token.mi*"}}, webhook.InvalidEvents},
		"three parts":      {webhook.Spec{Events: []string{"token.a.b"}}, webhook.InvalidEvents},
		"twice":            {webhook.Spec{Events: []string{"*", "*"}}, webhook.InvalidEvents},
		"too many":         {webhook.Spec{Events: make([]string, webhook.MaxEvents+1)}, webhook.InvalidEvents},
		"too long":         {webhook.Spec{Events: []string{"a." + strings.Repeat("b", 99)}}, webhook.InvalidEvents},
		"a bell":           {webhook.Spec{Events: []string{"*"}, Description: "\a"}, webhook.InvalidText},
		"turned around":    {webhook.Spec{Events: []string{"*"}, Description: "a\u202eb"}, webhook.InvalidText},
		"a novel":          {webhook.Spec{Events: []string{"*"}, Description: strings.Repeat("é", webhook.MaxDescription+1)}, webhook.TextTooLong},
	} {
		c.spec.URL = "https://1.1.1.1/"
		_, _, err := w.hooks.Create(t.Context(), admin, c.spec, nil)
		var r *webhook.Refusal
		require.ErrorAs(t, err, &r, name)
		require.Equal(t, c.want, r.Kind, name)
	}
	require.Empty(t, w.keys("/mw/webhook/"))
}

// TestManyAtOnce: however many are made at once, there are no more than there may be.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var made, refused atomic.Int64
	var all sync.WaitGroup
	for range webhook.MaxEndpoints + 12 {
		all.Go(func() {
			_, _, err := w.hooks.Create(t.Context(), admin, webhook.Spec{URL: "https://1.1.1.1/", Events: []string{"*"}}, nil)
			if err == nil {
				made.Add(1)
			} else {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, webhook.MaxEndpoints, made.Load())
	require.EqualValues(t, 12, refused.Load())
	// An event for all of them is handed on.
	w.run()
	w.emit("token.minted", "op_1", 0)
	w.until("it is handed on", func() bool {
		return len(w.keys(store.Outbox)) == 0 && len(w.keys("/mw/webhook/delivery/")) == webhook.MaxEndpoints
	})
}

// TestEndpointJustMade: an endpoint that was made before an event gets it, however little before.
func TestEndpointJustMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run()
	for n := range 15 {
		s := newSink(t, nil)
		e, _ := w.endpoint(s, "token.minted")
		w.emit("token.minted", fmt.Sprintf("op_%d", n), n)
		s.await(1)
		_, err := w.hooks.Delete(t.Context(), admin, e.ID, nil)
		require.NoError(t, err)
	}
}

// TestDelete: what is still to be delivered is dropped, and nothing of the endpoint is left; a stop in
// between changes nothing.
func TestDelete(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hold := make(chan struct{})
	s := newSink(t, func(http.ResponseWriter, received) { <-hold })
	e, _ := w.endpoint(s)
	w.run()
	for n := range 150 {
		w.emit("token.minted", fmt.Sprintf("op_%d", n), n)
	}
	s.await(16)
	w.stop()
	gone, err := w.hooks.Delete(t.Context(), admin, e.ID, nil)
	require.NoError(t, err)
	require.Equal(t, e.ID, gone.ID)
	var r *webhook.Refusal
	for _, err := range []error{
		func() error { _, err := w.hooks.Delete(t.Context(), admin, e.ID, nil); return err }(),
		func() error { _, err := w.hooks.Test(t.Context(), admin, e.ID, nil); return err }(),
		func() error { _, _, err := w.hooks.Rotate(t.Context(), admin, e.ID, 0, nil); return err }(),
	} {
		require.ErrorAs(t, err, &r)
		require.Equal(t, webhook.NotFound, r.Kind)
	}
	close(hold)
	w.make()
	w.run()
	w.until("nothing is left", func() bool {
		left := w.keys("/mw/webhook/")
		return len(left) == 1 && left[0] == "/mw/webhook/ctl/guard"
	})
}

// TestRetention: finished deliveries go when their time is over, dead ones too; what waits stays.
func TestRetention(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, c.use, func(d *webhook.Deps) { d.Retention = 30 * time.Hour })
	s := newSink(t, func(rw http.ResponseWriter, r received) {
		if r.event.Data["operationId"] == "op_bad" {
			rw.WriteHeader(http.StatusTeapot)
		}
	})
	e, _ := w.endpoint(s)
	w.run()
	for n := range 120 {
		w.emit("token.minted", fmt.Sprintf("op_%d", n), n)
	}
	w.emit("token.minted", "op_bad", 200)
	w.until("one waits", func() bool {
		c.advance(time.Millisecond)
		ds := w.deliveries(e.ID)
		done := 0
		for _, d := range ds {
			if d.Status == webhook.Delivered {
				done++
			}
		}
		return done == 120 && len(ds) == 121
	})
	c.advance(29 * time.Hour)
	w.emit("token.burned", "op_late", 0)
	w.until("the late one came", func() bool { c.advance(time.Second); return len(w.deliveries(e.ID)) == 122 })
	c.advance(time.Hour)
	w.until("the old ones are gone", func() bool {
		c.advance(time.Minute)
		ds := w.deliveries(e.ID)
		return len(ds) <= 2
	})
	ds := w.deliveries(e.ID)
	require.Equal(t, "token.burned", ds[len(ds)-1].EventType)
}

// TestPages: a list by cursor and by offset shows each delivery once, newest first, also while others come.
func TestPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e, _ := w.endpoint(newSink(t, nil))
	w.run()
	for n := range 250 {
		w.emit("token.minted", fmt.Sprintf("op_%d", n), n)
	}
	w.until("all are delivered", func() bool {
		_, total, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Delivered}, 1, 0, "")
		return err == nil && total == 250
	})
	for _, f := range []webhook.Filter{{}, {Status: webhook.Delivered}} {
		seen := map[string]bool{}
		last, cursor := "del_Z", ""
		for {
			page, total, next, err := w.hooks.Deliveries(t.Context(), e.ID, f, 7, 0, cursor)
			require.NoError(t, err)
			require.GreaterOrEqual(t, total, 250)
			for _, d := range page {
				require.Less(t, d.ID, last)
				require.False(t, seen[d.ID])
				seen[d.ID], last = true, d.ID
			}
			if cursor = next; cursor == "" {
				break
			}
			w.emit("token.minted", "op_more", 1000+len(seen)) // newer ones do not move the page
		}
		require.GreaterOrEqual(t, len(seen), 250)
		first, _, _, err := w.hooks.Deliveries(t.Context(), e.ID, f, 20, 0, "")
		require.NoError(t, err)
		second, _, _, err := w.hooks.Deliveries(t.Context(), e.ID, f, 10, 5, "")
		require.NoError(t, err)
		require.NotEmpty(t, first)
		require.Len(t, second, 10)
	}
	for _, bad := range []string{"x", "op_01JS0Z4M9GQ3V1T7T2B5C8D0EF", "del_", "del_../x"} {
		_, _, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{}, 7, 0, bad)
		require.ErrorIs(t, err, webhook.ErrCursor)
	}
}

// A list of one status is paged by its offset as by its cursor, whatever stands between; an offset that leads behind more
// than a page passes by is refused, for an empty page would look like the end.
func TestPagesOfOneStatus(t *testing.T) {
	t.Parallel()
	c := newClock()
	w := newWorld(t, c.use)
	w.run()
	e, s := w.some(c)
	w.hooks.SetScan(30)
	list := func(status webhook.Status, limit, offset int) ([]*webhook.Delivery, int, string) {
		page, total, next, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: status}, limit, offset, "")
		require.NoError(t, err)
		return page, total, next
	}
	for status, want := range map[webhook.Status]int{webhook.Delivered: 207, webhook.Dead: 23} {
		seen := map[string]bool{}
		for {
			page, total, _ := list(status, 20, len(seen))
			require.Equal(t, want, total, status)
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				require.False(t, seen[d.ID])
				seen[d.ID] = true
			}
		}
		require.Len(t, seen, want, status)
	}

	s.mu.Lock()
	s.answer = func(rw http.ResponseWriter, _ received) { rw.WriteHeader(http.StatusServiceUnavailable) }
	s.mu.Unlock()
	w.emitMany("token.minted", 1000, 40)
	w.until("what is new waits", func() bool { return len(w.deliveries(e.ID)) == 270 })
	page, total, next := list(webhook.Delivered, 1, 0)
	require.Empty(t, page)
	require.Equal(t, 207, total)
	page, _, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Delivered}, 1, 0, next)
	require.NoError(t, err)
	require.Len(t, page, 1, "the cursor leads on")
	var no *webhook.Refusal
	_, _, _, err = w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Delivered}, 1, 1, "")
	require.ErrorAs(t, err, &no)
	require.Equal(t, webhook.TooFar, no.Kind)
}

// TestOneDelivers: of two appliances one delivers; the other takes over when it stops.
func TestOneDelivers(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	appliance := func(owner string) *world {
		cfg := srv.ClientConfig(store.UserServe)
		cfg.Owner = owner
		w := &world{t: t, store: srv.OpenConfig(cfg)}
		w.deps = webhook.Deps{Store: w.store, Log: storetest.Logger(t), Key: make([]byte, webhook.KeySize), Networks: loopback, Roots: roots(t)}
		w.make()
		return w
	}
	one, two := appliance("one"), appliance("two")
	s := newSink(t, nil)
	e, _ := one.endpoint(s)
	one.run()
	one.until("one delivers", func() bool { return one.metric("mintwarden_webhook_dispatching") == 1 })
	two.run()
	for n := range 20 {
		two.emit("token.minted", "op_1", n)
	}
	s.await(20)
	require.Zero(t, two.metric("mintwarden_webhook_dispatching"))
	require.Zero(t, two.metric("mintwarden_webhook_events_total"))
	one.until("all is noted", func() bool { return len(one.keys("/mw/webhook/pending/")) == 0 })
	one.stop()
	two.until("two delivers", func() bool { return two.metric("mintwarden_webhook_dispatching") == 1 })
	one.emit("token.burned", "op_2", 0)
	two.until("the other delivers", func() bool { // whoever could not note what he delivered has it delivered again
		return slices.ContainsFunc(s.all(), func(r received) bool { return r.event.Type == "token.burned" })
	})
	two.until("all is noted", func() bool { return len(one.keys("/mw/webhook/pending/")) == 0 })
	came := len(s.all())
	// A replay that one asks for is seen by the one that delivers.
	_, err := one.hooks.Replay(t.Context(), admin, e.ID, one.deliveries(e.ID)[0].ID, nil)
	require.NoError(t, err)
	s.await(came + 1)
}

// TestStaleDispatcher: a process that lost the fence while an endpoint answered notes nothing: what it
// delivered is delivered again by the one that has the fence.
func TestStaleDispatcher(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var first atomic.Bool
	took := make(chan struct{})
	s := newSink(t, func(http.ResponseWriter, received) {
		if first.CompareAndSwap(false, true) {
			<-took
		}
	})
	e, _ := w.endpoint(s)
	w.run()
	w.emit("token.minted", "op_1", 0)
	s.await(1)
	tx := w.store.Tx() // another one has the fence now
	tx.Put("/mw/fence/webhook-dispatcher", []byte("another 1"))
	_, err := tx.Commit(t.Context())
	require.NoError(t, err)
	close(took)
	w.until("it knows", func() bool { return w.metric("mintwarden_webhook_dispatching") == 0 })
	require.Equal(t, webhook.Pending, w.deliveries(e.ID)[0].Status)
	require.Empty(t, w.deliveries(e.ID)[0].Attempts)
	tx = w.store.Tx()
	tx.Delete("/mw/fence/webhook-dispatcher")
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	s.await(2)
	w.until("it is noted", func() bool { return w.deliveries(e.ID)[0].Status == webhook.Delivered })
}

// TestBacklogBound: what is more than may wait for an endpoint is dropped and counted; others get all.
func TestBacklogBound(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	w := newWorld(t, func(d *webhook.Deps) { d.MaxBacklog = 30 })
	dead, live := newSink(t, func(http.ResponseWriter, received) { <-hold }), newSink(t, nil)
	defer close(hold)
	e, _ := w.endpoint(dead)
	w.endpoint(live)
	for n := range 20 {
		w.emit("token.minted", fmt.Sprintf("op_%d", n), n)
	}
	w.run()
	live.await(20)
	for n := range 20 {
		w.emit("token.minted", fmt.Sprintf("op_%d", 20+n), n)
	}
	live.await(40)
	w.until("the rest is dropped", func() bool { return w.metric("mintwarden_webhook_dropped_total") == 10 })
	require.Len(t, w.keys("/mw/webhook/pending/"+e.ID+"/"), 30)
}

// TestAttack_DeadEndpointsFillTheStoreTogether: endpoints that take nothing have a bound together, above which each is held
// to its part. One that takes what it gets never gets less for it.
func TestAttack_DeadEndpointsFillTheStoreTogether(t *testing.T) {
	t.Parallel()
	const events, together = 100, 120
	hold := make(chan struct{})
	w := newWorld(t, func(d *webhook.Deps) { d.MaxBacklog = events })
	w.hooks.SetTogether(together)
	dead, live := newSink(t, func(http.ResponseWriter, received) { <-hold }), newSink(t, nil)
	defer close(hold)
	var ids []string
	for range 5 {
		e, _ := w.endpoint(dead)
		ids = append(ids, e.ID)
	}
	w.endpoint(live)
	w.run()
	for n := range events {
		w.emit("token.minted", fmt.Sprintf("op_%d", n), n)
		live.await(n + 1)
	}
	waiting := 0
	for _, id := range ids {
		waiting += len(w.keys("/mw/webhook/pending/" + id + "/"))
	}
	require.Less(t, waiting, 2*together)
	require.GreaterOrEqual(t, waiting, together-len(ids))
	w.until("the rest is told of", func() bool { return w.metric("mintwarden_webhook_dropped_total") == float64(len(ids)*events-waiting) })
}

// TestAttackTestsAndReplaysPileUp: tests and replays of an endpoint that takes nothing are bounded as events
// are, and tests come one a second.
func TestAttackTestsAndReplaysPileUp(t *testing.T) {
	t.Parallel()
	c := newClock()
	w, s := newWorld(t, c.use, func(d *webhook.Deps) { d.MaxBacklog = 3 }), newSink(t, nil)
	e, _ := w.endpoint(s)
	refused := func(err error, k webhook.Kind) {
		t.Helper()
		var r *webhook.Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, k, r.Kind, r.Message)
	}
	test := func() (*webhook.Delivery, error) { return w.hooks.Test(t.Context(), admin, e.ID, nil) }
	first, err := test()
	require.NoError(t, err)
	_, err = test()
	refused(err, webhook.TooSoon)
	w.run()
	s.await(1)
	w.until("it is noted", func() bool { return w.deliveries(e.ID)[0].Status == webhook.Delivered })
	w.stop()
	for range 3 {
		c.advance(time.Second)
		_, err = test()
		require.NoError(t, err)
	}
	c.advance(time.Second)
	_, err = test()
	refused(err, webhook.Full)
	_, err = w.hooks.Replay(t.Context(), admin, e.ID, first.ID, nil)
	refused(err, webhook.Full)
	require.Len(t, w.keys("/mw/webhook/pending/"+e.ID+"/"), 3)
}

// TestJunkInTheOutbox: what is no event does not stop those after it.
func TestJunkInTheOutbox(t *testing.T) {
	t.Parallel()
	w, s := newWorld(t), newSink(t, nil)
	w.endpoint(s)
	tx := w.store.Tx()
	tx.Put(store.Outbox+"00000000000000000000000000/00", []byte("junk"))
	tx.Put(store.Outbox+"junk", nil)
	_, err := tx.Commit(t.Context())
	require.NoError(t, err)
	w.emit("token.minted", "op_1", 0)
	w.run()
	s.await(1)
	w.until("the outbox is empty", func() bool { return len(w.keys(store.Outbox)) == 0 })
}

// FuzzCheckURL: what is accepted is https to a host, and another reader reads the same.
func FuzzCheckURL(f *testing.F) {
	for _, s := range []string{"https://hooks.example.com/a?b=c", "https://[::1]:8443/", "http://a", "https://a@b", "https://a\\@b", "https://a#b",
		"https://a%2fb", "https://1.1.1.1:0", "HTTPS://A", "https://[fe80::1%25eth0]/", "https:a", "https://a:b@c:1/", "https://a?@b", "https://ⓛ"} {
		f.Add(s, false)
	}
	f.Fuzz(func(t *testing.T, raw string, plain bool) {
		u, err := webhook.CheckURL(raw, plain)
		if err != nil {
			return
		}
		again, err := url.Parse(u.String())
		if err != nil || again.Host != u.Host || again.Scheme != u.Scheme {
			t.Fatalf("%q is %q to one and %q to the other: %v", raw, u, again, err)
		}
		if u.Scheme != "https" && !plain || u.User != nil || u.Hostname() == "" || u.Fragment != "" || len(raw) > webhook.MaxURL ||
			strings.ContainsAny(u.Host, "@\\/ %") {
			t.Fatalf("%q was taken as %+v", raw, u)
		}
	})
}
