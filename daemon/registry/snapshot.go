package registry

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// stored is a signed snapshot of the ledger's fold as it stands in the store, in parts.
type stored struct {
	sequence uint64 // of the batch that it is of
	parts    []string
}

// startFromSnapshot has a follower that begins start behind the newest snapshot whose batches were all
// carried before, so that a start costs what is new and not what there ever was. A snapshot is verified from
// charter 1 on (ledger.RestoreFold); one that does not hold is passed over, for the log itself is there. Only
// where the log's beginning is gone does a follower that has carried less start behind the oldest one.
func (s *Service) startFromSnapshot(ctx context.Context, done cursor) error {
	if s.headSequence() > 0 {
		return nil
	}
	candidates, err := s.snapshots(ctx)
	if err != nil || len(candidates) == 0 {
		return err
	}
	first, err := s.firstBatch(ctx)
	if err != nil {
		return err
	}
	slices.SortFunc(candidates, func(a, b stored) int {
		useful := func(c stored) bool { return c.sequence <= done.Sequence }
		switch x, y := useful(a), useful(b); {
		case x && y:
			return cmp.Compare(b.sequence, a.sequence) // of those that are carried the newest
		case x:
			return -1
		case y:
			return 1
		}
		return cmp.Compare(a.sequence, b.sequence)
	})
	for _, c := range candidates {
		if c.sequence > done.Sequence && first == ledger.FirstSequence {
			break // the log tells all that is to be carried
		}
		err := s.startFrom(ctx, c, done)
		if err == nil || !errors.Is(err, ledger.ErrSnapshot) {
			return err
		}
		s.log.Warn("registry: a snapshot of the ledger is passed over", "sequence", c.sequence, "error", err)
	}
	return nil
}

// startFrom makes a snapshot's fold the follower's.
func (s *Service) startFrom(ctx context.Context, c stored, done cursor) error {
	fold, err := s.restore(ctx, c)
	if err != nil {
		return err
	}
	sequence, digest := fold.Head()
	if sequence == done.Sequence && string(digest) != done.Digest {
		return fmt.Errorf("%w: the snapshot of batch %d is of %s, but the one that was carried before is %s: the log was replaced", ErrLedger, sequence, digest, done.Digest)
	}
	if err := s.fold.Adopt(fold); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	// What it stands in for may go while we follow: the record that allows it may lie behind us.
	s.trimmed = sequence + 1
	if sequence <= done.Sequence {
		s.progress.note(func() { s.progress.carried = cursor{sequence, string(digest)} })
	}
	s.log.Info("registry: following the ledger from a snapshot on", "sequence", sequence)
	debug.FreeOSMemory() // reading it, and etcd's own start before, took several times what they left
	return nil
}

// restore is a snapshot's fold, verified from charter 1 on.
func (s *Service) restore(ctx context.Context, c stored) (*ledger.Fold, error) {
	var signed bytes.Buffer
	for _, key := range c.parts {
		part, _, ok, err := s.store.Get(ctx, key)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, fmt.Errorf("%w: %s is gone", ledger.ErrSnapshot, key)
		}
		signed.Write(part)
	}
	fold, err := ledger.RestoreFold(signed.Bytes(), s.root)
	if err != nil {
		return nil, err
	}
	if sequence, _ := fold.Head(); sequence != c.sequence {
		return nil, fmt.Errorf("%w: it stands at batch %d and is of %d", ledger.ErrSnapshot, c.sequence, sequence)
	}
	return fold, nil
}

// snapshots are what stands in the store, whole or not, in no order.
func (s *Service) snapshots(ctx context.Context) ([]stored, error) {
	parts := map[uint64][]string{}
	o := store.ListOptions{KeysOnly: true}
	for {
		p, err := s.store.List(ctx, ledger.SnapshotPrefix, o)
		if err != nil {
			return nil, err
		}
		for _, kv := range p.KVs {
			if sequence, n, ok := ledger.ParseSnapshotKey(kv.Key); ok && n == len(parts[sequence]) {
				parts[sequence] = append(parts[sequence], kv.Key)
			}
			o.After = kv.Key
		}
		if !p.More || len(p.KVs) == 0 {
			break
		}
	}
	out := make([]stored, 0, len(parts))
	for sequence, keys := range parts {
		out = append(out, stored{sequence, keys})
	}
	return out, nil
}

// firstBatch is the sequence of the first batch that the log still holds, 0 if it holds none.
func (s *Service) firstBatch(ctx context.Context) (uint64, error) {
	p, err := s.store.List(ctx, store.SealLog, store.ListOptions{Limit: 1, KeysOnly: true})
	if err != nil || len(p.KVs) == 0 {
		return 0, err
	}
	sequence, _ := ledger.ParseKey(p.KVs[0].Key)
	return sequence, nil
}
