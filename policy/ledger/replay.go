package ledger

import (
	"fmt"
	"iter"

	"github.com/mintwarden/mintwarden/policy"
)

// watcher is called while a batch is walked, before each record, with everything that is true by
// then: what came before it in its own batch too. It may read the state and keep nothing of it.
type watcher func(s *state, at place, r *Record)

// replay folds batches, in the order of their sequences, and lets watch see each record and after
// each batch, each once. What came first is let go as the fold lets go of it, so memory does not grow
// with the log. An error of the iterator or a *Refusal ends it.
func (f *Fold) replay(batches iter.Seq2[[]byte, error], watch watcher, after func(b *Batch)) error {
	for value, err := range batches {
		if err != nil {
			return fmt.Errorf("ledger: reading the log: %w", err)
		}
		b, err := f.apply(value, watch)
		if err != nil {
			return err
		}
		after(b)
	}
	return nil
}

// signedBy is the person and the intent of a record that somebody signed about one operation: a
// decision or a request. ok is false of every other, and of what does not verify here and now, which
// the fold is about to refuse.
func (s *state) signedBy(r *Record) (signed signedAbout, ok bool) {
	switch {
	case s.law == nil:
	case r.Decision != nil:
		o, err := s.memo.open(s.law, r.Decision)
		if err != nil {
			return signed, false
		}
		d := o.decision
		return signedAbout{d.Approver, d.Decision, d.Reason, o.intent, o.digest, d.Intent, r.Decision.KeyIDs()}, true
	case r.Request != nil:
		d, err := s.law.charter.VerifyRequest(r.Request)
		if err != nil {
			return signed, false
		}
		i, err := policy.ParseIntent(d.Intent)
		if err != nil {
			return signed, false
		}
		return signedAbout{d.Requester, "", "", i, d.IntentDigest(), d.Intent, r.Request.KeyIDs()}, true
	}
	return signed, false
}

// signedAbout is what a person signed about an operation; verb is empty of a request.
type signedAbout struct {
	person string
	verb   policy.Verb
	reason string
	intent *policy.Intent
	digest policy.Digest
	bytes  []byte
	keys   []string
}
