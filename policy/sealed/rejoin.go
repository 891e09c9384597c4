package sealed

import (
	"context"
	"errors"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// isLost is true where the store does not extend what was seen there.
func isLost(doubt error) bool {
	var behind *behindError
	var forked *forkedError
	return errors.As(doubt, &behind) || errors.As(doubt, &forked)
}

// Join records that the custodians' threshold lets an appliance without a memory
// go by this history. The author records it; where there is none, the appliance
// itself, and it alone.
func (r *room) Join(ctx context.Context, e *policy.Envelope) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpJoin, &err)
	j, err := ledger.ParseJoin(e.Payload)
	if err != nil {
		return nil, r.refusal(err)
	}
	return r.entering(ctx, e, ledger.Record{Join: e}, func(ctx context.Context, doubt error) error {
		var stranger *strangerError
		if doubt != nil && !(errors.As(doubt, &stranger) && j.ApplianceID == r.appliance) {
			return seal.Errorf(seal.KindStore, "the ledger cannot be gone by: %v", doubt)
		}
		if err := r.signedByThreshold(policy.DocJoin, e); err != nil {
			return err
		}
		return r.joins(ctx, j)
	}, nil)
}

// Recover takes a lost or restored store on the custodians' threshold, exactly as
// their document names what is lost and what they accept. It raises the epoch.
//
// The way there can be cut anywhere: the anchor with the higher term still names
// what was lost; then comes the batch, which alone gives that up; then the
// journal; then the anchor of the new history. A seal that starts again between
// finds the batch, or asks for the document again.
func (r *room) Recover(ctx context.Context, e *policy.Envelope) (_ *seal.Recorded, err error) {
	defer r.count(seal.OpRecover, &err)
	d, err := ledger.ParseRecover(e.Payload)
	if err != nil {
		return nil, r.refusal(err)
	}
	return r.entering(ctx, e, ledger.Record{Recover: e}, func(_ context.Context, doubt error) error {
		if r.fold.Instance() == "" {
			return errNoCharter
		}
		if _, done := r.fold.Recorded(e.PayloadDigest()); done && doubt == nil {
			return nil
		}
		if doubt != nil && !isLost(doubt) {
			return seal.Errorf(seal.KindStore, "the ledger cannot be read to its end, so there is nothing to accept: %v", doubt)
		}
		if doubt == nil {
			return seal.Errorf(seal.KindConflict, "nothing is lost: the store extends what this appliance and its token know")
		}
		if err := r.signedByThreshold(policy.DocRecover, e); err != nil {
			return err
		}
		return r.matches(d)
	}, nil)
}

// matches is nil if the document gives up exactly what is known, for exactly what
// the store has, and begins an epoch above all that are known: a store from before an
// earlier recover does not know that one's, and what was decided in it would count
// again. Custodians may know of a higher one than this appliance, which was away.
func (r *room) matches(d *ledger.Recover) error {
	known, _ := r.lost()
	seq, head := r.fold.Head()
	switch {
	case d.Instance != r.fold.Instance():
		return seal.Errorf(seal.KindInvalid, "the recover is of instance %s, this is %s", d.Instance, r.fold.Instance())
	case d.Epoch <= max(r.fold.Epoch(), known.epoch):
		return seal.Errorf(seal.KindInvalid, "the recover begins epoch %d, known is epoch %d: want a higher one", d.Epoch, max(r.fold.Epoch(), known.epoch))
	case d.Lost.Sequence != known.sequence || d.Lost.Head != known.head:
		return seal.Errorf(seal.KindInvalid, "the recover gives up batch %d, %s; known is batch %d, %s", d.Lost.Sequence, d.Lost.Head, known.sequence, known.head)
	case d.Accepted.Sequence != seq || d.Accepted.Head != head:
		return seal.Errorf(seal.KindInvalid, "the recover accepts batch %d, %s; the store ends with batch %d, %s", d.Accepted.Sequence, d.Accepted.Head, seq, head)
	}
	return nil
}

// signedByThreshold is asked before the author key or the anchor is touched for a
// document; the fold asks again.
func (r *room) signedByThreshold(document string, e *policy.Envelope) error {
	c, _ := r.fold.Charter()
	if c == nil {
		return errNoCharter
	}
	if _, err := c.VerifyThreshold(document, e); err != nil {
		return seal.Errorf(seal.KindInvalid, "%v", err)
	}
	return nil
}

// doubtOf is what status says of a doubt, nil if there is none.
func (s *state) doubtOf(f *ledger.Fold) *seal.Doubt {
	if s.doubt == nil {
		return nil
	}
	var behind *behindError
	var forked *forkedError
	var stranger *strangerError
	d := &seal.Doubt{Reason: s.doubt.Error(), Kind: "store", Epoch: max(f.Epoch(), s.known.epoch)}
	switch {
	case errors.As(s.doubt, &behind):
		d.Kind = "behind"
	case errors.As(s.doubt, &forked):
		d.Kind = "forked"
	case errors.As(s.doubt, &stranger):
		d.Kind = "stranger"
	}
	d.Store.Sequence, d.Store.Head = f.Head()
	if s.known.sequence > 0 {
		d.Known = &seal.Point{Sequence: s.known.sequence, Head: s.known.head}
	}
	return d
}
