package auditlog

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// archivePage is how many values of the log are read at once, whose entries go to the disk with one fsync.
	archivePage = 32
	// deletePage is how many keys leave the store in one transaction.
	deletePage = 90
	// keepLeast and keepMost bound how often the archive looks for what got old.
	keepLeast = time.Second
	keepMost  = time.Minute
)

// archived is what an appliance has on its disk, at store.AuditArchived.
type archived struct {
	Format  int    `json:"format"`
	Entries uint64 `json:"entries"` // number of the newest entry in its archive
	Tree    uint64 `json:"tree"`    // leaves of the tree that it saved
}

func (l *Log) keepEvery() time.Duration {
	return min(max(l.opts.Retention/10, keepLeast), keepMost)
}

// keep moves entries that got old to the archive and says in the store how far it is. It returns why it
// stopped.
func (l *Log) keep(ctx context.Context) error {
	tick := time.NewTicker(l.keepEvery())
	defer tick.Stop()
	var told archived
	for {
		if err := l.archiveOld(ctx); err != nil {
			return err
		}
		now := archived{Format: 1, Entries: l.archive.newest()}
		if t := l.tree.Load(); t != nil && l.fault.Load() == nil {
			now.Tree = t.onDisk().Size
		}
		if now != told {
			value, err := json.Marshal(now)
			if err != nil {
				return err
			}
			tx := l.store.Tx()
			tx.Put(store.AuditArchived+l.opts.Appliance, value)
			if _, err := tx.Commit(ctx); err != nil {
				return err
			}
			told = now
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// archiveOld appends every entry that is older than the retention, and has its place in the saved tree.
func (l *Log) archiveOld(ctx context.Context) error {
	cutoff := time.Now().Add(-l.opts.Retention)
	for {
		t := l.tree.Load()
		if t == nil || l.fault.Load() != nil {
			return nil
		}
		inTree := t.onDisk().Audit
		p, err := l.store.List(ctx, store.AuditLog, store.ListOptions{After: logKey(l.archive.newest()), Limit: archivePage})
		if err != nil {
			return err
		}
		old, err := before(p.KVs, l.archive.newest(), inTree, cutoff)
		if err != nil {
			return err
		}
		if len(old) == 0 {
			return nil
		}
		if err := l.archive.append(old); err != nil {
			if errors.Is(err, errArchive) {
				l.metrics.faults.WithLabelValues("hole").Set(1)
			}
			return err
		}
		l.metrics.archived.Set(float64(l.archive.newest()))
	}
}

// before is the entries behind the newest that is archived that are older than cutoff, and in the tree.
func before(kvs []store.KV, newest, inTree uint64, cutoff time.Time) (old []*audit.Entry, err error) {
	for _, kv := range kvs {
		entries, err := parseEntries(kv)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if uint64(e.Seq) <= newest {
				continue // it was archived before its value was put together with later ones
			}
			if !e.CreatedAt.Before(cutoff) || uint64(e.Seq) > inTree {
				return old, nil
			}
			old = append(old, e)
		}
	}
	return old, nil
}

// shorten takes out of the store what every appliance has on its disk. It is the sequencer's, and returns
// only with an error.
func (l *Log) shorten(ctx context.Context, fence *store.Fence) error {
	tick := time.NewTicker(l.keepEvery())
	defer tick.Stop()
	for {
		have, err := l.everybodyHas(ctx)
		if err == nil && have.Entries > 0 {
			err = l.delete(ctx, fence, have)
		}
		if err != nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// everybodyHas is the least that an appliance of the charter has on its disk; one that never said has
// nothing.
func (l *Log) everybodyHas(ctx context.Context) (archived, error) {
	names := []string{l.opts.Appliance}
	if l.opts.Ledger.Appliances != nil {
		names = l.opts.Ledger.Appliances()
	}
	var least archived
	for i, name := range names {
		var a archived
		value, _, ok, err := l.store.Get(ctx, store.AuditArchived+name)
		if err != nil {
			return least, err
		}
		if ok {
			if err := json.Unmarshal(value, &a, json.RejectUnknownMembers(true)); err != nil || a.Format != 1 {
				return least, fmt.Errorf("auditlog: what %s has on its disk: %.200q", name, value)
			}
		}
		if i == 0 {
			least = a
		}
		least.Entries, least.Tree = min(least.Entries, a.Entries), min(least.Tree, a.Tree)
	}
	return least, nil
}

// delete takes entries and blocks out of the store, but the value with the newest block: it says where the tree is.
func (l *Log) delete(ctx context.Context, fence *store.Fence, have archived) error {
	err := l.deleteUpTo(ctx, fence, store.AuditLog, func(kv store.KV, _ bool) bool {
		seq, err := parseLogKey(kv.Key)
		return err == nil && seq <= have.Entries
	}, true)
	if err != nil {
		return err
	}
	return l.deleteUpTo(ctx, fence, store.AuditOrder, func(kv store.KV, last bool) bool {
		blocks, err := parseBlocks(kv)
		if err != nil || last {
			return false
		}
		b := blocks[len(blocks)-1]
		return b.end() <= have.Tree && b.Audit <= have.Entries
	}, false)
}

func (l *Log) deleteUpTo(ctx context.Context, fence *store.Fence, prefix string, old func(kv store.KV, last bool) bool, keysOnly bool) error {
	for {
		p, err := l.store.List(ctx, prefix, store.ListOptions{Limit: deletePage, KeysOnly: keysOnly})
		if err != nil {
			return err
		}
		tx := l.store.Tx()
		fence.Require(tx)
		n := 0
		for i, kv := range p.KVs {
			if !old(kv, !p.More && i == len(p.KVs)-1) {
				break
			}
			tx.Delete(kv.Key)
			n++
		}
		if n == 0 {
			return nil
		}
		// gofail: var archiveBeforeDelete struct{}
		if _, err := tx.Commit(ctx); err != nil {
			return err
		}
		if n < len(p.KVs) {
			return nil
		}
	}
}
