package store

import (
	"bytes"
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Event is one change of one key.
type Event struct {
	KV
	Deleted bool // Value is nil then
}

// Changes is what one or more revisions did to a prefix, in order; revisions are never split.
type Changes struct {
	Events   []Event
	Revision int64 // of the last event: watch from the next one on to resume
	Err      error // set in the last Changes of a watch that ended by itself
}

// Watch follows the keys that begin with prefix from revision from on (0: from now). It survives lost
// connections without missing or repeating an event. The channel is closed when ctx ends, or after
// Changes with Err: ErrCompacted if the revisions are gone (list again), else ErrUnavailable.
func (s *Store) Watch(ctx context.Context, prefix string, from int64) <-chan Changes {
	return s.WatchOnly(ctx, prefix, from, func(string, int64) bool { return true })
}

// WatchOnly is Watch of those keys and revisions that wanted takes; Changes without any of them are not told. wanted is
// called by one goroutine and must not block. What nobody wants to know is not copied.
func (s *Store) WatchOnly(ctx context.Context, prefix string, from int64, wanted func(key string, modRev int64) bool) <-chan Changes {
	out := make(chan Changes)
	w := s.client.Watch(clientv3.WithRequireLeader(ctx), prefix, clientv3.WithPrefix(), clientv3.WithRev(from), clientv3.WithFragment())
	go func() {
		defer close(out)
		for {
			var c Changes
			r, open := <-w
			switch {
			case ctx.Err() != nil:
				return
			case !open:
				c.Err = fmt.Errorf("%w: watch of %s ended", ErrUnavailable, prefix)
			case r.CompactRevision != 0:
				c.Err = fmt.Errorf("watch of %s from %d: %w", prefix, from, ErrCompacted)
			case r.Err() != nil:
				c.Err = fmt.Errorf("%w: watch of %s: %w", ErrUnavailable, prefix, r.Err())
			case len(r.Events) == 0:
				continue
			default:
				for _, e := range r.Events {
					key := string(e.Kv.Key)
					if !wanted(key, e.Kv.ModRevision) {
						continue
					}
					// etcd's own memory, shared by all who watch, where it runs in this process.
					c.Events = append(c.Events, Event{
						KV:      KV{Key: key, Value: bytes.Clone(e.Kv.Value), ModRevision: e.Kv.ModRevision},
						Deleted: e.Type == clientv3.EventTypeDelete,
					})
				}
				if len(c.Events) == 0 {
					continue
				}
				c.Revision = r.Events[len(r.Events)-1].Kv.ModRevision
			}
			select {
			case out <- c:
			case <-ctx.Done():
				return
			}
			if c.Err != nil {
				return
			}
		}
	}()
	return out
}
