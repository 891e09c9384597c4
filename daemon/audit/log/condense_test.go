package auditlog_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// earlier writes a log as earlier versions did: an entry a value, a block of the tree's order each, both as JSON.
func earlier(t *testing.T, s *store.Store, n int) {
	t.Helper()
	prev := audit.Genesis
	for i := 1; i <= n; i++ {
		p, err := audit.Draft{ActorID: "operator", ActorType: audit.User, Action: fmt.Sprint("token.step", i%3), ResourceType: "token", ResourceID: fmt.Sprint("t", (i-1)/3)}.
			Pend(store.NewID("aud_"), "acme", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		e, err := p.Entry(uint64(i), prev)
		if err != nil {
			t.Fatal(err)
		}
		prev = e.EntryHash
		text, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		tx := s.Tx()
		tx.Put(fmt.Sprintf("%s%020d", store.AuditLog, i), text)
		tx.Put(fmt.Sprintf("%s%020d", store.AuditOrder, i), fmt.Appendf(nil, `{"format":1,"first":%d,"entries":1,"audit":%d,"batches":[],"ledger":0}`, i-1, i))
		tx.Put(store.AuditHead, fmt.Appendf(nil, `{"seq":%d,"entryHash":"%s","tree":%d}`, i, prev, i))
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// condensed waits until there are at most most values of the log, and of the tree's order.
func condensed(t *testing.T, s *store.Store, most int64) {
	t.Helper()
	for _, prefix := range []string{store.AuditLog, store.AuditOrder} {
		until(t, "values are not put together", func() bool { return stored(t, s, prefix) <= most })
	}
}

// A log of an earlier version is read as it stands, its values are put together, and everything is answered as before:
// lists at any depth, filters, verification, receipts, and an appliance that reads it for the first time.
func TestALogOfAnEarlierVersionIsReadAndPutTogether(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	const want = 300
	earlier(t, s, want)
	if n := stored(t, s, store.AuditLog); n != want {
		t.Fatalf("%d values", n)
	}
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	dir := filepath.Join(t.TempDir(), "appliance-1")
	l, stop := run(t, s, n.options(dir))
	await(t, l, want)
	condensed(t, s, want/auditlog.ValueFull+auditlog.ValueFull)
	if n := held(t, s); n != want {
		t.Errorf("%d entries are left", n)
	}
	whole(t, l, want)
	n.receipt(t, l, "token", "t0")
	n.receipt(t, l, "token", "t99")
	stop()
	fresh, _ := run(t, s, n.options(filepath.Join(t.TempDir(), "appliance-1")))
	whole(t, fresh, want)
	for kv, err := range s.All(t.Context(), store.AuditLog, nil) { // what is full does not grow at another start
		if err != nil {
			t.Fatal(err)
		}
		if entries, err := auditlog.ParseEntries(kv); err != nil || len(entries) > 2*auditlog.ValueFull {
			t.Errorf("%s holds %d entries (%v)", kv.Key, len(entries), err)
		}
	}
	n.receipt(t, fresh, "token", "t40")
	if err := n.accepted(t, dir); err != nil {
		t.Error(err)
	}
}

// Entries that come one by one are put together while others read them, and take a third of their JSON in the end.
func TestEntriesAreReadWhileTheyArePutTogether(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	l, _ := run(t, s, n.options(filepath.Join(t.TempDir(), "appliance-1")))
	const want = 3*auditlog.ValueFull + 1
	for i := range want {
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 1); err != nil {
			t.Fatal(err)
		}
		if i > 3*auditlog.ValueFull/2 {
			continue // the rest may share one
		}
		all := await(t, l, i+1) // each gets a value of its own
		if len(all) != min(i+1, 200) || !slices.IsSortedFunc(all, func(a, b *audit.Entry) int { return int(b.Seq) - int(a.Seq) }) {
			t.Fatalf("a list of %d", len(all))
		}
	}
	await(t, l, want)
	until(t, "values are not put together", func() bool { return stored(t, s, store.AuditLog) < 2*auditlog.ValueFull })
	if r, err := l.Verify(t.Context()); err != nil || !r.Valid || r.EntriesChecked != want {
		t.Errorf("%+v, %v", r, err)
	}
	text, kept := 0, 0
	for kv, err := range s.All(t.Context(), store.AuditLog, nil) {
		if err != nil {
			t.Fatal(err)
		}
		entries, err := auditlog.ParseEntries(kv)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			b, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			text += len(b)
		}
		kept += len(kv.Key) + len(kv.Value)
	}
	if kept > text/3 {
		t.Errorf("%d bytes of JSON take %d", text, kept)
	}
	t.Logf("%d entries: %d bytes of JSON, %d kept", want, text, kept)
}

// A value in which an entry is missing, stands twice, or has another number than its key says is a break; others are
// read as they were.
func TestAttack_AValueOfTheLogThatWasTamperedWith(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	earlier(t, s, 2*auditlog.ValueFull)
	l, stop := start(t, s)
	await(t, l, 2*auditlog.ValueFull)
	condensed(t, s, 2)
	stop()
	key := fmt.Sprintf("%s%020d", store.AuditLog, auditlog.ValueFull)
	good, _, _, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := auditlog.ParseEntries(store.KV{Key: key, Value: good})
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]byte
	for _, e := range entries {
		b, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, b)
	}
	pack := func(lines ...[]byte) []byte { return auditlog.StoreLines(auditlog.Entries, lines) }
	bad := slices.Clone(lines)
	bad[7] = bad[6]
	for name, value := range map[string][]byte{
		"one missing":   pack(slices.Concat(lines[:7], lines[8:])...),
		"the first":     pack(lines[1:]...),
		"the last":      pack(lines[:len(lines)-1]...),
		"one twice":     pack(bad...),
		"an empty line": pack(append(slices.Clone(lines), nil)...),
		"not packed":    []byte("\x01nothing"),
		"nothing":       {},
	} {
		put := func(value []byte) {
			tx := s.Tx()
			tx.Put(key, value)
			if _, err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		put(value)
		if r, err := l.Verify(t.Context()); err != nil || r.Valid {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		put(good)
	}
	if r, err := l.Verify(t.Context()); err != nil || !r.Valid {
		t.Errorf("restored: %+v, %v", r, err)
	}
}
