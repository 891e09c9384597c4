package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

const (
	// ledgerPage is how many batches one read asks for: at 1 MiB each it stays
	// below what the store's connection takes.
	ledgerPage = 32
	// cursorEvery is how often the cursor is written. What was carried since is
	// found done when it is carried again.
	cursorEvery = time.Second
	// cursorLast bounds the cursor's last write, when the follower ends.
	cursorLast = 2 * time.Second
)

// errReadAgain says that the watch told less than the log holds: it is read
// from the fold's head again, which tells a lost event from a lost batch.
var errReadAgain = errors.New("the watch skipped a batch")

// OnBatch registers a carrier: what makes a batch's records true in the store.
// Carriers are called in the order of registration, with every batch in the
// ledger's order, the fold standing exactly at that batch. A carrier that fails
// is called again with the same batch until it succeeds; one that is called
// again after a crash, or beside other appliances, MUST find its work done.
// Not to be called once Follow runs.
func (s *Service) OnBatch(carry func(context.Context, *ledger.Batch) error) {
	s.carriers = append(s.carriers, carry)
}

// Follow feeds lists and authentication, and carries the ledger into the store,
// until ctx ends; then it returns nil. A ledger that does not verify stops the
// carrying for good: Follow then reports it (log, metric, Ready, WaitCarried),
// goes on feeding lists, and returns an error that is [ErrLedger] when ctx ends.
func (s *Service) Follow(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	for _, run := range []func(){
		func() { s.tokens.run(ctx, s.store, s.log) },
		func() { s.vaults.run(ctx, s.store, s.log) },
		func() { s.wallets.run(ctx, s.store, s.log) },
		func() { s.users.run(ctx, s.store, s.log) },
		func() { s.credentials.run(ctx, s.store, s.log) },
		func() { s.roles.run(ctx, s.store, s.log) },
		func() { s.uses.run(ctx, s.store, s.log) },
		func() { s.pulse.run(ctx, s.store) },
		func() { s.policies.run(ctx, s.store, s.log) },
		func() { s.resumeWallets(ctx) },
		func() { s.keepCursor(ctx) },
	} {
		running.Go(run)
	}
	for {
		err := s.followLedger(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, ErrLedger):
			s.log.Error("registry: the follower stopped for good", "error", err)
			s.progress.note(func() { s.progress.fault = err })
			<-ctx.Done()
			return err
		case errors.Is(err, errReadAgain):
			continue
		}
		s.log.Warn("registry: following the ledger again", "error", err)
		if pause(ctx, reloadPause) != nil {
			return nil
		}
	}
}

