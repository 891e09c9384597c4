package operation

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// States are the operations with these ids as they are now, without intents and decisions, in the ids'
// order; nil at the place of an id that is unknown.
func (s *Service) States(ctx context.Context, ids []string) ([]*Operation, error) {
	ops := make([]*Operation, 0, len(ids))
	for chunk := range slices.Chunk(ids, store.MaxTxOps) {
		keys := make([]string, len(chunk))
		for i, id := range chunk {
			keys[i] = store.OpState(id)
		}
		kvs, _, err := s.store.GetMany(ctx, keys...)
		if err == nil {
			err = s.fill(chunk, kvs)
		}
		if err != nil {
			return nil, err
		}
		for _, kv := range kvs {
			if kv.Value == nil {
				ops = append(ops, nil)
				continue
			}
			o, err := decode(kv.Value)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", kv.Key, err)
			}
			ops = append(ops, o)
		}
	}
	return ops, nil
}
