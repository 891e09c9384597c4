package registry

import (
	"context"
	"encoding/json/v2"
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Carried is how far the ledger has been carried into a resource: the place of
// the latest record that told of it. It only rises, and every transaction that
// carries a record compares it, so that a record counts once whoever carries it.
type Carried struct {
	LedgerSeq    uint64 `json:"ledgerSeq,omitzero"`    // of the batch
	LedgerRecord int    `json:"ledgerRecord,omitzero"` // its index in the batch
}

// precedes tells whether the record at that place is still to be carried.
func (c Carried) precedes(at Carried) bool {
	return c.LedgerSeq < at.LedgerSeq || c.LedgerSeq == at.LedgerSeq && c.LedgerRecord < at.LedgerRecord
}

func (c Carried) place() Carried { return c }

// sealDraft is the audit entry of a carried record: it rests on the ledger,
// which proves itself, and not on this process's word.
func sealDraft(h happening, at Carried) audit.Draft {
	if h.metadata == nil {
		h.metadata = map[string]any{}
	}
	h.metadata["ledgerSequence"], h.metadata["ledgerRecord"] = at.LedgerSeq, at.LedgerRecord
	d := SystemActor().draft(h)
	d.AssertedBy = audit.Seal
	return d
}

// carryInto makes a record true of the one resource at key: change gets the
// resource as it is (nil if there is none) and gives it as it is now and what
// that means; more is whatever else stands in the same transaction.
func carryInto[T interface{ place() Carried }](ctx context.Context, s *Service, m *mirror[T], key string, at Carried, change func(*T) (*T, happening), more func(*store.Tx, *T) error) error {
	for {
		old, rev, err := load[T](ctx, s.store, key)
		if err != nil {
			return err
		}
		if old != nil && !(*old).place().precedes(at) {
			return nil
		}
		v, h := change(old)
		tx := s.store.Tx()
		tx.PutIf(key, encode(v), rev)
		tx.Audit(sealDraft(h, at))
		if more != nil {
			if err := more(tx, v); err != nil {
				return err
			}
		}
		rev, err = tx.Commit(ctx)
		if lostRace(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("carrying batch %d into %s: %w", at.LedgerSeq, key, err)
		}
		if m != nil {
			m.wrote(key, v, rev)
		}
		return nil
	}
}

// cursor is /mw/ledger/carried: every record up to there stands in the store.
type cursor struct {
	Sequence uint64 `json:"sequence"`
	Digest   string `json:"digest"` // of the batch's exact bytes
}

func (s *Service) readCursor(ctx context.Context) (cursor, int64, error) {
	value, rev, ok, err := s.store.Get(ctx, store.LedgerCarried)
	if err != nil || !ok {
		return cursor{}, 0, err
	}
	var c cursor
	if err := json.Unmarshal(value, &c, json.RejectUnknownMembers(true)); err != nil {
		return cursor{}, 0, fmt.Errorf("registry: the value of %s: %w", store.LedgerCarried, err)
	}
	return c, rev, nil
}

// writeCursor raises the cursor to c; a higher one, of another appliance, stays.
func (s *Service) writeCursor(ctx context.Context, c cursor) error {
	for {
		old, rev, err := s.readCursor(ctx)
		if err != nil || old.Sequence >= c.Sequence {
			return err
		}
		tx := s.store.Tx()
		tx.PutIf(store.LedgerCarried, encode(c), rev)
		if _, err := tx.Commit(ctx); !lostRace(err) {
			return err
		}
	}
}
