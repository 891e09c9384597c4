package sealed

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy/ledger"
)

// errNotOurs says that the author key is no longer as it was when we took it.
var errNotOurs = errors.New("the author key is not ours any more")

// putAs puts a key as long as the author key is as it was.
func (s *logStore) putAs(ctx context.Context, key string, value []byte, t *tenure) error {
	return s.doAs(ctx, t, clientv3.OpPut(key, string(value)))
}

func (s *logStore) doAs(ctx context.Context, t *tenure, ops ...clientv3.Op) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	txn, err := s.c.Txn(ctx).If(clientv3.Compare(clientv3.ModRevision(ledger.AuthorKey), "=", t.revision)).Then(ops...).Commit()
	if err != nil {
		return err
	}
	if !txn.Succeeded {
		return errNotOurs
	}
	return nil
}

// trim deletes the batches before firstKept, and the snapshots of batches before
// the one with that sequence.
func (s *logStore) trim(ctx context.Context, firstKept, snapshot uint64, t *tenure) error {
	return s.doAs(ctx, t,
		clientv3.OpDelete(ledger.LogPrefix, clientv3.WithRange(ledger.Key(firstKept))),
		clientv3.OpDelete(ledger.SnapshotPrefix, clientv3.WithRange(ledger.SnapshotKey(snapshot, 0))))
}

// first is the sequence of the store's oldest batch, 0 if it has none.
func (s *logStore) first(ctx context.Context) (uint64, error) {
	r, err := s.get(ctx, ledger.LogPrefix, clientv3.WithRange(clientv3.GetPrefixRangeEnd(ledger.LogPrefix)), clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil || len(r.Kvs) == 0 {
		return 0, err
	}
	seq, ok := ledger.ParseKey(string(r.Kvs[0].Key))
	if !ok {
		return 0, fmt.Errorf("%.80q is no key of a batch", r.Kvs[0].Key)
	}
	return seq, nil
}

// snapshot is the newest signed snapshot, put together from its parts.
func (s *logStore) snapshot(ctx context.Context) ([]byte, error) {
	end := clientv3.GetPrefixRangeEnd(ledger.SnapshotPrefix)
	last, err := s.get(ctx, ledger.SnapshotPrefix, clientv3.WithRange(end), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend),
		clientv3.WithLimit(1), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	if len(last.Kvs) == 0 {
		return nil, errors.New("the store was trimmed and has no snapshot")
	}
	seq, parts, ok := ledger.ParseSnapshotKey(string(last.Kvs[0].Key))
	if !ok {
		return nil, fmt.Errorf("%.80q is no key of a snapshot", last.Kvs[0].Key)
	}
	var signed bytes.Buffer
	for n := range parts + 1 {
		part, err := s.get(ctx, ledger.SnapshotKey(seq, n))
		if err != nil {
			return nil, err
		}
		if len(part.Kvs) == 0 || signed.Len()+len(part.Kvs[0].Value) > ledger.MaxSnapshot+ledger.MaxPart {
			return nil, fmt.Errorf("the snapshot of batch %d lacks part %d, or is too large", seq, n)
		}
		signed.Write(part.Kvs[0].Value)
	}
	return signed.Bytes(), nil
}
