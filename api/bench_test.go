package api_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// What the benchmarks measure for, and with how much: all of it together takes
// less than a minute a benchmark.
const (
	span       = 3 * time.Second
	manyOps    = 100_000
	fewOps     = 100
	pageSize   = 50
	deepPage   = 1000
	benchBlock = time.Second
	unlimited  = 1 << 20
)

// scaled is less of it for a trial run (-short).
func scaled[T any](full, short T) T {
	if testing.Short() {
		return short
	}
	return full
}

// benchHouse is a house as an appliance alone is, without the limits that a
// measurement would run into.
func benchHouse(b *testing.B, silent bool) *house {
	return houseWith(b, options{inProcess: true, silent: silent, period: benchBlock, maxPending: unlimited})
}

func roomy(d *api.Deps) { d.Limits.PerSecond, d.Limits.Burst = unlimited, unlimited }

// caller is a client with a connection of its own that it keeps.
type caller struct {
	url, key string
	client   *http.Client
}

func (s *server) caller(user string) *caller {
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}}, ForceAttemptHTTP2: true}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &caller{s.url, s.keys[user], &http.Client{Transport: tr, Timeout: waitLimit}}
}

// callers are so many, connected.
func (s *server) callers(n int, user string) []*caller {
	out := make([]*caller, n)
	var all sync.WaitGroup
	for i := range out {
		out[i] = s.caller(user)
		all.Go(func() {
			_, err := out[i].ask(s.t.Context(), "GET", "/v1/tokens", "", "", 200)
			require.NoError(s.t, err)
		})
	}
	all.Wait()
	return out
}

// ask sends a request and reads the answer whole.
func (c *caller) ask(ctx context.Context, method, path, body, key string, want int) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", key)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != want {
		err = fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode, got)
	}
	return got, err
}

// together has callers do something over and over for a time, side by side, and
// gives how often a second, and how long each took, sorted.
func together(b *testing.B, for_ time.Duration, callers []*caller, do func(c *caller, n int64) error) (rate float64, took []time.Duration) {
	b.Helper()
	var mu sync.Mutex
	var n atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for _, c := range callers {
		all.Go(func() {
			var own []time.Duration
			for time.Since(start) < for_ {
				began := time.Now()
				if err := do(c, n.Add(1)); err != nil {
					b.Error(err)
					break
				}
				own = append(own, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
		})
	}
	all.Wait()
	elapsed := time.Since(start).Seconds()
	if b.Failed() {
		b.FailNow()
	}
	slices.Sort(took)
	return float64(len(took)) / elapsed, took
}

// quantile is of sorted times, in milliseconds.
func quantile(took []time.Duration, q float64) float64 {
	return took[int(q*float64(len(took)-1))].Seconds() * 1000
}

// raw is a client of the house's etcd with all rights, over its socket.
func (h *house) raw(b *testing.B) *clientv3.Client {
	b.Helper()
	pem, err := os.ReadFile(h.etcd.Config.CAFile)
	require.NoError(b, err)
	roots := x509.NewCertPool()
	require.True(b, roots.AppendCertsFromPEM(pem))
	pair, err := tls.LoadX509KeyPair(h.etcd.Config.RootCert, h.etcd.Config.RootKey)
	require.NoError(b, err)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: []string{h.etcd.Endpoint()}, TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, Logger: zap.NewNop()})
	require.NoError(b, err)
	b.Cleanup(func() { _ = etcd.Close() })
	return etcd
}

// rawRate is how many transactions a second the house's etcd takes from so many
// clients: one comparison and one new key of 1 KiB each.
func (h *house) rawRate(b *testing.B, clients int) float64 {
	b.Helper()
	etcd := h.raw(b)
	value := strings.Repeat("x", 1024)
	rate, _ := together(b, scaled(2*time.Second, 50*time.Millisecond), make([]*caller, clients), func(_ *caller, n int64) error {
		k := fmt.Sprintf("/bench/%d", n)
		_, err := etcd.Txn(b.Context()).If(clientv3.Compare(clientv3.CreateRevision(k), "=", 0)).Then(clientv3.OpPut(k, value)).Commit()
		return err
	})
	_, err := etcd.Delete(b.Context(), "/bench/", clientv3.WithPrefix())
	require.NoError(b, err)
	return rate
}

// minted is a token that may be minted without end, and the path of its mints.
func (s *server) minted() (path string) {
	vault, _ := s.vault("treasury")
	token := s.deployed(vault, map[string]any{"supplyPolicy": map[string]any{"mintable": true, "burnable": true, "maxSupply": "1000000000000000000000000"}})
	return "/v1/tokens/" + token + "/mint"
}

