package operation

import (
	"cmp"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Archive says where operations go that are over.
type Archive struct {
	Dir        string // this appliance's own; empty: they stay in the store
	Appliance  string
	Appliances func() []string // the charter's
	// Retention is how long an operation stays in the store once it is over; 0: for ever. It should be longer
	// than intents live, or what the ledger still hears of an operation brings it back into the store.
	Retention time.Duration
}

// archiveName is the archive's in the store and in metrics.
const archiveName = "operation"

// openArchive takes in what is on the disk: lists hold it from the start.
func (s *Service) openArchive(o Archive, reg prometheus.Registerer) error {
	if o.Dir == "" {
		return nil
	}
	a, err := archive.Open(s.store, archive.Options{Name: archiveName, Dir: o.Dir, Appliance: o.Appliance, Appliances: o.Appliances,
		Retention: o.Retention, Source: s, Now: s.now}, s.log, reg)
	if err != nil {
		return fmt.Errorf("operation: %w", err)
	}
	s.archive = a
	return nil
}

// KeepArchive archives until ctx ends, and lets others have the directory then. It needs nothing but the store, and
// begins before the ledger is carried in: what the ledger says of an operation that is not in the store waits until it
// is known whether the archive has it.
func (s *Service) KeepArchive(ctx context.Context) error {
	if s.archive == nil {
		return nil
	}
	defer s.archive.Close()
	if err := s.archive.Run(ctx); err != nil && ctx.Err() == nil {
		return fmt.Errorf("operation: the archive: %w", err)
	}
	return nil
}

// hasArchive waits until the store says whether operations left it; they did, and nobody said where they are, is an
// error: they would be unknown.
func (s *Service) hasArchive(ctx context.Context) error {
	for s.archive == nil {
		began, err := archive.Began(ctx, s.store, archiveName)
		if began {
			return errors.New("operation: operations were archived, and their directory, audit.dir/operations, is not there; bring it back, from another appliance or a backup")
		}
		if err == nil {
			return nil
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Due is for the archive: the oldest operations that have been over since before a moment.
func (s *Service) Due(ctx context.Context, before time.Time, n int) (due []archive.Due, err error) {
	o := store.ListOptions{Descending: true} // newer ones stand before older ones
	for {
		p, err := s.store.List(ctx, store.OperationIndex, o)
		if err != nil {
			return nil, err
		}
		for _, kv := range p.KVs {
			o.After = kv.Key
			var sum summary
			if err := json.Unmarshal(kv.Value, &sum, json.RejectUnknownMembers(true)); err != nil {
				return nil, fmt.Errorf("operation: %s: %w", kv.Key, err)
			}
			if !store.IDTime(sum.ID).Before(before) {
				return due, nil
			}
			if !sum.Closed {
				continue
			}
			e, err := s.loadState(ctx, sum.ID)
			if errors.Is(err, store.ErrUnavailable) || ctx.Err() != nil {
				return nil, errors.Join(err, ctx.Err())
			}
			if err != nil { // Read says so, and it holds up nobody else
				due = append(due, archive.Due{ID: sum.ID, Over: store.IDTime(sum.ID)})
			} else if over := e.op.UpdatedAt; e.op.closed() && over.Before(before) {
				due = append(due, archive.Due{ID: sum.ID, Over: over})
			}
			if len(due) == n {
				return due, nil
			}
		}
		if !p.More || len(p.KVs) == 0 {
			return due, nil
		}
	}
}

// Read is for the archive: an operation that is over, whole.
func (s *Service) Read(ctx context.Context, id string) (*archive.Item, error) {
	p, err := s.store.List(ctx, opPrefix(id), store.ListOptions{})
	if err != nil {
		return nil, err
	}
	if p.More {
		return nil, fmt.Errorf("operation: %s has more than %d keys", id, len(p.KVs))
	}
	item := &archive.Item{ID: id, Guard: store.OpState(id), Keys: p.KVs, Derived: []string{store.OpIndexKey(id)}}
	var o *Operation
	for n, kv := range p.KVs {
		rest := kv.Key[len(opPrefix(id)):]
		if kv.Value, err = unpacked(rest, kv.Value); err != nil {
			return nil, fmt.Errorf("%s: %w", kv.Key, err)
		}
		p.KVs[n] = kv
		switch {
		case rest == "state":
			if o, err = decode(kv.Value); err != nil {
				return nil, err
			}
			item.Revision = kv.ModRevision
		case strings.HasPrefix(rest, "tx/"):
			if o == nil {
				return nil, archive.ErrGone // its state, which comes before, left just now
			}
			t, err := parseStoredTx(kv.Value, s.keyOf(ctx, o))
			if err != nil {
				return nil, fmt.Errorf("operation: %s: %w", kv.Key, err)
			}
			item.Names = append(item.Names, t.Hash.String())
			item.Derived = append(item.Derived, store.TxOperation(t.Hash))
		}
	}
	switch {
	case o == nil:
		return nil, archive.ErrGone
	case !o.closed():
		return nil, nil
	}
	if item.Summary, err = json.Marshal(o.summary()); err != nil {
		return nil, err
	}
	return item, nil
}

// Archived is for the archive: it has an operation on the disk.
func (s *Service) Archived(id string, text jsontext.Value) error {
	var sum summary
	if err := json.Unmarshal(text, &sum, json.RejectUnknownMembers(true)); err != nil {
		return err
	}
	if sum.ID != id || !store.ValidID(IDPrefix, id) || !sum.Status.Valid() || !sum.Type.Valid() {
		return fmt.Errorf("operation: %.80q is summed up as %.200q", id, text)
	}
	s.index.mu.Lock()
	defer s.index.mu.Unlock()
	s.index.rows.put(sum, 0) // whatever the store says of it is newer
	return nil
}

func opPrefix(id string) string { return strings.TrimSuffix(store.OpState(id), "state") }

// stored is an operation's keys below a prefix of theirs, sorted: from the store, or else from the archive.
// Those of the archive have no revision.
func (s *Service) stored(ctx context.Context, id, prefix, until string) ([]store.KV, error) {
	p, err := s.store.List(ctx, prefix, store.ListOptions{Until: until})
	if err != nil {
		return nil, err
	}
	// What is written beside a state that left just now does not make an operation.
	stateless := prefix == opPrefix(id) && !slices.ContainsFunc(p.KVs, func(kv store.KV) bool { return kv.Key == store.OpState(id) })
	if len(p.KVs) > 0 && !stateless {
		return p.KVs, nil
	}
	kvs, _, err := s.archive.Get(id)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(kvs, func(kv store.KV) bool {
		return !strings.HasPrefix(kv.Key, prefix) || until != "" && kv.Key >= until
	}), nil
}

// fill reads from the archive what the store does not have: kvs are keys of operations, by the ids beside them.
func (s *Service) fill(ids []string, kvs []store.KV) error {
	for i, kv := range kvs {
		if kv.ModRevision != 0 {
			continue
		}
		archived, _, err := s.archive.Get(ids[i])
		if err != nil {
			return err
		}
		if at, ok := slices.BinarySearchFunc(archived, kv.Key, func(a store.KV, key string) int { return cmp.Compare(a.Key, key) }); ok {
			kvs[i].Value = archived[at].Value
		}
	}
	return nil
}

// OfTransactions are the ids of the operations that transactions were signed for, in the hashes' order; empty at
// the place of one that is not ours.
func (s *Service) OfTransactions(ctx context.Context, hashes []tx.Hash) ([]string, error) {
	ids := make([]string, 0, len(hashes))
	for chunk := range slices.Chunk(hashes, store.MaxTxOps) {
		keys := make([]string, len(chunk))
		for i, h := range chunk {
			keys[i] = store.TxOperation(h)
		}
		kvs, _, err := s.store.GetMany(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for i, kv := range kvs {
			id := string(kv.Value)
			if kv.ModRevision == 0 {
				if id, _, err = s.archive.Named(chunk[i].String()); err != nil {
					return nil, err
				}
			}
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// revive brings an archived operation back into the store, as it left: something is to change in it. Where
// somebody else did so first, it is done.
func (s *Service) revive(ctx context.Context, id string) error {
	kvs, ok, err := s.archive.Get(id)
	if err != nil {
		return err
	}
	if !ok {
		return unknown(id)
	}
	var o *Operation // its state comes before its transactions
	t := s.store.Tx()
	for _, kv := range kvs {
		t.PutIfAbsent(kv.Key, kv.Value)
		switch rest := kv.Key[len(opPrefix(id)):]; {
		case rest == "state":
			if o, err = decode(kv.Value); err != nil {
				return err
			}
			text, err := json.Marshal(o.summary())
			if err != nil {
				return err
			}
			t.Put(store.OpIndexKey(id), text)
		case strings.HasPrefix(rest, "tx/"):
			if o == nil {
				return fmt.Errorf("operation: %s is archived without a state", id)
			}
			signed, err := parseStoredTx(kv.Value, s.keyOf(ctx, o))
			if err != nil {
				return fmt.Errorf("operation: %s: %w", kv.Key, err)
			}
			t.Put(store.TxOperation(signed.Hash), []byte(id))
		}
	}
	// gofail: var reviveBeforeCommit struct{}
	if _, err := t.Commit(ctx); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return nil
}
