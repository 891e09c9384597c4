package archive

import (
	"context"
	"encoding/json/v2"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// removers is how many things are removed at once: their transactions share etcd's.
const removers = 16

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
func (a *Archive) appliances() []string {
	if a.o.Appliances == nil {
		return []string{a.o.Appliance}
	}
	return a.o.Appliances()
}
