package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// restoring is the key that a restoration holds from before its first write to after its last one.
const restoring = "/mw/restoring"

const (
	// wholeFirst is how many keys are asked for before it is known how large they are: each may have 1 MiB.
	wholeFirst = 16
	wholeMost  = 1000
	// leaseKeys is how many keys come under one lease, which etcd ends in one transaction.
	leaseKeys = 1000
)

// ErrNotEmpty says that a store that is to be filled from a backup holds something else.
var ErrNotEmpty = errors.New("store: not empty")

// ErrRestoring says that a restoration into this store did not come to its end.
var ErrRestoring = errors.New("store: a restoration did not come to its end; run mintwarden restore again")

// Whole reads every key of serve and of the seal at one revision, which it hands to started first, in order
// of keys, page by page. What lives under a lease (fences, who authors) is somebody's presence and is left
// out; records of idempotency are not. ErrCompacted: it took longer than etcd keeps revisions.
func (s *Store) Whole(ctx context.Context, started func(revision int64)) iter.Seq2[KV, error] {
	return func(yield func(KV, error) bool) {
		var revision int64
		for _, prefix := range []string{Root, SealRoot} {
			limit, after := int64(wholeFirst), prefix
			for {
				r, err := s.page(ctx, after, clientv3.GetPrefixRangeEnd(prefix), limit, revision)
				if limit > wholeFirst && status.Code(err) == codes.ResourceExhausted { // larger values than before
					limit = wholeFirst
					continue
				}
				if err != nil {
					yield(KV{}, wrap(ctx, "reading "+prefix, err))
					return
				}
				if revision == 0 {
					revision = r.Header.Revision
					started(revision)
				}
				size := 1
				for _, kv := range r.Kvs {
					size += len(kv.Key) + len(kv.Value)
					key := string(kv.Key)
					if key == restoring {
						yield(KV{}, ErrRestoring)
						return
					}
					if kv.Lease != 0 && !strings.HasPrefix(key, idemPrefix) {
						continue
					}
					if !yield(KV{Key: key, Value: kv.Value, ModRevision: kv.ModRevision}, nil) {
						return
					}
				}
				if !r.More || len(r.Kvs) == 0 {
					break
				}
				limit = int64(min(max(pageBytes*len(r.Kvs)/size, wholeFirst), wholeMost))
				after = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
			}
		}
	}
}

func (s *Store) page(ctx context.Context, from, to string, limit, revision int64) (*clientv3.GetResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	return s.client.Get(ctx, from, clientv3.WithRange(to), clientv3.WithLimit(limit), clientv3.WithRev(revision))
}

// Restored is ErrRestoring while a restoration into this store has not come to its end.
func (s *Store) Restored(ctx context.Context) error {
	_, _, there, err := s.Get(ctx, restoring)
	if err == nil && there {
		err = ErrRestoring
	}
	return err
}

// Restoration fills a store from a backup. Run again after a crash it writes the same again, until End. One
// goroutine uses it.
type Restoration struct {
	s      *Store
	mark   string
	again  bool
	ops    []clientv3.Op
	bytes  int
	lease  clientv3.LeaseID
	leased int
}

// Restoration begins to fill a store, as etcd's root. mark names the backup: a store that holds anything but
// a part of that very backup, and the mark that a serve leaves which begins on nothing, is ErrNotEmpty; one of
// another format is a *FormatError.
func (s *Store) Restoration(ctx context.Context, mark string) (*Restoration, error) {
	held, _, there, err := s.Get(ctx, restoring)
	if err != nil {
		return nil, err
	}
	r := &Restoration{s: s, mark: mark, again: there}
	if there && string(held) != mark {
		return nil, fmt.Errorf("%w: the restoration of another backup (%s) did not come to its end", ErrNotEmpty, held)
	}
	if there {
		return r, nil
	}
	format, _, marked, err := s.Get(ctx, formatKey)
	if err == nil && marked {
		err = checkFormat(format)
	}
	if err != nil {
		return nil, err
	}
	for _, prefix := range []string{Root, SealRoot} {
		n, err := s.Count(ctx, prefix)
		if err != nil {
			return nil, err
		}
		if prefix == Root && marked {
			n--
		}
		if n > 0 {
			return nil, fmt.Errorf("%w: %d keys begin with %s", ErrNotEmpty, n, prefix)
		}
	}
	return r, nil
}

// Again tells whether an earlier run began with the same backup.
func (r *Restoration) Again() bool { return r.again }

// Begin marks the store as one that is being filled: nobody serves it until End.
func (r *Restoration) Begin(ctx context.Context) error {
	if r.again {
		return nil
	}
	return r.commit(ctx, clientv3.Compare(clientv3.CreateRevision(restoring), "=", 0), clientv3.OpPut(restoring, r.mark))
}

// Put writes a key, at the latest with End.
func (r *Restoration) Put(ctx context.Context, key string, value []byte) error {
	if !strings.HasPrefix(key, Root) && !strings.HasPrefix(key, SealRoot) || key == restoring {
		return fmt.Errorf("store: %q belongs neither to serve nor to the seal", key)
	}
	size := len(key) + len(value)
	if len(r.ops) == MaxTxOps-1 || len(r.ops) > 0 && r.bytes+size > MaxTxBytes {
		if err := r.flush(ctx); err != nil {
			return err
		}
	}
	var opts []clientv3.OpOption
	if strings.HasPrefix(key, idemPrefix) {
		if err := r.window(ctx); err != nil {
			return err
		}
		opts = append(opts, clientv3.WithLease(r.lease))
	}
	r.ops = append(r.ops, clientv3.OpPut(key, string(value), opts...))
	r.bytes += size
	return nil
}

// window makes sure of a lease for records of idempotency: they are kept for a window from now on.
func (r *Restoration) window(ctx context.Context) error {
	if r.lease != 0 && r.leased < leaseKeys {
		r.leased++
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.s.cfg.RequestTimeout)
	defer cancel()
	l, err := r.s.client.Grant(ctx, int64((IdempotencyWindow + idempotencySlot).Seconds()))
	if err != nil {
		return wrap(ctx, "a lease", err)
	}
	r.lease, r.leased = l.ID, 1
	return nil
}

// End writes what is left and lets the store be served.
func (r *Restoration) End(ctx context.Context) error {
	r.ops = append(r.ops, clientv3.OpDelete(restoring))
	return r.flush(ctx)
}

func (r *Restoration) flush(ctx context.Context) error {
	err := r.commit(ctx, clientv3.Compare(clientv3.Value(restoring), "=", r.mark), r.ops...)
	r.ops, r.bytes = nil, 0
	return err
}

func (r *Restoration) commit(ctx context.Context, holds clientv3.Cmp, ops ...clientv3.Op) error {
	rctx, cancel := context.WithTimeout(ctx, r.s.cfg.RequestTimeout)
	defer cancel()
	done, err := r.s.client.Txn(rctx).If(holds).Then(ops...).Commit()
	if err != nil {
		return wrap(ctx, "restoring", err)
	}
	if !done.Succeeded {
		return &ConflictError{restoring}
	}
	return nil
}
