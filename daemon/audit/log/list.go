package auditlog

import (
	"context"
	"errors"
	"fmt"
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
	select {
	case <-l.index.loaded:
	case <-ctx.Done():
		return nil, 0, "", fmt.Errorf("%w: the audit log is still being read: %w", store.ErrUnavailable, ctx.Err())
	}
	limit = min(limit, 2*store.MaxTxOps)
	found, total := l.index.find(f, before, offset, limit+1)
	if len(found) > limit {
		found = found[:limit]
		next = strconv.FormatUint(found[limit-1], 10)
	}
	entries = make([]*audit.Entry, 0, len(found))
	for len(found) > 0 {
		n := min(len(found), store.MaxTxOps)
		keys := make([]string, n)
		for i, seq := range found[:n] {
			keys[i] = logKey(seq)
		}
		found = found[n:]
		kvs, _, err := l.store.GetMany(ctx, keys...)
		if err != nil {
			return nil, 0, "", err
		}
		for _, kv := range kvs {
			e, err := audit.Parse(kv.Value)
			if err != nil {
				return nil, 0, "", fmt.Errorf("auditlog: %s: %w", kv.Key, err)
			}
			entries = append(entries, e)
		}
	}
	return entries, total, next, nil
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
