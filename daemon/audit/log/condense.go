package auditlog

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/mintwarden/mintwarden/daemon/packed"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// condense puts values of the log and of the tree's order together that hold little, whenever it is asked to and once
// at its start: an entry that has a value of its own takes three times as much. It is the sequencer's, and returns
// only with an error.
func (l *Log) condense(ctx context.Context, fence *store.Fence, asked <-chan struct{}) error {
	parts := []*condensing{
		{Log: l, fence: fence, prefix: store.AuditLog, kind: storedEntries, check: func(kv store.KV) error { _, err := parseEntries(kv); return err }},
		{Log: l, fence: fence, prefix: store.AuditOrder, kind: storedBlocks, check: func(kv store.KV) error { _, err := parseBlocks(kv); return err }},
	}
	for {
		for _, c := range parts {
			if err := c.pass(ctx); err != nil {
				return err
			}
		}
		select {
		case <-asked:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// condensing is that of one prefix, whose keys end in the number of the last thing that stands there.
type condensing struct {
	*Log
	fence  *store.Fence
	prefix string
	kind   *packed.Kind
	check  func(store.KV) error
	after  string // key up to which nothing is left to do
}

// pass looks at all keys behind those that are done. The last values, which together are not full yet, stay.
func (c *condensing) pass(ctx context.Context) error {
	before := c.number(c.after)
	var group []string
	size := uint64(0) // entries or leaves in the group
	for kv, err := range c.keys(ctx) {
		if err != nil {
			return err
		}
		n := c.number(kv.Key)
		holds := n - before // at most: of the first one, what comes before it may have left the store
		before = n
		if size+holds > valueMost {
			if err := c.join(ctx, group); err != nil {
				return err
			}
			group, size = nil, 0
		}
		if group, size = append(group, kv.Key), size+holds; size >= valueFull {
			if err := c.join(ctx, group); err != nil {
				return err
			}
			group, size = nil, 0
		}
	}
	return nil
}

// keys is the keys behind after, page by page, as they are when each page is read.
func (c *condensing) keys(ctx context.Context) func(yield func(store.KV, error) bool) {
	return func(yield func(store.KV, error) bool) {
		o := store.ListOptions{After: c.after, KeysOnly: true}
		for {
			p, err := c.store.List(ctx, c.prefix, o)
			if err != nil {
				yield(store.KV{}, err)
				return
			}
			for _, kv := range p.KVs {
				if o.After = kv.Key; !yield(kv, nil) {
					return
				}
			}
			if !p.More {
				return
			}
		}
	}
}

// number is the one that a key ends in; 0 where it ends in none.
func (c *condensing) number(key string) uint64 {
	n, err := strconv.ParseUint(strings.TrimPrefix(key, c.prefix), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// join makes one value of those at keys, at the key of the last one, in one transaction. Values that cannot be read
// stay as they are, for those who look for what is wrong.
func (c *condensing) join(ctx context.Context, keys []string) error {
	if len(keys) == 0 {
		return nil
	}
	defer func() { c.after = keys[len(keys)-1] }()
	if len(keys) == 1 {
		return nil
	}
	kvs, _, err := c.store.GetMany(ctx, keys...)
	if err != nil {
		return err
	}
	var lines [][]byte
	size := 0
	for _, kv := range kvs {
		if kv.ModRevision == 0 {
			return nil // it left for the archive at this moment, and the others will
		}
		of, err := linesOf(c.kind, kv)
		if err != nil {
			return nil
		}
		for _, line := range of {
			lines, size = append(lines, line), size+len(line)+1
		}
	}
	last := kvs[len(kvs)-1]
	value := storeLines(c.kind, lines)
	if len(lines) > valueMost || size > valueBytes || c.check(store.KV{Key: last.Key, Value: value}) != nil {
		return nil
	}
	tx := c.store.Tx()
	c.fence.Require(tx)
	for _, kv := range kvs[:len(kvs)-1] {
		tx.DeleteIf(kv.Key, kv.ModRevision)
	}
	tx.PutIf(last.Key, value, last.ModRevision)
	_, err = tx.Commit(ctx)
	var conflict *store.ConflictError
	if errors.As(err, &conflict) && conflict.Key != c.fence.Key() {
		return nil // as above
	}
	return err
}
