package webhook_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"encoding/json/v2"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/daemon/webhook"
)

// childFile names, in a child's environment, the file that says how it delivers.
const childFile = "WEBHOOK_TEST_CHILD"

// childConfig is what a process that delivers and nothing else needs.
type childConfig struct {
	Endpoints             []string
	CAFile, Cert, KeyFile string
	Key                   []byte
	Roots                 []byte // PEM
}

// TestMain runs the tests, or, in a child of one, a process that delivers until it is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv(childFile); path != "" {
		if err := deliverUntilKilled(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func deliverUntilKilled(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var c childConfig
	if err := json.Unmarshal(b, &c); err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	s, err := store.Open(context.Background(), store.Config{Endpoints: c.Endpoints, CAFile: c.CAFile, CertFile: c.Cert, KeyFile: c.KeyFile,
		Tenant: "test", Owner: "child"}, log, nil) // what a killed one held is the next one's at once
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.Roots)
	w, err := webhook.New(webhook.Deps{Store: s, Log: log, Key: c.Key, Networks: loopback, Roots: pool})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() { // the parent's end of the pipe closes when it is gone; until then each line asks for the heap
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			fmt.Println(m.HeapAlloc)
		}
		cancel()
	}()
	return w.Run(ctx)
}

// child is a process that delivers.
type child struct {
	t     *testing.T
	cmd   *exec.Cmd
	in    *os.File
	out   *bufio.Scanner
	ended chan struct{}
}

// children starts processes that deliver from a world's store.
func (w *world) children(srv *storetest.Server) func() *child {
	w.t.Helper()
	cfg := srv.ClientConfig(store.UserServe)
	s := newSink(w.t, nil)
	b, err := json.Marshal(childConfig{cfg.Endpoints, cfg.CAFile, cfg.CertFile, cfg.KeyFile, w.deps.Key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})})
	require.NoError(w.t, err)
	path := filepath.Join(w.t.TempDir(), "child.json")
	require.NoError(w.t, os.WriteFile(path, b, 0o600))
	return func() *child {
		c := &child{t: w.t, cmd: exec.Command(os.Args[0]), ended: make(chan struct{})}
		c.cmd.Env = append(os.Environ(), childFile+"="+path)
		c.cmd.Stderr = os.Stderr
		r, in, err := os.Pipe()
		require.NoError(w.t, err)
		c.in = in
		c.cmd.Stdin = r
		out, err := c.cmd.StdoutPipe()
		require.NoError(w.t, err)
		c.out = bufio.NewScanner(out)
		require.NoError(w.t, c.cmd.Start())
		r.Close()
		go func() { defer close(c.ended); _, _ = c.cmd.Process.Wait() }()
		w.t.Cleanup(c.kill)
		return c
	}
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.ended
	c.in.Close()
}

// heap is what lives on the child's heap, in bytes.
func (c *child) heap() (bytes int64) {
	c.t.Helper()
	_, err := c.in.WriteString("\n")
	require.NoError(c.t, err)
	require.True(c.t, c.out.Scan(), "the child ended")
	_, err = fmt.Sscan(c.out.Text(), &bytes)
	require.NoError(c.t, err)
	return bytes
}

