package registry

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// maxAttempts is how often a change is tried again after somebody else changed
// the same resource in between. Each try lost means that another one won, so
// only a resource that everybody writes at once comes near it.
const maxAttempts = 32

// happening is what a change tells the audit log of itself.
type happening struct {
	action       string // "<resource>.<what happened>"
	resourceType string
	resourceID   string
	metadata     map[string]any
}

func (a Actor) draft(h happening) audit.Draft {
	d := audit.Draft{
		ActorID: a.Name, ActorType: audit.User, Action: h.action, ResourceType: h.resourceType, ResourceID: h.resourceID,
		RequestID: a.RequestID, IP: a.IP, UserAgent: a.UserAgent, Metadata: h.metadata, AssertedBy: audit.API,
	}
	if a.System {
		d.ActorType = audit.System
	}
	return d
}

// encode is the stored form of a resource.
func encode(v any) []byte {
	b, err := json.Marshal(v, json.Deterministic(true))
	if err != nil {
		// The types of this package marshal whatever they hold; one that does
		// not is a fault of the program and must not be stored as something else.
		panic(fmt.Sprintf("registry: encoding %T: %v", v, err))
	}
	return b
}

// decode reads a stored resource. A member that this version does not know is
// refused: rewriting the resource would lose it.
func decode[T any](key string, value []byte) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(value, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("registry: the value of %s: %w", key, err)
	}
	return v, nil
}

// load reads a resource and its revision from the store; nil and 0 if there is
// none.
func load[T any](ctx context.Context, s *store.Store, key string) (*T, int64, error) {
	value, rev, ok, err := s.Get(ctx, key)
	if err != nil || !ok {
		return nil, 0, err
	}
	v, err := decode[T](key, value)
	return v, rev, err
}

// create stores a new resource, with whatever else stage puts beside it.
func create[T any](ctx context.Context, s *Service, m *mirror[T], key string, v *T, a Actor, h happening, idem *store.Idempotent, stage ...func(*store.Tx)) error {
	tx := s.store.Tx()
	tx.PutIfAbsent(key, encode(v))
	for _, f := range stage {
		f(tx)
	}
	tx.Audit(a.draft(h))
	emit(tx, h, v)
	tx.Idempotent(idem, v)
	rev, err := tx.Commit(ctx)
	if err != nil {
		return err
	}
	m.wrote(key, v, rev)
	return nil
}

// update reads the resource at key, has it changed, and stores it if nobody
// else did in between; else from the start. change answers what it did, or an
// empty happening if there is nothing to do; missing is the error when there is
// no such resource.
func update[T any](ctx context.Context, s *Service, m *mirror[T], key string, a Actor, idem *store.Idempotent, missing error, change func(*T) (happening, error)) (*T, error) {
	for range maxAttempts {
		v, rev, err := load[T](ctx, s.store, key)
		if err != nil {
			return nil, err
		}
		if v == nil {
			return nil, missing
		}
		h, err := change(v)
		if err != nil {
			return nil, err
		}
		if h.action == "" && idem == nil {
			return v, nil
		}
		tx := s.store.Tx()
		if h.action == "" {
			tx.Require(key, rev)
		} else {
			tx.PutIf(key, encode(v), rev)
			tx.Audit(a.draft(h))
			emit(tx, h, v)
		}
		tx.Idempotent(idem, v)
		at, err := tx.Commit(ctx)
		if lostRace(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if h.action != "" {
			m.wrote(key, v, at)
		}
		return v, nil
	}
	return nil, fmt.Errorf("registry: %s: changed %d times by others while it was being changed: %w", key, maxAttempts, store.ErrConflict)
}

// lostRace tells whether a commit failed only because somebody else changed
// what it compared; a lost idempotency key is not that, it is an answer.
func lostRace(err error) bool {
	return errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrIdempotencyLost)
}
