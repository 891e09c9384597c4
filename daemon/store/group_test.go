package store_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// Many who write at once share transactions, and each gets its own answer: of all that fight for a key one
// wins, and who was put beside a loser has lost nothing.
func TestChangesTogetherAreEachTheirOwn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := storetest.Open(t)
	const writers, keys = 64, 8
	var revisions sync.Map
	for round := range 5 {
		var won [keys]atomic.Int64
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				own := s.Tx()
				own.PutIfAbsent(fmt.Sprintf("/mw/token/own-%d-%d", round, w), []byte("v"))
				own.Audit(audit.Draft{Action: "token.created", ResourceType: "token", ResourceID: fmt.Sprint(w)})
				rev, err := own.Commit(ctx)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
				}
				revisions.Store(rev, true)
				fought := fmt.Sprintf("/mw/token/fought-%d-%d", round, w%keys)
				tx := s.Tx()
				tx.PutIfAbsent(fought, []byte(fmt.Sprint(w)))
				tx.Audit(audit.Draft{Action: "token.created", ResourceType: "token", ResourceID: fought})
				var conflict *store.ConflictError
				switch _, err := tx.Commit(ctx); {
				case err == nil:
					won[w%keys].Add(1)
				case !errors.As(err, &conflict) || conflict.Key != fought:
					t.Errorf("writer %d lost with %v, want a conflict on %s", w, err, fought)
				}
			})
		}
		all.Wait()
		for k := range won {
			if n := won[k].Load(); n != 1 {
				t.Errorf("round %d: %d won key %d", round, n, k)
			}
		}
	}
	own := 0
	for range revisions.Range {
		own++
	}
	if own >= 5*writers {
		t.Errorf("%d changes at once took as many transactions", 5*writers)
	}
	if n, err := s.Count(ctx, store.AuditPending); err != nil || n != 5*(writers+keys) {
		t.Errorf("%d audit entries (%v), want one a change that was made: %d", n, err, 5*(writers+keys))
	}
}

// A change that etcd refuses for what it is has no part in the others.
func TestARefusedChangeSpoilsNoOther(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := storetest.Open(t)
	var all sync.WaitGroup
	for w := range 48 {
		all.Go(func() {
			tx := s.Tx()
			tx.Put(fmt.Sprintf("/mw/token/%d", w), []byte("v"))
			if w%3 == 0 {
				tx.Put(store.SealRoot+fmt.Sprint(w), []byte("v")) // not serve's to write
			}
			if _, err := tx.Commit(ctx); (err != nil) != (w%3 == 0) {
				t.Errorf("writer %d: %v", w, err)
			}
		})
	}
	all.Wait()
	if n, err := s.Count(ctx, store.TokenPrefix); err != nil || n != 32 {
		t.Errorf("%d keys written (%v), want 32", n, err)
	}
}
