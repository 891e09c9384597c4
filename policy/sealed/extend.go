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
	// All, and not just the highest: of two seals that wrote at once the lower one's
	// batch may be answered.
	for _, a := range r.anchors.all {
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

// lawful is nil unless the anchor is in the log that we hold and names a charter
// that never was in force there: then what we hold is not what stood there.
func (r *room) lawful(ctx context.Context) error {
	a := r.anchors.held
	if a == nil || r.fold.CharterKnown(a.Charter) {
		return nil
	}
	if on, _, err := r.onChain(ctx, a.point()); err != nil || !on {
		return err
	}
	return &foreignError{a.Charter}
}

// foreignError says that the store's history never had the charter that the
// token's anchor names in force.
type foreignError struct{ charter policy.Digest }

func (e *foreignError) Error() string {
	return fmt.Sprintf("the token's anchor names charter %s, which was never in force in the store's history", e.charter)
}

// extends is nil if the log that we hold goes through what the witness saw, or
// the custodians' threshold gave that up.
func (r *room) extends(ctx context.Context, w witness) error {
	on, have, err := r.onChain(ctx, w.point)
	if err != nil || on {
		return err
	}
	if r.gaveUp(w.point) {
		return nil
	}
	if seq, _ := r.fold.Head(); seq < w.sequence {
		return &behindError{w, seq}
	}
	return &forkedError{w, have}
}

// onChain is true if the log that we hold goes through a point, and says what it
// has there, if anything.
func (r *room) onChain(ctx context.Context, p point) (on bool, have policy.Digest, err error) {
	if seq, _ := r.fold.Head(); seq < p.sequence {
		return false, "", nil
	}
	if have, err = r.digestAt(ctx, p.sequence); err != nil {
		return false, "", err
	}
	return have == p.head, have, nil
}

// surrender is a recover record of the log: what it gave up.
type surrender struct {
	epoch uint64 // that it began
	lost  uint64 // the newest batch that was known and is given up
}

// gaveUp is true of a point that is not in the log that we hold because the
// custodians' threshold gave it up: of an older epoch, and not behind what they
// knew to be lost. What was accepted may be longer than that, a fork.
func (r *room) gaveUp(p point) bool {
	return slices.ContainsFunc(r.surrenders, func(s surrender) bool { return p.epoch < s.epoch && p.sequence <= s.lost })
}

// notes keeps what a batch says that later comparisons need.
func (r *room) notes(b *ledger.Batch, digest policy.Digest) error {
	r.trail.pass(b.Sequence, digest)
	if b.Author == r.appliance {
		r.joinedIn = 0 // used, unless this very batch holds it
	}
	for _, rec := range b.Records {
		if rec.Join != nil {
			j, err := ledger.ParseJoin(rec.Join.Payload)
			if err != nil {
				return err
			}
			if j.ApplianceID == r.appliance {
				r.joinedIn = b.Sequence
			}
		}
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
		r.surrenders = append(r.surrenders, surrender{d.Epoch, d.Lost.Sequence})
	}
	return nil
}

// remembers is nil if this appliance may go by this store: it has a memory of it,
// begins it, or a join stands in for the memory that it lacks. A fold that began
// with the store's own snapshot rests on one appliance's signature, maybe one that
// a later charter expelled, and so does the trim that names it: one of those who
// remember, or the join, must name a batch behind the snapshot.
func (r *room) remembers(ctx context.Context) error {
	seq, _ := r.fold.Head()
	last := r.journal.last
	for _, w := range r.witnesses() {
		if r.lent == 0 || w.sequence <= r.lent {
			continue
		}
		on, _, err := r.onChain(ctx, w.point)
		if err != nil {
			return err
		}
		if on {
			r.lent = 0
		}
	}
	if r.lent == 0 && (last.Sequence > 0 || seq == 0) {
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
	if !ok || r.joinedIn == 0 {
		return stranger
	}
	err := r.unused(ctx)
	if err == nil {
		err = r.joins(ctx, j)
	}
	if err != nil {
		return fmt.Errorf("%w; the recorded join does not hold: %w", stranger, err)
	}
	return nil
}

// unused is nil if the join that was read stands in for this loss of memory, and
// not for one before: who authored behind his join, as the log or his anchor says,
// had a memory, which he has lost now. Where another one of the token authors, its
// anchor goes with every batch, so that there is nothing behind it to be lost.
func (r *room) unused(ctx context.Context) error {
	a := r.anchors.held
	if a == nil || a.Author != r.appliance || a.Sequence < r.joinedIn {
		return nil
	}
	if on, _, err := r.onChain(ctx, a.point()); err != nil || !on {
		return err // given up, or extends had refused it
	}
	return seal.Errorf(seal.KindInvalid, "it was recorded in batch %d, and the token's anchor says that %s wrote batch %d: a newer one is needed", r.joinedIn, a.Author, a.Sequence)
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
	if j.ApplianceID == r.appliance && j.Sequence <= r.lent {
		return seal.Errorf(seal.KindInvalid, "the join names batch %d; what the store has of it is a snapshot of batch %d, so it must name a later one", j.Sequence, r.lent)
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
