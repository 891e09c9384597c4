package store

import (
	"context"
	"errors"
	"slices"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// groupsAtOnce is how many transactions are under way at etcd before further ones wait for company: one
	// that is written while the next one gathers.
	groupsAtOnce = 2
	// groupTxs bounds how many changes share a transaction, so that one whose comparison fails, which has all
	// of them tried again alone, costs little.
	groupTxs = 16
)

// group commits the changes of many goroutines. While etcd is busy with earlier ones, changes that wait are
// put together into one transaction: each is still written whole or not at all, and what they compare is
// compared in that one. If any comparison fails, nothing of the group was written, and each change of it is
// tried alone, which tells its own error. Where nobody else writes, a change is committed at once and alone.
//
// A transaction costs etcd much the same whether it writes three keys or thirty: a proposal, an entry of its
// log, a revision, a message to every watch.
type group struct {
	s *Store

	mu      sync.Mutex
	running int
	waiting []*waiter
}

// waiter is a change on its way.
type waiter struct {
	tx   *Tx
	ctx  context.Context
	done chan struct{} // closed when rev and err are set
	rev  int64
	err  error
}

// commit writes t, alone or in company.
func (g *group) commit(ctx context.Context, t *Tx) (int64, error) {
	w := &waiter{tx: t, ctx: ctx, done: make(chan struct{})}
	g.mu.Lock()
	g.waiting = append(g.waiting, w)
	lead := g.running < groupsAtOnce
	if lead {
		g.running++
	}
	g.mu.Unlock()
	if lead {
		go g.run()
	}
	patience, cancel := context.WithTimeout(ctx, g.s.cfg.RequestTimeout)
	defer cancel()
	select {
	case <-w.done:
		return w.rev, w.err
	case <-patience.Done():
		g.leave(w)
		return 0, wrap(ctx, "commit", patience.Err())
	}
}

// leave takes a change that is not under way out of the queue.
func (g *group) leave(w *waiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.waiting = slices.DeleteFunc(g.waiting, func(other *waiter) bool { return other == w })
}

// run commits groups until nobody waits.
func (g *group) run() {
	for {
		g.mu.Lock()
		members := g.take()
		if len(members) == 0 {
			g.running--
			g.mu.Unlock()
			return
		}
		g.mu.Unlock()
		g.write(members)
	}
}

// take is the next group: from the first that waits on, those that fit beside it. The caller holds the lock.
func (g *group) take() []*waiter {
	var members, rest []*waiter
	ops, cmps, bytes := 0, 0, 0
	written, compared := map[string]bool{}, map[string]int64{}
	for i, w := range g.waiting {
		if len(members) == groupTxs {
			rest = append(rest, g.waiting[i:]...)
			break
		}
		t := w.tx
		ops, cmps, bytes = ops+len(t.ops), cmps+len(t.cmps), bytes+t.bytes
		if len(members) > 0 && (ops > MaxTxOps || cmps > MaxTxOps || bytes > MaxTxBytes || !t.beside(written, compared)) {
			ops, cmps, bytes = ops-len(t.ops), cmps-len(t.cmps), bytes-t.bytes
			rest = append(rest, w)
			continue
		}
		for k := range t.written {
			written[k] = true
		}
		for n, k := range t.cmpKeys {
			compared[k] = t.cmpRevs[n]
		}
		members = append(members, w)
	}
	g.waiting = rest
	return members
}

// beside reports whether t can stand in one transaction with changes that write and compare these keys: a
// change sees what another one writes as if it came before or after, never half, so that neither may write
// what the other writes or compares, and they agree in what they compare.
func (t *Tx) beside(written map[string]bool, compared map[string]int64) bool {
	for k := range t.written {
		if _, touched := compared[k]; touched || written[k] {
			return false
		}
	}
	for n, k := range t.cmpKeys {
		if rev, both := compared[k]; written[k] || (both && rev != t.cmpRevs[n]) {
			return false
		}
	}
	return true
}

// write commits a group: together, and if etcd refuses that, each by itself.
func (g *group) write(members []*waiter) {
	if len(members) > 1 {
		n, m := 0, 0
		for _, w := range members {
			n, m = n+len(w.tx.cmps), m+len(w.tx.ops)
		}
		cmps, ops := make([]clientv3.Cmp, 0, n), make([]clientv3.Op, 0, m)
		for _, w := range members {
			cmps, ops = append(cmps, w.tx.cmps...), append(ops, w.tx.ops...)
		}
		// One that gave up does not take the others with it; the request timeout bounds all.
		r, err := g.s.txn(context.WithoutCancel(members[0].ctx), cmps, ops, nil)
		if unavailable(err) || (err == nil && r.Succeeded) {
			for _, w := range members {
				w.end(r, err)
			}
			return
		}
	}
	var alone sync.WaitGroup
	for _, w := range members {
		alone.Go(func() {
			look := make([]clientv3.Op, 0, len(w.tx.cmpKeys))
			for _, k := range w.tx.cmpKeys {
				look = append(look, clientv3.OpGet(k, clientv3.WithKeysOnly()))
			}
			r, err := g.s.txn(w.ctx, w.tx.cmps, w.tx.ops, look)
			w.end(r, err)
		})
	}
	alone.Wait()
}

// end answers the change's caller.
func (w *waiter) end(r *clientv3.TxnResponse, err error) {
	defer close(w.done)
	switch {
	case err != nil:
		w.err = wrap(w.ctx, "commit", err)
	case !r.Succeeded:
		w.err = w.tx.lost(r)
	default:
		w.rev = r.Header.Revision
	}
}

// txn asks etcd for one transaction.
func (s *Store) txn(ctx context.Context, cmps []clientv3.Cmp, ops, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	done := s.metrics.start("txn")
	r, err := s.client.Txn(ctx).If(cmps...).Then(ops...).Else(otherwise...).Commit()
	done(err)
	if err == nil && r == nil {
		return nil, errors.New("store: etcd answered a transaction with nothing")
	}
	return r, err
}
