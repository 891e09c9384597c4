package store_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

func TestTxWritesAllOrNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := storetest.Open(t)
	tx := s.Tx()
	tx.PutIfAbsent("/mw/token/a", []byte("1"))
	tx.Audit(audit.Draft{Action: "token.created", ResourceType: "token", ResourceID: "a"})
	rev, err := tx.Commit(ctx)
	if err != nil {
		t.Fatal(err)
	}
	v, mod, ok, err := s.Get(ctx, "/mw/token/a")
	if err != nil || !ok || string(v) != "1" || mod != rev {
		t.Fatalf("got %q at %d (%v, %v), want 1 at %d", v, mod, ok, err, rev)
	}

	tx = s.Tx()
	tx.Put("/mw/token/b", []byte("2"))
	tx.PutIf("/mw/token/a", []byte("3"), rev-1)
	tx.Audit(audit.Draft{Action: "token.created", ResourceType: "token", ResourceID: "b"})
	_, err = tx.Commit(ctx)
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Key != "/mw/token/a" || !errors.Is(err, store.ErrConflict) {
		t.Fatalf("got %v, want a conflict on /mw/token/a", err)
	}
	if _, _, ok, _ := s.Get(ctx, "/mw/token/b"); ok {
		t.Error("a refused transaction wrote")
	}
	if n, err := s.Count(ctx, store.AuditPending); err != nil || n != 1 {
		t.Errorf("%d audit entries wait (%v), want the committed change's alone", n, err)
	}
}

func TestTxBounds(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	for name, fill := range map[string]func(*store.Tx){
		"operations": func(tx *store.Tx) {
			for i := range store.MaxTxOps + 1 {
				tx.Put("/mw/token/"+strings.Repeat("x", i+1), nil)
			}
		},
		"bytes": func(tx *store.Tx) { tx.Put("/mw/token/a", make([]byte, store.MaxTxBytes)) },
	} {
		tx := s.Tx()
		fill(tx)
		if _, err := tx.Commit(t.Context()); !errors.Is(err, store.ErrTooLarge) {
			t.Errorf("%s: got %v, want ErrTooLarge", name, err)
		}
	}
	tx := s.Tx()
	for i := range store.MaxTxOps {
		tx.Put("/mw/token/"+strings.Repeat("x", i+1), []byte("v"))
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Errorf("%d operations: %v", store.MaxTxOps, err)
	}
	tx = s.Tx()
	tx.Put("/mw/token/a", nil)
	tx.Put("/mw/token/a", nil)
	if _, err := tx.Commit(t.Context()); err == nil || !strings.Contains(err.Error(), "/mw/token/a") {
		t.Errorf("one key twice: got %v, want an error that names it", err)
	}
}

func TestIdempotencyHasOneWinner(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := storetest.Open(t)
	render := func(r any) (int, []byte, error) { return 201, []byte(r.(string)), nil }
	lost := make(chan error, 8)
	for i := range 8 {
		go func() {
			tx := s.Tx()
			id := string(rune('a' + i))
			tx.PutIfAbsent("/mw/token/"+id, nil)
			tx.Idempotent(&store.Idempotent{Hash: "h", BodyHash: "b", Render: render}, id)
			_, err := tx.Commit(ctx)
			lost <- err
		}()
	}
	won := 0
	for range 8 {
		if err := <-lost; err == nil {
			won++
		} else if !errors.Is(err, store.ErrIdempotencyLost) {
			t.Errorf("got %v, want ErrIdempotencyLost", err)
		}
	}
	p, err := s.List(ctx, store.TokenPrefix, store.ListOptions{})
	if err != nil || won != 1 || len(p.KVs) != 1 {
		t.Fatalf("%d winners, %d tokens (%v), want 1 and 1", won, len(p.KVs), err)
	}
	r, ok, err := s.Idempotency(ctx, "h")
	if err != nil || !ok || r.Status != 201 || "/mw/token/"+string(r.Body) != p.KVs[0].Key || r.BodyHash != "b" {
		t.Fatalf("record %+v (%v, %v) does not answer for %s", r, ok, err, p.KVs[0].Key)
	}
}

func TestPendingIdempotencyIsCompleted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := storetest.Open(t)
	tx := s.Tx()
	tx.IdempotentPending(&store.Idempotent{Hash: "h", BodyHash: "b"}, "wallet_1")
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	r, ok, err := s.Idempotency(ctx, "h")
	if err != nil || !ok || !r.Pending || r.ResourceID != "wallet_1" {
		t.Fatalf("got %+v, %v, %v", r, ok, err)
	}
	r.Status, r.Body = 201, []byte(`{"id":"wallet_1"}`)
	tx = s.Tx()
	tx.IdempotentComplete("h", r)
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if r, _, err = s.Idempotency(ctx, "h"); err != nil || r.Pending || r.Status != 201 {
		t.Fatalf("got %+v, %v", r, err)
	}
}

