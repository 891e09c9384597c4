package store

import (
	"context"
	"errors"
	"sync"
)

const (
	// looksAtOnce is how many reads of single keys are under way at etcd before further ones wait for company.
	looksAtOnce = 2
	// lookKeys bounds how many keys share a read: values have at most 1.5 MiB, an answer of etcd's 64.
	lookKeys = 32
)

// looks reads single keys for many goroutines. While etcd is busy with earlier reads, keys that are asked for are put
// together into one: each caller is told what was read after he asked, as if he had asked alone. Where nobody else
// reads, a key is read at once and alone.
//
// A read costs etcd much the same for one key as for thirty: who asks, and whether it still leads.
type looks struct {
	s *Store

	mu      sync.Mutex
	running int
	waiting []*look // not read yet; none is empty, and all but the last are full
}

// look is a read of the keys of all who wait for it.
type look struct {
	ctx  context.Context // of the first of them
	keys []string
	done chan struct{} // closed when the rest is set
	kvs  []KV
	errs []error
}

// get reads a key, alone or in company.
func (l *looks) get(ctx context.Context, key string) (KV, error) {
	l.mu.Lock()
	if l.running < looksAtOnce {
		l.running++
		l.mu.Unlock()
		defer l.leave()
		return l.s.get(ctx, key)
	}
	k, at := l.join(ctx, key)
	l.mu.Unlock()
	patience, cancel := context.WithTimeout(ctx, l.s.cfg.RequestTimeout)
	defer cancel()
	select {
	case <-k.done:
		return k.kvs[at], k.errs[at]
	case <-patience.Done():
		return KV{}, wrap(ctx, "get "+key, patience.Err())
	}
}

// join has key read with those that wait, or first of those; the caller holds the lock.
func (l *looks) join(ctx context.Context, key string) (k *look, at int) {
	if n := len(l.waiting); n > 0 && len(l.waiting[n-1].keys) < lookKeys {
		k = l.waiting[n-1]
	} else {
		k = &look{ctx: ctx, done: make(chan struct{})}
		l.waiting = append(l.waiting, k)
	}
	k.keys = append(k.keys, key)
	return k, len(k.keys) - 1
}

// leave ends a read of one's own: those that wait are next.
func (l *looks) leave() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.running--
		return
	}
	go l.run()
}

// run reads until nobody waits.
func (l *looks) run() {
	for {
		l.mu.Lock()
		if len(l.waiting) == 0 {
			l.running--
			l.mu.Unlock()
			return
		}
		k := l.waiting[0]
		l.waiting = l.waiting[1:]
		l.mu.Unlock()
		l.read(k)
	}
}

// read reads all keys at once and, if etcd refuses that, each by itself.
func (l *looks) read(k *look) {
	defer close(k.done)
	ctx := context.WithoutCancel(k.ctx) // one that gave up does not take the others with it
	k.errs = make([]error, len(k.keys))
	var err error
	if len(k.keys) > 1 {
		if k.kvs, _, err = l.s.GetMany(ctx, k.keys...); err == nil {
			return
		}
	}
	k.kvs = make([]KV, len(k.keys))
	for i, key := range k.keys {
		if errors.Is(err, ErrUnavailable) {
			k.errs[i] = err
			continue
		}
		k.kvs[i], k.errs[i] = l.s.get(ctx, key)
	}
}
