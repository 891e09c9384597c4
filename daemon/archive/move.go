package archive

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/disk"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// leastTick and mostTick bound how often one looks for what got old.
	leastTick = 100 * time.Millisecond
	mostTick  = time.Minute
	// mostSlack is how much longer than the retention something may stay so that its block gets company.
	mostSlack = 24 * time.Hour
	// removers is how many things are removed at once: their transactions share etcd's.
	removers = 16
	root     = "/mw/archive/"
)

// progress is how far an appliance, or the removal, is.
type progress struct {
	Format int    `json:"format"`
	Blocks uint64 `json:"blocks"` // number of the newest block
	Head   string `json:"head"`   // its digest
}

// Keys, below root and the archive's name:
//
//	block/<20-digit number>  a block; they go once the next one is ordered, and everybody has them
//	have/<appliance>         what an appliance has on its disk
//	done                     what is removed from the store
func (a *Archive) prefix() string           { return root + a.o.Name + "/" }
func (a *Archive) blocks() string           { return a.prefix() + "block/" }
func (a *Archive) blockKey(n uint64) string { return fmt.Sprintf("%s%020d", a.blocks(), n) }
func (a *Archive) haveKey(who string) string {
	return a.prefix() + "have/" + who
}
func (a *Archive) doneKey() string { return a.prefix() + "done" }

func (a *Archive) tick() time.Duration {
	if a.o.Retention <= 0 {
		return mostTick
	}
	return min(max(a.o.Retention/10, leastTick), mostTick)
}

// Run holds the disk to the store, takes over what is ordered and, with a retention, wherever this process is the
// one that may, orders and removes, until ctx ends. It survives every failure of the store.
func (a *Archive) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.again(ctx, "collector", a.follow) })
	if a.o.Retention > 0 {
		g.Go(func() error { return a.again(ctx, "archivist", a.archive) })
	}
	return g.Wait()
}

