package ledger

import (
	"github.com/mintwarden/mintwarden/policy"
)

// request records the requester's own signature over an operation's intent (charters with
// signedRequests). It is asked for by nobody else's charter and does no harm under one: whether it
// counts is judged when the operation is. What holds for an approval holds for it: one of a person
// and operation, of this instance as it is now, before the intent expires and before the operation
// ended. Whoever signed with a key that the charter took from him since signs again.
func (s *state) request(at place, e *Enveloped) *Refusal {
	d, err := s.law.charter.VerifyRequest(e)
	if err != nil {
		return refuseDocument(err)
	}
	if s.isFrozen(policy.Subject{Person: d.Requester}) {
		return refuse(ReasonFrozen, "person %s is suspended", d.Requester)
	}
	i, err := policy.ParseIntent(d.Intent)
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	if r := s.here(i.Instance); r != nil {
		return r
	}
	payload := e.PayloadDigest()
	if r := s.peek(i.OperationID).mayRequest(s.law.charter, d.Requester, payload); r != nil {
		return r
	}
	if r := s.current(i); r != nil {
		return r
	}
	if !at.time.Before(i.ExpiresAt) {
		return refuse(ReasonExpired, "the intent of operation %s expired at %s; it is %s", i.OperationID, stamp(i.ExpiresAt), stamp(at.time))
	}
	if r := s.lifetime(at, i); r != nil {
		return r
	}
	op, r := s.open(at, i.OperationID)
	if r != nil {
		return r
	}
	op.keep(d.IntentDigest(), d.Intent, i)
	if i.ExpiresAt.After(op.expires) {
		op.expires = i.ExpiresAt
	}
	op.Requests = append(op.Requests, policy.RecordedRequest{Person: d.Requester, Intent: d.IntentDigest(), Keys: e.KeyIDs(), At: at.time, Sequence: at.sequence})
	op.RequestPayloads = append(op.RequestPayloads, payload)
	return nil
}

// mayRequest is nil if the person may still sign the operation's request.
func (o *operation) mayRequest(c *policy.Charter, person string, payload policy.Digest) *Refusal {
	for n, have := range o.Requests {
		if o.RequestPayloads[n] == payload {
			return refuse(ReasonDuplicate, "this request of %s is recorded in batch %d", person, have.Sequence)
		}
		if have.Person == person && c.Requested(have) {
			return refuse(ReasonDuplicate, "%s signed a request of operation %s in batch %d", person, o.OperationID, have.Sequence)
		}
	}
	return o.undecided()
}

// keep holds on to an intent that somebody signed, once.
func (o *operation) keep(digest policy.Digest, bytes []byte, i *policy.Intent) {
	if o.intent(digest) == nil {
		o.intents = append(o.intents, signedIntent{digest, bytes, i})
	}
}
