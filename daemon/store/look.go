package store

import (
	"context"
	"sync"
)

// looksAtOnce is how many reads are under way at etcd before further ones wait for company.
const looksAtOnce = 2

// looks reads single keys for many goroutines. While etcd is busy with earlier reads, keys that are asked for are put
// together into one: each caller is told what was read after he asked, as if he had asked alone. Where nobody else
// reads, a key is read at once and alone.
//
// A read costs etcd much the same for one key as for thirty: who may read, and whether it still leads.
type looks struct {
	s *Store

	mu      sync.Mutex
	running int
	next    *look // not read yet; nil: nobody waits
}

// look is a read of the keys of all who wait for it.
type look struct {
	ctx  context.Context // of the first of them
	keys []string
	done chan struct{} // closed when kvs and err are set
	kvs  []KV
	err  error
}

// get is Store.Get, in company.
func (l *looks) get(ctx context.Context, key string) (value []byte, modRev int64, ok bool, err error) {
	l.mu.Lock()
	if l.next == nil {
		l.next = &look{ctx: ctx, done: make(chan struct{})}
	}
	k := l.next
	if len(k.keys) == MaxTxOps {
		l.mu.Unlock()
		return l.s.Get(ctx, key)
	}
	at := len(k.keys)
	k.keys = append(k.keys, key)
	if l.running < looksAtOnce {
		l.running++
		go l.run()
	}
	l.mu.Unlock()
	patience, cancel := context.WithTimeout(ctx, l.s.cfg.RequestTimeout)
	defer cancel()
	select {
	case <-k.done:
	case <-patience.Done():
		return nil, 0, false, wrap(ctx, "get "+key, patience.Err())
	}
	if k.err != nil {
		return nil, 0, false, k.err
	}
	kv := k.kvs[at]
	return kv.Value, kv.ModRevision, kv.ModRevision != 0, nil
}

// run reads until nobody waits.
func (l *looks) run() {
	for {
		l.mu.Lock()
		k := l.next
		l.next = nil
		if k == nil {
			l.running--
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		l.read(k)
	}
}

func (l *looks) read(k *look) {
	defer close(k.done)
	ctx := context.WithoutCancel(k.ctx) // one that gave up does not take the others with it
	if len(k.keys) > 1 {
		k.kvs, _, k.err = l.s.GetMany(ctx, k.keys...)
		return
	}
	v, rev, _, err := l.s.Get(ctx, k.keys[0])
	k.kvs, k.err = []KV{{Key: k.keys[0], Value: v, ModRevision: rev}}, err
}
