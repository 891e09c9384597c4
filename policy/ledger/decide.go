package ledger

import (
	"github.com/mintwarden/mintwarden/policy"
)

// decision records what one person decided. Being of a group is not asked here: who counts is
// judged when the operation is.
func (s *state) decision(at place, e *Enveloped) *Refusal {
	o, err := s.memo.open(s.law, e)
	if err != nil {
		return refuseDocument(err)
	}
	d, i := o.decision, o.intent
	if s.isFrozen(policy.Subject{Person: d.Approver}) {
		return refuse(ReasonFrozen, "person %s is suspended", d.Approver)
	}
	if r := s.here(i.Instance); r != nil {
		return r
	}
	op := s.peek(i.OperationID)
	if r := op.mayDecide(s.law.charter, d, o.payload); r != nil {
		return r
	}
	// A rejection counts by operation id whatever else its intent says; an approval is of this
	// instance as it is now.
	if d.Decision == policy.Approve {
		if r := s.current(i); r != nil {
			return r
		}
		if !at.time.Before(i.ExpiresAt) {
			return refuse(ReasonExpired, "the intent of operation %s expired at %s; it is %s", i.OperationID, stamp(i.ExpiresAt), stamp(at.time))
		}
		if r := s.lifetime(at, i); r != nil {
			return r
		}
	}
	op, r := s.open(at, i.OperationID)
	if r != nil {
		return r
	}
	op.decide(o, e, at)
	if d.Decision == policy.Reject && s.law.grouped[d.Approver] {
		op.Rejected = true
	}
	return nil
}

// mayDecide is nil if the person may still decide so: once, save that a rejection may follow an
// approval, and an approval one that a key made which the charter expelled since.
func (o *operation) mayDecide(c *policy.Charter, d *policy.Decision, payload policy.Digest) *Refusal {
	if last, recorded, ok := o.DecisionBy(d.Approver); ok {
		if recorded == payload {
			return refuse(ReasonDuplicate, "this decision of %s is recorded in batch %d", d.Approver, last.Sequence)
		}
		if last.Verb != policy.Approve || d.Decision == policy.Approve && c.Signed(last) {
			return refuse(ReasonDuplicate, "%s decided %s on operation %s in batch %d", d.Approver, last.Verb, o.OperationID, last.Sequence)
		}
	}
	return o.undecided()
}

// decide adds a decision to the operation.
func (o *operation) decide(decided *opened, e *Enveloped, at place) {
	d := decided.decision
	o.keep(decided.digest, d.Intent, decided.intent)
	if len(o.Decisions) == 0 {
		o.Intent, o.IntentDigest = d.Intent, decided.digest
	}
	if ends := decided.intent.ExpiresAt; d.Decision == policy.Approve && ends.After(o.expires) {
		o.expires = ends
	}
	o.Decisions = append(o.Decisions, policy.RecordedDecision{Person: d.Approver, Verb: d.Decision, Intent: decided.digest,
		Keys: e.KeyIDs(), At: at.time, Sequence: at.sequence})
	o.Payloads = append(o.Payloads, decided.payload)
	o.decided = append(o.decided, e)
}

// current is nil if the intent was made under this charter or one before it, in this epoch.
func (s *state) current(i *policy.Intent) *Refusal {
	if i.Epoch != s.head.epoch {
		return refuse(ReasonDocument, "the intent of operation %s is of epoch %d, this is %d", i.OperationID, i.Epoch, s.head.epoch)
	}
	if !s.charters.has(i.Charter) {
		return refuse(ReasonDocument, "the intent of operation %s is under charter %s, which was never in force", i.OperationID, i.Charter)
	}
	return nil
}

// lifetime is nil if the intent ends as soon as the charter asks. Without that bound one signature
// could keep an operation in memory for ever.
func (s *state) lifetime(at place, i *policy.Intent) *Refusal {
	longest := s.law.charter.MaxIntentLifetime()
	if i.ExpiresAt.Sub(i.NotBefore) > longest {
		return refuse(ReasonDocument, "the intent of operation %s lives from %s to %s, longer than %v", i.OperationID, stamp(i.NotBefore), stamp(i.ExpiresAt), longest)
	}
	if latest := at.time.Add(s.horizon()); i.ExpiresAt.After(latest) {
		return refuse(ReasonDocument, "the intent of operation %s expires at %s, which is later than any made by now may", i.OperationID, stamp(i.ExpiresAt))
	}
	return nil
}

// cancel ends an operation that is not authorized, known or not.
func (s *state) cancel(at place, c *Cancel) *Refusal {
	if op := s.peek(c.OperationID); op.Cancelled != nil {
		return refuse(ReasonDuplicate, "operation %s was cancelled in batch %d", c.OperationID, op.CancelledAt.Sequence)
	} else if op.Authorized != nil {
		return op.undecided()
	}
	op, r := s.open(at, c.OperationID)
	if r != nil {
		return r
	}
	op.Cancelled, op.CancelledAt = c, Moment{at.sequence, at.time}
	op.over()
	return nil
}
