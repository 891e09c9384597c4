package ledger

import (
	"crypto/ed25519"
	"fmt"
	"sync"

	"github.com/mintwarden/mintwarden/policy"
)

// Fold is everything that a chain of batches makes true. It is safe for concurrent use: readers go
// on beside Apply and see the state before or after a batch, never between.
type Fold struct {
	View
	memory memory
}

// NewFold is the fold of no batch. The first one must hold the charter whose payload has the digest
// charter1: the root of all that is verified.
func NewFold(charter1 policy.Digest) *Fold {
	f := &Fold{View: View{mu: new(sync.RWMutex), state: newState(charter1)}}
	return f
}

// Apply takes the next batch's bytes: checks link, signature, envelopes and every record's rule,
// and makes them true. On error, a *Refusal, the fold is as it was.
func (f *Fold) Apply(value []byte) (*Batch, error) {
	batch, input, r := parseBatch(value)
	if r != nil {
		return nil, r
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	layer := f.state.on()
	if r := layer.batch(batch); r != nil {
		return nil, r
	}
	if r := layer.signed(batch, input, f.state); r != nil {
		return nil, r
	}
	layer.head.digest = policy.DigestOf(value)
	f.commit(layer)
	return batch, nil
}

// commit makes a whole batch's layer part of the fold and lets go of what is over.
func (f *Fold) commit(layer *state) {
	touched := layer.touched()
	layer.sink()
	f.memory.sweep(f.state, touched)
}

// batch walks a batch's header and records, in that order.
func (s *state) batch(b *Batch) *Refusal {
	if r := s.link(b); r != nil {
		return r.at(b.Sequence, -1, "")
	}
	at := place{sequence: b.Sequence, time: b.Time, author: b.Author}
	for i := range b.Records {
		if r := s.record(at, &b.Records[i]); r != nil {
			return r.at(b.Sequence, i, b.Records[i].Type())
		}
	}
	return s.close(b)
}

// link is nil if the batch's header follows the head.
func (s *state) link(b *Batch) *Refusal {
	h := s.head
	switch {
	case b.Sequence != h.sequence+1:
		return refuse(ReasonLink, "sequence %d, want %d", b.Sequence, h.sequence+1)
	case b.Previous != h.digest:
		return refuse(ReasonLink, "previous is %s, the batch before has %s", b.Previous, h.digest)
	case s.law != nil && b.Instance != s.instance:
		return refuse(ReasonLink, "instance %s, want %s", b.Instance, s.instance)
	case b.Time.Before(h.time):
		return refuse(ReasonLink, "time %s is before the last batch's, %s", stamp(b.Time), stamp(h.time))
	case b.Term < h.term:
		return refuse(ReasonLink, "term %d, the last batch has %d", b.Term, h.term)
	case b.Author != h.author && b.Term == h.term:
		return refuse(ReasonLink, "author %s in term %d, which is %s's: a take-over raises the term", b.Author, b.Term, h.author)
	}
	s.head = head{sequence: b.Sequence, epoch: h.epoch, term: b.Term, author: b.Author, time: b.Time}
	s.last, s.deploys = nil, nil
	return nil
}

// close is nil if the batch may end here.
func (s *state) close(b *Batch) *Refusal {
	if s.deploys != nil {
		return refuse(ReasonConflict, "the deployment of contract %s is authorized without its binding", s.deploys.contract).
			at(b.Sequence, len(b.Records)-1, TypeAuthorize)
	}
	if b.Epoch != s.head.epoch {
		return refuse(ReasonLink, "epoch %d, want %d: only a recover record raises it", b.Epoch, s.head.epoch).at(b.Sequence, -1, "")
	}
	if b.Instance != s.instance {
		return refuse(ReasonLink, "instance %s, the charter says %s", b.Instance, s.instance).at(b.Sequence, -1, "")
	}
	s.last = nil
	return nil
}

// signed checks the author's signature with the key of the charter that was in force before the
// batch. The first batch brings that charter itself: its digest is the root, so its key is as good.
func (s *state) signed(b *Batch, input []byte, before *state) *Refusal {
	l := before.law
	if l == nil {
		l = s.law
	}
	key, ok := l.authors[b.Author]
	if !ok {
		return refuse(ReasonAuthor, "author %s is no appliance of the charter", b.Author).at(b.Sequence, -1, "")
	}
	if !ed25519.Verify(key, input, b.Signature) {
		return refuse(ReasonAuthor, "the signature of %s does not hold", b.Author).at(b.Sequence, -1, "")
	}
	return nil
}

// record walks one record.
func (s *state) record(at place, r *Record) *Refusal {
	if err := r.check(); err != nil {
		return refuse(ReasonValue, "%w", err)
	}
	if s.law == nil && r.Charter == nil {
		return refuse(ReasonConflict, "the first record is charter 1")
	}
	if s.deploys != nil && r.DeployBinding == nil {
		return refuse(ReasonConflict, "the binding of contract %s must come next", s.deploys.contract)
	}
	var refusal *Refusal
	switch {
	case r.Charter != nil:
		refusal = s.charter(at, r.Charter)
	case r.Policy != nil:
		refusal = s.policy(at, r.Policy)
	case r.Binding != nil:
		refusal = s.binding(at, r.Binding)
	case r.DeployBinding != nil:
		refusal = s.deployBinding(at, r.DeployBinding)
	case r.Freeze != nil:
		refusal = s.freeze(at, r.Freeze)
	case r.EventFreeze != nil:
		refusal = s.eventFreeze(at, r.EventFreeze)
	case r.Join != nil:
		refusal = s.join(at, r.Join)
	case r.Recover != nil:
		refusal = s.recover(at, r.Recover)
	case r.Wallet != nil:
		refusal = s.wallet(at, r.Wallet)
	case r.Decision != nil:
		refusal = s.decision(at, r.Decision)
	case r.Authorize != nil:
		refusal = s.authorize(at, r.Authorize)
	case r.Bump != nil:
		refusal = s.bump(at, r.Bump)
	case r.Cancel != nil:
		refusal = s.cancel(at, r.Cancel)
	case r.Settle != nil:
		refusal = s.settle(at, r.Settle)
	case r.Checkpoint != nil:
		refusal = s.checkpointed(r.Checkpoint)
	case r.Trim != nil:
		refusal = s.trimmed(at, r.Trim)
	default:
		refusal = refuse(ReasonValue, "%w", errOneMember)
	}
	if refusal == nil {
		s.last = r
	}
	return refusal
}

// at fills in the place of a refusal.
func (r *Refusal) at(sequence uint64, record int, t Type) *Refusal {
	r.Sequence, r.Record, r.Type = sequence, record, t
	return r
}

var _ fmt.Stringer = Reason("")
var _ policy.Usage = (*Fold)(nil)