// TestKilledAnywhere: the process that delivers is killed while it hands events on, while an endpoint
// answers, and right after the answer. Each event comes at least once, and those of one operation in order.
func TestKilledAnywhere(t *testing.T) {
	t.Parallel()
	const operations, each = 8, 4
	srv := storetest.Start(t)
	w := &world{t: t, store: srv.Open(store.UserServe)}
	w.deps = webhook.Deps{Store: w.store, Log: storetest.Logger(t), Key: newKey(), Networks: loopback}
	w.make()
	var mu sync.Mutex
	var now *child
	requests := 0
	strike := func(every int) bool { // kills the child at each so many-th request
		mu.Lock()
		defer mu.Unlock()
		requests++
		if requests%every == 0 && now != nil {
			_ = now.cmd.Process.Kill()
			return true
		}
		return false
	}
	s := newSink(t, nil)
	s.answer = func(rw httpWriter, _ received) {
		if strike(11) {
			return // killed before it had an answer
		}
		rw.WriteHeader(204)
		rw.(flusher).Flush()
		strike(9) // killed when it had one, before or after it was noted
	}
	e, _ := w.endpoint(s)
	start := w.children(srv)
	ctx, stop := context.WithCancel(t.Context())
	var killing sync.WaitGroup
	killing.Go(func() { // and while it hands on
		puts := 0
		for c := range w.store.Watch(ctx, "/mw/webhook/delivery/", 0) {
			for _, ev := range c.Events {
				if puts++; ev.ModRevision > 0 && puts%29 == 0 {
					mu.Lock()
					if now != nil {
						_ = now.cmd.Process.Kill()
					}
					mu.Unlock()
				}
			}
		}
	})
	killing.Go(func() { // whoever was killed is followed by another one
		for ctx.Err() == nil {
			c := start()
			mu.Lock()
			now = c
			mu.Unlock()
			select {
			case <-c.ended:
				c.in.Close()
			case <-ctx.Done():
				c.kill()
			}
		}
	})
	defer killing.Wait()
	defer stop()
	for n := range each {
		for o := range operations {
			w.emit("token.minted", fmt.Sprintf("op_%d", o), n)
		}
	}
	w.until("everything is delivered", func() bool {
		_, total, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Delivered}, 1, 0, "")
		return err == nil && total == operations*each && len(w.keys("/mw/webhook/pending/")) == 0
	})
	highest := map[string]float64{}
	for _, r := range s.all() {
		op, n := r.event.Data["operationId"].(string), r.event.Data["n"].(float64)
		last, seen := highest[op]
		if !seen {
			last = -1
		}
		require.LessOrEqual(t, n, last+1, "%s skipped an event", op)
		highest[op] = max(last, n)
	}
	for o := range operations {
		require.EqualValues(t, each-1, highest[fmt.Sprintf("op_%d", o)])
	}
	require.Empty(t, w.keys("/mw/webhook/chain/"))
	require.Empty(t, w.keys("/mw/webhook/due/"))
	t.Logf("%d requests for %d events", len(s.all()), operations*each)
}

// TestBacklogIsNotInMemory: 100,000 deliveries wait for an endpoint that is dead. The process that delivers
// holds none of them, starts on them at once, and another endpoint gets its events.
func TestBacklogIsNotInMemory(t *testing.T) {
	const batch = 90
	const allowed = 18 << 20 // bytes; it takes 13 MiB whatever waits, and 10,000 deliveries would be 12 more
	backlog := 10_000
	if os.Getenv("MINTWARDEN_LONG") != "" {
		backlog = 100_000
	}
	srv := storetest.Start(t)
	w := &world{t: t, store: srv.OpenConfig(srv.InProcess(store.UserServe))}
	w.deps = webhook.Deps{Store: w.store, Log: storetest.Logger(t), Key: newKey(), Networks: loopback, MaxBacklog: backlog}
	w.make()
	hold := make(chan struct{})
	dead := newSink(t, func(httpWriter, received) { <-hold })
	defer close(hold)
	live := newSink(t, nil)
	e, _ := w.endpoint(dead, "token.*")
	w.endpoint(live, "approval.*")
	began := time.Now()
	var plant sync.WaitGroup
	for p := range 8 {
		plant.Go(func() {
			for n := p * batch; n < backlog; n += 8 * batch {
				w.emitMany("token.minted", n, min(batch, backlog-n))
			}
		})
	}
	plant.Wait()
	t.Logf("%d events stand in the outbox after %s", backlog, time.Since(began).Round(time.Second))
	start := w.children(srv)
	c := start()
	most := int64(0)
	_, err := w.hooks.Endpoints(t.Context())
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		most = max(most, c.heap())
		n, err := w.store.Count(t.Context(), store.Outbox)
		return err == nil && n == 0
	}, 5*time.Minute, 250*time.Millisecond)
	_, total, _, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{Status: webhook.Pending}, 1, 0, "")
	require.NoError(t, err)
	require.Equal(t, backlog, total)
	t.Logf("handed on after %s; at most %d MiB of heap", time.Since(began).Round(time.Second), most>>20)
	c.kill()
	c = start() // over the whole backlog
	w.emit("approval.required", "op_x", 0)
	live.await(1)
	n := len(dead.all())
	dead.await(n + 16)
	most = max(most, c.heap())
	require.Less(t, most, int64(allowed))
	// A page of what waits costs what a page costs.
	page, _, next, err := w.hooks.Deliveries(t.Context(), e.ID, webhook.Filter{}, 50, 0, "")
	require.NoError(t, err)
	require.Len(t, page, 50)
	require.NotEmpty(t, next)
}
