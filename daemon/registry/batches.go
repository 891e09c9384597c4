package registry

import (
	"cmp"
	"context"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// maxBatchesBytes bounds one answer of LedgerBatches: it is enough for four of
// the largest batches, and base64 of it still fits a client's patience.
const maxBatchesBytes = 4 << 20

// Head is the latest batch that this appliance verified.
type Head struct {
	Sequence uint64        `json:"sequence"`
	Hash     policy.Digest `json:"hash"` // of the batch's exact bytes
}

// Snapshot names a snapshot of the ledger that stands in the store.
type Snapshot struct {
	Sequence uint64 // of the batch that it is of
	Parts    int
}

// LedgerBatches is the exact bytes of up to limit batches from sequence from
// on (0 and 1 are both the first), in order, and the head. It gives fewer
// where they are large, and none behind the head. Where from is of a batch that
// is in the archive only it also names the oldest snapshot to begin with, and
// goes on behind that.
func (s *Service) LedgerBatches(ctx context.Context, from uint64, limit int) ([][]byte, Head, *Snapshot, error) {
	sequence, digest := s.fold.Head()
	head := Head{sequence, digest}
	from = max(from, ledger.FirstSequence)
	begin, err := s.begin(ctx, from)
	if err != nil {
		return nil, Head{}, nil, err
	}
	if begin != nil {
		from = begin.Sequence + 1
	}
	batches, err := s.batches(ctx, from, sequence, limit)
	return batches, head, begin, err
}

// begin is the snapshot that stands in for the batch from on, nil if the store
// still has that batch.
func (s *Service) begin(ctx context.Context, from uint64) (*Snapshot, error) {
	first, err := s.firstBatch(ctx)
	if err != nil || first <= from {
		return nil, err
	}
	known, err := s.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	known = slices.DeleteFunc(known, func(c stored) bool { return c.sequence+1 < first })
	if len(known) == 0 {
		return nil, errTrimmed
	}
	oldest := slices.MinFunc(known, func(a, b stored) int { return cmp.Compare(a.sequence, b.sequence) })
	return &Snapshot{oldest.sequence, len(oldest.parts)}, nil
}

// SnapshotPart is the exact bytes of one part of a snapshot; NOT_FOUND if there
// is none.
func (s *Service) SnapshotPart(ctx context.Context, sequence uint64, part int) ([]byte, error) {
	value, _, ok, err := s.store.Get(ctx, ledger.SnapshotKey(sequence, part))
	if err == nil && !ok {
		err = Refuse(NotFound, "there is no part %d of a snapshot of batch %d; GET /v1/ledger names the one to begin with", part, sequence)
	}
	return value, err
}

// batches are those from one sequence up to another, at most limit.
func (s *Service) batches(ctx context.Context, from, sequence uint64, limit int) ([][]byte, error) {
	batches := [][]byte{}
	for size := 0; len(batches) < limit && from <= sequence && size < maxBatchesBytes; {
		page, err := s.store.List(ctx, store.SealLog, store.ListOptions{After: ledger.Key(from - 1), Limit: min(limit-len(batches), ledgerPage)})
		if err != nil {
			return nil, err
		}
		for _, kv := range page.KVs {
			at, ok := ledger.ParseKey(kv.Key)
			if !ok || at > sequence || len(batches) > 0 && size+len(kv.Value) > maxBatchesBytes {
				return batches, nil
			}
			batches = append(batches, kv.Value)
			size += len(kv.Value)
			from = at + 1
		}
		if !page.More {
			break
		}
	}
	return batches, nil
}
