package registry

import (
	"context"

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

// LedgerBatches is the exact bytes of up to limit batches from sequence from
// on (0 and 1 are both the first), in order, and the head. It gives fewer
// where they are large, and none behind the head.
func (s *Service) LedgerBatches(ctx context.Context, from uint64, limit int) ([][]byte, Head, error) {
	sequence, digest := s.fold.Head()
	head := Head{sequence, digest}
	from = max(from, ledger.FirstSequence)
	batches := [][]byte{}
	for size := 0; len(batches) < limit && from <= sequence && size < maxBatchesBytes; {
		page, err := s.store.List(ctx, store.SealLog, store.ListOptions{After: ledger.Key(from - 1), Limit: min(limit-len(batches), ledgerPage)})
		if err != nil {
			return nil, Head{}, err
		}
		for _, kv := range page.KVs {
			at, ok := ledger.ParseKey(kv.Key)
			if !ok || at > sequence || len(batches) > 0 && size+len(kv.Value) > maxBatchesBytes {
				return batches, head, nil
			}
			batches = append(batches, kv.Value)
			size += len(kv.Value)
			from = at + 1
		}
		if !page.More {
			break
		}
	}
	return batches, head, nil
}
