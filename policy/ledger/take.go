package ledger

import (
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// Take makes a stage's own batch true once it is committed: what [Fold.Apply] would come to, without
// reading value again and without verifying its envelopes a second time. The batch is the stage's,
// signed ([Stage.Batch]); value is its encoding. A fold that moved on since the stage was made, a
// batch of anything but what the stage holds, and a value of anything but that batch are refused,
// and the fold is as it was. Errors are *Refusal. The stage takes nothing more afterwards.
func (f *Fold) Take(s *Stage, b *Batch, value []byte) error {
	t, err := f.Taking(s, b, value)
	if err != nil {
		return err
	}
	return t.Take()
}

// Taking is a stage's batch that was found to be what [Fold.Take] takes, and is not true yet. It is
// used once.
type Taking struct {
	fold    *Fold
	stage   *Stage
	records int // of the stage, then
	term    uint64
	digest  policy.Digest
}

// Taking does the part of [Fold.Take] that changes nothing and takes long, so that it may go on while
// the batch is being committed. Nothing is to be added to the stage any more.
func (f *Fold) Taking(s *Stage, b *Batch, value []byte) (*Taking, error) {
	if r := f.takes(s, b, value); r != nil {
		return nil, r.at(s.at.sequence, -1, "")
	}
	return &Taking{fold: f, stage: s, records: len(b.Records), term: b.Term, digest: policy.DigestOf(value)}, nil
}

// Take makes the batch true. A fold that moved on since, and a stage that took something more, are
// refused, and the fold is as it was.
func (t *Taking) Take() error {
	f, s := t.fold, t.stage
	f.applying.Lock()
	defer f.applying.Unlock()
	// Nobody but who applies moves the head.
	if now := f.state.head.sequence; now != s.base {
		return refuse(ReasonStale, "the log is at batch %d, the stage began at %d", now, s.base).at(s.at.sequence, -1, "")
	}
	if n := len(s.records); n != t.records {
		return refuse(ReasonConflict, "the batch has %d records, the stage %d", t.records, n).at(s.at.sequence, -1, "")
	}
	layer := s.state
	layer.head.term = t.term
	layer.head.digest = t.digest
	f.commit(layer)
	return nil
}

// takes is nil if the batch may be taken. It changes nothing but what close forgets.
func (f *Fold) takes(s *Stage, b *Batch, value []byte) *Refusal {
	f.mu.RLock()
	defer f.mu.RUnlock()
	head := f.state.head
	if s.fold != f || head.sequence != s.base {
		return refuse(ReasonStale, "the log is at batch %d, the stage began at %d", head.sequence, s.base)
	}
	if s.unfit != nil {
		return s.unfit
	}
	switch {
	case b.Sequence != s.at.sequence || b.Previous != head.digest || b.Author != s.at.author || !b.Time.Equal(s.at.time):
		return refuse(ReasonLink, "batch %d of %s after %s at %s, the stage has %d of %s after %s at %s", b.Sequence, b.Author, b.Previous,
			stamp(b.Time), s.at.sequence, s.at.author, head.digest, stamp(s.at.time))
	case b.Term < head.term || b.Author != head.author && b.Term == head.term:
		return refuse(ReasonLink, "term %d of %s after term %d of %s", b.Term, b.Author, head.term, head.author)
	case !slices.Equal(b.Records, s.records):
		return refuse(ReasonConflict, "the batch has other records than the stage")
	}
	if r := s.state.close(b.Epoch, b.Instance); r != nil {
		return r
	}
	own := *b
	own.encoded = s.encoded
	input, err := own.SigningInput()
	if err != nil {
		return refuse(ReasonEncoding, "%w", err)
	}
	if !own.isSigned(value, input) {
		again, err := own.Encode()
		if err != nil {
			return refuse(ReasonEncoding, "%w", err)
		}
		return refuse(ReasonEncoding, "the value is not the stage's batch, first at byte %d", firstDifference(value, again))
	}
	return s.state.signed(b, input)
}
