package operation

import (
	"errors"
	"math/rand/v2"
	"sync"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// place is one of those that a credential has for operations that await approval, from 1 to maxPending.
//
// Each is a key of the store, written with the operation that takes it only if it is absent, and deleted with
// the change that ends the operation's waiting: however many appliances take submissions at once, no more are
// taken than there are places. An operation that comes back to wait, because its policy asks for more than it
// did, has none; it counts by what each appliance knows of it.
type place struct {
	credential string
	number     int
}

func (p place) key() string { return store.PendingPlace(p.credential, p.number) }

// reservations are the places that submissions are taking in this process: they count from before the
// operations are known here, or a burst of requests would ask the store for the same ones.
type reservations struct {
	mu    sync.Mutex
	taken map[place]bool
}

// checkPending: one key's operations must not flood those who approve.
func (s *Service) checkPending(a registry.Actor) error {
	s.reserved.mu.Lock()
	defer s.reserved.mu.Unlock()
	return s.room(a)
}

// reserve is a place for an operation that is stored next, other than those that were tried: they are another
// appliance's, though it may not be known here yet. leave is to be called once it is stored, or is not.
func (s *Service) reserve(a registry.Actor, tried map[place]bool) (p place, leave func(), err error) {
	s.reserved.mu.Lock()
	defer s.reserved.mu.Unlock()
	if err := s.room(a); err != nil {
		return place{}, nil, err
	}
	// Appliances that begin to look at the same end would meet at every place.
	first := rand.IntN(s.maxPending)
	for i := range s.maxPending {
		p := place{a.CredentialID, (first+i)%s.maxPending + 1}
		if s.reserved.taken[p] || tried[p] || s.placed(p) {
			continue
		}
		if s.reserved.taken == nil {
			s.reserved.taken = map[place]bool{}
		}
		s.reserved.taken[p] = true
		return p, func() {
			s.reserved.mu.Lock()
			defer s.reserved.mu.Unlock()
			delete(s.reserved.taken, p)
		}, nil
	}
	return place{}, nil, s.tooMany(a, s.maxPending)
}

func (s *Service) placed(p place) (taken bool) {
	s.index.ask(func(t *tally) { taken = t.placed[p] })
	return taken
}

// room refuses where as many of a's operations wait as may; the caller holds the reservations' lock.
func (s *Service) room(a registry.Actor) error {
	n := 0
	s.index.ask(func(t *tally) {
		n = t.pending[a.CredentialID]
		for p := range s.reserved.taken {
			if p.credential == a.CredentialID && !t.placed[p] {
				n++
			}
		}
	})
	if n < s.maxPending {
		return nil
	}
	return s.tooMany(a, n)
}

// tooMany refuses where n wait: more than the limit where that was lowered since, or an appliance with another one
// took them.
func (s *Service) tooMany(a registry.Actor, n int) error {
	return registry.Refuse(registry.RateLimited, "%d operations of credential %s wait for approval; %d is the most, have some decided or cancelled first", n, a.CredentialID, s.maxPending)
}

// place is what o holds while it awaits approval; its number is 0 if it has none.
func (o *Operation) place() place { return place{o.CredentialID, o.Place} }

// vacate gives the place back of an operation that waits no more.
func (o *Operation) vacate(t *store.Tx) {
	if o.Place == 0 || o.Status == PendingAuthorization {
		return
	}
	t.Delete(o.place().key())
	o.Place = 0
}

// lostPlace reports whether a commit failed only because somebody else has the place.
func lostPlace(err error, p place) bool {
	var lost *store.ConflictError
	return p.number != 0 && lostRace(err) && errors.As(err, &lost) && lost.Key == p.key()
}
