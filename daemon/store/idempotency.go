package store

import (
	"context"
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
