package sealed

import (
	"context"
	"errors"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// cosigned is a tree head that this process cosigned. After a recover begins another tree.
type cosigned struct {
	of treeOf
	seal.Tree
}

// errCosigned ends a proposal that wanted nothing decided.
var errCosigned = seal.Errorf(seal.KindConflict, "nothing is to be decided")

// cosign adds this appliance's word to the tree head that the ledger records last, whoever wrote that: by what
// it read of the ledger itself, a proof that the tree holds that, and one that it extends the tree that this
// process cosigned before. After a start it begins with what the ledger records. It writes nothing.
func (r *room) cosign(ctx context.Context, q seal.CheckpointRequest, w *wantedTree) (*seal.CheckpointResult, error) {
	var of treeOf
	var at time.Time
	var sequence uint64
	var refused error
	// The proposal is looked at where the ledger is read, and never becomes one: no author is needed for it.
	err := r.wait(ctx, &proposal{ctx: ctx, done: make(chan error, 1), decide: func(*round) error { return errCosigned },
		enter: func(ctx context.Context, doubt error) error {
			if doubt != nil {
				refused = seal.Errorf(seal.KindStore, "the ledger cannot be gone by: %v", doubt)
				return refused
			}
			if refused = r.cosignable(ctx, q, w); refused == nil {
				now, err := r.clock()
				if err != nil {
					return &fatalError{err}
				}
				of, at, sequence = r.tree(), now.wall, headOf(r.fold)
				if _, err := r.clocks.next(now, r.fold.LastTime(), r.skew()); err != nil {
					refused = seal.Errorf(seal.KindClock, "%v", err)
					return refused
				}
				r.checkpoints.cosigned = &cosigned{of, q.Tree}
			}
			return errCosigned
		}})
	if refused != nil {
		return nil, refused
	}
	if err != nil && !errors.Is(err, errCosigned) {
		return nil, err
	}
	keys, err := r.checkpointKeys(ctx, of)
	if err != nil {
		return nil, err
	}
	_, v, err := keys.Verifiers()
	if err != nil {
		return nil, err
	}
	c := seal.Checkpoint{Origin: keys.Origin(), Tree: q.Tree}
	text, err := c.Text()
	if err != nil {
		return nil, err
	}
	signed, err := note.Sign(&note.Note{Text: text}, r.cosigner(ctx, v, c, at))
	if err != nil {
		return nil, hsmError(err)
	}
	return &seal.CheckpointResult{Sequence: sequence, Note: string(signed), Keys: keys}, nil
}

// cosignable is nil of the tree that the ledger records last, if all that cosign asks for is so.
func (r *room) cosignable(ctx context.Context, q seal.CheckpointRequest, w *wantedTree) error {
	c, _ := r.fold.Charter()
	if c == nil {
		return errNoCharter
	}
	if err := r.mayServe(ctx, c); err != nil {
		return err
	}
	if r.fold.Frozen(policy.Subject{ApplianceID: r.appliance}) {
		return seal.Errorf(seal.KindDenied, "appliance %s is suspended", r.appliance)
	}
	if last := r.fold.LastCheckpoint(); last == nil || last.Size != q.Tree.Size || last.Root != q.Tree.Root {
		return seal.Errorf(seal.KindConflict, "the tree of %d leaves, %s, is not the one that the ledger records last", q.Tree.Size, q.Tree.Root)
	}
	if before := r.checkpoints.cosigned; before != nil && before.of == r.tree() && before.Tree != q.Tree {
		if q.Proof.From != before.Size {
			return seal.Errorf(seal.KindConflict, "the proof is from %d leaves on; the tree that was cosigned last has %d", q.Proof.From, before.Size)
		}
		old, err := before.Hash()
		if err == nil {
			err = tlog.CheckTree(w.consistency, w.size, w.root, int64(before.Size), old)
		}
		if err != nil {
			r.metrics.noticed(noticedTree)
			return seal.Errorf(seal.KindConflict, "no proof that the tree of %d leaves extends the one of %d that was cosigned: %v", q.Tree.Size, before.Size, err)
		}
	}
	return r.holdsLedger(ctx, w, q.Proof.Ledger, headOf(r.fold))
}
