package ledger

import (
	"bytes"
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// Take makes a stage's own batch true once it is committed: what [Fold.Apply] would come to, without
// reading value again and without verifying its envelopes a second time. The batch is the stage's,
// signed ([Stage.Batch]); value is its encoding. A fold that moved on since the stage was made, a
// batch of anything but what the stage holds, and a value of anything but that batch are refused,
// and the fold is as it was. Errors are *Refusal. The stage takes nothing more afterwards.
func (f *Fold) Take(s *Stage, b *Batch, value []byte) error {
	f.applying.Lock()
	defer f.applying.Unlock()
	if r := f.takes(s, b, value); r != nil {
		return r.at(s.at.sequence, -1, "")
	}
	layer := s.state
	layer.head.term = b.Term
	layer.head.digest = policy.DigestOf(value)
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
	again, err := own.Encode()
	if err != nil {
		return refuse(ReasonEncoding, "%w", err)
	}
	if !bytes.Equal(again, value) {
		return refuse(ReasonEncoding, "the value is not the stage's batch, first at byte %d", firstDifference(value, again))
	}
	return s.state.signed(b, signingInput(value, b.Signature))
}
