package operation

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"hash/maphash"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// index is what this process knows of all operations, fed by watch: a few words of each, in order, so that
// a list's cost does not grow with history, and the whole state of those that are not closed, which the
// worker, the pending limits and the approvers' lists need at every step.
//
// It may be behind the store by a moment. Nothing is written on its word alone: every write compares the
// revision that it rests on.
type index struct {
	store *store.Store
	log   *slog.Logger
	seed  maphash.Seed

	mu      sync.RWMutex
	rows    []row                       // oldest first: the ids' order
	open    map[string]entry            // not closed, by id
	wallets map[string]map[string]entry // the same, by wallet and id
	loaded  chan struct{}
	once    sync.Once
	changed chan struct{} // closed and replaced at every change of an open operation
	hooks   []func(*Operation)
}

// entry is an open operation; the operation is never changed in place.
type entry struct {
	op  *Operation
	rev int64
}

// row is an operation in a list. Texts are hashes: whoever is listed is read from the store.
type row struct {
	id        string
	token     uint64
	requester uint64
	rev       int64 // at which this was so
	kind      uint8 // place in policy.OperationTypes
	status    uint8 // place in Statuses
}

func newIndex(s *store.Store, log *slog.Logger) *index {
	return &index{store: s, log: log, seed: maphash.MakeSeed(), open: map[string]entry{}, wallets: map[string]map[string]entry{}, loaded: make(chan struct{}), changed: make(chan struct{})}
}

func (x *index) hash(s string) uint64 { return maphash.String(x.seed, s) }

func (x *index) row(s summary, rev int64) row {
	return row{
		id: s.ID, rev: rev, token: x.hash(s.TokenID), requester: x.hash(s.RequestedBy),
		kind:   uint8(slices.Index(policy.OperationTypes(), s.Type)),
		status: uint8(slices.Index(Statuses(), s.Status)),
	}
}

// put takes in a state that was committed at rev. Older news than what is known is passed over.
func (x *index) put(o *Operation, rev int64) {
	x.mu.Lock()
	if !x.list(o.summary(), rev) {
		x.mu.Unlock()
		return
	}
	if o.closed() {
		x.forget(o.ID)
	} else {
		x.open[o.ID] = entry{o, rev}
		if x.wallets[o.WalletID] == nil {
			x.wallets[o.WalletID] = map[string]entry{}
		}
		x.wallets[o.WalletID][o.ID] = entry{o, rev}
	}
	close(x.changed)
	x.changed = make(chan struct{})
	hooks := x.hooks
	x.mu.Unlock()
	for _, h := range hooks {
		h(o)
	}
}

// forget takes a closed operation out of the open ones; the caller holds the lock.
func (x *index) forget(id string) {
	if e, ok := x.open[id]; ok {
		delete(x.open, id)
		delete(x.wallets[e.op.WalletID], id)
	}
}

// list keeps the rows and reports whether this was news; the caller holds the lock. Most operations that
// are not known yet come last.
func (x *index) list(s summary, rev int64) bool {
	r := x.row(s, rev)
	n := len(x.rows)
	if n == 0 || x.rows[n-1].id < s.ID {
		x.rows = append(x.rows, r)
		return true
	}
	i, known := slices.BinarySearchFunc(x.rows, s.ID, func(r row, id string) int { return strings.Compare(r.id, id) })
	switch {
	case !known:
		x.rows = slices.Insert(x.rows, i, r)
	case x.rows[i].rev >= rev:
		return false
	default:
		x.rows[i] = r
	}
	return true
}

// onChange has h called after every change of an operation, in no particular goroutine; h must not block.
func (x *index) onChange(h func(*Operation)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.hooks = append(x.hooks, h)
}

// get is an open operation as it is known here.
func (x *index) get(id string) (entry, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	e, ok := x.open[id]
	return e, ok
}

// each calls f with the open operations, in no order, until f returns false.
func (x *index) each(f func(*Operation, int64) bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	for _, e := range x.open {
		if !f(e.op, e.rev) {
			return
		}
	}
}

// lane is the open operations of a wallet, oldest first.
func (x *index) lane(walletID string) []entry {
	x.mu.RLock()
	out := slices.Collect(maps.Values(x.wallets[walletID]))
	x.mu.RUnlock()
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.op.ID, b.op.ID) })
	return out
}

// await blocks until f holds of the operation's state as it is known here, or ctx ends.
func (x *index) await(ctx context.Context, f func() bool) error {
	for {
		x.mu.RLock()
		changed := x.changed
		x.mu.RUnlock()
		if f() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ready waits until the operations were read once.
func (x *index) ready(ctx context.Context) error {
	select {
	case <-x.loaded:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: operations are still being read: %w", store.ErrUnavailable, ctx.Err())
	}
}

// run reads and follows until ctx ends.
func (x *index) run(ctx context.Context) {
	const pause = 200 * time.Millisecond
	for {
		err := x.follow(ctx)
		if ctx.Err() != nil {
			return
		}
		x.log.Warn("operations: reading them again", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

func (x *index) follow(ctx context.Context) error {
	var from int64
	var open []string
	for kv, err := range x.store.All(ctx, store.OperationIndex, func(rev int64) { from = rev + 1 }) {
		if err != nil {
			return err
		}
		var s summary
		if err := json.Unmarshal(kv.Value, &s, json.RejectUnknownMembers(true)); err != nil {
			return fmt.Errorf("operation: %s: %w", kv.Key, err)
		}
		if !s.Closed {
			open = append(open, s.ID)
			continue
		}
		x.mu.Lock()
		if x.list(s, kv.ModRevision) {
			x.forget(s.ID)
		}
		x.mu.Unlock()
	}
	slices.Sort(open)
	for chunk := range slices.Chunk(open, store.MaxTxOps) {
		keys := make([]string, len(chunk))
		for i, id := range chunk {
			keys[i] = store.OpState(id)
		}
		kvs, _, err := x.store.GetMany(ctx, keys...)
		if err != nil {
			return err
		}
		for _, kv := range kvs {
			if kv.ModRevision == 0 {
				continue // moved to the archive since
			}
			if err := x.take(kv); err != nil {
				return err
			}
		}
	}
	x.once.Do(func() { close(x.loaded) })
	for c := range x.store.Watch(ctx, store.OperationPrefix, from) {
		for _, e := range c.Events {
			if !e.Deleted && strings.HasSuffix(e.Key, "/state") {
				if err := x.take(e.KV); err != nil {
					return err
				}
			}
		}
		if c.Err != nil {
			return c.Err
		}
	}
	return ctx.Err()
}

func (x *index) take(kv store.KV) error {
	o, err := decode(kv.Value)
	if err != nil {
		return fmt.Errorf("%s: %w", kv.Key, err)
	}
	x.put(o, kv.ModRevision)
	return nil
}
