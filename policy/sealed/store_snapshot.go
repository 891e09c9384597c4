package sealed

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
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
// the one with that sequence, which the newest trim names.
func (s *logStore) trim(ctx context.Context, firstKept, snapshot uint64, t *tenure) error {
	return s.doAs(ctx, t,
		clientv3.OpDelete(ledger.LogPrefix, clientv3.WithRange(ledger.Key(firstKept))),
		clientv3.OpDelete(ledger.SnapshotPrefix, clientv3.WithRange(ledger.SnapshotKey(snapshot, 0))))
}

// dropSnapshots deletes the snapshots of batches before one.
func (s *logStore) dropSnapshots(ctx context.Context, before uint64, t *tenure) error {
	return s.doAs(ctx, t, clientv3.OpDelete(ledger.SnapshotPrefix, clientv3.WithRange(ledger.SnapshotKey(before, 0))))
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

// snapshot is the newest signed snapshot that a trim names, put together from its
// parts: the batch right behind it says what its digest is, and whoever followed
// the log compared the two. One that no trim names is its signer's word alone.
func (s *logStore) snapshot(ctx context.Context) ([]byte, error) {
	end := clientv3.GetPrefixRangeEnd(ledger.SnapshotPrefix)
	keys, err := s.get(ctx, ledger.SnapshotPrefix, clientv3.WithRange(end), clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithKeysOnly())
	if err != nil {
		return nil, err
	}
	seen := uint64(0)
	for _, kv := range keys.Kvs {
		seq, last, ok := ledger.ParseSnapshotKey(string(kv.Key))
		if !ok {
			return nil, fmt.Errorf("%.80q is no key of a snapshot", kv.Key)
		}
		if seq == seen {
			continue
		}
		seen = seq
		named, err := s.namedByTrim(ctx, seq+1)
		if err != nil {
			return nil, err
		}
		if named == "" {
			continue
		}
		signed, err := s.snapshotOf(ctx, seq, last)
		if err != nil {
			return nil, err
		}
		if have, ok := ledger.SnapshotDigest(signed); !ok || have != named {
			return nil, fmt.Errorf("the snapshot of batch %d is %s, the trim behind it names %s", seq, have, named)
		}
		return signed, nil
	}
	return nil, errors.New("the store was trimmed and has no snapshot that a trim names")
}

// namedByTrim is the snapshot that the batch's trim names, empty if it has none.
// What else the batch is says the fold, when it reads it.
func (s *logStore) namedByTrim(ctx context.Context, sequence uint64) (policy.Digest, error) {
	value, err := s.batch(ctx, sequence)
	if err != nil || value == nil {
		return "", err
	}
	b, err := ledger.ParseBatch(value)
	if err != nil {
		return "", err
	}
	if t := b.Records[0].Trim; t != nil {
		return t.Snapshot, nil
	}
	return "", nil
}

// snapshotOf puts the parts of one snapshot together; last is the number of the
// highest.
func (s *logStore) snapshotOf(ctx context.Context, sequence uint64, last int) ([]byte, error) {
	var signed bytes.Buffer
	for n := range last + 1 {
		part, err := s.get(ctx, ledger.SnapshotKey(sequence, n))
		if err != nil {
			return nil, err
		}
		if len(part.Kvs) == 0 || signed.Len()+len(part.Kvs[0].Value) > ledger.MaxSnapshot+ledger.MaxPart {
			return nil, fmt.Errorf("the snapshot of batch %d lacks part %d, or is too large", sequence, n)
		}
		signed.Write(part.Kvs[0].Value)
	}
	return signed.Bytes(), nil
}
