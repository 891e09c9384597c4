package ledger

import (
	"cmp"
	"slices"

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
	op.request(d, i, e, at)
	return nil
}

// request adds a request to the operation.
func (o *operation) request(d *policy.Request, i *policy.Intent, e *Enveloped, at place) {
	digest := d.IntentDigest()
	o.keep(digest, d.Intent, i)
	if i.ExpiresAt.After(o.expires) {
		o.expires = i.ExpiresAt
	}
	o.Requests = append(o.Requests, policy.RecordedRequest{Person: d.Requester, Intent: digest, Keys: e.KeyIDs(), At: at.time, Sequence: at.sequence})
	o.RequestPayloads = append(o.RequestPayloads, e.PayloadDigest())
	o.requested = append(o.requested, e)
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

// keep holds on to an intent that somebody signed, once, in the order of digests.
func (o *operation) keep(digest policy.Digest, bytes []byte, i *policy.Intent) {
	at, found := slices.BinarySearchFunc(o.intents, digest, func(have signedIntent, want policy.Digest) int {
		return cmp.Compare(have.digest, want)
	})
	if !found {
		o.intents = slices.Insert(slices.Clip(o.intents), at, signedIntent{digest, bytes, i})
	}
}
