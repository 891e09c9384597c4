package archive

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// leastTick and mostTick bound how often one looks for what got old.
	leastTick = 100 * time.Millisecond
	mostTick  = time.Minute
)

func (a *Archive) tick() time.Duration {
	if a.o.Retention <= 0 {
		return mostTick
	}
	return min(max(a.o.Retention/10, leastTick), mostTick)
}

// Run holds the disk to the store, takes over what is ordered and, with a retention, wherever this process is the
// one that may, orders and removes, until ctx ends. It survives every failure of the store; where the disk is not
// whole it notes so, and waits for ctx: a person is needed, and then a start.
func (a *Archive) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return a.again(ctx, "collector", a.follow) })
	if a.o.Retention > 0 {
		g.Go(func() error { return a.again(ctx, "archivist", a.archive) })
	}
	return g.Wait()
}

// again runs f until ctx ends.
func (a *Archive) again(ctx context.Context, part string, f func(context.Context) error) error {
	store.Again(ctx, a.log, "archive's "+part, func(ctx context.Context) error {
		err := f(ctx)
		if errors.Is(err, ErrDamaged) || errors.Is(err, ErrIncomplete) {
			a.broke(err)
			<-ctx.Done()
			return nil
		}
		return err
	})
	return nil
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

// archive orders and removes while this process holds the fence, and its own disk is whole: what it said to have may
// not be there any more.
func (a *Archive) archive(ctx context.Context) error {
	if err := a.Ready(ctx); err != nil {
		return err
	}
	return a.store.While(ctx, "archivist/"+a.o.Name, func(ctx context.Context, fence *store.Fence) error {
		return a.each(ctx, func() error {
			if err := a.Whole(); err != nil {
				return err
			}
			if err := a.Remove(ctx, fence); err != nil {
				return err
			}
			return a.Order(ctx, fence)
		})
	})
}
