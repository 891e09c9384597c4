package auditlog_test

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// stored is how many keys the store has under a prefix.
func stored(t *testing.T, s *store.Store, prefix string) int64 {
	t.Helper()
	n, err := s.Count(t.Context(), prefix)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// held is how many entries the store has.
func held(t *testing.T, s *store.Store) (n int) {
	t.Helper()
	for kv, err := range s.All(t.Context(), store.AuditLog, nil) {
		if err != nil {
			t.Fatal(err)
		}
		entries, err := auditlog.ParseEntries(kv)
		if err != nil {
			t.Fatal(err)
		}
		n += len(entries)
	}
	return n
}

// whole holds lists, filters and verification to all entries that were written.
func whole(t *testing.T, l *auditlog.Log, want int) {
	t.Helper()
	await(t, l, want)
	r, err := l.Verify(t.Context())
	if err != nil || !r.Valid || r.EntriesChecked != uint64(want) {
		t.Errorf("verify: %+v (%v), want %d entries", r, err, want)
	}
	seen := 0
	for cursor := ""; ; {
		page, total, next, err := l.List(t.Context(), auditlog.Filter{}, 50, 0, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range page {
			if uint64(e.Seq) != uint64(want-seen-i) {
				t.Fatalf("entry %d where %d was to come", e.Seq, want-seen-i)
			}
		}
		if seen += len(page); total != want {
			t.Errorf("%d in all, want %d", total, want)
		}
		if cursor = next; next == "" {
			break
		}
	}
	if seen != want {
		t.Errorf("pages hold %d entries, want %d", seen, want)
	}
	old, total, _, err := l.List(t.Context(), auditlog.Filter{ResourceID: "t0", Action: "token.step1"}, 10, 0, "")
	if err != nil || total != 1 || len(old) != 1 {
		t.Errorf("the oldest, by filters: %v of %d (%v)", old, total, err)
	}
}

// What is older than the retention moves to every appliance's disk, and goes from the store when both have it;
// lists, receipts and verification stay whole, also after a start and where one appliance's tree is grown anew.
func TestOldEntriesMoveToTheDiskAndListsStayWhole(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	dirs := []string{filepath.Join(t.TempDir(), "appliance-1"), filepath.Join(t.TempDir(), "appliance-2")}
	options := func(i int) auditlog.Options {
		o := n.options(dirs[i])
		o.Retention = time.Second
		o.Ledger.Appliances = func() []string { return []string{"appliance-1", "appliance-2"} }
		return o
	}
	const want = 150
	one, stopOne := run(t, s, options(0))
	for i := range want / 3 {
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 3); err != nil {
			t.Fatal(err)
		}
	}
	n.receipt(t, one, "token", "t49")
	until(t, "one appliance has not archived everything", func() bool { return stored(t, s, store.AuditArchived) > 0 && archivedAll(t, dirs[0]) })
	if left := held(t, s); left != want {
		t.Errorf("%d entries are left in the store, and one of two appliances has no copy", left)
	}
	two, _ := run(t, srv.Open(store.UserServe), options(1))
	until(t, "entries stay in the store though both have them", func() bool { return stored(t, s, store.AuditLog) == 0 })
	whole(t, one, want)
	whole(t, two, want)
	n.receipt(t, one, "token", "t0")
	stopOne()
	if err := write(t.Context(), s, "later", 3); err != nil {
		t.Fatal(err)
	}
	n.receipt(t, two, "token", "later")
	one, _ = run(t, s, options(0))
	whole(t, one, want+3)
	n.receipt(t, one, "token", "later")
	n.receipt(t, one, "token", "t7")
	for _, dir := range dirs {
		if err := n.accepted(t, dir); err != nil {
			t.Error(err)
		}
	}
	until(t, "blocks of the order are left", func() bool { return stored(t, s, store.AuditOrder) <= 20 })
}

// archivedAll is true once the appliance's archive has entries.
func archivedAll(t *testing.T, dir string) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "entries", "*.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files) > 0
}

// A log that was numbered before there was a tree gets one: its first block has everything.
func TestALogFromBeforeTheTree(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	old, stop := start(t, s)
	for i := range 120 {
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 1); err != nil {
			t.Fatal(err)
		}
	}
	last := await(t, old, 120)[0]
	stop()
	p, err := s.List(t.Context(), store.AuditOrder, store.ListOptions{KeysOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range p.KVs {
		tx := s.Tx()
		tx.Delete(kv.Key)
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	tx := s.Tx()
	tx.Put(store.AuditHead, fmt.Appendf(nil, `{"seq":%d,"entryHash":"%s"}`, last.Seq, last.EntryHash))
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := newNotary(t, srv)
	for i := range 30 {
		n.write(fmt.Sprintf(`"operationId":"op_%d","type":"cancel"`, i))
	}
	dir := filepath.Join(t.TempDir(), "appliance-1")
	l, _ := run(t, s, n.options(dir))
	for _, id := range []string{"t0", "t63", "t119"} {
		n.receipt(t, l, "token", id)
	}
	if r, err := l.Verify(t.Context()); err != nil || !r.Valid || r.EntriesChecked != 120 {
		t.Errorf("%+v, %v", r, err)
	}
	if err := n.accepted(t, dir); err != nil {
		t.Error(err)
	}
}