func TestListPagesBothWays(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := storetest.Open(t)
	for _, k := range []string{"a", "b", "c", "d", "e"} {
		tx := s.Tx()
		tx.Put(store.TokenPrefix+k, []byte(k))
		if _, err := tx.Commit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	read := func(desc bool) (got string) {
		o := store.ListOptions{Limit: 2, Descending: desc}
		for {
			p, err := s.List(ctx, store.TokenPrefix, o)
			if err != nil {
				t.Fatal(err)
			}
			for _, kv := range p.KVs {
				got += string(kv.Value)
			}
			if !p.More {
				return got
			}
			o.After = p.KVs[len(p.KVs)-1].Key
		}
	}
	if up, down := read(false), read(true); up != "abcde" || down != "edcba" {
		t.Errorf("pages read %q and %q", up, down)
	}
	kvs, _, err := s.GetMany(ctx, store.TokenPrefix+"e", store.TokenPrefix+"nothing", store.TokenPrefix+"a")
	if err != nil || string(kvs[0].Value) != "e" || kvs[1].ModRevision != 0 || string(kvs[2].Value) != "a" {
		t.Errorf("got %v, %v", kvs, err)
	}
}

func TestWatchResumesAcrossARestart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	put := func(k string) {
		t.Helper()
		deadline := soon(t)
		for {
			tx := s.Tx()
			tx.Put(store.TokenPrefix+k, []byte(k))
			_, err := tx.Commit(deadline)
			if err == nil {
				return
			}
			if !errors.Is(err, store.ErrUnavailable) {
				t.Fatal(err)
			}
		}
	}
	put("a")
	var from int64
	for _, err := range s.All(ctx, store.TokenPrefix, func(rev int64) { from = rev + 1 }) {
		if err != nil {
			t.Fatal(err)
		}
	}
	w := s.Watch(ctx, store.TokenPrefix, from)
	put("b")
	if c := next(t, w, "the watch does not tell of a write"); c.Err != nil || len(c.Events) != 1 || string(c.Events[0].Value) != "b" {
		t.Fatalf("got %+v", c)
	}
	srv.Close()
	srv.Restart()
	put("c")
	if c := next(t, w, "the watch does not go on after a restart"); c.Err != nil || len(c.Events) == 0 || string(c.Events[0].Value) != "c" {
		t.Fatalf("after a restart: %+v", c)
	}
}

func TestRights(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	srv := storetest.Start(t)
	serve := srv.Open(store.UserServe)
	if err := serve.CheckRights(ctx); err != nil {
		t.Errorf("serve's own certificate: %v", err)
	}
	if err := srv.Open("root").CheckRights(ctx); !errors.Is(err, store.ErrRights) {
		t.Errorf("root's certificate: %v, want ErrRights", err)
	}
	tx := srv.Open(store.UserSeal).Tx()
	tx.Put("/mw/token/a", nil)
	if _, err := tx.Commit(ctx); err == nil {
		t.Error("the seal's certificate wrote serve's key")
	}
	if n, err := serve.Count(ctx, store.SealRoot); err != nil || n != 0 {
		t.Errorf("checking rights left %d keys (%v)", n, err)
	}
}

// The name in the config is what the server's certificate must hold, whatever host the endpoint is
// reached by.
func TestServerNameIsPinned(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	c := server.ClientConfig(store.UserServe)
	c.ServerName = "127.0.0.1"
	server.OpenConfig(c)
	c.ServerName = "etcd.elsewhere"
	c.DialTimeout = 2 * time.Second
	st, err := store.Open(t.Context(), c, storetest.Logger(t), nil)
	if err == nil {
		_ = st.Close()
		t.Fatal("a server of another name was taken")
	}
	if !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("refused with %v", err)
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	cfg := srv.ClientConfig(store.UserServe)
	cfg.RequestTimeout = 300 * time.Millisecond
	s := srv.OpenConfig(cfg)
	srv.Close()
	if _, _, _, err := s.Get(t.Context(), "/mw/token/a"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	tx := s.Tx()
	tx.Put("/mw/token/a", nil)
	if _, err := tx.Commit(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
	srv.Restart()
}

func TestInvertULID(t *testing.T) {
	older, newer := store.NewID("op_"), store.NewID("op_")
	if older >= newer || store.OpIndexKey(older) <= store.OpIndexKey(newer) {
		t.Errorf("%s and %s: index keys are not newest first", older, newer)
	}
	if id := older[3:]; store.InvertULID(store.InvertULID(id)) != id {
		t.Errorf("inverting %s twice does not give it back", id)
	}
	for id, want := range map[string]bool{older: true, "op_": false, older + "/x": false, "pol_" + older[3:]: false, strings.ToLower(older): false} {
		if store.ValidID("op_", id) != want {
			t.Errorf("ValidID(%q) is not %v", id, want)
		}
	}
}
