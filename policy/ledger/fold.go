package ledger

import (
	"crypto/ed25519"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// Fold is everything that a chain of batches makes true. It is safe for concurrent use: readers go
// on beside Apply and see the state before or after a batch, never between.
type Fold struct {
	View
	// applying keeps batches one after the other. Checking one takes long beside making it true, so
	// readers are kept out of the latter only.
	applying sync.Mutex
}

// NewFold is the fold of no batch. The first one must hold the charter whose payload has the digest
// charter1: the root of all that is verified.
func NewFold(charter1 policy.Digest) *Fold {
	f := &Fold{View: View{mu: new(sync.RWMutex), state: newState(charter1)}}
	return f
}

// Apply takes the next batch's bytes: checks link, signature, envelopes and every record's rule,
// and makes them true. On error, a *Refusal, the fold is as it was.
func (f *Fold) Apply(value []byte) (*Batch, error) { return f.apply(value, nil) }

// apply is Apply with a watcher, nil or called with what is true before each record.
func (f *Fold) apply(value []byte, watch watcher) (*Batch, error) {
	batch, input, r := parseBatch(value)
	if r != nil {
		return nil, r
	}
	f.applying.Lock()
	defer f.applying.Unlock()
	layer := f.state.on()
	if r := layer.batch(batch, input, watch); r != nil {
		return nil, r
	}
	layer.head.digest = policy.DigestOf(value)
	f.commit(layer)
	return batch, nil
}

// commit makes a whole batch's layer part of the fold and lets go of what is over.
func (f *Fold) commit(layer *state) {
	f.mu.Lock()
	defer f.mu.Unlock()
	layer.previous = "" // nobody asks for it between batches
	touched := layer.touched()
	layer.sink()
	f.state.memory.sweep(f.state, touched)
}

// batch walks a batch: its header, its signature over input, its records. The first batch brings
// the charter that names its author's key, so there the signature comes last; till then it is
// believed as far as its own bytes match the root.
func (s *state) batch(b *Batch, input []byte, watch watcher) *Refusal {
	if r := s.link(head{b.Sequence, "", b.Epoch, b.Term, b.Author, b.Time, b.Format}, b.Instance, b.Previous); r != nil {
		return r.at(b.Sequence, -1, "")
	}
	first := s.law == nil
	if !first {
		if r := s.signed(b, input); r != nil {
			return r.at(b.Sequence, -1, "")
		}
		s.memo.ahead(s.law, b.Records)
	}
	at := place{sequence: b.Sequence, time: b.Time, author: b.Author}
	for i := range b.Records {
		if watch != nil {
			watch(s, at, &b.Records[i])
		}
		if r := s.record(at, &b.Records[i]); r != nil {
			return r.at(b.Sequence, i, b.Records[i].Type())
		}
	}
	if r := s.close(b.Epoch, b.Instance); r != nil {
		return r.at(b.Sequence, -1, "")
	}
	if first {
		if r := s.signed(b, input); r != nil {
			return r.at(b.Sequence, -1, "")
		}
	}
	return nil
}

// link is nil if a batch's header follows the head, and makes it the head.
func (s *state) link(next head, instance string, previous policy.Digest) *Refusal {
	h := s.head
	switch {
	case next.sequence != h.sequence+1:
		return refuse(ReasonLink, "sequence %d, want %d", next.sequence, h.sequence+1)
	case previous != h.digest:
		return refuse(ReasonLink, "previous is %s, the batch before has %s", previous, h.digest)
	case s.law != nil && instance != s.instance:
		return refuse(ReasonLink, "instance %s, want %s", instance, s.instance)
	case next.time.Before(h.time):
		return refuse(ReasonLink, "time %s is before the last batch's, %s", stamp(next.time), stamp(h.time))
	case next.rules < h.rules:
		return refuse(ReasonLink, "format %d, the last batch has %d", next.rules, h.rules)
	case next.term < h.term:
		return refuse(ReasonLink, "term %d, the last batch has %d", next.term, h.term)
	case next.author != h.author && next.term == h.term:
		return refuse(ReasonLink, "author %s in term %d, which is %s's: a take-over raises the term", next.author, next.term, h.author)
	}
	s.head, s.previous, s.last, s.deploys = next, previous, nil, nil
	s.head.epoch = h.epoch // what the batch claims is compared when a recover record had its chance
	return nil
}

// close is nil if a batch may end here.
func (s *state) close(epoch uint64, instance string) *Refusal {
	switch {
	case s.deploys != nil:
		return refuse(ReasonConflict, "the deployment of contract %s is authorized without its binding", s.deploys.contract)
	case epoch != s.head.epoch:
		return refuse(ReasonLink, "epoch %d, want %d: only a recover record raises it", epoch, s.head.epoch)
	case instance != s.instance:
		return refuse(ReasonLink, "instance %s, the charter says %s", instance, s.instance)
	}
	s.last = nil
	return nil
}

// signed checks the author's signature with the key that the charter in force gives it.
func (s *state) signed(b *Batch, input []byte) *Refusal {
	key, r := s.authorKey(b.Author)
	if r != nil {
		return r
	}
	if !ed25519.Verify(key, input, b.Signature) {
		return refuse(ReasonAuthor, "the signature of %s does not hold", b.Author)
	}
	return nil
}

func (s *state) authorKey(author string) (ed25519.PublicKey, *Refusal) {
	key, ok := s.law.authors[author]
	if !ok {
		return nil, refuse(ReasonAuthor, "author %s is no appliance of the charter", author)
	}
	return key, nil
}

// record walks one record, whose own fields were checked: there is an encoding of it.
func (s *state) record(at place, r *Record) *Refusal {
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
	case r.Request != nil:
		refusal = s.request(at, r.Request)
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

// stamp is how times stand in refusals.
func stamp(t time.Time) string { return t.Format(time.RFC3339) }