// followLedger reads the log from the fold's head on, then watches it. It
// returns only with an error.
func (s *Service) followLedger(ctx context.Context) error {
	done, _, err := s.readCursor(ctx)
	if err != nil {
		return err
	}
	if err := s.startFromSnapshot(ctx, done); err != nil {
		return err
	}
	at, err := s.catchUp(ctx, done)
	if err != nil {
		return err
	}
	head, _ := s.fold.Head()
	if head < done.Sequence {
		return fmt.Errorf("%w: the log ends at batch %d, but batch %d was carried before", ErrLedger, head, done.Sequence)
	}
	if head > 0 {
		s.progress.note(func() { s.progress.ready = true })
	}
	for c := range s.store.Watch(ctx, store.SealLog, at+1) {
		if c.Err != nil {
			if errors.Is(c.Err, store.ErrCompacted) {
				return errReadAgain
			}
			return c.Err
		}
		if err := s.takeChanges(ctx, c); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// catchUp takes every batch behind the fold's head and answers the revision at
// which there were no more.
func (s *Service) catchUp(ctx context.Context, done cursor) (int64, error) {
	for {
		head, _ := s.fold.Head()
		page, err := s.store.List(ctx, store.SealLog, store.ListOptions{After: ledger.Key(head), Limit: ledgerPage})
		if err != nil {
			return 0, err
		}
		for _, kv := range page.KVs {
			if err := s.takeBatch(ctx, kv.Key, kv.Value, done); err != nil {
				if errors.Is(err, errReadAgain) {
					return 0, fmt.Errorf("%w: %s does not follow batch %d, and nothing stands between", ErrLedger, kv.Key, s.headSequence())
				}
				return 0, err
			}
		}
		if !page.More {
			return page.Revision, nil
		}
	}
}

func (s *Service) takeChanges(ctx context.Context, c store.Changes) error {
	for _, e := range c.Events {
		if e.Deleted {
			if err := s.checkDeletion(e.Key); err != nil {
				return err
			}
			continue
		}
		if err := s.takeBatch(ctx, e.Key, e.Value, cursor{}); err != nil {
			return err
		}
	}
	s.progress.note(func() { s.progress.ready = s.headSequence() > 0 })
	return nil
}

// checkDeletion: batches go only behind a trim record, and only the author
// takes them away.
func (s *Service) checkDeletion(key string) error {
	sequence, ok := ledger.ParseKey(key)
	if ok && sequence < s.trimmed {
		return nil
	}
	return fmt.Errorf("%w: %s was deleted, and no trim record allows it", ErrLedger, key)
}

// takeBatch verifies the next batch with the fold and has it carried, unless it
// is behind the cursor done.
func (s *Service) takeBatch(ctx context.Context, key string, value []byte, done cursor) error {
	sequence, ok := ledger.ParseKey(key)
	if !ok {
		return fmt.Errorf("%w: %s is no batch's key", ErrLedger, key)
	}
	switch head := s.headSequence(); {
	case sequence <= head:
		return fmt.Errorf("%w: batch %d was written again", ErrLedger, sequence)
	case sequence > head+1:
		return errReadAgain
	}
	b, err := s.fold.Apply(value)
	if err != nil {
		return fmt.Errorf("%w: batch %d: %w", ErrLedger, sequence, err)
	}
	digest := policy.DigestOf(value)
	if sequence == done.Sequence && string(digest) != done.Digest {
		return fmt.Errorf("%w: batch %d is %s, but the one that was carried before is %s: the log was replaced", ErrLedger, sequence, digest, done.Digest)
	}
	for _, r := range b.Records {
		if r.Trim != nil {
			s.trimmed = r.Trim.FirstKept
		}
	}
	if sequence > done.Sequence {
		s.metrics.batch(b, len(value))
		if err := s.carryBatch(ctx, b); err != nil {
			return err
		}
	}
	s.progress.note(func() { s.progress.carried = cursor{sequence, string(digest)} })
	return nil
}

// carryBatch calls every carrier until it succeeds. Only ctx's end is an error:
// a batch is never left behind.
func (s *Service) carryBatch(ctx context.Context, b *ledger.Batch) error {
	for _, carry := range s.carriers {
		for wait := 10 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
			err := carry(ctx, b)
			if err == nil {
				break
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.metrics.carryFailures.Inc()
			s.log.Error("registry: a batch is not carried yet; trying again", "sequence", b.Sequence, "error", err)
			if err := pause(ctx, wait); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Service) headSequence() uint64 {
	sequence, _ := s.fold.Head()
	return sequence
}

// keepCursor writes how far the ledger is carried, now and then and when ctx
// ends. It may lag: it saves the next start work, and nothing rests on it.
func (s *Service) keepCursor(ctx context.Context) {
	tick := time.NewTicker(cursorEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.saveCursor(ctx)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), cursorLast)
			defer cancel()
			s.saveCursor(last)
			return
		}
	}
}

func (s *Service) saveCursor(ctx context.Context) {
	s.progress.mu.Lock()
	c, saved := s.progress.carried, s.progress.saved
	s.progress.mu.Unlock()
	if c.Sequence == saved {
		return
	}
	// gofail: var cursorBeforeCommit struct{}
	if err := s.writeCursor(ctx, c); err != nil {
		s.log.Warn("registry: how far the ledger is carried was not written; trying again", "sequence", c.Sequence, "error", err)
		return
	}
	// gofail: var cursorAfterCommit struct{}
	s.progress.mu.Lock()
	s.progress.saved = c.Sequence
	s.progress.mu.Unlock()
}
