package store

import (
	"context"
	"fmt"
	"iter"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// pageSize is what one request asks for where nothing else is said; with values of a few KiB it stays far
	// below grpc's limits.
	pageSize = 500
	// All asks for pages of about pageBytes, at most mostKeys: etcd counts everything behind a page, too, so
	// that many small pages of a long prefix take it time that grows with the square of its length.
	pageBytes = 4 << 20
	mostKeys  = 5000
)

// KV is a key with its value.
type KV struct {
	Key         string
	Value       []byte
	ModRevision int64 // of the last write, for Tx.PutIf and Tx.Require
}

// Get reads one key. ok is false if it does not exist; modRev is then 0, which Tx.PutIf takes as “absent”.
func (s *Store) Get(ctx context.Context, key string) (value []byte, modRev int64, ok bool, err error) {
	kv, err := s.looks.get(ctx, key)
	return kv.Value, kv.ModRevision, kv.ModRevision != 0, err
}

// get is Get without company.
func (s *Store) get(ctx context.Context, key string) (KV, error) {
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	done := s.metrics.start("get")
	r, err := s.client.Get(rctx, key)
	done(err)
	if err != nil {
		return KV{}, wrap(ctx, "get "+key, err)
	}
	if len(r.Kvs) == 0 {
		return KV{Key: key}, nil
	}
	return KV{Key: key, Value: r.Kvs[0].Value, ModRevision: r.Kvs[0].ModRevision}, nil
}

// GetMany reads keys (at most MaxTxOps) at one revision. The answer has one KV per key, in order; a key
// that does not exist has ModRevision 0.
func (s *Store) GetMany(ctx context.Context, keys ...string) ([]KV, int64, error) {
	if len(keys) > MaxTxOps {
		return nil, 0, fmt.Errorf("%w: reading %d keys at once", ErrTooLarge, len(keys))
	}
	ops := make([]clientv3.Op, len(keys))
	for i, k := range keys {
		ops[i] = clientv3.OpGet(k)
	}
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	done := s.metrics.start("get")
	r, err := s.client.Txn(rctx).Then(ops...).Commit()
	done(err)
	if err != nil {
		return nil, 0, wrap(ctx, "get", err)
	}
	out := make([]KV, len(keys))
	for i, o := range r.Responses {
		out[i].Key = keys[i]
		if kvs := o.GetResponseRange().GetKvs(); len(kvs) == 1 {
			out[i].Value, out[i].ModRevision = kvs[0].Value, kvs[0].ModRevision
		}
	}
	return out, r.Header.Revision, nil
}

// ListOptions says which part of a prefix to read.
type ListOptions struct {
	After      string // only keys that follow this one in the listing's order; empty: from its start
	From       string // only this key and those above it; empty: all. Not together with Descending
	Until      string // only keys below this one; empty: all. Not together with Descending
	Limit      int    // at most so many; 0: 500
	Descending bool   // from the last key to the first
	KeysOnly   bool   // without values
	Revision   int64  // as of this revision; 0: now
}

// Page is a part of a prefix.
type Page struct {
	KVs      []KV
	More     bool  // there are keys after the last one
	Revision int64 // the store's when it was read: watch from the next one on
}

// List reads one page of the keys that begin with prefix, in order.
func (s *Store) List(ctx context.Context, prefix string, o ListOptions) (Page, error) {
	if o.Limit <= 0 {
		o.Limit = pageSize
	}
	from, to := prefix, clientv3.GetPrefixRangeEnd(prefix)
	if o.Until != "" {
		to = o.Until
	}
	order := clientv3.SortAscend
	if o.Descending {
		order = clientv3.SortDescend
		if o.After != "" {
			to = o.After
		}
	} else {
		from = max(from, o.From)
		if o.After != "" {
			from = max(from, o.After+"\x00")
		}
	}
	opts := []clientv3.OpOption{clientv3.WithRange(to), clientv3.WithLimit(int64(o.Limit)), clientv3.WithSort(clientv3.SortByKey, order), clientv3.WithRev(o.Revision)}
	if o.KeysOnly {
		opts = append(opts, clientv3.WithKeysOnly())
	}
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	done := s.metrics.start("list")
	r, err := s.client.Get(rctx, from, opts...)
	done(err)
	if err != nil {
		return Page{}, wrap(ctx, "list "+prefix, err)
	}
	p := Page{KVs: make([]KV, len(r.Kvs)), More: r.More, Revision: r.Header.Revision}
	if o.Revision != 0 {
		p.Revision = o.Revision
	}
	for i, kv := range r.Kvs {
		p.KVs[i] = KV{Key: string(kv.Key), Value: kv.Value, ModRevision: kv.ModRevision}
	}
	return p, nil
}

// All reads every key that begins with prefix, in order, page by page at one revision, which it hands to
// started (nil: not wanted) with the first page, even an empty one: a watch from the next revision on
// misses nothing.
func (s *Store) All(ctx context.Context, prefix string, started func(revision int64)) iter.Seq2[KV, error] {
	return s.AllFrom(ctx, prefix, "", 0, started)
}

// AllFrom is All of the keys from one on, as of a revision (0: now). What a queue's reader has left behind
// costs it nothing then: etcd passes by every key that was deleted since its last compaction, too.
func (s *Store) AllFrom(ctx context.Context, prefix, from string, revision int64, started func(revision int64)) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		o := ListOptions{From: from, Revision: revision}
		for first := true; ; first = false {
			p, err := s.List(ctx, prefix, o)
			if err != nil {
				yield(KV{}, err)
				return
			}
			if o.Revision = p.Revision; first && started != nil {
				started(p.Revision)
			}
			size := 0
			for _, kv := range p.KVs {
				size += len(kv.Key) + len(kv.Value)
				if !yield(kv, nil) {
					return
				}
			}
			if !p.More || len(p.KVs) == 0 {
				return
			}
			o.Limit = min(max(pageBytes*len(p.KVs)/size, pageSize), mostKeys)
			o.After = p.KVs[len(p.KVs)-1].Key
		}
	}
}

// Count is the number of keys that begin with prefix.
func (s *Store) Count(ctx context.Context, prefix string) (int64, error) {
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	done := s.metrics.start("list")
	r, err := s.client.Get(rctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	done(err)
	if err != nil {
		return 0, wrap(ctx, "count "+prefix, err)
	}
	return r.Count, nil
}
