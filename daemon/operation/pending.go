package operation

import (
	"sync"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// reservations is the operations of each key that are being stored and will await
// approval: they count as pending from before they are, or a burst of requests
// would find room that all of them take.
type reservations struct {
	mu sync.Mutex
	of map[string]int // by credential
}

// checkPending: one key's operations must not flood those who approve.
func (s *Service) checkPending(a registry.Actor) error {
	s.reserved.mu.Lock()
	defer s.reserved.mu.Unlock()
	return s.room(a)
}

// reserve is checkPending for an operation that is stored next; leave is to be
// called once it is, or is not.
func (s *Service) reserve(a registry.Actor) (leave func(), err error) {
	s.reserved.mu.Lock()
	defer s.reserved.mu.Unlock()
	if err := s.room(a); err != nil {
		return nil, err
	}
	if s.reserved.of == nil {
		s.reserved.of = map[string]int{}
	}
	s.reserved.of[a.CredentialID]++
	return func() {
		s.reserved.mu.Lock()
		defer s.reserved.mu.Unlock()
		decrement(s.reserved.of, a.CredentialID)
	}, nil
}

func (s *Service) room(a registry.Actor) error {
	n := s.reserved.of[a.CredentialID]
	s.index.ask(func(t *tally) { n += t.pending[a.CredentialID] })
	if n < s.maxPending {
		return nil
	}
	return registry.Refuse(registry.RateLimited, "%d operations of credential %s wait for approval, the most that may; have some decided or cancelled first", n, a.CredentialID)
}
