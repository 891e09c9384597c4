package archive

import (
	"context"
	"encoding/json/v2"
	"errors"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// mostSlack is how much longer than the retention something may stay so that its block gets company.
const mostSlack = 24 * time.Hour

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
