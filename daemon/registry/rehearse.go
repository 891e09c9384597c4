package registry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

const (
	// rehearsedTime is how far back a proposal is rehearsed (spec: issue of the
	// seal, "Policy rehearsal").
	rehearsedTime = 30 * 24 * time.Hour
	// rehearsalPatience is how long an answer waits for a rehearsal; one that
	// takes longer goes on and is there for the next.
	rehearsalPatience = 3 * time.Second
	// rehearsalLimit ends a rehearsal that would never end.
	rehearsalLimit = 10 * time.Minute
	// rehearsalAge is how long a rehearsal is shown although the ledger went on.
	rehearsalAge = time.Minute
	// maxRehearsals bounds what is kept, and what is under way or waits for its turn.
	maxRehearsals = 64
)

// ErrRehearsing is that a rehearsal is still under way.
var ErrRehearsing = errors.New("the ledger is being replayed; ask again")

// errTrimmed is that the ledger in the store begins behind every snapshot there.
var errTrimmed = errors.New("the ledger's beginning is in the archive and no snapshot stands in for it")

// rehearsals are what proposals would have changed, by their documents' digests.
// One replays the ledger at a time.
type rehearsals struct {
	mu       sync.Mutex
	byDigest map[policy.Digest]*rehearsal
	turn     chan struct{}
}

type rehearsal struct {
	head   uint64 // of the ledger when it began
	done   chan struct{}
	at     time.Time // when it was done
	result *ledger.Rehearsal
	err    error
}

func newRehearsals() *rehearsals {
	return &rehearsals{byDigest: map[policy.Digest]*rehearsal{}, turn: make(chan struct{}, 1)}
}

// Rehearse says which operations of the last 30 days would have been decided
// otherwise under a proposal, by replaying the ledger. It waits a moment and
// answers [ErrRehearsing] if that was not enough.
func (s *Service) Rehearse(ctx context.Context, p *Policy) (*ledger.Rehearsal, error) {
	r, err := s.rehearsal(ctx, p)
	if err != nil {
		return nil, err
	}
	patience := time.NewTimer(rehearsalPatience)
	defer patience.Stop()
	select {
	case <-r.done:
		return r.result, r.err
	case <-patience.C:
		return nil, ErrRehearsing
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// rehearsal is the one of the proposal that counts now, begun if need be.
func (s *Service) rehearsal(ctx context.Context, p *Policy) (*rehearsal, error) {
	proposal, err := policy.ParsePolicy(p.Document)
	if err != nil {
		return nil, fmt.Errorf("registry: policy %s: %w", p.ID, err)
	}
	head := s.headSequence()
	s.rehearsals.mu.Lock()
	defer s.rehearsals.mu.Unlock()
	if r := s.rehearsals.byDigest[p.DocumentDigest]; r != nil && r.fresh(head, s.now()) {
		return r, nil
	}
	r := &rehearsal{head: head, done: make(chan struct{})}
	if !s.rehearsals.put(p.DocumentDigest, r) {
		return nil, ErrRehearsing
	}
	go func() {
		defer close(r.done)
		// Whoever asked may go away; the next one finds the answer.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rehearsalLimit)
		defer cancel()
		s.rehearsals.turn <- struct{}{}
		defer func() { <-s.rehearsals.turn }()
		r.result, r.err = s.replay(ctx, proposal, head)
		r.at = s.now()
	}()
	return r, nil
}

// replay rehearses from the log's beginning, or from the oldest snapshot where
// that is gone: then what came before it was decided long ago.
func (s *Service) replay(ctx context.Context, proposal *policy.Policy, head uint64) (*ledger.Rehearsal, error) {
	fold, next := ledger.NewFold(s.root), ledger.FirstSequence
	begin, err := s.begin(ctx, next)
	if err != nil {
		return nil, err
	}
	if begin != nil {
		var parts []string
		for n := range begin.Parts {
			parts = append(parts, ledger.SnapshotKey(begin.Sequence, n))
		}
		if fold, err = s.restore(ctx, stored{begin.Sequence, parts}); err != nil {
			return nil, err
		}
		next = begin.Sequence + 1
	}
	return fold.Rehearse(s.logged(ctx, next, head), proposal, policy.Seconds(s.now().Add(-rehearsedTime)))
}

// fresh tells whether the rehearsal still speaks of the ledger at that head.
func (r *rehearsal) fresh(head uint64, now time.Time) bool {
	select {
	case <-r.done:
		return r.err == nil && (r.head == head || now.Sub(r.at) < rehearsalAge)
	default:
		return true
	}
}

// put keeps a rehearsal; where there are too many the ones that are done go, and where none is done it is not kept.
func (rs *rehearsals) put(d policy.Digest, r *rehearsal) bool {
	if len(rs.byDigest) >= maxRehearsals {
		for other, old := range rs.byDigest {
			select {
			case <-old.done:
				delete(rs.byDigest, other)
			default:
			}
		}
	}
	if len(rs.byDigest) >= maxRehearsals {
		return false
	}
	rs.byDigest[d] = r
	return true
}

// logged is every batch from next up to head, in order.
func (s *Service) logged(ctx context.Context, next, head uint64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for next <= head {
			page, err := s.store.List(ctx, store.SealLog, store.ListOptions{After: ledger.Key(next - 1), Limit: ledgerPage})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, kv := range page.KVs {
				at, ok := ledger.ParseKey(kv.Key)
				if !ok || at > head || !yield(kv.Value, nil) {
					return
				}
				next = at + 1
			}
			if !page.More {
				return
			}
		}
	}
}
