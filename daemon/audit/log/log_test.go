package auditlog_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

func start(t *testing.T, s *store.Store) (*auditlog.Log, context.CancelFunc) {
	t.Helper()
	l, err := auditlog.New(s, storetest.Logger(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Run(ctx) }()
	stop := func() { cancel(); <-done }
	t.Cleanup(stop)
	return l, stop
}

func write(ctx context.Context, s *store.Store, id string, entries int) error {
	tx := s.Tx()
	tx.Put(store.Token(id), nil)
	for i := range entries {
		tx.Audit(audit.Draft{ActorID: "operator", ActorType: audit.User, Action: fmt.Sprintf("token.step%d", i), ResourceType: "token", ResourceID: id})
	}
	_, err := tx.Commit(ctx)
	return err
}

const (
	// patience is how long a test waits for what a busy machine may take its time for.
	patience = 3 * time.Minute
	poll     = 5 * time.Millisecond
)

// until waits for something that comes in its own time.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for over := time.Now().Add(patience); !holds(); time.Sleep(poll) {
		if time.Now().After(over) {
			t.Fatalf("after %s: %s", patience, what)
		}
	}
}

// await lists until n entries are numbered.
func await(t *testing.T, l *auditlog.Log, n int) (entries []*audit.Entry) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	until(t, fmt.Sprintf("fewer than %d entries are numbered", n), func() bool {
		var total int
		var err error
		if entries, total, _, err = l.List(ctx, auditlog.Filter{}, 200, 0, ""); err != nil {
			t.Fatal(err)
		}
		return total >= n
	})
	return entries
}

func TestEveryEntryIsNumberedOnce(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	a, b := srv.Open(store.UserServe), srv.Open(store.UserServe)
	if err := write(t.Context(), a, "before", 3); err != nil {
		t.Fatal(err)
	}
	la, stopA := start(t, a)
	lb, _ := start(t, b)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				if err := write(t.Context(), b, fmt.Sprintf("%d-%d", w, i), 2); err != nil {
					t.Error(err)
				}
				if w == 0 && i == 10 {
					stopA() // one of two sequencers goes away in the middle
				}
			}
		})
	}
	wg.Wait()
	const want = 3 + 8*25*2
	await(t, lb, want)
	r, err := lb.Verify(t.Context())
	if err != nil || !r.Valid || r.EntriesChecked != want {
		t.Errorf("verify: %+v (%v), want %d valid entries", r, err, want)
	}
	if n, err := a.Count(t.Context(), store.AuditPending); err != nil || n != 0 {
		t.Errorf("%d entries still wait (%v)", n, err)
	}
	seen := map[string]bool{}
	for cursor := ""; ; {
		page, _, next, err := lb.List(t.Context(), auditlog.Filter{}, 100, 0, cursor)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page {
			if seen[e.ID] {
				t.Errorf("%s has two numbers", e.ID)
			}
			seen[e.ID] = true
		}
		if cursor = next; next == "" {
			break
		}
	}
	if len(seen) != want {
		t.Errorf("pages hold %d entries, want %d", len(seen), want)
	}
	_ = la
}

