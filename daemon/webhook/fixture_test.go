package webhook_test

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

var admin = webhook.Who{Name: "admin", RequestID: "req_1"}

// received is a request as an endpoint got it.
type received struct {
	header http.Header
	body   []byte
	event  event
}

type event struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"createdAt"`
	TenantID  string         `json:"tenantId"`
	Data      map[string]any `json:"data"`
}

// sink is a real HTTPS server that keeps what it got and answers as it is told.
type sink struct {
	t      *testing.T
	server *httptest.Server

	mu     sync.Mutex
	got    []received
	came   chan struct{} // holds a token when something came
	answer func(http.ResponseWriter, received)
}

func newSink(t *testing.T, answer func(http.ResponseWriter, received)) *sink {
	s := &sink{t: t, answer: answer, came: make(chan struct{}, 1)}
	s.server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // broken off by the sender
		}
		got := received{r.Header.Clone(), body, event{}}
		if err := json.Unmarshal(body, &got.event, json.RejectUnknownMembers(true)); err != nil {
			t.Errorf("a delivery is no envelope: %s: %v", body, err)
		}
		s.mu.Lock()
		s.got = append(s.got, got)
		s.mu.Unlock()
		select {
		case s.came <- struct{}{}:
		default:
		}
		if s.answer != nil {
			s.answer(w, got)
		}
	}))
	t.Cleanup(s.server.Close)
	return s
}

func (s *sink) all() []received {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// await is what came, once there are n.
func (s *sink) await(n int) []received {
	s.t.Helper()
	patience := time.After(4 * time.Minute)
	for {
		if got := s.all(); len(got) >= n {
			return got
		}
		select {
		case <-s.came:
		case <-patience:
			s.t.Fatalf("%d of %d deliveries came", len(s.all()), n)
		}
	}
}

// world is a store, and webhooks over it that run.
type world struct {
	t     *testing.T
	store *store.Store
	deps  webhook.Deps
	hooks *webhook.Service
	reg   *prometheus.Registry
	stop  func()
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// roots trusts the certificates of all sinks: httptest has one for all.
func roots(t *testing.T) *x509.CertPool {
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	pool := x509.NewCertPool()
	pool.AddCert(s.Certificate())
	return pool
}

func newKey() []byte {
	k := make([]byte, webhook.KeySize)
	rand.Read(k)
	return k
}

func newWorld(t *testing.T, edit ...func(*webhook.Deps)) *world {
	w := &world{t: t, store: storetest.Open(t)}
	w.deps = webhook.Deps{Store: w.store, Log: slog.Default(), Key: newKey(), Networks: loopback, Roots: roots(t)}
	for _, e := range edit {
		e(&w.deps)
	}
	w.make()
	return w
}

// make makes the service anew, as a start does.
func (w *world) make() {
	w.t.Helper()
	w.reg = prometheus.NewRegistry()
	w.deps.Registerer = w.reg
	var err error
	w.hooks, err = webhook.New(w.deps)
	require.NoError(w.t, err)
}

// run delivers until the test ends or stop is called.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = w.hooks.Run(ctx) // always nil
	}()
	w.stop = sync.OnceFunc(func() { cancel(); <-done })
	w.t.Cleanup(w.stop)
}

// endpoint makes an endpoint at a sink.
func (w *world) endpoint(s *sink, events ...string) (*webhook.Endpoint, string) {
	w.t.Helper()
	if len(events) == 0 {
		events = []string{"*"}
	}
	secret, e, err := w.hooks.Create(w.t.Context(), admin, webhook.Spec{URL: s.server.URL + "/hook", Events: events}, nil)
	require.NoError(w.t, err)
	return e, secret
}

// emit writes one event of an operation, as a change does.
func (w *world) emit(kind, order string, n int) {
	w.t.Helper()
	tx := w.store.Tx()
	tx.Emit(store.Emission{Type: kind, Order: order, At: time.Now().Add(time.Duration(n) * time.Millisecond),
		Data: jsontext.Value(fmt.Sprintf(`{"operationId":%q,"n":%d}`, order, n))})
	_, err := tx.Commit(w.t.Context())
	require.NoError(w.t, err)
}

// deliveries is an endpoint's deliveries, the oldest first.
func (w *world) deliveries(id string) []*webhook.Delivery {
	w.t.Helper()
	var all []*webhook.Delivery
	cursor := ""
	for {
		page, _, next, err := w.hooks.Deliveries(w.t.Context(), id, webhook.Filter{}, 200, 0, cursor)
		require.NoError(w.t, err)
		all = append(all, page...)
		if next == "" {
			slices.Reverse(all)
			return all
		}
		cursor = next
	}
}

// until waits for something that is about to become true.
func (w *world) until(what string, f func() bool) {
	w.t.Helper()
	require.Eventually(w.t, f, 4*time.Minute, 5*time.Millisecond, what)
}

// clock is a clock that stands still unless it is told otherwise.
type clock struct {
	mu     sync.Mutex
	now    time.Time
	timers map[chan time.Time]time.Time
}

func newClock() *clock { return &clock{now: time.Now(), timers: map[chan time.Time]time.Time{}} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	ch := make(chan time.Time, 1)
	if d <= 0 {
		ch <- c.now
	} else {
		c.timers[ch] = c.now.Add(d)
	}
	return ch
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	for ch, at := range c.timers {
		if !at.After(c.now) {
			ch <- c.now
			delete(c.timers, ch)
		}
	}
}

// use has webhooks live by the clock.
func (c *clock) use(d *webhook.Deps) { d.Now, d.After = c.Now, c.After }

// anything is left of a prefix of the store?
func (w *world) keys(prefix string) (keys []string) {
	w.t.Helper()
	for kv, err := range w.store.All(w.t.Context(), prefix, nil) {
		require.NoError(w.t, err)
		keys = append(keys, kv.Key)
	}
	return keys
}

// metric is what a counter or gauge shows, without labels or with the one that is named.
func (w *world) metric(name string, label ...string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	require.NoError(w.t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(label) > 0 && m.GetLabel()[0].GetValue() != label[0] {
				continue
			}
			return m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	w.t.Fatalf("there is no metric %s %v", name, label)
	return 0
}

type (
	httpWriter = http.ResponseWriter
	flusher    = http.Flusher
)

// emitMany writes many events, each of an operation of its own, in one change.
func (w *world) emitMany(kind string, from, many int) {
	tx := w.store.Tx()
	for n := range many {
		order := fmt.Sprintf("op_%d", from+n)
		tx.Emit(store.Emission{Type: kind, Order: order, Data: jsontext.Value(fmt.Sprintf(`{"operationId":%q,"n":0,"filling":%q}`, order, filling))})
	}
	if _, err := tx.Commit(w.t.Context()); err != nil {
		w.t.Error(err)
	}
}

// filling makes an event as large as a real one.
var filling = strings.Repeat("x", 600)
