package store

import (
	"context"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Range is a stretch of keys: the first Limit of those from From on and below Until.
type Range struct {
	From, Until string
	Limit       int
}

// GetRanges reads stretches (at most MaxTxOps) at one revision, one behind the other. etcd looks at every key of a
// stretch, whatever its limit.
func (s *Store) GetRanges(ctx context.Context, ranges ...Range) ([]KV, error) {
	if len(ranges) > MaxTxOps {
		return nil, fmt.Errorf("%w: reading %d stretches at once", ErrTooLarge, len(ranges))
	}
	ops := make([]clientv3.Op, len(ranges))
	for i, r := range ranges {
		ops[i] = clientv3.OpGet(r.From, clientv3.WithRange(r.Until), clientv3.WithLimit(int64(r.Limit)))
	}
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	done := s.metrics.start("get")
	r, err := s.client.Txn(rctx).Then(ops...).Commit()
	done(err)
	if err != nil {
		return nil, wrap(ctx, "get", err)
	}
	var out []KV
	for _, o := range r.Responses {
		for _, kv := range o.GetResponseRange().GetKvs() {
			out = append(out, KV{Key: string(kv.Key), Value: kv.Value, ModRevision: kv.ModRevision})
		}
	}
	return out, nil
}
