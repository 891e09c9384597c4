package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// filled is a store that a test fills.
type filled struct {
	*store.Store
	srv *storetest.Server
	t   *testing.T
	n   int
}

// write adds 16 KiB.
func (f *filled) write() error {
	f.n++
	tx := f.Tx()
	tx.Put(fmt.Sprintf("%s%d", store.TokenPrefix, f.n), make([]byte, 16<<10))
	_, err := tx.Commit(f.t.Context())
	return err
}

// look is what etcd says of itself now.
func (f *filled) look() store.Space {
	f.t.Helper()
	space, err := f.Look(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return space
}

// until writes until etcd's size is as wanted: half a MiB at a time, each waited for, because etcd's size is
// that of its last commit to the disk, of which there are ten a second.
func (f *filled) until(enough func(store.Space) bool) store.Space {
	f.t.Helper()
	for {
		space := f.look()
		if enough(space) {
			return space
		}
		for range 32 {
			if err := f.write(); err != nil {
				f.t.Fatalf("with %d of %d bytes: %v", space.Size, space.Quota, err)
			}
		}
		f.eventually("a commit", func(now store.Space) bool { return now.InUse >= space.InUse+256<<10 })
	}
}

// empty deletes what was written, and has etcd forget it.
func (f *filled) empty() {
	f.t.Helper()
	if _, err := f.srv.Root().Delete(f.t.Context(), store.TokenPrefix, clientv3.WithPrefix()); err != nil {
		f.t.Fatal(err)
	}
	f.srv.Compact()
}

// eventually looks until etcd's own commit, ten a second, shows what is wanted.
func (f *filled) eventually(what string, holds func(store.Space) bool) {
	f.t.Helper()
	for over := time.Now().Add(patience); !holds(f.look()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(over) {
			f.t.Fatalf("%s: %+v, %v", what, f.look(), f.Room())
		}
	}
}

// sparse fails unless it is free pages that nothing new is taken for.
func (f *filled) sparse() {
	f.t.Helper()
	if err := f.Room(); !errors.Is(err, store.ErrShort) || !strings.Contains(err.Error(), "defragment") {
		f.t.Fatalf("a sparse database: %v", err)
	}
}

// defragment is done by the store itself to an etcd of its own process, and by an operator to another.
func (f *filled) defragment(cfg store.Config) {
	f.t.Helper()
	if cfg.Embedded != nil {
		watch, stop := context.WithCancel(f.t.Context())
		done := make(chan error, 1)
		go func() { done <- f.WatchSpace(watch) }()
		f.eventually("defragments itself", func(s store.Space) bool { return s.Size < s.Quota/2 })
		stop()
		if err := next(f.t, done, "the store's guard does not stop"); !errors.Is(err, context.Canceled) {
			f.t.Fatal(err)
		}
	} else if _, err := f.srv.Root().Defragment(f.t.Context(), f.srv.Endpoint()); err != nil {
		f.t.Fatal(err)
	}
	if f.look(); f.Room() != nil {
		f.t.Fatalf("defragmented: %v", f.Room())
	}
}

// A store that fills says so before etcd refuses anything, keeps room for what stops things, and takes
// everything again once it is compacted or, where free pages are what it is full of, defragmented.
func TestNothingNewIsTakenBeforeEtcdIsFull(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]func(*storetest.Server) store.Config{
		"in the process":  func(s *storetest.Server) store.Config { return s.InProcess(store.UserServe) },
		"over the socket": func(s *storetest.Server) store.Config { return s.ClientConfig(store.UserServe) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const quota = 32 << 20
			srv := storetest.Start(t, func(c *store.EmbeddedConfig) { c.QuotaBytes = quota })
			cfg := config(srv)
			f := &filled{Store: srv.OpenConfig(cfg), srv: srv, t: t}

			short := f.until(func(store.Space) bool { return f.Room() != nil })
			var told *store.ShortError
			if err := f.Room(); !errors.Is(err, store.ErrShort) || !errors.As(err, &told) || told.Quota != quota {
				t.Fatalf("nearly full: %v", err)
			}
			if short.Full || short.Size >= quota || short.InUse < quota*8/10 {
				t.Fatalf("what is new is refused at %+v", short)
			}
			for range 20 { // what stops things
				if err := f.write(); err != nil {
					t.Fatalf("nearly full: %v", err)
				}
			}
			f.empty()
			f.eventually("compacted", func(s store.Space) bool { return s.InUse < quota/2 })
			if f.Room() != nil { // the more commits, the more free pages
				f.sparse()
				f.defragment(cfg)
			}

			f.until(func(s store.Space) bool { return s.Size >= quota*96/100 })
			f.empty()
			f.eventually("free pages", func(s store.Space) bool { return s.InUse < quota/2 })
			f.sparse()
			f.defragment(cfg)
			if err := f.write(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// An etcd that is full all the same is named as what it is, to whoever writes and to whoever asks, until its
// operator has done what the guide says.
func TestAFullEtcdIsNamed(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t, func(c *store.EmbeddedConfig) { c.QuotaBytes = 8 << 20 })
	f := &filled{Store: srv.OpenConfig(srv.InProcess(store.UserServe)), srv: srv, t: t}
	var err error
	for err == nil {
		err = f.write()
	}
	if !errors.Is(err, store.ErrFull) || !errors.Is(err, store.ErrUnavailable) {
		t.Fatalf("a write to a full etcd: %v", err)
	}
	f.eventually("the alarm", func(s store.Space) bool { return s.Full })
	if err := f.Room(); !errors.Is(err, store.ErrFull) {
		t.Fatalf("a full etcd: %v", err)
	}
	if _, _, _, err := f.Get(t.Context(), store.TokenPrefix+"1"); err != nil {
		t.Fatalf("a full etcd is not read: %v", err)
	}
	f.empty()
	root := srv.Root()
	if _, err := root.Defragment(t.Context(), srv.Endpoint()); err != nil {
		t.Fatal(err)
	}
	if err := f.write(); !errors.Is(err, store.ErrFull) {
		t.Fatalf("before the alarm is disarmed: %v", err)
	}
	if _, err := root.AlarmDisarm(t.Context(), &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	f.eventually("disarmed", func(store.Space) bool { return f.Room() == nil })
	if err := f.write(); err != nil {
		t.Fatal(err)
	}
}
