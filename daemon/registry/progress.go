package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// ErrLedger says that the ledger in the store does not verify: a batch that the
// fold refuses, a gap, or one that changed or went after it was read. It is for
// a person to look at; the follower does not go on.
var ErrLedger = errors.New("the ledger does not verify")

// errNotReady is Ready's answer until the ledger's head is carried in.
var errNotReady = errors.New("the ledger is not carried in yet")

// progress is how far the follower has come, for those who wait for it. The
// zero value needs init.
type progress struct {
	mu      sync.Mutex
	carried cursor // the last batch whose records all stand in the store
	saved   uint64 // of carried, what the cursor in the store says
	ready   bool   // the head that stood at the start is carried in
	fault   error  // why the follower stopped for good
	changed chan struct{}
}

func (p *progress) init() { p.changed = make(chan struct{}) }

// note changes the progress and wakes everybody who waits for it.
func (p *progress) note(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	close(p.changed)
	p.changed = make(chan struct{})
}

// await returns nil once reached, called under the lock, is true.
func (p *progress) await(ctx context.Context, reached func() bool) error {
	for {
		p.mu.Lock()
		ok, fault, changed := reached(), p.fault, p.changed
		p.mu.Unlock()
		switch {
		case ok:
			return nil
		case fault != nil:
			return fault
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("registry: waiting for the ledger to be carried in: %w", ctx.Err())
		}
	}
}

// WaitCarried returns nil once every record up to that batch stands in the
// store, by this process's doing or another's; an error that is [ErrLedger] if
// the follower stopped before, or ctx's.
func (s *Service) WaitCarried(ctx context.Context, sequence uint64) error {
	return s.progress.await(ctx, func() bool { return s.progress.carried.Sequence >= sequence })
}

// WaitLog returns nil once every batch that the log holds now is carried, as [Service.WaitCarried] does. Who finds
// something that the ledger must have allowed before it could happen, and the store does not say so yet, asks this
// first.
func (s *Service) WaitLog(ctx context.Context) error {
	head := s.headSequence()
	for {
		page, err := s.store.List(ctx, store.SealLog, store.ListOptions{After: ledger.Key(head), KeysOnly: true})
		if err != nil {
			return err
		}
		for _, kv := range page.KVs {
			if sequence, ok := ledger.ParseKey(kv.Key); ok {
				head = max(head, sequence)
			}
		}
		if !page.More {
			return s.WaitCarried(ctx, head)
		}
	}
}

// WaitReady returns nil once the head that stood at the start is carried in:
// nothing may be served before.
func (s *Service) WaitReady(ctx context.Context) error {
	return s.progress.await(ctx, func() bool { return s.progress.ready })
}

// Ready is nil while the ledger is followed and its head was carried in, and
// otherwise the reason for readyz.
func (s *Service) Ready() error {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	switch {
	case s.progress.fault != nil:
		return s.progress.fault
	case !s.progress.ready:
		return errNotReady
	}
	return nil
}

// Carried is the last batch whose records all stand in the store.
func (s *Service) Carried() uint64 {
	s.progress.mu.Lock()
	defer s.progress.mu.Unlock()
	return s.progress.carried.Sequence
}
