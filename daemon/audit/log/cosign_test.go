package auditlog_test

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// cosigner is the seal of another appliance, which cosigns what the notary recorded, if it extends what it cosigned
// before.
type cosigner struct {
	*notary
	id string
	// fails is called with each tree that it would cosign, and may have it refused, or its answer lost (nil: neither).
	fails func(seal.Tree) (refused, lost error)

	of     sync.Mutex
	before *seal.Tree
}

func (c *cosigner) Checkpoint(_ context.Context, q seal.CheckpointRequest) (*seal.CheckpointResult, error) {
	if tree, _ := c.recorded(); !q.Cosign || tree != q.Tree {
		return nil, seal.Errorf(seal.KindConflict, "not what the ledger records")
	}
	var refused, lost error
	if c.fails != nil {
		refused, lost = c.fails(q.Tree)
	}
	if refused == nil {
		refused = c.extends(q)
	}
	if refused != nil || lost != nil {
		return nil, errors.Join(refused, lost)
	}
	keys := *c.keys
	keys.ApplianceID = c.id
	_, v, err := keys.Verifiers()
	if err != nil {
		return nil, err
	}
	cp := seal.Checkpoint{Origin: seal.Origin("test"), Tree: q.Tree}
	text, err := cp.Text()
	if err != nil {
		return nil, err
	}
	at := time.Unix(1764000000, 0)
	signed, err := note.Sign(&note.Note{Text: text}, signer{v, func([]byte) ([]byte, error) {
		m, err := seal.CosignedMessage(v.Name(), at, cp)
		if err != nil {
			return nil, err
		}
		sig, err := c.cosign.Sign(nil, m, nil)
		return seal.Cosignature(at, sig), err
	}})
	return &seal.CheckpointResult{Note: string(signed), Keys: &keys}, err
}

// extends is nil of a tree that is proven to extend the one that was cosigned last, which it is from then on.
func (c *cosigner) extends(q seal.CheckpointRequest) error {
	c.of.Lock()
	defer c.of.Unlock()
	if c.before != nil && *c.before != q.Tree {
		if q.Proof.From != c.before.Size {
			return seal.Errorf(seal.KindConflict, "the proof is from %d leaves on, cosigned were %d", q.Proof.From, c.before.Size)
		}
		root, err := q.Tree.Hash()
		if err != nil {
			return err
		}
		old, err := c.before.Hash()
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(hashesOf(q.Proof.Consistency), int64(q.Tree.Size), root, int64(c.before.Size), old); err != nil {
			return seal.Errorf(seal.KindConflict, "%v", err)
		}
	}
	c.before = &q.Tree
	return nil
}

// cosigns waits until the cosigner's word on the tree that the ledger records last stands in the store.
func (c *cosigner) cosigns(s *store.Store) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		value, _, ok, err := s.Get(c.t.Context(), store.AuditCosigned+c.id)
		var word struct {
			Format int                  `json:"format"`
			Note   string               `json:"note"`
			Keys   *seal.CheckpointKeys `json:"keys"`
		}
		if err != nil || !ok || json.Unmarshal(value, &word) != nil {
			return false
		}
		cp, err := word.Keys.OpenCosigned([]byte(word.Note))
		last, _ := c.recorded()
		return err == nil && cp.Tree == last
	}, patience, poll, "the newest checkpoint is not cosigned")
}

// beside runs two appliances, of which the second one cosigns what the first one has signed; again ends that one, and
// once done, which the first one goes on in, returns begins its next life.
func beside(t *testing.T, fails func(seal.Tree) (refused, lost error)) (s *store.Store, c *cosigner, again func(done func())) {
	t.Helper()
	srv := storetest.Start(t)
	s = srv.Open(store.UserServe)
	n := newNotary(t, srv)
	n.write(`"type":"charter"`)
	c = &cosigner{notary: n, id: "appliance-2", fails: fails}
	run(t, s, n.options(filepath.Join(t.TempDir(), "appliance-1")))
	o := n.options(filepath.Join(t.TempDir(), c.id))
	o.Cosigner = c
	_, stop := run(t, srv.Open(store.UserServe), o)
	return s, c, func(done func()) {
		stop()
		done()
		run(t, srv.Open(store.UserServe), o)
	}
}

// A seal that has not read of a checkpoint yet refuses it, and is asked for its word again: there may be no other
// checkpoint for days.
func TestACheckpointThatWasNotCosignedIsAskedForAgain(t *testing.T) {
	t.Parallel()
	var refused sync.Map
	s, c, _ := beside(t, func(tree seal.Tree) (error, error) {
		if _, before := refused.LoadOrStore(tree, true); !before {
			return seal.Errorf(seal.KindConflict, "not the one that the ledger records last"), nil
		}
		return nil, nil
	})
	require.NoError(t, write(t.Context(), s, "t", 3))
	require.Eventually(t, func() bool { last, _ := c.recorded(); return last.Size >= 4 }, patience, poll, "no checkpoint is recorded")
	c.cosigns(s)
}

// What the seal cosigned and nobody heard of is what it wants the next proof from, whatever it was asked for and did not
// hear of since.
func TestACosignatureThatWasLostHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	const fine, loses, away = 0, 1, 2
	var mu sync.Mutex
	how, met := loses, seal.Tree{}
	s, c, again := beside(t, func(tree seal.Tree) (refused, lost error) {
		mu.Lock()
		defer mu.Unlock()
		met = tree
		switch how {
		case loses:
			return nil, seal.ErrUnreachable
		case away:
			return seal.ErrUnreachable, nil
		}
		return nil, nil
	})
	// grows writes something, and waits until a tree with it is recorded, and until held is true of that.
	written := 0
	grows := func(held func(seal.Tree) bool) {
		before, _ := c.recorded()
		written++
		require.NoError(t, write(t.Context(), s, fmt.Sprint("t", written), 3))
		require.Eventually(t, func() bool {
			last, _ := c.recorded()
			return last.Size >= before.Size+3 && held(last)
		}, patience, poll, "no checkpoint is recorded, or the cosigner is not asked for its word on it")
	}
	// as has the cosigner be so, and waits until it was asked about something that is new.
	as := func(is int) {
		mu.Lock()
		how = is
		mu.Unlock()
		grows(func(last seal.Tree) bool {
			mu.Lock()
			defer mu.Unlock()
			return met == last
		})
	}
	as(loses)
	as(away)
	as(away)
	as(fine)
	c.cosigns(s)

	// Nor does one that whoever asked for it died over.
	as(loses)
	again(func() {
		grows(func(seal.Tree) bool { return true })
		mu.Lock()
		how = fine
		mu.Unlock()
	})
	c.cosigns(s)
}
