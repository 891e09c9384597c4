package operation

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// ErrCursor says that a text is not a cursor that List gave.
var ErrCursor = errors.New("operation: not a cursor")

// Filter narrows a list; empty fields do not.
type Filter struct {
	TokenID     string
	Type        policy.OperationType
	Status      Status
	RequestedBy string // a person's name
	WalletID    string // the performer
	Network     string
	// From and To bound the moment at which the operation's id was drawn, which is when its request came:
	// From itself is in, To is not.
	From, To time.Time
	// AwaitingApprovalBy is a person's name: operations that wait for approvals of a group that the person
	// is of now, that the person did not request and has not decided on.
	AwaitingApprovalBy string
}

// Get is one operation with its intent and decisions; an unknown one is TX_NOT_FOUND.
func (s *Service) Get(ctx context.Context, id string) (*Operation, error) {
	o, _, err := s.load(ctx, id)
	return o, err
}

// load reads an operation whole, and the revision of its state.
func (s *Service) load(ctx context.Context, id string) (*Operation, int64, error) {
	if !store.ValidID(IDPrefix, id) {
		return nil, 0, unknown(id)
	}
	prefix := opPrefix(id)
	// Signed transactions come last, and nobody reads them here.
	kvs, err := s.stored(ctx, id, prefix, store.OpTxs(id))
	if err != nil {
		return nil, 0, err
	}
	var o *Operation
	var rev int64
	var intent []byte
	var reason string
	var decisions []Decision
	for _, kv := range kvs {
		switch rest := kv.Key[len(prefix):]; {
		case rest == "state":
			if o, err = decode(kv.Value); err != nil {
				return nil, 0, err
			}
			rev = kv.ModRevision
		case rest == "intent":
			if intent, err = IntentText(kv.Value); err != nil {
				return nil, 0, err
			}
		case rest == "reason":
			reason = string(kv.Value)
		case strings.HasPrefix(rest, "decision/"):
			ds, err := decodeDecisions(kv.Value)
			if err != nil {
				return nil, 0, fmt.Errorf("%s: %w", kv.Key, err)
			}
			decisions = append(decisions, ds...)
		}
	}
	if o == nil {
		return nil, 0, unknown(id)
	}
	slices.SortStableFunc(decisions, func(a, b Decision) int { return int(a.Sequence) - int(b.Sequence) })
	o.Intent, o.Reason, o.Decisions = intent, reason, decisions
	s.countConfirmations(o)
	return o, rev, nil
}

// countConfirmations counts from the newest head that this process has seen: a state is not rewritten at
// every block.
func (s *Service) countConfirmations(o *Operation) {
	if o.Status != Confirming || o.BlockNumber == 0 {
		return
	}
	if head := s.heads.last(o.Network); head >= o.BlockNumber {
		o.Confirmations = max(o.Confirmations, head-o.BlockNumber+1)
	}
}

func unknown(id string) error {
	return registry.Refuse(registry.TxNotFound, "there is no operation %q; GET /v1/token-operations lists them", id)
}

// List is the operations that f admits, as this process knows them, newest first: at most limit (≤ 200) after offset of them, or after
// the cursor of an earlier page (offset then counts from there). total is how many there are in all; next is
// empty on the last page. Intents and the reasons of decisions are left out. ErrCursor, or the store's errors.
func (s *Service) List(ctx context.Context, f Filter, limit, offset int, cursor string) (ops []*Operation, total int, next string, err error) {
	if cursor != "" && !store.ValidID(IDPrefix, cursor) {
		return nil, 0, "", fmt.Errorf("%w: %q", ErrCursor, cursor)
	}
	if err := s.index.ready(ctx); err != nil {
		return nil, 0, "", err
	}
	if err := s.archive.Ready(ctx); err != nil {
		return nil, 0, "", err
	}
	if err := s.archive.Whole(); err != nil {
		return nil, 0, "", err
	}
	limit = min(limit, 2*store.MaxTxOps)
	ids, total := s.index.page(f, s.awaiting(f.AwaitingApprovalBy), cursor, offset, limit+1)
	if len(ids) > limit {
		ids = ids[:limit]
		next = ids[limit-1]
	}
	if ops, err = s.states(ctx, ids); err != nil {
		return nil, 0, "", err
	}
	for _, o := range ops {
		s.countConfirmations(o)
	}
	return ops, total, next, nil
}

// states are the operations with these ids, as far as they are known here and from the store otherwise.
func (s *Service) states(ctx context.Context, ids []string) ([]*Operation, error) {
	ops := s.index.states(ids)
	var unknown []int
	for i, o := range ops {
		if o == nil {
			unknown = append(unknown, i)
		}
	}
	for chunk := range slices.Chunk(unknown, store.MaxTxOps) {
		keys, of := make([]string, len(chunk)), make([]string, len(chunk))
		for n, i := range chunk {
			keys[n], of[n] = store.OpState(ids[i]), ids[i]
		}
		kvs, _, err := s.store.GetMany(ctx, keys...)
		if err == nil {
			err = s.fill(of, kvs)
		}
		if err != nil {
			return nil, err
		}
		for n, i := range chunk {
			if ops[i], err = decode(kvs[n].Value); err != nil {
				return nil, fmt.Errorf("%s: %w", keys[n], err)
			}
		}
	}
	return ops, nil
}

// awaiting tells whether an open operation waits for the person.
func (s *Service) awaiting(person string) func(*Operation) bool {
	if person == "" {
		return nil
	}
	return func(o *Operation) bool {
		return o.Status == PendingAuthorization && o.RequestedBy != person && !o.decided(person) && s.approves(o, person)
	}
}

// page is the ids that f admits, newest first: at most limit of them, behind an id if one is given, without the
// first skip; and how many there are in all. awaits, if not nil, looks at open operations only.
func (x *index) page(f Filter, awaits func(*Operation) bool, after string, skip, limit int) (ids []string, total int) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	c := x.rows.choose(f)
	if awaits != nil {
		x.narrow(c, awaits)
	}
	for id := range c.newest(after, skip) {
		if ids = append(ids, id); len(ids) == limit {
			break
		}
	}
	return ids, x.rows.total(c)
}

// narrow leaves of a choice the open operations that wait; the caller holds the lock.
func (x *index) narrow(c *choice, awaits func(*Operation) bool) {
	var waiting []*row
	for id, e := range x.open {
		if _, in := at(c.list, id); !in || !awaits(e.op) {
			continue
		}
		if r, ok := x.rows.find(id); ok && c.takes(r) {
			waiting = append(waiting, r)
		}
	}
	slices.SortFunc(waiting, func(a, b *row) int { return strings.Compare(a.id, b.id) })
	c.list, c.whole, c.counts = waiting, true, nil
}

func encodeDecisions(ds []Decision) ([]byte, error) {
	b, err := json.Marshal(ds)
	if err != nil {
		return nil, err
	}
	return storedDecisions.Pack(b), nil
}

// decodeDecisions reads one person's decisions: one, or an approval and the rejection after it.
func decodeDecisions(b []byte) ([]Decision, error) {
	b, err := unpack(storedDecisions, b)
	if err != nil {
		return nil, err
	}
	var ds []Decision
	if err := json.Unmarshal(b, &ds, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("operation: stored decision: %w", err)
	}
	return ds, nil
}
