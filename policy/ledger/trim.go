package ledger

import (
	"errors"
	"io"
	"iter"

	"github.com/mintwarden/mintwarden/policy"
)

// trimmed lets the batches before FirstKept go from the store. The record stands first in its batch
// and names the snapshot of everything before that batch, so that whoever follows the log compares it
// with what he folded himself: a snapshot that says anything else is refused by all who were there.
// What is kept begins at the batch behind the snapshot or sooner, never later, and never goes back.
func (s *state) trimmed(at place, t *Trim) *Refusal {
	switch {
	case s.last != nil:
		return refuse(ReasonConflict, "a trim is the first record of its batch")
	case t.FirstKept > at.sequence:
		return refuse(ReasonConflict, "first kept is %d, the batch behind the snapshot is %d", t.FirstKept, at.sequence)
	case t.FirstKept == FirstSequence:
		return refuse(ReasonConflict, "first kept is %d: nothing goes", t.FirstKept)
	case s.trim != nil && t.FirstKept <= s.trim.FirstKept:
		return refuse(ReasonConflict, "first kept is %d, it was %d before", t.FirstKept, s.trim.FirstKept)
	}
	have, err := s.described()
	if err != nil {
		return refuse(ReasonConflict, "%w", err)
	}
	if have != t.Snapshot {
		return refuse(ReasonConflict, "the snapshot of batch %d is %s, the trim says %s", at.sequence-1, have, t.Snapshot)
	}
	s.trim = t
	return nil
}

// described is the digest of the snapshot of the fold that the state stands on.
func (s *state) described() (policy.Digest, error) {
	for s.beneath != nil {
		s = s.beneath
	}
	if have, ok := s.memo.description(s.head.digest); ok {
		return have, nil
	}
	have, err := s.write(io.Discard)
	if err != nil {
		return "", err
	}
	s.memo.described(s.head.digest, have)
	return have, nil
}

// ErrGap says that batches are missing between what the archive ends with and the store begins with.
var ErrGap = errors.New("batches are missing between archive and store")

// Whole is every batch since the first: those of the archive, then those of the store that come
// behind. The store's are taken as they come, in the order of their sequences from first on; those
// that the archive has too must be the same bytes. Errors come with a nil value and end it.
func Whole(a *Archive, first uint64, store iter.Seq2[[]byte, error]) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		if first > a.Last()+1 {
			yield(nil, ErrGap)
			return
		}
		shared := map[uint64]policy.Digest{}
		sequence := uint64(0)
		for value, err := range a.Batches() {
			if err != nil {
				yield(nil, err)
				return
			}
			if sequence++; sequence >= first {
				shared[sequence] = policy.DigestOf(value)
			}
			if !yield(value, nil) {
				return
			}
		}
		next := first
		for value, err := range store {
			if err != nil {
				yield(nil, err)
				return
			}
			at := next
			next++
			if at <= a.Last() {
				if policy.DigestOf(value) != shared[at] {
					yield(nil, &ArchiveError{Sequence: at, Err: errors.New("the store has another batch there")})
					return
				}
				continue
			}
			if !yield(value, nil) {
				return
			}
		}
	}
}
