package auditlog

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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

// errPassed says that the tree went on from a checkpoint, so that nothing can be proven of that one any more.
var errPassed = errors.New("the tree went on from it")

// mostAsked bounds how many trees are kept that the seal may have cosigned.
const mostAsked = 16

// vouch has our own seal cosign what others signed, whenever a checkpoint is published, and a moment later once more
// where that failed: the seal may be about to read of it. It returns only with ctx.
func (l *Log) vouch(ctx context.Context) error {
	v := vouching{Log: l, key: store.AuditCosigned + l.opts.Appliance}
	value, _, ok, err := l.store.Get(ctx, v.key)
	if err != nil {
		return err
	}
	if ok {
		if s, err := parseCosigned(value); err == nil {
			v.last = s.tree.Size
		}
	}
	tried, told := v.last, ""
	var rested <-chan time.Time
	for ctx.Err() == nil {
		news := l.news()
		s := l.signed.Load()
		if s != nil && s.tree.Size > v.last && (s.tree.Size > tried || rested == nil) && s.Keys.ApplianceID != l.opts.Appliance {
			err := v.cosign(ctx, s)
			tried, rested = s.tree.Size, nil
			switch {
			case err == nil:
				told = ""
			case errors.Is(err, errPassed): // there will be another one
			default:
				rested = time.After(failedRest)
				if told != err.Error() && ctx.Err() == nil { // a seal that is sealed says so every time
					told = err.Error()
					l.log.Warn("audit log: a checkpoint is not cosigned", "leaves", s.tree.Size, "error", err)
				}
			}
		}
		select {
		case <-news:
		case <-rested:
			rested = nil
		case <-ctx.Done():
		}
	}
	return ctx.Err()
}

// vouching is one appliance's word on checkpoints. One goroutine.
type vouching struct {
	*Log
	key  string
	last uint64 // leaves of the tree whose cosignature stands in the store
	// asked are the sizes of those that the seal was asked about since, the newest last: an answer that was lost may have
	// been a cosignature all the same, and the seal wants the proof from what it cosigned.
	asked []uint64
}

// cosign has the seal cosign a checkpoint, by a proof from whichever tree it cosigned last: the store's, one that it was
// asked about since, or the one that an earlier life of ours was at when it died.
func (v *vouching) cosign(ctx context.Context, s *signedTree) error {
	t := v.tree.Load()
	if t == nil || v.fault.Load() != nil {
		return errors.New("the tree cannot be gone by")
	}
	m, ok := t.at(s.tree.Size)
	if !ok {
		return errPassed
	}
	err := v.from(ctx, t, m, s, v.last)
	for _, size := range slices.Backward(append([]uint64{v.before.Load()}, v.asked...)) {
		if kind, _ := seal.KindOf(err); kind == seal.KindConflict && size < s.tree.Size {
			err = v.from(ctx, t, m, s, size)
		}
	}
	if err == nil {
		v.last, v.asked = s.tree.Size, nil
		return nil
	}
	if kind, _ := seal.KindOf(err); kind != seal.KindConflict && !slices.Contains(v.asked, s.tree.Size) {
		v.asked = append(v.asked, s.tree.Size)
		v.asked = v.asked[max(0, len(v.asked)-mostAsked):]
	}
	return err
}

// from has the seal cosign the tree at m, and puts that into the store.
func (v *vouching) from(ctx context.Context, t *tree, m mark, s *signedTree, last uint64) error {
	q, err := request(t, m, last, true)
	if err != nil {
		return err
	}
	q.Cosign = true
	res, err := v.opts.Cosigner.Checkpoint(ctx, *q)
	if err != nil {
		return err
	}
	value, err := json.Marshal(&signedTree{Format: 1, Note: res.Note, Keys: res.Keys})
	if err != nil {
		return err
	}
	if c, err := parseCosigned(value); err != nil || c.tree != s.tree || c.Keys.ApplianceID != v.opts.Appliance {
		return errors.Join(errors.New("auditlog: the seal's cosignature is not what was asked for"), err)
	}
	tx := v.store.Tx()
	tx.Put(v.key, value)
	_, err = tx.Commit(ctx)
	return err
}
