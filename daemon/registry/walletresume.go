package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// resumeEvery is how often wallets left half-made are tried again.
	resumeEvery = 15 * time.Second
	// resumeAfter is how long a wallet may be in the making before it counts as
	// left: until then the request that wants it is at work on it.
	resumeAfter = 30 * time.Second
)

// greeter remembers the wallets whose OnWallet is still to succeed.
type greeter struct {
	mu      sync.Mutex
	waiting map[string]*Wallet
	wake    chan struct{}
}

func newGreeter() *greeter {
	return &greeter{waiting: map[string]*Wallet{}, wake: make(chan struct{}, 1)}
}

// greet has OnWallet called with w, soon and until it succeeds.
func (s *Service) greet(w *Wallet) {
	if s.onWallet == nil {
		return
	}
	s.greeter.mu.Lock()
	s.greeter.waiting[w.ID] = w
	s.greeter.mu.Unlock()
	select {
	case s.greeter.wake <- struct{}{}:
	default: // it is awake already
	}
}

// resumeWallets finishes wallets whose making a crash or a seal that did not
// answer cut short, and greets active ones, until ctx ends.
func (s *Service) resumeWallets(ctx context.Context) {
	if s.WaitReady(ctx) != nil {
		return
	}
	all, err := s.wallets.ascending(ctx, s.store)
	if err != nil {
		s.log.Warn("registry: wallets are not greeted before the next start", "error", err)
	}
	for _, w := range all {
		if w.Status == WalletActive {
			s.greet(w)
		}
	}
	tick := time.NewTicker(resumeEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.greeter.wake:
		case <-tick.C:
			s.finishLeft(ctx)
		case <-ctx.Done():
			return
		}
		s.greetWaiting(ctx)
	}
}

func (s *Service) greetWaiting(ctx context.Context) {
	s.greeter.mu.Lock()
	waiting := make([]*Wallet, 0, len(s.greeter.waiting))
	for _, w := range s.greeter.waiting {
		waiting = append(waiting, w)
	}
	s.greeter.mu.Unlock()
	for _, w := range waiting {
		if err := s.onWallet(ctx, w); err != nil {
			s.log.Warn("registry: a wallet was not greeted; trying again", "wallet", w.ID, "error", err)
			continue
		}
		s.greeter.mu.Lock()
		delete(s.greeter.waiting, w.ID)
		s.greeter.mu.Unlock()
	}
}

// finishLeft goes on with every wallet that nobody is at work on any more.
func (s *Service) finishLeft(ctx context.Context) {
	all, err := s.wallets.ascending(ctx, s.store)
	if err != nil {
		return
	}
	for _, w := range all {
		if w.Status != WalletCreating || s.now().Sub(w.CreatedAt) < resumeAfter {
			continue
		}
		_, err := s.finishWallet(ctx, SystemActor(), w)
		if err == nil {
			s.log.Info("registry: a wallet left half-made is finished", "wallet", w.ID)
			continue
		}
		if kind, _ := seal.KindOf(err); kind == seal.KindSealed || errors.Is(err, seal.ErrUnreachable) {
			return // so will the others be
		}
		s.log.Warn("registry: a wallet left half-made is not finished yet", "wallet", w.ID, "error", err)
	}
}
