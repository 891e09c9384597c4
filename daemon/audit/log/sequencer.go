package auditlog

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// batchEntries is how many entries one transaction numbers: two writes each, and the head.
	batchEntries = 45
	// batchBytes bounds their size; a batch's keys and the rest of the transaction fit beside it.
	batchBytes = 700 << 10
)

// sequence numbers entries while this process holds the fence; it returns why it stopped.
func (l *Log) sequence(ctx context.Context) error {
	fence, err := l.store.Fence(ctx, "audit-sequencer")
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer l.metrics.waiting.Set(0)
	defer func() {
		rctx, done := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer done()
		if err := fence.Release(rctx); err != nil {
			l.log.Warn("audit log: the fence ends with its lease only", "error", err)
		}
	}()
	end, rev, err := l.readHead(ctx)
	if err != nil {
		return err
	}
	var queue []store.KV
	var from int64
	for kv, err := range l.store.All(ctx, store.AuditPending, func(r int64) { from = r + 1 }) {
		if err != nil {
			return err
		}
		queue = append(queue, kv)
	}
	slices.SortStableFunc(queue, func(a, b store.KV) int { return int(a.ModRevision - b.ModRevision) })
	arrivals := l.store.Watch(ctx, store.AuditPending, from)
	for {
		if len(queue) == 0 {
			select {
			case c, open := <-arrivals:
				if queue, err = arrived(ctx, queue, c, open); err != nil {
					return err
				}
			case <-fence.Lost():
				return store.ErrFenceLost
			}
			continue
		}
		select { // what arrived while the last batch was written goes into this one
		case c, open := <-arrivals:
			if queue, err = arrived(ctx, queue, c, open); err != nil {
				return err
			}
			if len(queue) < batchEntries {
				continue
			}
		default:
		}
		l.metrics.waiting.Set(float64(len(queue)))
		n, next, nextRev, err := l.number(ctx, fence, queue, end, rev)
		if err != nil {
			return err
		}
		queue, end, rev = queue[n:], next, nextRev
		l.metrics.entries.Add(float64(n))
		l.metrics.waiting.Set(float64(len(queue)))
	}
}

func arrived(ctx context.Context, queue []store.KV, c store.Changes, open bool) ([]store.KV, error) {
	if !open {
		return queue, fmt.Errorf("auditlog: %w", ctx.Err())
	}
	for _, e := range c.Events {
		if !e.Deleted {
			queue = append(queue, e.KV)
		}
	}
	return queue, c.Err
}

// number chains the first entries of the queue after end, in one transaction: either an entry has left
// the pending prefix and stands in the log and under the head, or none of it happened.
func (l *Log) number(ctx context.Context, fence *store.Fence, queue []store.KV, end head, rev int64) (int, head, int64, error) {
	tx := l.store.Tx()
	fence.Require(tx)
	n, size := 0, 0
	for n < len(queue) && n < batchEntries {
		kv := queue[n]
		e, err := entry(kv, uint64(end.Seq)+1, end.EntryHash)
		if err != nil {
			return 0, end, rev, err
		}
		b, err := e.Encode()
		if err != nil {
			return 0, end, rev, err
		}
		if size += len(b); n > 0 && size > batchBytes {
			break
		}
		tx.DeleteIf(kv.Key, kv.ModRevision)
		tx.Put(logKey(uint64(e.Seq)), b)
		end = head{Seq: e.Seq, EntryHash: e.EntryHash}
		n++
	}
	b, err := json.Marshal(end)
	if err != nil {
		return 0, end, rev, err
	}
	tx.PutIf(store.AuditHead, b, rev)
	// gofail: var auditBeforeCommit struct{}
	rev, err = tx.Commit(ctx)
	// gofail: var auditAfterCommit struct{}
	return n, end, rev, err
}

// entry gives what stands at kv its number. A value that is no pending entry gets a number, too, and is
// shown as it is: a sequencer that stopped at it would hide everything after it.
func entry(kv store.KV, seq uint64, prev string) (*audit.Entry, error) {
	p, err := audit.ParsePending(kv.Value)
	if err != nil {
		p, err = audit.Draft{
			Action: "audit.unreadable", ResourceType: "audit", ResourceID: strings.TrimPrefix(kv.Key, store.AuditPending),
			Metadata: map[string]any{"value": kv.Value[:min(len(kv.Value), 16<<10)], "bytes": len(kv.Value)},
		}.Pend(store.NewID("aud_"), "", time.Now())
		if err != nil {
			return nil, err
		}
	}
	return p.Entry(seq, prev)
}
