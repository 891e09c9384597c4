package auditlog

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// index is what a list needs to know of every entry, in memory, so that a request's cost does not grow
// with history: 40 bytes an entry. Texts are kept as hashes; whoever reads the entry itself sees them.
type index struct {
	seed maphash.Seed

	mu     sync.RWMutex
	rows   []row // rows[i] is the entry with number i+1
	loaded chan struct{}
	once   sync.Once
}

type row struct {
	at                  int64 // CreatedAt, Unix milliseconds
	resource, request   uint64
	actor, action, kind uint32
}

func newIndex() *index { return &index{seed: maphash.MakeSeed(), loaded: make(chan struct{})} }

func (x *index) long(s string) uint64  { return maphash.String(x.seed, s) }
func (x *index) short(s string) uint32 { return uint32(maphash.String(x.seed, s)) }

func (x *index) row(e *audit.Entry) row {
	return row{
		at: e.CreatedAt.UnixMilli(), resource: x.long(e.ResourceID), request: x.long(e.RequestID),
		actor: x.short(e.ActorID), action: x.short(e.Action), kind: x.short(e.ResourceType),
	}
}

// add takes the entry with number seq. A number that is known already is passed over; one after a gap
// (entries removed behind our back, which Verify reports) leaves empty rows.
func (x *index) add(seq uint64, e *audit.Entry) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if seq <= uint64(len(x.rows)) {
		return
	}
	for uint64(len(x.rows)) < seq-1 {
		x.rows = append(x.rows, row{})
	}
	x.rows = append(x.rows, x.row(e))
}

// find returns the numbers of the entries that f matches, newest first, below the number before (0: all),
// after skipping skip of them, at most limit; and how many match in all.
func (x *index) find(f Filter, before uint64, skip, limit int) (found []uint64, total int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if f == (Filter{}) {
		total = len(x.rows)
		top := total
		if before > 0 {
			top = min(top, int(before)-1)
		}
		for n := top - skip; n > 0 && len(found) < limit; n-- {
			found = append(found, uint64(n))
		}
		return found, total
	}
	want := x.row(&audit.Entry{ActorID: f.Actor, Action: f.Action, ResourceType: f.ResourceType, ResourceID: f.ResourceID, RequestID: f.RequestID})
	for n := len(x.rows); n > 0; n-- {
		r := x.rows[n-1]
		if (f.Actor != "" && r.actor != want.actor) || (f.Action != "" && r.action != want.action) ||
			(f.ResourceType != "" && r.kind != want.kind) || (f.ResourceID != "" && r.resource != want.resource) ||
			(f.RequestID != "" && r.request != want.request) ||
			(!f.From.IsZero() && r.at < f.From.UnixMilli()) || (!f.To.IsZero() && r.at >= f.To.UnixMilli()) {
			continue
		}
		total++
		if before > 0 && uint64(n) >= before {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if len(found) < limit {
			found = append(found, uint64(n))
		}
	}
	return found, total
}

// follow reads the log into the index and keeps it up to date; it returns why it stopped.
func (l *Log) follow(ctx context.Context) error {
	var from int64
	take := func(kv store.KV) {
		seq, err := parseLogKey(kv.Key)
		if err != nil {
			l.log.Error("audit log: unknown key", "key", kv.Key)
			return
		}
		e, err := audit.Parse(kv.Value)
		if err != nil {
			l.log.Error("audit log: not an entry", "key", kv.Key, "error", err)
			e = &audit.Entry{CreatedAt: time.Unix(0, 0)}
		}
		l.index.add(seq, e)
		l.metrics.sequence.Set(float64(seq))
	}
	for kv, err := range l.store.All(ctx, store.AuditLog, func(r int64) { from = r + 1 }) {
		if err != nil {
			return err
		}
		take(kv)
	}
	l.index.once.Do(func() { close(l.index.loaded) })
	for c := range l.store.Watch(ctx, store.AuditLog, from) {
		for _, e := range c.Events {
			if !e.Deleted {
				take(e.KV)
			}
		}
		if c.Err != nil {
			return c.Err
		}
	}
	return ctx.Err()
}
