package sealed

import (
	"context"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// point is a batch that somebody saw in the log.
type point struct {
	epoch    uint64 // 0 where whoever saw it did not keep it
	sequence uint64
	head     policy.Digest
}

// newer is true if p stands behind q.
func (p point) newer(q point) bool {
	return p.epoch > q.epoch || p.epoch == q.epoch && p.sequence > q.sequence
}

// witness is who saw a point there, in the words of an error.
type witness struct {
	point
	says string
}

// witnesses are what the store must extend.
func (r *room) witnesses() []witness {
	var all []witness
	if m := r.journal.last; m.Sequence > 0 {
		all = append(all, witness{point{m.Epoch, m.Sequence, m.Head}, "this appliance has seen"})
	}
	if a := r.anchors.held; a != nil {
		all = append(all, witness{a.point(), fmt.Sprintf("the token's anchor (written by %s in term %d) names", a.Author, a.Term)})
	}
	return all
}

// lost is the newest point that is known, by which a recover document must name
// what it gives up.
func (r *room) lost() (point, bool) {
	all := r.witnesses()
	if len(all) == 0 {
		return point{}, false
	}
	newest := all[0].point
	for _, w := range all[1:] {
		if w.newer(newest) {
			newest = w.point
		}
	}
	return newest, true
}

// behindError says that the store lacks what was seen there.
type behindError struct {
	witness
	store uint64
}

func (e *behindError) Error() string {
	return fmt.Sprintf("the store ends at batch %d, %s batch %d there (a restored or wrong store; see mintwarden recover)", e.store, e.says, e.sequence)
}

// forkedError says that the store holds another history than was seen there.
type forkedError struct {
	witness
	store policy.Digest
}

func (e *forkedError) Error() string {
	return fmt.Sprintf("the store's batch %d is %s, %s %s there (another history; see mintwarden recover)", e.sequence, e.store, e.says, e.head)
}

// strangerError says that nothing on this disk tells the store from another one.
type strangerError struct {
	appliance string
	sequence  uint64
}

func (e *strangerError) Error() string {
	return fmt.Sprintf("appliance %s has no memory of this ledger, which is at batch %d: nothing is signed until the custodians' threshold signed a join "+
		"that names its id and key and a batch of this history", e.appliance, e.sequence)
}

// extends is nil if the log that we hold goes through what the witness saw, or
// the custodians' threshold gave that up.
func (r *room) extends(ctx context.Context, w witness) error {
	if r.gaveUp(w.point) {
		return nil
	}
	seq, _ := r.fold.Head()
	if seq < w.sequence {
		return &behindError{w, seq}
	}
	have, err := r.digestAt(ctx, w.sequence)
	if err != nil {
		return err
	}
	if have != w.head {
		return &forkedError{w, have}
	}
	return nil
}

// surrender is a recover record of the log: what it gave up.
type surrender struct {
	epoch    uint64 // that it began
	accepted uint64
	lost     uint64
}

// gaveUp is true of a point that the custodians' threshold gave up: of an older
// epoch, behind what they accepted, and not behind what they knew to be lost.
func (r *room) gaveUp(p point) bool {
	return slices.ContainsFunc(r.surrenders, func(s surrender) bool {
		return p.epoch < s.epoch && p.sequence > s.accepted && p.sequence <= s.lost
	})
}

// notes keeps what a batch says that later comparisons need.
func (r *room) notes(b *ledger.Batch, digest policy.Digest) error {
	r.trail.pass(b.Sequence, digest)
	for _, rec := range b.Records {
		if rec.Trim != nil {
			r.trimmedIn = trimBatch{b.Sequence, b.Time}
		}
		if rec.Recover == nil {
			continue
		}
		d, err := ledger.ParseRecover(rec.Recover.Payload)
		if err != nil {
			return err
		}
		r.surrenders = append(r.surrenders, surrender{d.Epoch, d.Accepted.Sequence, d.Lost.Sequence})
	}
	return nil
}

// remembers is nil if this appliance may go by this store: it has a memory of it,
// begins it, or a join stands in for the memory that it lacks.
func (r *room) remembers(ctx context.Context) error {
	seq, _ := r.fold.Head()
	last := r.journal.last
	if last.Sequence > 0 || seq == 0 {
		return nil
	}
	stranger := &strangerError{r.appliance, seq}
	if last.Offered != "" {
		// We offered batch 1, and died before the journal said that it got in.
		first, err := r.digestAt(ctx, ledger.FirstSequence)
		if err != nil {
			return err
		}
		if first == last.Offered {
			return nil
		}
	}
	j, ok := r.fold.Joined(r.appliance)
	if !ok {
		return stranger
	}
	if err := r.joins(ctx, j); err != nil {
		return fmt.Errorf("%w; the recorded join does not hold: %w", stranger, err)
	}
	return nil
}

// joins is nil if a join is of this appliance's key and names a batch of the log
// that we hold.
func (r *room) joins(ctx context.Context, j *ledger.Join) error {
	if j.ApplianceID == r.appliance {
		key, err := r.ledgerKey(ctx)
		if err != nil {
			return err
		}
		if key != j.LedgerKey {
			return seal.Errorf(seal.KindInvalid, "the join names ledger key %s of appliance %s, the token holds %s", j.LedgerKey, j.ApplianceID, key)
		}
	}
	if seq, _ := r.fold.Head(); j.Sequence > seq {
		return seal.Errorf(seal.KindInvalid, "the join names batch %d, the store ends at %d", j.Sequence, seq)
	}
	have, err := r.digestAt(ctx, j.Sequence)
	if err != nil {
		return err
	}
	if have != j.Head {
		return seal.Errorf(seal.KindInvalid, "the join names batch %d as %s, the store has %s", j.Sequence, j.Head, have)
	}
	return nil
}
