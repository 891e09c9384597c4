package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// AllFrom reads a prefix from a key on, that key included, as it was at a revision, over as many pages as it
// takes, and nothing beside the prefix.
func TestAllFrom(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := storetest.Start(t).Open(store.UserServe)
	const n = 1200 // more than a page
	key := func(i int) string { return fmt.Sprintf("%s%05d", store.Outbox, i) }
	var at int64
	write := func(do func(tx *store.Tx)) {
		t.Helper()
		tx := s.Tx()
		do(tx)
		rev, err := tx.Commit(ctx)
		if err != nil {
			t.Fatal(err)
		}
		at = rev
	}
	for chunk := range slices.Chunk(slices.Collect(func(yield func(int) bool) {
		for i := range n {
			if !yield(i) {
				return
			}
		}
	}), 100) {
		write(func(tx *store.Tx) {
			for _, i := range chunk {
				tx.Put(key(i), []byte("x"))
			}
		})
	}
	whole := at
	write(func(tx *store.Tx) { tx.Delete(key(700)) })
	read := func(from string, rev int64) (keys []string) {
		t.Helper()
		for kv, err := range s.AllFrom(ctx, store.Outbox, from, rev, nil) {
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, kv.Key)
		}
		return keys
	}
	for _, c := range []struct {
		from  string
		rev   int64
		first string
		count int
	}{
		{"", 0, key(0), n - 1},
		{"", whole, key(0), n},
		{key(5), 0, key(5), n - 6},
		{key(700), whole, key(700), 500},
		{key(700), 0, key(701), 499},
		{"/mw/", 0, key(0), n - 1}, // below the prefix
		{key(n), 0, "", 0},
	} {
		got := read(c.from, c.rev)
		if len(got) != c.count || (len(got) > 0 && got[0] != c.first) || !slices.IsSorted(got) {
			t.Errorf("from %q at %d: %d keys, first %v; want %d, %q", c.from, c.rev, len(got), got[:min(1, len(got))], c.count, c.first)
		}
	}
}
