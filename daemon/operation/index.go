package operation

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
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
	// mined is told of an operation that a block holds, before it counts as such here; nil: nobody is.
	mined func(*Operation)

	mu      sync.RWMutex
	rows    *rows
	open    map[string]entry            // not closed, by id
	wallets map[string]map[string]entry // the same, by wallet and id
	on      map[string]map[string]bool  // ids of those whose signed bytes are not final, by wallet
	judged  map[string]standing         // of those asked for here that wait for approvals: by what they were judged then
	tally   *tally
	recent  *recent
	loaded  chan struct{}
	once    sync.Once
	changed chan struct{} // closed and replaced when signed bytes are on their way on one more network
	hooks   []func(*Operation)
}

// entry is an open operation; the operation is never changed in place.
type entry struct {
	op  *Operation
	rev int64
}

func newIndex(s *store.Store, log *slog.Logger) *index {
	return &index{store: s, log: log, rows: newRows(), open: map[string]entry{}, wallets: map[string]map[string]entry{},
		on: map[string]map[string]bool{}, judged: map[string]standing{}, tally: newTally(), recent: newRecent(), loaded: make(chan struct{}), changed: make(chan struct{})}
}

// put takes in a state that was committed at rev. Older news than what is known is passed over.
func (x *index) put(o *Operation, rev int64) {
	if x.mined != nil && o.BlockNumber != 0 {
		x.mined(o)
	}
	x.mu.Lock()
	if !x.rows.put(o.summary(), rev) {
		x.mu.Unlock()
		return
	}
	x.forget(o.ID)
	if o.Status != PendingAuthorization {
		delete(x.judged, o.ID)
	}
	x.recent.put(o, rev)
	if !o.closed() {
		x.keep(o, rev)
	}
	hooks := x.hooks
	x.mu.Unlock()
	for _, h := range hooks {
		h(o)
	}
}

// keep puts an operation among the open ones; the caller holds the lock.
func (x *index) keep(o *Operation, rev int64) {
	x.open[o.ID] = entry{o, rev}
	if x.wallets[o.WalletID] == nil {
		x.wallets[o.WalletID] = map[string]entry{}
	}
	x.wallets[o.WalletID][o.ID] = entry{o, rev}
	if o.Status.released() {
		if x.on[o.WalletID] == nil {
			x.on[o.WalletID] = map[string]bool{}
		}
		x.on[o.WalletID][o.ID] = true
		if x.tally.released[o.Network] == 0 {
			close(x.changed)
			x.changed = make(chan struct{})
		}
	}
	x.tally.add(o)
}

// forget takes an operation out of the open ones; the caller holds the lock.
func (x *index) forget(id string) {
	e, ok := x.open[id]
	if !ok {
		return
	}
	x.tally.remove(e.op)
	delete(x.open, id)
	if delete(x.wallets[e.op.WalletID], id); len(x.wallets[e.op.WalletID]) == 0 {
		delete(x.wallets, e.op.WalletID)
	}
	if delete(x.on[e.op.WalletID], id); len(x.on[e.op.WalletID]) == 0 {
		delete(x.on, e.op.WalletID)
	}
}

// judge notes by what an operation that is about to be written was judged, and that it waits for approvals then, so that
// its lane need not judge it once more. Noted before the write, for the news of it may come before the write's answer;
// unjudge takes it back where nothing was written.
func (x *index) judge(id string, by standing) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.judged[id] = by
}

func (x *index) unjudge(id string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.judged, id)
}

// wasJudged reports whether an operation was judged by that when it was asked for here.
func (x *index) wasJudged(id string, by standing) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	noted, ok := x.judged[id]
	return ok && noted == by
}

// knows reports whether what was committed at rev is known of an operation, or newer.
func (x *index) knows(id string, rev int64) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	r, known := x.rows.find(id)
	return known && r.rev >= rev
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

// lanes are the wallets that have open operations, in no order.
func (x *index) lanes() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Collect(maps.Keys(x.wallets))
}

// lane is the ids of a wallet's open operations, in no order.
func (x *index) lane(walletID string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Collect(maps.Keys(x.wallets[walletID]))
}

// idle reports whether a wallet has no open operation.
func (x *index) idle(walletID string) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return len(x.wallets[walletID]) == 0
}

// onTheirWay is the ids of a wallet's operations whose signed bytes are not final, in no order.
func (x *index) onTheirWay(walletID string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Collect(maps.Keys(x.on[walletID]))
}

// ask calls f with what is counted of the open operations; f keeps nothing of it.
func (x *index) ask(f func(*tally)) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	f(x.tally)
}

// await blocks until f holds, which may become true when signed bytes are on their way, or ctx ends.
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
		x.over(s, kv.ModRevision)
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
	// What this process wrote it took in when it wrote it.
	news := func(key string, rev int64) bool {
		id, state := strings.CutSuffix(strings.TrimPrefix(key, store.OperationPrefix), "/state")
		return state && !x.knows(id, rev)
	}
	for c := range x.store.WatchOnly(ctx, store.OperationPrefix, from, news) {
		for _, e := range c.Events {
			if !e.Deleted {
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

// over takes in that an operation ended, of which nothing is read but its row: what was known of it before, when it was
// open, is not shown any more.
func (x *index) over(s summary, rev int64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if !x.rows.put(s, rev) {
		return
	}
	x.forget(s.ID)
	delete(x.judged, s.ID)
	x.recent.drop(s.ID)
}

func (x *index) take(kv store.KV) error {
	o, err := decode(kv.Value)
	if err != nil {
		return fmt.Errorf("%s: %w", kv.Key, err)
	}
	x.put(o, kv.ModRevision)
	return nil
}
