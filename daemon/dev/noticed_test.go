package dev_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Whoever owns etcd takes a batch away, changes one, or writes one that no
// author wrote: it is named in the log, in a metric, and in /readyz; nothing new
// is taken, reads go on. The seal notices by itself what stands in the way of its
// next batch; a batch that it verified and wrote it never asks for again.
func TestWhatIsDoneToTheLogIsNoticedByBoth(t *testing.T) {
	for _, attack := range []struct {
		name string
		seal bool // it notices, too
		do   func(ctx context.Context, t *testing.T, etcd *clientv3.Client, head uint64)
	}{
		{"the last batch is deleted", true, func(ctx context.Context, t *testing.T, etcd *clientv3.Client, head uint64) {
			if _, err := etcd.Delete(ctx, ledger.Key(head)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a batch in the middle is edited", false, func(ctx context.Context, t *testing.T, etcd *clientv3.Client, head uint64) {
			was, err := etcd.Get(ctx, ledger.Key(head-1))
			if err != nil || len(was.Kvs) != 1 {
				t.Fatalf("batch %d: %v", head-1, err)
			}
			value := []byte(string(was.Kvs[0].Value))
			value[len(value)/2] ^= 1
			if _, err := etcd.Put(ctx, ledger.Key(head-1), string(value)); err != nil {
				t.Fatal(err)
			}
		}},
		{"a batch is forged", true, func(ctx context.Context, t *testing.T, etcd *clientv3.Client, head uint64) {
			was, err := etcd.Get(ctx, ledger.Key(head))
			if err != nil || len(was.Kvs) != 1 {
				t.Fatalf("batch %d: %v", head, err)
			}
			if _, err := etcd.Put(ctx, ledger.Key(head+1), string(was.Kvs[0].Value)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		t.Run(attack.name, func(t *testing.T) {
			a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
			token := a.deployed()
			id, err := jobs[1].ask(a, token, "before")
			if err != nil {
				t.Fatal(err)
			}
			head, err := a.as("viewer").GetSeal(a.context())
			if err != nil || head.Head == nil {
				t.Fatalf("the seal: %+v, %v", head, err)
			}
			attack.do(a.context(), t, a.etcd(), uint64(head.Head.Sequence))
			// Past an API that refuses already: so that the seal looks.
			socket, err := filepath.EvalSymlinks(filepath.Join(a.dir, "run", "seal.sock"))
			if err != nil {
				t.Fatal(err)
			}
			door, err := seal.Dial(a.context(), socket)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = door.Close() }()
			if r, err := door.Cancel(a.context(), id, "drill"); attack.seal && err == nil {
				t.Errorf("a cancel was recorded over a log that does not verify: %+v", r)
			}
			a.page(func(code int, ready, metrics string) bool {
				return code == http.StatusServiceUnavailable && strings.Contains(ready, `"check":"ledger"`) &&
					noticed(metrics) == attack.seal && strings.Contains(metrics, "\nmintwarden_ledger_follower_up 0")
			})
			op, err := a.as("viewer").GetTokenOperation(a.context(), id)
			if err != nil {
				t.Fatalf("a read: %v", err)
			}
			if op.BlockchainTransactionHash != nil {
				t.Errorf("the operation is %s", op.Status)
			}
			log, err := os.ReadFile(filepath.Join(filepath.Dir(a.dir), "log"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(log), "registry: the follower stopped for good") {
				t.Error("the log of serve does not say it")
			}
			if attack.seal && !strings.Contains(string(log), "ledger in doubt; nothing is decided") {
				t.Error("the log of the seal does not say it")
			}
		})
	}
}

// noticed tells whether the seal counted something that no honest store does.
func noticed(metrics string) bool {
	for line := range strings.Lines(metrics) {
		if strings.HasPrefix(line, `mintwarden_seal_noticed_total{`) && strings.Contains(line, "store_") && !strings.HasSuffix(strings.TrimSpace(line), " 0") {
			return true
		}
	}
	return false
}

// etcd is the store as its owner reaches it: root.
func (a *appliance) etcd() *clientv3.Client {
	a.t.Helper()
	c := a.config()
	pair, err := tls.LoadX509KeyPair(filepath.Join(a.dir, "pki", "etcd-root.crt"), filepath.Join(a.dir, "pki", "etcd-root.key"))
	if err != nil {
		a.t.Fatal(err)
	}
	text, err := os.ReadFile(c.Store.CA)
	if err != nil {
		a.t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	etcd, err := clientv3.New(clientv3.Config{Endpoints: c.Store.Endpoints, TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}})
	if err != nil {
		a.t.Fatal(err)
	}
	a.t.Cleanup(func() { _ = etcd.Close() })
	return etcd
}

// page waits until the monitor's pages say what is expected.
func (a *appliance) page(is func(code int, ready, metrics string) bool) {
	a.t.Helper()
	c := a.config()
	get := func(path string) (int, string) {
		r, err := http.Get("http://" + c.Monitor.Listen + path)
		if err != nil {
			return 0, err.Error()
		}
		defer func() { _ = r.Body.Close() }()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return 0, err.Error()
		}
		return r.StatusCode, string(body)
	}
	ctx, cancel := context.WithTimeout(a.t.Context(), patience)
	defer cancel()
	for {
		code, ready := get("/readyz")
		_, metrics := get("/metrics")
		if is(code, ready, metrics) {
			return
		}
		select {
		case <-ctx.Done():
			var of []string
			for line := range strings.Lines(metrics) {
				if strings.Contains(line, "noticed") || strings.Contains(line, "ledger") {
					of = append(of, line)
				}
			}
			a.t.Fatalf("%d %s\n%s", code, ready, strings.Join(of, ""))
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// fenced waits until the metrics tell of each fence that the store has, but wallets' lanes, that somebody holds it, and
// of no other fence.
func (a *appliance) fenced() {
	a.t.Helper()
	etcd, ctx := a.etcd(), a.context()
	a.page(func(_ int, _, metrics string) bool {
		r, err := etcd.Get(ctx, "/mw/fence/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			a.t.Fatal(err)
		}
		var held, told []string
		for _, kv := range r.Kvs {
			if name := strings.TrimPrefix(string(kv.Key), "/mw/fence/"); !strings.HasPrefix(name, "lane/") {
				held = append(held, fmt.Sprintf("mintwarden_fence_held{fence=%q} 1", name))
			}
		}
		for line := range strings.Lines(metrics) {
			if strings.HasPrefix(line, "mintwarden_fence_held{") {
				told = append(told, strings.TrimSpace(line))
			}
		}
		return len(held) == 5 && slices.Equal(held, told)
	})
}