// again runs f until ctx ends, with a pause after each failure.
func (a *Archive) again(ctx context.Context, what string, f func(context.Context) error) error {
	const least, most = 100 * time.Millisecond, 10 * time.Second
	pause := least
	for {
		began := time.Now()
		err := f(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrDamaged) || errors.Is(err, ErrIncomplete) {
			a.broke(err)
			return nil // a person is needed, and then a start
		}
		if time.Since(began) > most {
			pause = least
		}
		a.log.Warn("archive: starting again", "part", what, "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = min(2*pause, most)
	}
}

// each calls f now, whenever something changes in the archive's keys, and at each tick.
func (a *Archive) each(ctx context.Context, f func() error) error {
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	changes := a.store.Watch(wctx, a.prefix(), 0)
	tick := time.NewTicker(a.tick())
	defer tick.Stop()
	for {
		if err := f(); err != nil {
			return err
		}
		select {
		case c, open := <-changes:
			if !open {
				return errors.Join(store.ErrUnavailable, ctx.Err())
			}
			if c.Err != nil {
				return c.Err
			}
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// follow takes over blocks as they are ordered.
func (a *Archive) follow(ctx context.Context) error {
	if err := a.Check(ctx); err != nil {
		return err
	}
	return a.each(ctx, func() error { return a.Collect(ctx) })
}

// Check holds the disk to what this appliance said to have, to the order in the store, and to its things: what a
// file says to have stayed there is there. Nothing is answered before. Errors are ErrIncomplete, ErrDamaged, or the
// store's.
func (a *Archive) Check(ctx context.Context) error {
	err := a.check(ctx)
	if err == nil {
		a.mu.Lock()
		if errors.Is(a.fault, errUnchecked) {
			a.fault = nil
		}
		a.mu.Unlock()
		a.held.Do(func() { close(a.checked) })
	}
	return err
}

func (a *Archive) check(ctx context.Context) error {
	told, err := a.progress(ctx, a.haveKey(a.o.Appliance))
	if err != nil {
		return err
	}
	n, raw, err := a.ordered(ctx)
	if err != nil {
		return err
	}
	switch have := a.newest(); {
	case told.Blocks > have:
		return fmt.Errorf("%w: %s has %d blocks, and had %d: copy it from a backup or from another appliance", ErrIncomplete, a.o.Dir, have, told.Blocks)
	case have > n:
		return fmt.Errorf("%w: %s has %d blocks, the store's order ends at %d (a restored or wrong store)", ErrDamaged, a.o.Dir, have, n)
	case have == n && n > 0 && digestOf(raw) != a.head():
		return fmt.Errorf("%w: block %d in %s is not the store's", ErrDamaged, n, a.o.Dir)
	}
	// No block that this appliance has not can have taken them out of the store.
	a.mu.RLock()
	absent := maps.Clone(a.absent)
	a.mu.RUnlock()
	for id, n := range absent {
		switch _, err := a.o.Source.Read(ctx, id); {
		case errors.Is(err, ErrGone):
			return fmt.Errorf("%w: %s says that %s stayed in the store, and it is not there", ErrDamaged, fileName(n), id)
		case err != nil && !readable(ctx, err):
			return err
		}
	}
	return nil
}

// Began reports whether anything of what an archive is named after has left the store: it is to be opened then.
func Began(ctx context.Context, s *store.Store, name string) (bool, error) {
	_, _, ok, err := s.Get(ctx, root+name+"/done")
	return ok, err
}

func (a *Archive) progress(ctx context.Context, key string) (p progress, err error) {
	value, _, ok, err := a.store.Get(ctx, key)
	if err != nil || !ok {
		return p, err
	}
	if err := json.Unmarshal(value, &p, json.RejectUnknownMembers(true)); err != nil || p.Format != format {
		return p, fmt.Errorf("archive: %s: %.200q", key, value)
	}
	return p, nil
}

// ordered is the newest block in the store; its number is 0 where there is none.
func (a *Archive) ordered(ctx context.Context) (n uint64, raw []byte, err error) {
	p, err := a.store.List(ctx, a.blocks(), store.ListOptions{Descending: true, Limit: 1})
	if err != nil || len(p.KVs) == 0 {
		return 0, nil, err
	}
	n, err = strconv.ParseUint(strings.TrimPrefix(p.KVs[0].Key, a.blocks()), 10, 64)
	if err != nil {
		return 0, nil, fmt.Errorf("archive: %s: %w", p.KVs[0].Key, err)
	}
	return n, p.KVs[0].Value, nil
}

// Collect brings blocks that are ordered and not on the disk there, and says so in the store.
func (a *Archive) Collect(ctx context.Context) error {
	if errors.Is(a.Whole(), errUnchecked) {
		if err := a.Check(ctx); err != nil {
			return err
		}
	}
	for {
		if err := a.tell(ctx); err != nil {
			return err
		}
		n := a.newest() + 1
		raw, _, ok, err := a.store.Get(ctx, a.blockKey(n))
		if err != nil {
			return err
		}
		if !ok {
			last, _, err := a.ordered(ctx)
			if err == nil && last >= n {
				raw, _, ok, err = a.store.Get(ctx, a.blockKey(n)) // it may have been ordered just now
			}
			if err == nil && last >= n && !ok {
				err = fmt.Errorf("%w: the store's order is at block %d and has no block %d any more; copy %s from another appliance", ErrIncomplete, last, n, a.o.Dir)
			}
			if err != nil || !ok {
				return err
			}
		}
		if err := a.collect(ctx, n, raw); err != nil {
			return err
		}
	}
}

// tell says in the store what is on the disk, once.
func (a *Archive) tell(ctx context.Context) error {
	now := progress{format, a.newest(), a.head()}
	if now.Blocks == a.told.Load() {
		return nil
	}
	value, err := json.Marshal(now)
	if err != nil {
		return err
	}
	t := a.store.Tx()
	t.Put(a.haveKey(a.o.Appliance), value)
	// gofail: var archiveBeforeTelling struct{}
	if _, err := t.Commit(ctx); err != nil {
		return err
	}
	a.told.Store(now.Blocks)
	return nil
}

// collect writes one block to the disk.
func (a *Archive) collect(ctx context.Context, n uint64, raw []byte) error {
	b, err := parseBlock(raw)
	if err != nil {
		return err
	}
	if b.Number != n || b.Previous != a.head() {
		return fmt.Errorf("%w: the store's block %d does not follow the newest in %s", ErrDamaged, n, a.o.Dir)
	}
	f := &file{block: b, digest: digestOf(raw), absent: map[string]bool{}}
	var absent []string
	var lines [][]byte
	for _, h := range b.Items {
		item, err := a.o.Source.Read(ctx, h.ID)
		if errors.Is(err, ErrGone) {
			return fmt.Errorf("%w: %s of block %d left the store before this appliance had it; copy %s from another one", ErrIncomplete, h.ID, n, a.o.Dir)
		}
		if err != nil && !readable(ctx, err) {
			return err
		}
		var l []byte
		if err == nil && item != nil {
			if l, err = item.encode(); err != nil {
				return err
			}
		}
		if err != nil || item == nil || digestOf(l) != h.Digest {
			// It changed since, and stays in the store: a later block has it.
			absent, f.absent[h.ID] = append(absent, h.ID), true
			continue
		}
		lines = append(lines, l)
	}
	content, err := encodeFile(raw, absent, lines)
	if err != nil {
		return err
	}
	// gofail: var archiveBeforeWrite struct{}
	if err := disk.Write(a.o.Dir, map[string][]byte{fileName(n): content}); err != nil {
		return err
	}
	return a.take(f)
}

// archive orders and removes while this process holds the fence.
func (a *Archive) archive(ctx context.Context) error {
	return a.store.While(ctx, "archivist/"+a.o.Name, func(ctx context.Context, fence *store.Fence) error {
		return a.each(ctx, func() error {
			if err := a.Remove(ctx, fence); err != nil {
				return err
			}
			return a.Order(ctx, fence)
		})
	})
}

// Order writes the next block into the store, if enough got old, or something long ago, and nothing of an earlier
// block is still to be removed. The caller holds the fence.
func (a *Archive) Order(ctx context.Context, fence *store.Fence) error {
	n, raw, err := a.ordered(ctx)
	if err != nil {
		return err
	}
	done, err := a.progress(ctx, a.doneKey())
	if err != nil || done.Blocks < n {
		return err
	}
	b := block{Format: format, Number: n + 1, Previous: genesis, At: a.o.Now().UTC().Truncate(time.Millisecond)}
	if n > 0 {
		b.Previous = digestOf(raw)
	}
	before := a.o.Now().Add(-a.o.Retention)
	due, err := a.o.Source.Due(ctx, before, BlockItems+a.heldUp())
	if err != nil {
		return err
	}
	due = slices.DeleteFunc(due, func(d Due) bool { return a.isPassed(d.ID) })
	due = due[:min(len(due), BlockItems)]
	if len(due) == 0 {
		return nil
	}
	slack := min(a.o.Retention/10, mostSlack)
	if len(due) < BlockItems && due[0].Over.After(before.Add(-slack)) {
		return nil // others will be old soon
	}
	for _, d := range due {
		item, err := a.o.Source.Read(ctx, d.ID)
		if err != nil && !readable(ctx, err) {
			return err
		}
		if errors.Is(err, ErrGone) || err == nil && item == nil {
			continue
		}
		var l []byte
		if err == nil {
			l, err = item.fitting()
		}
		if err != nil {
			a.pass(d.ID, err) // it holds up nobody else
			continue
		}
		b.Items = append(b.Items, heading{ID: item.ID, Digest: digestOf(l), Revision: item.Revision, Summary: item.Summary, Names: item.Names})
	}
	if len(b.Items) == 0 {
		return nil
	}
	if raw, err = json.Marshal(b); err != nil {
		return err
	}
	if _, err := parseBlock(raw); err != nil {
		return err
	}
	t := a.store.Tx()
	fence.Require(t)
	t.PutIfAbsent(a.blockKey(b.Number), raw)
	t.Audit(audit.Draft{ActorID: "archive", ActorType: audit.System, Action: "archive.block_ordered", ResourceType: "archive", ResourceID: a.o.Name,
		Metadata: map[string]any{"block": b.Number, "digest": digestOf(raw), "items": len(b.Items)}})
	// gofail: var archiveBeforeOrder struct{}
	_, err = t.Commit(ctx)
	return err
}

// Remove takes what every appliance has out of the store. The caller holds the fence.
func (a *Archive) Remove(ctx context.Context, fence *store.Fence) error {
	n, raw, err := a.ordered(ctx)
	if err != nil || n == 0 {
		return err
	}
	done, err := a.progress(ctx, a.doneKey())
	if err != nil || done.Blocks >= n {
		return err
	}
	names := a.appliances()
	if len(names) == 0 {
		return nil // the charter is not read yet
	}
	for _, name := range names {
		if have, err := a.progress(ctx, a.haveKey(name)); err != nil || have.Blocks < n {
			return err
		}
	}
	b, err := parseBlock(raw)
	if err != nil {
		return err
	}
	g, rctx := errgroup.WithContext(ctx)
	g.SetLimit(removers)
	for _, h := range b.Items {
		g.Go(func() error { return a.remove(rctx, fence, h) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	value, err := json.Marshal(progress{format, n, digestOf(raw)})
	if err != nil {
		return err
	}
	t := a.store.Tx()
	fence.Require(t)
	t.Put(a.doneKey(), value)
	if n > 1 {
		t.Delete(a.blockKey(n - 1)) // the newest one says where the order is
	}
	_, err = t.Commit(ctx)
	return err
}

// readable reports whether the store answered, so that an error is of the thing alone.
func readable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable)
}

// pass notes that a thing stays in the store, as it cannot be archived.
func (a *Archive) pass(id string, why error) {
	a.mu.Lock()
	a.passed[id] = true
	a.mu.Unlock()
	a.faults.Set(1)
	a.log.Error("a thing stays in the store: it cannot be archived", "id", id, "error", why)
}

func (a *Archive) isPassed(id string) bool {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.passed[id]
}

// heldUp is how many things are passed over.
func (a *Archive) heldUp() int {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return len(a.passed)
}

func (a *Archive) appliances() []string {
	if a.o.Appliances == nil {
		return []string{a.o.Appliance}
	}
	return a.o.Appliances()
}

// remove takes one thing out of the store, unless it changed since its block was ordered.
func (a *Archive) remove(ctx context.Context, fence *store.Fence, h heading) error {
	item, err := a.o.Source.Read(ctx, h.ID)
	if errors.Is(err, ErrGone) {
		return nil
	}
	if err != nil {
		if !readable(ctx, err) {
			return err
		}
		a.pass(h.ID, err)
		return nil
	}
	if item == nil || item.Revision != h.Revision {
		return nil
	}
	if l, err := item.encode(); err != nil || digestOf(l) != h.Digest {
		return err // something was written beside the guard: no disk has it
	}
	t := a.store.Tx()
	fence.Require(t)
	for _, kv := range item.Keys {
		t.DeleteIf(kv.Key, kv.ModRevision)
	}
	for _, k := range item.Derived {
		t.Delete(k)
	}
	// gofail: var archiveBeforeRemove struct{}
	_, err = t.Commit(ctx)
	var conflict *store.ConflictError
	if errors.As(err, &conflict) && conflict.Key != fence.Key() {
		return nil // it changed just now
	}
	return err
}
