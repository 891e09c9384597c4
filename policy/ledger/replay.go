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
// decision or a request. ok is false of every other.
func signedBy(r *Record) (signed signedAbout, ok bool) {
	switch {
	case r.Decision != nil:
		d, err := policy.ParseDecision(r.Decision.Payload)
		if err != nil {
			return signed, false
		}
		signed = signedAbout{person: d.Approver, verb: d.Decision, reason: d.Reason, bytes: d.Intent, keys: r.Decision.KeyIDs()}
	case r.Request != nil:
		d, err := policy.ParseRequest(r.Request.Payload)
		if err != nil {
			return signed, false
		}
		signed = signedAbout{person: d.Requester, bytes: d.Intent, keys: r.Request.KeyIDs()}
	default:
		return signed, false
	}
	i, err := policy.ParseIntent(signed.bytes)
	if err != nil {
		return signed, false
	}
	signed.intent, signed.digest = i, policy.DigestOf(signed.bytes)
	return signed, true
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
