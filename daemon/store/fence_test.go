package store_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// patience is how long a test waits for what a busy machine may take its time for.
const patience = 3 * time.Minute

// soon ends what a test waits for, well before the test's own end.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// next is what comes through a channel, or its zero value once that is closed.
func next[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("after %s: %s", patience, what)
		panic("unreachable")
	}
}

func TestFenceExcludes(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	srv := storetest.Start(t)
	a, b := srv.Open(store.UserServe), srv.Open(store.UserServe)
	fa, err := a.Fence(ctx, "lane")
	if err != nil {
		t.Fatal(err)
	}
	if _, held, err := b.TryFence(ctx, "lane"); err != nil || held {
		t.Fatalf("two holders (%v)", err)
	}
	if _, held, err := a.TryFence(ctx, "lane"); err != nil || held {
		t.Fatalf("one process holds the fence twice (%v)", err)
	}
	got := make(chan *store.Fence, 1)
	go func() {
		f, err := b.Fence(ctx, "lane")
		if err != nil {
			t.Error(err)
			return
		}
		got <- f
	}()
	tx := a.Tx()
	fa.Require(tx)
	tx.Put("/mw/token/a", []byte("a"))
	if _, err := tx.Commit(ctx); err != nil {
		t.Fatalf("the holder may not write: %v", err)
	}
	if err := fa.Release(ctx); err != nil {
		t.Fatal(err)
	}
	fb := next(t, got, "a fence that was released is not taken")
	tx = a.Tx()
	fa.Require(tx)
	tx.Put("/mw/token/a", []byte("late"))
	if _, err := tx.Commit(ctx); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("a former holder wrote: %v", err)
	}
	select {
	case <-fb.Lost():
		t.Error("the new holder lost its fence")
	default:
	}
}

func TestFenceOfADeadProcessIsTakenOver(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	srv := storetest.Start(t)
	cfg := srv.ClientConfig(store.UserServe)
	cfg.Owner = "appliance-1"
	before, after := srv.OpenConfig(cfg), srv.OpenConfig(cfg)
	old, err := before.Fence(ctx, "lane")
	if err != nil {
		t.Fatal(err)
	}
	f, held, err := after.TryFence(ctx, "lane")
	if err != nil || !held {
		t.Fatalf("the same owner's next process does not get its fence (%v)", err)
	}
	next(t, old.Lost(), "a fence that was taken over is not lost")
	for name, c := range map[string]struct {
		f    *store.Fence
		want error
	}{"old": {old, store.ErrConflict}, "new": {f, nil}} {
		tx := after.Tx()
		c.f.Require(tx)
		tx.Put("/mw/token/a", nil)
		if _, err := tx.Commit(context.Background()); !errors.Is(err, c.want) {
			t.Errorf("%s holder: got %v, want %v", name, err, c.want)
		}
	}
}

func TestFencesEndWithTheProcess(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	srv := storetest.Start(t)
	a, err := store.Open(ctx, srv.ClientConfig(store.UserServe), storetest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Fence(ctx, "lane"); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if _, held, err := srv.Open(store.UserServe).TryFence(ctx, "lane"); err != nil || !held {
		t.Errorf("a closed store's fence is still held (%v)", err)
	}
}

// TestAFenceWhoseReleaseWasNotAnswered is free all the same, though the process lives and keeps its lease.
func TestAFenceWhoseReleaseWasNotAnswered(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s, other := srv.Open(store.UserServe), srv.Open(store.UserServe)
	for name, following := range map[string]*store.Store{"here": s, "elsewhere": other} {
		f, err := s.Fence(soon(t), name)
		if err != nil {
			t.Fatal(err)
		}
		never, cancel := context.WithCancel(t.Context())
		cancel()
		if err := f.Release(never); err == nil {
			t.Fatal("released without an answer")
		}
		again, err := following.Fence(soon(t), name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Release(t.Context()); err != nil {
			t.Errorf("released twice: %v", err)
		}
		old, tx := s.Tx(), following.Tx()
		f.Require(old)
		again.Require(tx)
		if _, err := old.Commit(t.Context()); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: the former holder wrote: %v", name, err)
		}
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Errorf("%s: the new holder may not write: %v", name, err)
		}
	}
}

// TestAFenceThatWasTakenUnheard: etcd gave it, and the answer was lost.
func TestAFenceThatWasTakenUnheard(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	f, err := s.Fence(soon(t), "lane")
	if err != nil {
		t.Fatal(err)
	}
	held, err := srv.Root().Get(t.Context(), f.Key())
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := held.Kvs[0]
	if _, err := srv.Root().Put(t.Context(), f.Key(), string(left.Value), clientv3.WithLease(clientv3.LeaseID(left.Lease))); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Fence(soon(t), "lane"); err != nil {
		t.Fatal(err)
	}
}

// TestAFenceThatIsGivenBackWhileItIsTakenOver: an earlier process of the owner gives it back, or its lease ends, between
// the moment in which the next one sees that it has it and the one in which that takes it over.
func TestAFenceThatIsGivenBackWhileItIsTakenOver(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	cfg := srv.ClientConfig(store.UserServe)
	cfg.Owner = "appliance-1"
	before, after := srv.OpenConfig(cfg), srv.OpenConfig(cfg)
	ctx := soon(t)
	for range 50 {
		old, err := before.Fence(ctx, "lane")
		if err != nil {
			t.Fatal(err)
		}
		var releasing sync.WaitGroup
		releasing.Go(func() {
			if err := old.Release(ctx); err != nil {
				t.Error(err)
			}
		})
		f, err := after.Fence(ctx, "lane")
		if err != nil {
			t.Fatalf("nobody has it: %v", err)
		}
		releasing.Wait()
		if err := f.Release(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOneOfAProcessAtATime: who waits for a fence of its own process has it when that is over.
func TestOneOfAProcessAtATime(t *testing.T) {
	t.Parallel()
	s := storetest.Start(t).Open(store.UserServe)
	var holders, most atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 4 {
				err := s.While(soon(t), "lane", func(context.Context, *store.Fence) error {
					if n := holders.Add(1); n > most.Load() {
						most.Store(n)
					}
					defer holders.Add(-1)
					tx := s.Tx()
					tx.Put("/mw/token/a", nil)
					_, err := tx.Commit(t.Context())
					return err
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if most.Load() != 1 {
		t.Errorf("%d held it at once", most.Load())
	}
}

func TestWhileEndsWithTheFenceAndGivesItBack(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	srv := storetest.Start(t)
	cfg := srv.ClientConfig(store.UserServe)
	cfg.Owner = "appliance-1"
	s, following := srv.OpenConfig(cfg), srv.OpenConfig(cfg)
	failed := errors.New("failed")
	err := s.While(ctx, "lane", func(ctx context.Context, f *store.Fence) error { return failed })
	if !errors.Is(err, failed) {
		t.Errorf("the work's error: got %v", err)
	}
	err = s.While(ctx, "lane", func(held context.Context, f *store.Fence) error {
		taken, ok, err := following.TryFence(ctx, "lane") // the same owner's next process takes it over
		if err != nil || !ok {
			t.Errorf("not taken over (%v)", err)
		}
		next(t, held.Done(), "work goes on without its fence")
		return errors.Join(held.Err(), taken.Release(ctx))
	})
	if !errors.Is(err, store.ErrFenceLost) {
		t.Errorf("a lost fence: got %v", err)
	}
	if _, held, err := srv.Open(store.UserServe).TryFence(ctx, "lane"); err != nil || !held {
		t.Errorf("a fence that was given back is still held (%v)", err)
	}
}
