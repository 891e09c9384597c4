package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Check holds the disk to what this appliance said to have, to the order in the store, and to its things: what a
// file says to have stayed there is there. Nothing is answered before. Errors are ErrIncomplete, ErrDamaged, or the
// store's.
func (a *Archive) Check(ctx context.Context) error {
	if fault := a.Whole(); fault != nil && !errors.Is(fault, errUnchecked) {
		return fault
	}
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
	case told.Blocks > 0 && a.digestAt(told.Blocks) != told.Head:
		return fmt.Errorf("%w: block %d in %s is not the one that this appliance said to have", ErrDamaged, told.Blocks, a.o.Dir)
	case have == n && n > 0 && digestOf(raw) != a.head():
		return fmt.Errorf("%w: block %d in %s is not the store's", ErrDamaged, n, a.o.Dir)
	case have > 0 && have+1 == n:
		next, err := parseBlock(raw)
		if err != nil {
			return err
		}
		if next.Previous != a.head() {
			return fmt.Errorf("%w: the store's block %d does not follow the newest in %s", ErrDamaged, n, a.o.Dir)
		}
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

// readable reports whether the store answered, so that an error is of the thing alone.
func readable(ctx context.Context, err error) bool {
	return ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable)
}
