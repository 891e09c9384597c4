package auditlog

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Cosignatures pass through the store: an appliance cosigns what its own tree and its own seal's ledger say, so
// a store that shows it another history gets no cosignature, and one that keeps them back is seen to.

// cosigning is what appliances said of signed trees. One goroutine.
type cosigning map[string]*signedTree // by appliance, the newest of each

// parseCosigned reads one appliance's word on a checkpoint, strictly. Whose keys they are says the ledger.
func parseCosigned(b []byte) (*signedTree, error) {
	var s signedTree
	if len(b) > maxSigned {
		return nil, fmt.Errorf("auditlog: a cosignature of %d bytes", len(b))
	}
	if err := json.Unmarshal(b, &s, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("auditlog: not a cosignature: %w", err)
	}
	if s.Format != 1 || s.Keys == nil {
		return nil, fmt.Errorf("auditlog: a cosignature of format %d", s.Format)
	}
	c, err := s.Keys.OpenCosigned([]byte(s.Note))
	if err != nil {
		return nil, fmt.Errorf("auditlog: %w", err)
	}
	s.tree = c.Tree
	return &s, nil
}

// cosigned takes one appliance's word.
func (f *following) cosigned(ctx context.Context, kv store.KV) {
	s, err := parseCosigned(kv.Value)
	if err == nil && f.opts.Ledger.Check != nil {
		err = f.opts.Ledger.Check(ctx, s.Keys)
	}
	if err == nil && kv.Key != store.AuditCosigned+s.Keys.ApplianceID {
		err = fmt.Errorf("auditlog: a cosignature of %s", s.Keys.ApplianceID)
	}
	if err != nil {
		if ctx.Err() == nil {
			f.log.Error("audit log: what stands in the store is no cosignature of this ledger's appliances", "key", kv.Key, "error", err)
		}
		return
	}
	f.words[s.Keys.ApplianceID] = s
	f.witness()
}

// witness puts the cosignatures of the newest checkpoint under it. The newest that has any stays until a later one
// does: a receipt goes by that one where it can.
func (f *following) witness() {
	s := f.signed.Load()
	if s == nil {
		return
	}
	var more []*signedTree
	for _, name := range slices.Sorted(maps.Keys(f.words)) {
		if w := f.words[name]; w.tree == s.tree && name != s.Keys.ApplianceID {
			more = append(more, w)
		}
	}
	if len(more) == 0 {
		return
	}
	text := s.Note
	for _, w := range more {
		_, lines, _ := strings.Cut(w.Note, "\n\n")
		text += lines
	}
	f.Log.witnessed.Store(&signedTree{Format: 1, Note: text, Keys: s.Keys, tree: s.tree, cosigners: more})
	f.metrics.cosigners.Set(float64(len(more)))
}

// vouch has our own seal cosign what others signed, whenever a checkpoint is published. It returns only with ctx.
func (l *Log) vouch(ctx context.Context) error {
	key := store.AuditCosigned + l.opts.Appliance
	var last uint64
	value, _, ok, err := l.store.Get(ctx, key)
	if err != nil {
		return err
	}
	if ok {
		if s, err := parseCosigned(value); err == nil {
			last = s.tree.Size
		}
	}
	// An answer that was lost may have been a cosignature all the same: the seal goes by what it cosigned.
	tried := last
	told := ""
	for {
		news := l.news()
		if s := l.signed.Load(); s != nil && s.tree.Size > max(last, tried) && s.Keys.ApplianceID != l.opts.Appliance {
			err := l.vouchFor(ctx, key, s, last)
			if kind, _ := seal.KindOf(err); kind == seal.KindConflict && tried != last {
				err = l.vouchFor(ctx, key, s, tried)
			}
			tried = s.tree.Size
			switch {
			case err == nil:
				last, told = s.tree.Size, ""
			case ctx.Err() != nil:
			case told != err.Error(): // a seal that is sealed says so for every checkpoint
				told = err.Error()
				l.log.Warn("audit log: a checkpoint is not cosigned", "leaves", s.tree.Size, "error", err)
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (l *Log) vouchFor(ctx context.Context, key string, s *signedTree, last uint64) error {
	t := l.tree.Load()
	if t == nil || l.fault.Load() != nil {
		return errors.New("the tree cannot be gone by")
	}
	m, ok := t.at(s.tree.Size)
	if !ok {
		return nil // there is a newer one already
	}
	q, err := request(t, m, last, true)
	if err != nil {
		return err
	}
	q.Cosign = true
	res, err := l.opts.Cosigner.Checkpoint(ctx, *q)
	if err != nil {
		return err
	}
	value, err := json.Marshal(&signedTree{Format: 1, Note: res.Note, Keys: res.Keys})
	if err != nil {
		return err
	}
	if c, err := parseCosigned(value); err != nil || c.tree != s.tree || c.Keys.ApplianceID != l.opts.Appliance {
		return errors.Join(errors.New("auditlog: the seal's cosignature is not what was asked for"), err)
	}
	tx := l.store.Tx()
	tx.Put(key, value)
	_, err = tx.Commit(ctx)
	return err
}
