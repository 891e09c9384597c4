package registry

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// reloadPause is how long a mirror or the follower waits before it reads again
// after the store failed it.
const reloadPause = 500 * time.Millisecond

// mirror is one kind of resource in memory, in the order of its keys, kept
// right by a watch: what lists and authentication read, so that their cost does
// not grow with history and needs no round trip to the store.
//
// While the watch does not run, before the first load and after a failure, a
// mirror is not live and its readers go to the store: it never answers from a
// memory that it knows to be old.
type mirror[T any] struct {
	prefix string
	suffix string // only keys that end so; empty for all

	mu    sync.RWMutex
	live  bool
	seen  int64 // the latest revision that the watch told of
	items map[string]mirrored[T]
	keys  []string // of items, ascending: oldest first
	// late is what this process wrote while the mirror was not live: a load
	// that began before the write does not have it.
	late map[string]mirrored[T]
}

type mirrored[T any] struct {
	value *T // never changed in place; readers copy before they change
	rev   int64
}

func newMirror[T any](prefix, suffix string) *mirror[T] {
	return &mirror[T]{prefix: prefix, suffix: suffix, late: map[string]mirrored[T]{}}
}

// run loads and follows until ctx ends.
func (m *mirror[T]) run(ctx context.Context, s *store.Store, log *slog.Logger) {
	for {
		err := m.follow(ctx, s)
		m.mu.Lock()
		m.live = false
		m.mu.Unlock()
		if ctx.Err() != nil {
			return
		}
		log.Warn("registry: reading a prefix again", "prefix", m.prefix, "error", err)
		if pause(ctx, reloadPause) != nil {
			return
		}
	}
}

func (m *mirror[T]) follow(ctx context.Context, s *store.Store) error {
	var at int64
	items := map[string]mirrored[T]{}
	var keys []string
	for kv, err := range s.All(ctx, m.prefix, func(rev int64) { at = rev }) {
		if err != nil {
			return err
		}
		if !m.holds(kv.Key) {
			continue
		}
		v, err := decode[T](kv.Key, kv.Value)
		if err != nil {
			return err
		}
		items[kv.Key] = mirrored[T]{v, kv.ModRevision}
		keys = append(keys, kv.Key)
	}
	m.start(items, keys, at)
	for c := range s.Watch(ctx, m.prefix, at+1) {
		if c.Err != nil {
			return c.Err
		}
		if err := m.apply(c); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// start makes the mirror live with what was loaded at a revision, and with what
// was written here since.
func (m *mirror[T]) start(items map[string]mirrored[T], keys []string, at int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.items, m.keys, m.seen, m.live = items, keys, at, true
	for key, w := range m.late {
		if w.rev > at {
			m.set(key, w.value, w.rev)
		}
	}
	clear(m.late)
}

func (m *mirror[T]) holds(key string) bool { return strings.HasSuffix(key, m.suffix) }

func (m *mirror[T]) apply(c store.Changes) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range c.Events {
		if !m.holds(e.Key) {
			continue
		}
		if e.Deleted {
			m.remove(e.Key)
			continue
		}
		v, err := decode[T](e.Key, e.Value)
		if err != nil {
			return err
		}
		m.set(e.Key, v, e.ModRevision)
	}
	m.seen = max(m.seen, c.Revision)
	return nil
}

// wrote takes in what this process itself committed, so that whoever made a
// change reads it at once. The watch will tell of it again.
func (m *mirror[T]) wrote(key string, v *T, rev int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case !m.holds(key):
	case !m.live:
		if m.late[key].rev < rev {
			m.late[key] = mirrored[T]{v, rev}
		}
	case rev > m.seen:
		m.set(key, v, rev)
	}
}

func (m *mirror[T]) set(key string, v *T, rev int64) {
	old, known := m.items[key]
	if known && old.rev >= rev {
		return
	}
	m.items[key] = mirrored[T]{v, rev}
	if !known {
		i, _ := slices.BinarySearch(m.keys, key)
		m.keys = slices.Insert(m.keys, i, key)
	}
}

func (m *mirror[T]) remove(key string) {
	if _, known := m.items[key]; !known {
		return
	}
	delete(m.items, key)
	if i, found := slices.BinarySearch(m.keys, key); found {
		m.keys = slices.Delete(m.keys, i, i+1)
	}
}

// running tells whether memory is read, and not the store.
func (m *mirror[T]) running() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.live
}

// get is the resource at key, nil if there is none.
func (m *mirror[T]) get(ctx context.Context, s *store.Store, key string) (*T, error) {
	m.mu.RLock()
	live, item := m.live, m.items[key]
	m.mu.RUnlock()
	if live {
		return item.value, nil
	}
	v, _, err := load[T](ctx, s, key)
	return v, err
}

// known is the resource at key as memory has it, nil if it has none or is not
// live. It is not to be changed.
func (m *mirror[T]) known(key string) *T {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.live {
		return nil
	}
	return m.items[key].value
}

// knownAt is known, with the revision of the resource's key.
func (m *mirror[T]) knownAt(key string) (*T, int64) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if !m.live {
		return nil, 0
	}
	i := m.items[key]
	return i.value, i.rev
}

// newest is one page of the resources that keep admits, newest first, and how
// many it admits in all.
func (m *mirror[T]) newest(ctx context.Context, s *store.Store, keep func(*T) bool, limit, offset int) ([]*T, int, error) {
	all, err := m.ascending(ctx, s)
	if err != nil {
		return nil, 0, err
	}
	page, total := []*T{}, 0
	for _, v := range slices.Backward(all) {
		if !keep(v) {
			continue
		}
		if total >= offset && len(page) < limit {
			page = append(page, v)
		}
		total++
	}
	return page, total, nil
}

// ascending is every resource, oldest first.
func (m *mirror[T]) ascending(ctx context.Context, s *store.Store) ([]*T, error) {
	m.mu.RLock()
	if m.live {
		defer m.mu.RUnlock()
		all := make([]*T, len(m.keys))
		for i, k := range m.keys {
			all[i] = m.items[k].value
		}
		return all, nil
	}
	m.mu.RUnlock()
	var all []*T
	for kv, err := range s.All(ctx, m.prefix, nil) {
		if err != nil {
			return nil, err
		}
		if !m.holds(kv.Key) {
			continue
		}
		v, err := decode[T](kv.Key, kv.Value)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, nil
}

// pause waits for d, or returns ctx's error if it ends first.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("registry: %w", ctx.Err())
	}
}
