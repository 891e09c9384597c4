package archive

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/disk"
)

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
		var l []byte
		if err == nil && item != nil {
			l, err = item.encode()
		}
		if err != nil {
			if readable(ctx, err) {
				// A newer version wrote it, say. Nobody lets go of what this appliance has not.
				a.faults.Set(1)
				err = fmt.Errorf("archive: %s of block %d cannot be read here: %w", h.ID, n, err)
			}
			return err
		}
		if item == nil || digestOf(l) != h.Digest {
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
	if err := a.take(f); err != nil {
		return err
	}
	if a.Whole() == nil && a.heldUp() == 0 {
		a.faults.Set(0)
	}
	return nil
}
