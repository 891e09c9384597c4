package ledger

import (
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// OperationRecord is what the ledger holds of an operation. It is the reader's own copy, save for
// what its pointers and byte slices share; those are never changed.
type OperationRecord struct {
	OperationID string
	// Intent is the exact bytes of the first recorded decision's intent, nil if there was no decision
	// or the operation is over. People may have signed different intents under one operation id:
	// what an authorization stands on is IntentBytes of its digest.
	Intent       []byte
	IntentDigest policy.Digest
	Decisions    []policy.RecordedDecision // in the order of the log
	Payloads     []policy.Digest           // of the decisions' documents, in the same order
	Rejected     bool                      // by somebody of a group: never authorized
	// Requests are the requester's own signatures, and whatever else persons signed as requesters of
	// this operation, in the order of the log; RequestPayloads are their documents.
	Requests        []policy.RecordedRequest
	RequestPayloads []policy.Digest
	Authorized      *Authorize
	AuthorizedAt    Moment
	Bumps           []Bump // versions 2, 3, …
	Cancelled       *Cancel
	CancelledAt     Moment
	Settled         *Settle
	SettledAt       Moment

	intents []signedIntent
}

// Moment is where and when a record was committed.
type Moment struct {
	Sequence uint64
	Time     time.Time
}

// IntentBytes is the exact bytes of a recorded intent. ok is false if no recorded decision or request
// holds it, or the operation is over.
func (o *OperationRecord) IntentBytes(digest policy.Digest) (intent []byte, ok bool) {
	for _, i := range o.intents {
		if i.digest == digest {
			return i.bytes, true
		}
	}
	return nil, false
}

// DecisionBy finds a person's newest decision.
func (o *OperationRecord) DecisionBy(person string) (decision policy.RecordedDecision, payload policy.Digest, ok bool) {
	for i := len(o.Decisions) - 1; i >= 0; i-- {
		if o.Decisions[i].Person == person {
			return o.Decisions[i], o.Payloads[i], true
		}
	}
	return policy.RecordedDecision{}, "", false
}

// Version is the newest version of the transaction: 0 if the operation is not authorized.
func (o *OperationRecord) Version() uint64 {
	if o.Authorized == nil {
		return 0
	}
	return uint64(len(o.Bumps)) + 1
}

// operation is an OperationRecord on its way through the fold.
type operation struct {
	OperationRecord
	expires time.Time // the latest expiry of its intents and authorization
	// As long as the operation is open: the envelopes of Decisions and Requests, in their order.
	decided, requested []*Enveloped
}

type signedIntent struct {
	digest policy.Digest
	bytes  []byte
	intent *policy.Intent
}

func (o *operation) clone() *operation {
	c := *o
	c.Decisions, c.Payloads = slices.Clip(o.Decisions), slices.Clip(o.Payloads)
	c.Requests, c.RequestPayloads = slices.Clip(o.Requests), slices.Clip(o.RequestPayloads)
	c.Bumps, c.intents = slices.Clip(o.Bumps), slices.Clip(o.intents)
	c.decided, c.requested = slices.Clip(o.decided), slices.Clip(o.requested)
	return &c
}

// intent is a recorded intent, nil if no decision or request holds it.
func (o *operation) intent(digest policy.Digest) *policy.Intent {
	for _, i := range o.intents {
		if i.digest == digest {
			return i.intent
		}
	}
	return nil
}

// over lets go of what only an open operation needs.
func (o *operation) over() { o.Intent, o.intents, o.decided, o.requested = nil, nil, nil, nil }

// open is the operation for changing, made if there is none. A new one whose id is not above what
// the fold let go of is refused, for it may be one of those; so is one of the future, which would
// have to be kept until then.
func (s *state) open(at place, id string) (*operation, *Refusal) {
	if op, ok := s.operations.edit(id, (*operation).clone); ok {
		return op, nil
	}
	if id <= s.forgotten {
		return nil, refuse(ReasonExpired, "operation %s is older than the ledger remembers", id)
	}
	if drawn := drawnAt(id); drawn.After(at.time.Add(s.horizon())) {
		return nil, refuse(ReasonValue, "operation %s was drawn at %s; it is %s", id, stamp(drawn), stamp(at.time))
	}
	op := &operation{OperationRecord: OperationRecord{OperationID: id}}
	s.operations.put(id, op)
	return op, nil
}

// undecided is nil if nothing that was recorded ends the operation.
func (o *operation) undecided() *Refusal {
	switch {
	case o.Authorized != nil:
		return refuse(ReasonConflict, "operation %s was authorized in batch %d", o.OperationID, o.AuthorizedAt.Sequence)
	case o.Cancelled != nil:
		return refuse(ReasonConflict, "operation %s was cancelled in batch %d", o.OperationID, o.CancelledAt.Sequence)
	case o.Rejected:
		return refuse(ReasonConflict, "operation %s was rejected", o.OperationID)
	}
	return nil
}

// peek is the operation for reading, an empty one if there is none.
func (s *state) peek(id string) *operation {
	if op, ok := s.operations.get(id); ok {
		return op
	}
	return &operation{OperationRecord: OperationRecord{OperationID: id}}
}
