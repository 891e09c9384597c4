package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// Without a connection each user may do what its certificate allows, and no more.
func TestRightsHoldInTheProcess(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	srv := storetest.Start(t)
	serve := srv.OpenConfig(srv.InProcess(store.UserServe))
	if err := serve.CheckRights(ctx); err != nil {
		t.Errorf("serve's own certificate: %v", err)
	}
	if err := srv.OpenConfig(srv.InProcess("root")).CheckRights(ctx); !errors.Is(err, store.ErrRights) {
		t.Errorf("root's certificate: %v, want ErrRights", err)
	}
	seal := srv.OpenConfig(srv.InProcess(store.UserSeal))
	tx := seal.Tx()
	tx.Put("/mw/token/a", nil)
	if _, err := tx.Commit(ctx); err == nil {
		t.Error("the seal's certificate wrote serve's key")
	}
	if n, err := serve.Count(ctx, store.SealRoot); err != nil || n != 0 {
		t.Errorf("checking rights left %d keys (%v)", n, err)
	}
}

// Who calls in the process and who comes over the socket see one store.
func TestProcessAndSocketAreOneStore(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	srv := storetest.Start(t)
	inside, outside := srv.OpenConfig(srv.InProcess(store.UserServe)), srv.Open(store.UserServe)
	changes := inside.Watch(ctx, store.TokenPrefix, 1)
	rev := int64(0)
	for n, s := range []*store.Store{inside, outside, inside} {
		tx := s.Tx()
		tx.PutIf("/mw/token/a", []byte{byte('0' + n)}, rev)
		at, err := tx.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		stale := s.Tx()
		stale.PutIf("/mw/token/a", []byte("stale"), rev)
		var conflict *store.ConflictError
		if _, err := stale.Commit(ctx); !errors.As(err, &conflict) || conflict.Key != "/mw/token/a" {
			t.Errorf("write %d again: %v, want a conflict on its key", n, err)
		}
		c := next(t, changes, "the watch does not tell of a write")
		if c.Err != nil || len(c.Events) != 1 || c.Events[0].ModRevision != at || string(c.Events[0].Value) != string([]byte{byte('0' + n)}) {
			t.Errorf("watch told %+v of write %d at %d", c, n, at)
		}
		// What a watch tells is the reader's own: spoiling it harms nobody.
		c.Events[0].Value[0] = 'x'
		if v, _, _, err := outside.Get(ctx, "/mw/token/a"); err != nil || v[0] != byte('0'+n) {
			t.Errorf("read %q (%v) after write %d", v, err, n)
		}
		rev = at
	}
	fence, err := inside.Fence(ctx, "lane")
	if err != nil {
		t.Fatal(err)
	}
	if _, held, err := outside.TryFence(ctx, "lane"); err != nil || held {
		t.Errorf("two hold one fence (%v)", err)
	}
	if err := inside.Close(); err != nil {
		t.Fatal(err)
	}
	if _, held, err := outside.TryFence(ctx, "lane"); err != nil || !held {
		t.Errorf("a closed store's fence is still held (%v)", err)
	}
	next(t, fence.Lost(), "the fence of a closed store is not lost")
}

// A server in the process that was stopped is one that does not answer.
func TestStoppedInTheProcess(t *testing.T) {
	srv := storetest.Start(t)
	cfg := srv.InProcess(store.UserServe)
	cfg.RequestTimeout = 300 * time.Millisecond
	s := srv.OpenConfig(cfg)
	srv.Close()
	if _, _, _, err := s.Get(t.Context(), "/mw/token/a"); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("reading got %v, want ErrUnavailable", err)
	}
	tx := s.Tx()
	tx.Put("/mw/token/a", nil)
	if _, err := tx.Commit(t.Context()); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("writing got %v, want ErrUnavailable", err)
	}
	srv.Restart()
}
