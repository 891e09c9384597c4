package auditlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// ErrCursor says that a text is not a cursor that List gave.
var ErrCursor = errors.New("auditlog: not a cursor")

// Filter selects entries; zero fields select all.
type Filter struct {
	From, To     time.Time // From ≤ createdAt < To, to the millisecond
	Actor        string    // actorId
	Action       string
	ResourceType string
	ResourceID   string
	RequestID    string
}

// List is the entries that match, newest first: at most limit (≤ 200), after offset of them, or after the
// cursor of an earlier page (offset then counts from there). total is how many match in all; next is
// empty on the last page. It waits until the log was read once after a start. ErrCursor, or the store's errors.
func (l *Log) List(ctx context.Context, f Filter, limit, offset int, cursor string) (entries []*audit.Entry, total int, next string, err error) {
	before, err := parseCursor(cursor)
	if err != nil {
		return nil, 0, "", err
	}
	if err := l.ready(ctx); err != nil {
		return nil, 0, "", err
	}
	limit = min(limit, 2*store.MaxTxOps)
	found, total := l.index.find(f, before, offset, limit+1)
	if len(found) > limit {
		found = found[:limit]
		next = strconv.FormatUint(found[limit-1], 10)
	}
	entries, err = l.entries(ctx, found)
	return entries, total, next, err
}

// entries reads entries by their numbers, from the store or, if they are not there any more, the archive.
func (l *Log) entries(ctx context.Context, numbers []uint64) ([]*audit.Entry, error) {
	out := make([]*audit.Entry, 0, len(numbers))
	for part := range slices.Chunk(numbers, store.MaxTxOps) {
		keys := make([]string, len(part))
		for i, seq := range part {
			keys[i] = logKey(seq)
		}
		kvs, _, err := l.store.GetMany(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for i, kv := range kvs {
			var e *audit.Entry
			if kv.ModRevision == 0 && l.archive != nil && part[i] <= l.archive.newest() {
				e, err = l.archive.entry(part[i])
			} else {
				e, err = audit.Parse(kv.Value)
			}
			if err != nil {
				return nil, fmt.Errorf("auditlog: %s: %w", kv.Key, err)
			}
			out = append(out, e)
		}
	}
	return out, nil
}

func parseCursor(c string) (uint64, error) {
	if c == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(c, 10, 64)
	if err != nil || n == 0 || strconv.FormatUint(n, 10) != c {
		return 0, fmt.Errorf("%w: %q", ErrCursor, c)
	}
	return n, nil
}
