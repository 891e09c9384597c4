package store

import (
	"context"
	"fmt"
	"time"

	"github.com/oklog/ulid/v2"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/daemon/audit"
)

const (
	// MaxTxOps bounds a transaction's comparisons and its writes, each; etcd itself refuses more than 128.
	MaxTxOps = 100
	// MaxTxBytes bounds the sum of its keys and values; etcd itself refuses more than 1.5 MiB.
	MaxTxBytes = 1 << 20
	// usualOps is how many of each an ordinary change has at most: an operation has some 300 bytes, so that a
	// list that grows as they come is copied more than it holds.
	usualOps = 12
)

// Tx gathers a change: writes, what must hold for them, the audit entries that tell of them, and the
// idempotency record that answers for them. Commit writes all or nothing. A Tx is used once, by one
// goroutine.
type Tx struct {
	s       *Store
	id      ulid.ULID // orders the audit entries of this change among those of others
	audits  int
	outbox  ulid.ULID // orders the events of this change among those of others
	events  int
	cmps    []clientv3.Cmp
	cmpKeys []string
	cmpRevs []int64 // what each comparison expects
	ops     []clientv3.Op
	written map[string]bool
	idemKey string // the key whose absence means that this request is the first
	idemAt  int    // index in ops of the idempotency record
	idemVal []byte
	bytes   int
	err     error
}

// Tx starts a transaction.
func (s *Store) Tx() *Tx {
	return &Tx{
		s: s, id: ulid.Make(), idemAt: -1, written: make(map[string]bool, usualOps),
		cmps: make([]clientv3.Cmp, 0, usualOps), cmpKeys: make([]string, 0, usualOps), cmpRevs: make([]int64, 0, usualOps),
		ops: make([]clientv3.Op, 0, usualOps),
	}
}

// Put writes key whatever it holds.
func (t *Tx) Put(key string, value []byte) {
	if t.write(key, len(value)) {
		t.ops = append(t.ops, clientv3.OpPut(key, string(value)))
	}
}

// PutIfAbsent writes key only if it does not exist; else the whole transaction is refused.
func (t *Tx) PutIfAbsent(key string, value []byte) {
	t.RequireAbsent(key)
	t.Put(key, value)
}

// PutIf writes key only if it was last modified at modRev; 0 means that it must not exist.
func (t *Tx) PutIf(key string, value []byte, modRev int64) {
	t.Require(key, modRev)
	t.Put(key, value)
}

// Delete removes key, if it is there.
func (t *Tx) Delete(key string) {
	if t.write(key, 0) {
		t.ops = append(t.ops, clientv3.OpDelete(key))
	}
}

// DeleteIf removes key only if it was last modified at modRev.
func (t *Tx) DeleteIf(key string, modRev int64) {
	t.Require(key, modRev)
	t.Delete(key)
}

// Require lets the transaction pass only if key was last modified at modRev; 0 means that it must not exist.
func (t *Tx) Require(key string, modRev int64) {
	t.cmps = append(t.cmps, clientv3.Compare(clientv3.ModRevision(key), "=", modRev))
	t.cmpKeys, t.cmpRevs = append(t.cmpKeys, key), append(t.cmpRevs, modRev)
	t.bytes += len(key)
}

// RequireAbsent lets the transaction pass only if key does not exist.
func (t *Tx) RequireAbsent(key string) { t.Require(key, 0) }

// Audit adds an audit entry to the change and returns its id.
func (t *Tx) Audit(d audit.Draft) string {
	id := NewID("aud_")
	p, err := d.Pend(id, t.s.cfg.Tenant, time.Now())
	if err != nil {
		t.fail(err)
		return id
	}
	b, err := p.Encode()
	if err != nil {
		t.fail(fmt.Errorf("store: audit entry %s: %w", d.Action, err))
		return id
	}
	if len(b) > audit.MaxEntrySize/2 {
		t.fail(fmt.Errorf("%w: audit entry %s has %d bytes", ErrTooLarge, d.Action, len(b)))
		return id
	}
	t.Put(fmt.Sprintf("%s%s/%02d", AuditPending, t.id, t.audits), b)
	t.audits++
	return id
}

// Len is the number of writes so far, audit entries included.
func (t *Tx) Len() int { return len(t.ops) }

// Commit writes everything, or nothing and says why: ErrIdempotencyLost, a *ConflictError (which is
// ErrConflict), ErrTooLarge, ErrUnavailable (outcome unknown). The revision is etcd's for this change, and
// that of others that were written with it in one transaction.
func (t *Tx) Commit(ctx context.Context) (int64, error) {
	if t.err != nil {
		return 0, t.err
	}
	if len(t.ops) > MaxTxOps || len(t.cmps) > MaxTxOps || t.bytes > MaxTxBytes {
		return 0, fmt.Errorf("%w: %d writes, %d comparisons, %d bytes", ErrTooLarge, len(t.ops), len(t.cmps), t.bytes)
	}
	if t.idemAt >= 0 {
		lease, err := t.s.idempotencyLease(ctx)
		if err != nil {
			return 0, err
		}
		t.ops[t.idemAt] = clientv3.OpPut(t.idemKey, string(t.idemVal), clientv3.WithLease(lease))
	}
	return t.s.group.commit(ctx, t)
}

// lost finds the comparison that failed. The lost idempotency key comes first: its record is the answer,
// whatever else changed.
func (t *Tx) lost(r *clientv3.TxnResponse) error {
	at := map[string]int64{}
	for _, o := range r.Responses {
		for _, kv := range o.GetResponseRange().GetKvs() {
			at[string(kv.Key)] = kv.ModRevision
		}
	}
	if t.idemKey != "" && at[t.idemKey] != 0 {
		return ErrIdempotencyLost
	}
	for i, k := range t.cmpKeys {
		if at[k] != t.cmpRevs[i] {
			return &ConflictError{Key: k}
		}
	}
	return &ConflictError{Key: "?"}
}

// write notes a write of key; etcd refuses two in one transaction, and so do we, with the key's name.
func (t *Tx) write(key string, size int) bool {
	if t.written[key] {
		t.fail(fmt.Errorf("store: %s is written twice in one transaction", key))
		return false
	}
	t.written[key] = true
	t.bytes += len(key) + size
	return true
}

func (t *Tx) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}