const oneMint = `{"amount":"1","recipient":{"type":"address","address":"` + somebody + `"}}`

// mint is what POST mint callers do over and over.
func mint(b *testing.B, path string) func(c *caller, n int64) error {
	run := store.NewID("run_")
	return func(c *caller, n int64) error {
		_, err := c.ask(b.Context(), "POST", path, oneMint, fmt.Sprintf("%s-%d", run, n), 202)
		return err
	}
}

// onceIn runs what takes its time itself, whatever b.N is.
func onceIn(b *testing.B, f func()) {
	for n := 0; b.Loop(); n++ {
		if n == 0 {
			f()
		}
	}
	b.ReportMetric(0, "ns/op")
}

// BenchmarkSubmit is POST mint up to its 202 over mTLS, by so many clients side by
// side, against the raw transactions of the same etcd from as many.
func BenchmarkSubmit(b *testing.B) {
	s := benchHouse(b, false).serve(roomy)
	path := s.minted()
	for _, n := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("clients=%d", n), func(b *testing.B) {
			onceIn(b, func() {
				before := s.rawRate(b, n)
				rate, took := together(b, scaled(span, 100*time.Millisecond), s.callers(n, "operator"), mint(b, path))
				raw := (before + s.rawRate(b, n)) / 2
				b.ReportMetric(rate, "accepted/s")
				b.ReportMetric(quantile(took, .5), "p50-ms")
				b.ReportMetric(quantile(took, .99), "p99-ms")
				b.ReportMetric(raw, "etcd-txn/s")
				b.ReportMetric(rate/raw, "of_etcd(aim≥0.6)")
			})
		})
	}
}

// BenchmarkRecords is what numbering audit entries and delivering webhooks cost:
// POST mint by 64 clients with both against neither, in turn, on two houses.
func BenchmarkRecords(b *testing.B) {
	const clients, rounds = 64, 3
	sink := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer sink.Close()
	with, without := benchHouse(b, false).serve(roomy), benchHouse(b, true).serve(roomy)
	is[api.WebhookCreated](with.as("admin", "POST", "/v1/webhooks", fmt.Sprintf(`{"url":%q,"events":["*"]}`, sink.URL)), 201)
	paths := map[*server]string{with: with.minted(), without: without.minted()}
	onceIn(b, func() {
		rates := map[*server]float64{}
		for range rounds {
			for s, path := range paths {
				rate, _ := together(b, scaled(span, 100*time.Millisecond), s.callers(clients, "operator"), mint(b, path))
				rates[s] += rate / rounds
			}
		}
		b.ReportMetric(rates[with], "accepted/s-with")
		b.ReportMetric(rates[without], "accepted/s-without")
		b.ReportMetric(rates[with]/rates[without], "of_without(aim≥0.9)")
	})
}

// copies writes n operations like one that is over, under ids of their own, with
// every key that it has but the signed transaction, which nothing that is measured
// reads and which is two thirds of the bytes; it tells the newest.
func (h *house) copies(b *testing.B, id string, n int) (newest string) {
	b.Helper()
	var keys []store.KV
	for kv, err := range h.store.All(b.Context(), store.OperationPrefix+id+"/", nil) {
		require.NoError(b, err)
		if !strings.HasPrefix(kv.Key, store.OpTxs(id)) {
			keys = append(keys, kv)
		}
	}
	index, _, found, err := h.store.Get(b.Context(), store.OpIndexKey(id))
	require.NoError(b, err)
	require.True(b, found)
	renamed := func(v []byte, to string) []byte { return bytes.ReplaceAll(v, []byte(id), []byte(to)) }
	perTx := store.MaxTxOps / (len(keys) + 1)
	var writers sync.WaitGroup
	slots := make(chan struct{}, 16)
	for left := n; left > 0; left -= perTx {
		t := h.store.Tx()
		for range min(perTx, left) {
			newest = store.NewID(operation.IDPrefix)
			for _, kv := range keys {
				t.Put(strings.Replace(kv.Key, id, newest, 1), renamed(kv.Value, newest))
			}
			t.Put(store.OpIndexKey(newest), renamed(index, newest))
		}
		slots <- struct{}{}
		writers.Go(func() {
			defer func() { <-slots }()
			if _, err := t.Commit(b.Context()); err != nil {
				b.Error(err)
			}
		})
	}
	writers.Wait()
	if b.Failed() {
		b.FailNow()
	}
	return newest
}

