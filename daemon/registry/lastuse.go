package registry

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	usePrefix = "/mw/credential-use/"
	// useEvery is how often what was used since is looked over.
	useEvery = time.Minute
	// useTold is how many looks apart two writes for the same key are: a key that
	// is used all day costs the store a write every ten minutes.
	useTold = 10
	// useBatch keeps a look's writes below what one transaction takes.
	useBatch = 90
	// useLast bounds the last look, when the appliance stops.
	useLast = 2 * time.Second
)

// use is when a credential was last used, as the store has it.
type use struct {
	CredentialID string    `json:"credentialId"`
	At           time.Time `json:"at"` // whole seconds, UTC
}

// uses is when credentials were last used: at once in memory, rarely in the
// store. A crash loses what was not written yet, ten minutes at most.
type uses struct {
	every  time.Duration
	stored *mirror[use]
	here   sync.Map // credential id → *atomic.Int64, Unix seconds
}

func newUses(every time.Duration) *uses {
	if every <= 0 {
		every = useEvery
	}
	return &uses{every: every, stored: newMirror[use](usePrefix, "")}
}

// Used notes that a credential was just used, once all that it is bound to was
// found to fit. It costs one store to memory.
func (s *Service) Used(credentialID string) { s.uses.note(credentialID, s.now()) }

func (u *uses) note(id string, now time.Time) {
	at, ok := u.here.Load(id)
	if !ok {
		at, _ = u.here.LoadOrStore(id, new(atomic.Int64))
	}
	at.(*atomic.Int64).Store(now.Unix())
}

// LastUsed is when a credential was last used anywhere, as far as this appliance
// knows; zero for never. What others saw is up to ten minutes old.
func (s *Service) LastUsed(ctx context.Context, credentialID string) (time.Time, error) {
	at := time.Time{}
	if u, err := s.uses.stored.get(ctx, s.store, usePrefix+credentialID); err != nil {
		return at, err
	} else if u != nil {
		at = u.At
	}
	if here, ok := s.uses.here.Load(credentialID); ok {
		if own := time.Unix(here.(*atomic.Int64).Load(), 0).UTC(); own.After(at) {
			at = own
		}
	}
	return at, nil
}

func (u *uses) run(ctx context.Context, s *store.Store, log *slog.Logger) {
	var mirroring sync.WaitGroup
	mirroring.Go(func() { u.stored.run(ctx, s, log) })
	defer mirroring.Wait()
	for pause(ctx, u.every) == nil {
		if err := u.tell(ctx, s, useTold*u.every); err != nil && ctx.Err() == nil {
			log.Warn("registry: when credentials were used last was not written", "error", err)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), useLast)
	defer cancel()
	if err := u.tell(last, s, u.every); err != nil {
		log.Warn("registry: when credentials were used last was not written", "error", err)
	}
}

// tell writes what was used later than the store says by the gap or more.
func (u *uses) tell(ctx context.Context, s *store.Store, gap time.Duration) error {
	tx := s.Tx()
	var told error
	commit := func() bool {
		if tx.Len() == 0 {
			return true
		}
		_, told = tx.Commit(ctx)
		tx = s.Tx()
		return told == nil
	}
	u.here.Range(func(k, v any) bool {
		id, at := k.(string), time.Unix(v.(*atomic.Int64).Load(), 0).UTC()
		stored, err := u.stored.get(ctx, s, usePrefix+id)
		if err != nil {
			told = err
			return false
		}
		if stored != nil && at.Sub(stored.At) < gap {
			return true
		}
		tx.Put(usePrefix+id, encode(use{id, at}))
		return tx.Len() < useBatch || commit()
	})
	if told == nil {
		commit()
	}
	return told
}
