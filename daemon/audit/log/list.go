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
	found := map[uint64]*audit.Entry{}
	for part := range slices.Chunk(ranges(numbers), store.MaxTxOps) {
		kvs, err := l.store.GetRanges(ctx, part...)
		if err != nil {
			return nil, err
		}
		for _, kv := range kvs {
			entries, err := parseEntries(kv)
			if err != nil {
				return nil, err
			}
			for _, e := range entries {
				found[uint64(e.Seq)] = e
			}
		}
	}
	out := make([]*audit.Entry, len(numbers))
	for i, seq := range numbers {
		if out[i] = found[seq]; out[i] != nil {
			continue
		}
		if l.archive == nil || seq > l.archive.newest() {
			return nil, fmt.Errorf("auditlog: %s: entry %d is not there", logKey(seq), seq)
		}
		e, err := l.archive.entry(seq)
		if err != nil {
			return nil, fmt.Errorf("auditlog: %s: %w", logKey(seq), err)
		}
		out[i] = e
	}
	return out, nil
}

// ranges are stretches of the log in which entries with these numbers stand: an entry is in the first value at its own
// number or above, so that as many values as a stretch is long hold all of it, however they were put together.
func ranges(numbers []uint64) (out []store.Range) {
	sorted := slices.Sorted(slices.Values(numbers))
	for len(sorted) > 0 {
		first, n := sorted[0], 1
		for n < len(sorted) && sorted[n]-first < valueFull {
			n++
		}
		last := sorted[n-1]
		out = append(out, store.Range{From: logKey(first), Until: logKey(last + valueMost), Limit: int(last - first + 1)})
		sorted = sorted[n:]
	}
	return out
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