func TestListFilters(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	l, _ := start(t, s)
	for i := range 5 {
		if err := write(t.Context(), s, fmt.Sprintf("t%d", i), 3); err != nil {
			t.Fatal(err)
		}
	}
	all := await(t, l, 15)
	if all[0].ResourceID != "t4" || all[14].Seq != 1 {
		t.Errorf("not newest first: %+v … %+v", all[0], all[14])
	}
	for name, c := range map[string]struct {
		f    auditlog.Filter
		want int
	}{
		"actor":         {auditlog.Filter{Actor: "operator"}, 15},
		"no such actor": {auditlog.Filter{Actor: "admin"}, 0},
		"action":        {auditlog.Filter{Action: "token.step1"}, 5},
		"resource":      {auditlog.Filter{ResourceType: "token", ResourceID: "t2"}, 3},
		"both":          {auditlog.Filter{Action: "token.step1", ResourceID: "t2"}, 1},
		"from":          {auditlog.Filter{From: time.Now().Add(-time.Hour)}, 15},
		"past":          {auditlog.Filter{To: time.Now().Add(-time.Hour)}, 0},
		"future":        {auditlog.Filter{From: time.Now().Add(time.Hour)}, 0},
	} {
		entries, total, _, err := l.List(t.Context(), c.f, 200, 0, "")
		if err != nil || total != c.want || len(entries) != c.want {
			t.Errorf("%s: %d of %d entries (%v), want %d", name, len(entries), total, err, c.want)
		}
	}
	page, total, next, err := l.List(t.Context(), auditlog.Filter{Action: "token.step1"}, 2, 1, "")
	if err != nil || total != 5 || len(page) != 2 || page[0].ResourceID != "t3" || next == "" {
		t.Fatalf("page %v of %d, next %q (%v)", page, total, next, err)
	}
	page, _, next, err = l.List(t.Context(), auditlog.Filter{Action: "token.step1"}, 2, 0, next)
	if err != nil || len(page) != 2 || page[0].ResourceID != "t1" || page[1].ResourceID != "t0" || next != "" {
		t.Fatalf("last page %v, next %q (%v)", page, next, err)
	}
	if _, _, _, err := l.List(t.Context(), auditlog.Filter{}, 2, 0, "-1"); !errors.Is(err, auditlog.ErrCursor) {
		t.Errorf("got %v, want ErrCursor", err)
	}
}

func TestVerifySeesTheStoreTamperedWith(t *testing.T) {
	t.Parallel()
	srv := storetest.Start(t)
	s := srv.Open(store.UserServe)
	l, stop := start(t, s)
	if err := write(t.Context(), s, "t", 4); err != nil {
		t.Fatal(err)
	}
	await(t, l, 4)
	stop()
	last := store.AuditLog + fmt.Sprintf("%020d", 4)
	whole, _, _, err := s.Get(t.Context(), last)
	if err != nil {
		t.Fatal(err)
	}
	for name, tamper := range map[string]func(*store.Tx){
		"cut off":   func(tx *store.Tx) { tx.Delete(last) },
		"malformed": func(tx *store.Tx) { tx.Put(last, []byte("{}")) },
		"extra":     func(tx *store.Tx) { tx.Put(last+"0", whole) },
	} {
		tx := s.Tx()
		tamper(tx)
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		r, err := l.Verify(t.Context())
		if err != nil || r.Valid {
			t.Errorf("%s: %+v (%v), want a break", name, r, err)
		}
		tx = s.Tx()
		tx.Put(last, whole)
		tx.Delete(last + "0")
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r, err := l.Verify(t.Context()); err != nil || !r.Valid {
		t.Errorf("restored: %+v (%v)", r, err)
	}
}

func TestUnreadablePendingIsShownNotSkipped(t *testing.T) {
	t.Parallel()
	other, err := audit.Draft{Action: "token.created", ResourceType: "token", Metadata: map[string]any{"n": 1}}.Pend("aud_1", "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	other.Metadata = []byte(`{"n":1.0}`) // has no hash
	pending, err := other.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, unreadable := range [][]byte{[]byte("garbage"), pending} {
		s := storetest.Open(t)
		tx := s.Tx()
		tx.Put(store.AuditPending+"01J0000000000000000000000X/00", unreadable)
		if _, err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := write(t.Context(), s, "t", 1); err != nil {
			t.Fatal(err)
		}
		l, _ := start(t, s)
		if e := await(t, l, 2); e[1].Action != "audit.unreadable" || e[0].ResourceID != "t" {
			t.Errorf("%s: got %+v, %+v", unreadable, e[1], e[0])
		}
		if r, err := l.Verify(t.Context()); err != nil || !r.Valid {
			t.Errorf("%s: %+v, %v", unreadable, r, err)
		}
	}
}