func heap() float64 {
	runtime.GC()
	runtime.GC() // what finalizers let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// aged is an appliance that was just started on a store with so many operations.
type aged struct {
	*server
	mints  string  // where to POST them
	last   string  // the newest operation
	memory float64 // that it took, in bytes
}

func age(b *testing.B, operations int) *aged {
	h := benchHouse(b, false)
	first := h.serve(roomy)
	path := first.minted()
	id := first.asked(path, oneMint, "copied")
	first.approved(id)
	require.Eventually(b, func() bool { // settled, so that nothing changes it any more
		v, _, _, err := h.store.Get(b.Context(), store.OpIndexKey(id))
		return err == nil && bytes.Contains(v, []byte(`"closed":true`))
	}, patience, poll)
	last := h.copies(b, id, operations)
	before := heap()
	s := h.second(roomy)
	is[api.OperationList](s.as("viewer", "GET", "/v1/token-operations?limit=1", ""), 200)
	return &aged{s, path, last, heap() - before}
}

// BenchmarkHistory is what history costs: reads and a submission after 100
// operations and after 100,000, the newest page of the list and the cursor's
// 1,000th, in turn, and the memory that operations take. What is asked is an
// appliance that was just started, so that it has read nothing yet.
func BenchmarkHistory(b *testing.B) {
	young, old := age(b, fewOps), age(b, scaled(manyOps, 20*fewOps))
	deep := old.deep(b)
	measures := []struct {
		name     string
		of, than func(time.Duration) float64
	}{
		{"operation-of-young(aim≤1.1)", old.reads(b, "/v1/token-operations/"+old.last), young.reads(b, "/v1/token-operations/"+young.last)},
		{"page-of-young(aim≤1.1)", old.reads(b, newestPage), young.reads(b, newestPage)},
		{"submit-of-young(aim≤1.1)", old.submits(b), young.submits(b)},
		{"page-1000-of-page-1(aim≤1.5)", old.reads(b, deep), old.reads(b, newestPage)},
	}
	onceIn(b, func() {
		const rounds = 4
		for _, m := range measures {
			var of, than float64
			for range rounds {
				each := scaled(span, 200*time.Millisecond) / rounds
				of, than = of+m.of(each), than+m.than(each)
			}
			b.ReportMetric(of/than, m.name)
		}
		b.ReportMetric(old.memory/(1<<20), "MiB-heap")
		b.ReportMetric(old.memory/scaled[float64](manyOps, 20*fewOps), "heap-B/operation")
		rate, took := together(b, scaled(span, 100*time.Millisecond), old.callers(16, "viewer"), func(c *caller, _ int64) error {
			_, err := c.ask(b.Context(), "GET", "/v1/token-operations/"+old.last, "", "", 200)
			return err
		})
		b.ReportMetric(rate, "operation/s")
		b.ReportMetric(quantile(took, .99), "operation-p99-ms")
	})
}

// newestPage has no operation that waits: those are in memory.
var newestPage = fmt.Sprintf("/v1/token-operations?status=COMPLETED&limit=%d", pageSize)

// reads and submits give the median of requests one after another, in milliseconds.
func (a *aged) reads(b *testing.B, target string) func(time.Duration) float64 {
	one := a.callers(1, "viewer")
	return func(d time.Duration) float64 {
		_, took := together(b, d, one, func(c *caller, _ int64) error {
			_, err := c.ask(b.Context(), "GET", target, "", "", 200)
			return err
		})
		return quantile(took, .5)
	}
}

func (a *aged) submits(b *testing.B) func(time.Duration) float64 {
	one := a.callers(1, "operator")
	return func(d time.Duration) float64 {
		_, took := together(b, d, one, mint(b, a.mints))
		return quantile(took, .5)
	}
}

// deep walks to the cursor's 1,000th page.
func (a *aged) deep(b *testing.B) (page string) {
	b.Helper()
	c := a.caller("viewer")
	page = newestPage
	for range scaled(deepPage, 20) - 1 {
		got := answer{t: b, status: 200}
		var err error
		got.body, err = c.ask(b.Context(), "GET", page, "", "", 200)
		require.NoError(b, err)
		list := is[api.OperationList](got, 200)
		require.NotNil(b, list.Pagination.NextCursor)
		page = newestPage + "&cursor=" + *list.Pagination.NextCursor
	}
	return page
}
