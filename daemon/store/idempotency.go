package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// IdempotencyWindow is how long an answer is kept for its key (spec/api.md, “Idempotency”).
const IdempotencyWindow = 24 * time.Hour

// idempotencySlot is how long one etcd lease takes new records: a lease of its own for each record would
// cost one more fsync per request. A record lives up to this much longer than the window.
const idempotencySlot = 10 * time.Minute

// Idempotent is a request's idempotency key on its way to the transaction that answers it.
type Idempotent struct {
	Hash     string // SHA-256, in hex, of tenant, method, path and key
	BodyHash string // of the parsed body, the field idempotencyKey removed
	// Render is the answer for the resource that the transaction made; it is kept byte for byte.
	Render func(resource any) (status int, body []byte, err error)
	Begun  bool // an earlier request with this key began, and its answer is not known
}

// IdempotencyRecord is the answer that a key's first request got, or the mark that it is not yet known.
type IdempotencyRecord struct {
	BodyHash   string    `json:"bodyHash"`
	Pending    bool      `json:"pending,omitzero"`    // the answer comes with a later transaction
	ResourceID string    `json:"resourceId,omitzero"` // what a retry resumes while pending
	Status     int       `json:"status,omitzero"`     // HTTP status
	Body       []byte    `json:"body,omitzero"`       // exact bytes
	CreatedAt  time.Time `json:"createdAt"`           // UTC
}

// Idempotency reads the record of a key's hash.
func (s *Store) Idempotency(ctx context.Context, hash string) (*IdempotencyRecord, bool, error) {
	v, _, ok, err := s.Get(ctx, idemPrefix+hash)
	if err != nil || !ok {
		return nil, false, err
	}
	r, err := parseRecord(v)
	if err != nil {
		return nil, false, fmt.Errorf("store: idempotency record %s: %w", hash, err)
	}
	return r, true, nil
}

// Idempotent makes the transaction the one that answers i, with i's rendering of resource. A nil i, a
// request without a key, adds nothing.
func (t *Tx) Idempotent(i *Idempotent, resource any) {
	if i == nil {
		return
	}
	status, body, err := i.Render(resource)
	if err != nil {
		t.fail(fmt.Errorf("store: rendering the answer of %s: %w", i.Hash, err))
		return
	}
	t.firstRecord(i.Hash, &IdempotencyRecord{BodyHash: i.BodyHash, Status: status, Body: body})
}

// IdempotentPending takes i's key for a resource whose answer a later transaction completes.
func (t *Tx) IdempotentPending(i *Idempotent, resourceID string) {
	if i == nil {
		return
	}
	t.firstRecord(i.Hash, &IdempotencyRecord{BodyHash: i.BodyHash, Pending: true, ResourceID: resourceID})
}

// IdempotentComplete replaces a pending record by its answer. The key's window is not extended; a record
// that ran out in the meantime refuses the transaction.
func (t *Tx) IdempotentComplete(hash string, r *IdempotencyRecord) {
	r.Pending = false
	key := idemPrefix + hash
	b, err := r.encode()
	if err != nil {
		t.fail(fmt.Errorf("store: idempotency record %s: %w", hash, err))
		return
	}
	if t.write(key, len(b)) {
		t.ops = append(t.ops, clientv3.OpPut(key, string(b), clientv3.WithIgnoreLease()))
	}
}

// Answer keeps i's rendering of resource for a change that is made already.
func (s *Store) Answer(ctx context.Context, i *Idempotent, resource any) error {
	if i == nil {
		return nil
	}
	t := s.Tx()
	t.Idempotent(i, resource)
	_, err := t.Commit(ctx)
	return err
}

// Begin takes i's key for a change that another log records before its answer can be kept here: what a request finds
// done whose key was taken before (Idempotent.Begun) may be its own doing. Finish keeps the answer, GiveBack frees the
// key of a change that was refused. A nil i takes nothing.
func (s *Store) Begin(ctx context.Context, i *Idempotent, resourceID string) error {
	if i == nil || i.Begun {
		return nil
	}
	t := s.Tx()
	t.IdempotentPending(i, resourceID)
	_, err := t.Commit(ctx)
	return err
}

// Finish keeps i's rendering of resource as the answer for a key that was taken. Where another request with it was
// answered first that answer stands: ErrIdempotencyLost.
func (s *Store) Finish(ctx context.Context, i *Idempotent, resource any) error {
	return s.settle(ctx, i, func(t *Tx, r *IdempotencyRecord) (err error) {
		if r.Status, r.Body, err = i.Render(resource); err != nil {
			return fmt.Errorf("store: rendering the answer of %s: %w", i.Hash, err)
		}
		t.IdempotentComplete(i.Hash, r)
		return nil
	})
}

// GiveBack frees a key that was taken, unless it has its answer.
func (s *Store) GiveBack(ctx context.Context, i *Idempotent) error {
	return s.settle(ctx, i, func(t *Tx, _ *IdempotencyRecord) error {
		t.Delete(idemPrefix + i.Hash)
		return nil
	})
}

// settle commits what stage makes of a key's record while that is pending; one that ran out is left so.
func (s *Store) settle(ctx context.Context, i *Idempotent, stage func(*Tx, *IdempotencyRecord) error) error {
	if i == nil {
		return nil
	}
	key := idemPrefix + i.Hash
	v, rev, ok, err := s.Get(ctx, key)
	if err != nil || !ok {
		return err
	}
	r, err := parseRecord(v)
	if err != nil {
		return fmt.Errorf("store: idempotency record %s: %w", i.Hash, err)
	}
	if !r.Pending {
		return ErrIdempotencyLost
	}
	t := s.Tx()
	t.Require(key, rev)
	if err := stage(t, r); err != nil {
		return err
	}
	if _, err = t.Commit(ctx); errors.Is(err, ErrConflict) {
		return ErrIdempotencyLost
	}
	return err
}

func (t *Tx) firstRecord(hash string, r *IdempotencyRecord) {
	r.CreatedAt = time.Now().UTC().Truncate(time.Millisecond)
	key := idemPrefix + hash
	b, err := r.encode()
	if err != nil {
		t.fail(fmt.Errorf("store: idempotency record %s: %w", hash, err))
		return
	}
	t.RequireAbsent(key)
	if t.write(key, len(b)) {
		t.ops = append(t.ops, clientv3.OpPut(key, string(b)))
		t.idemKey, t.idemAt, t.idemVal = key, len(t.ops)-1, b
	}
}

// leaseRecords is how many records share a lease. With RBAC on, etcd checks every key of a lease at each put
// under it, in its one apply loop: records of ten busy minutes under one lease cost a quarter of a core.
const leaseRecords = 24

// idempotencyLease is the lease of the record that is written next; each call counts as one.
func (s *Store) idempotencyLease(ctx context.Context) (clientv3.LeaseID, error) {
	s.leaseMu.Lock()
	defer s.leaseMu.Unlock()
	if time.Now().Before(s.idemUntil) && s.idemCount < leaseRecords {
		s.idemCount++
		return s.idemLease, nil
	}
	rctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	g, err := s.client.Grant(rctx, int64((IdempotencyWindow+2*idempotencySlot)/time.Second))
	if err != nil {
		return 0, wrap(ctx, "lease", err)
	}
	s.idemLease, s.idemUntil, s.idemCount = g.ID, time.Now().Add(idempotencySlot), 1
	return s.idemLease, nil
}
