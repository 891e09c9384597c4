package dev_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// soakPatience is how long everything may take to come to its end once nothing
// is broken any more. The webhooks' third attempt comes after two minutes.
const soakPatience = 6 * time.Minute

// notes are what happened, in the order in which it did.
type notes struct {
	mu    sync.Mutex
	lines []string
}

func (h *soakHouse) note(format string, args ...any) {
	line := time.Now().UTC().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)
	h.notes.mu.Lock()
	defer h.notes.mu.Unlock()
	h.notes.lines = append(h.notes.lines, line)
}

// keep leaves notes and logs behind for who looks for the cause, in the
// directory that MINTWARDEN_SOAK_KEEP names, by kind.
func (h *soakHouse) keep(t *testing.T) {
	dir := os.Getenv("MINTWARDEN_SOAK_KEEP")
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, string(h.kind))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Error(err)
		return
	}
	write := func(name, text string) {
		if err := os.WriteFile(dir+"/"+strings.ReplaceAll(name, " ", "-"), []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	h.notes.mu.Lock()
	write("notes.log", strings.Join(h.notes.lines, "\n")+"\n")
	h.notes.mu.Unlock()
	for _, p := range h.processes() {
		text, err := os.ReadFile(p.log)
		if err != nil {
			t.Error(err)
		}
		write(p.name+".log", string(text))
	}
}

// replay sends every request again: what was answered is answered so again, and
// what was refused after an attempt that nobody heard the end of may have been
// taken all the same.
func (c *crowd) replay() {
	asks := make(chan *ask)
	var callers sync.WaitGroup
	for n := range 8 {
		callers.Go(func() {
			r := rand.New(rand.NewPCG(c.h.seed, 1<<33+uint64(n)))
			for a := range asks {
				if a.id == "" && a.unknown == 0 {
					continue
				}
				known := a.id != ""
				c.drive(c.h.t.Context(), r, a)
				if !known && a.id != "" {
					c.submit(a.id, c.opinions(r))
				}
			}
		})
	}
	for _, a := range c.asks {
		asks <- a
	}
	close(asks)
	callers.Wait()
}

// summaries are all operations that an appliance lists, by id.
func (h *soakHouse) summaries(n int) map[string]client.OperationSummary {
	h.t.Helper()
	all := map[string]client.OperationSummary{}
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	for op, err := range h.boxes[n].as("operator").Operations(ctx, client.ListTokenOperationsParams{}) {
		if err != nil {
			h.t.Fatalf("the operations of %s: %v", applianceIDs[n], err)
		}
		all[op.OperationID] = op
	}
	return all
}

// operations are the same, whole.
func (h *soakHouse) operations(n int) map[string]client.Operation {
	h.t.Helper()
	ids := slices.Sorted(maps.Keys(h.summaries(n)))
	whole := make([]*client.Operation, len(ids))
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	c := h.boxes[n].as("operator")
	each(h.t, len(ids), func(i int) (err error) {
		whole[i], err = c.GetTokenOperation(ctx, ids[i])
		return err
	})
	all := map[string]client.Operation{}
	for _, op := range whole {
		all[op.OperationID] = *op
	}
	return all
}

// finish gives operations the approvals that they still lack, and waits until
// every one has ended.
func (c *crowd) finish() {
	h := c.h
	h.t.Helper()
	begun, last := time.Now(), 0
	for {
		var open []string
		listed := h.summaries(0)
		for id, op := range listed {
			if op.Status.Terminal() {
				continue
			}
			open = append(open, id)
			if op.Status == client.OperationStatusPENDINGAUTHORIZATION {
				c.approveRest(id)
			}
		}
		if len(open) == 0 {
			h.note("everything has ended %.1f s after the healing", time.Since(begun).Seconds())
			return
		}
		if len(open) != last {
			last, begun = len(open), time.Now() // it goes on
		}
		if time.Since(begun) > patience {
			for _, id := range open[:min(len(open), 20)] {
				op, err := h.boxes[0].as("operator").GetTokenOperation(h.boxes[0].context(), id)
				h.t.Logf("listed as %s, and is %+v, %v", listed[id].Status, op, err)
			}
			h.t.Fatalf("%d operations do not end", len(open))
		}
		time.Sleep(200 * time.Millisecond)
	}
}

func (c *crowd) approveRest(id string) {
	op, err := c.h.boxes[0].as("operator").GetTokenOperation(c.h.boxes[0].context(), id)
	if err != nil {
		c.h.t.Fatal(err)
	}
	said := map[string]bool{}
	for _, a := range op.Approvals {
		said[a.Approver] = true
	}
	r := rand.New(rand.NewPCG(c.h.seed, 1<<34))
	for n := range 3 {
		who := fmt.Sprint("approver-", n+1)
		if said[who] {
			continue
		}
		w := &word{who: who, verb: policy.Approve}
		c.mu.Lock()
		c.words[op.OperationID] = append(c.words[op.OperationID], w)
		c.mu.Unlock()
		c.say(c.h.t.Context(), r, op.OperationID, w)
	}
}

// use is what each serve and seal holds of the system: goroutines, descriptors.
func (h *soakHouse) use() map[string]int {
	all := map[string]int{}
	for n := range applianceIDs {
		all["descriptors of "+h.seals[n].name] = h.seals[n].descriptors()
		all["descriptors of "+h.serves[n].name] = h.serves[n].descriptors()
		all["goroutines of "+h.serves[n].name] = h.goroutines(n)
	}
	return all
}

func (h *soakHouse) goroutines(n int) (count int) {
	r, err := http.Get("http://" + h.pages[n] + "/metrics")
	if err != nil {
		return 0
	}
	defer func() { _ = r.Body.Close() }()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "go_goroutines "); ok {
			_, _ = fmt.Sscan(rest, &count)
		}
	}
	return count
}

// compact forgets all of etcd's history, so that who watches and was away for a
// moment finds the place gone where it was.
func (h *soakHouse) compact(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	now, err := h.root.Get(ctx, "/mw/format")
	if err != nil {
		return // no quorum, by another fault
	}
	_, _ = h.root.Compact(ctx, now.Header.Revision)
}

// etcdRoot is etcd as its owner reaches it.
func (s *serving) etcdRoot(dir string, addresses ...string) *clientv3.Client {
	s.t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "root.crt"), filepath.Join(dir, "root.key"))
	if err != nil {
		s.t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		s.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	var endpoints []string
	for _, a := range addresses {
		endpoints = append(endpoints, "https://"+a)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}, Logger: zap.NewNop()})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}
