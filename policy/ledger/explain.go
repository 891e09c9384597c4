package ledger

import (
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// ErrUnknown says that the ledger holds nothing of an operation.
var ErrUnknown = errors.New("the ledger holds nothing of the operation")

// Recorded is what the ledger says became of an operation; the zero value is invalid.
type Recorded string

// What became of an operation.
const (
	RecordedPending    Recorded = "PENDING"    // nothing that ends it is recorded
	RecordedAuthorized Recorded = "AUTHORIZED" // its transaction may be signed: there is no way back
	RecordedRejected   Recorded = "REJECTED"   // by a person of a group
	RecordedCancelled  Recorded = "CANCELLED"  // withdrawn, expired, or refused at signing
)

// Question is what Explain explains.
type Question struct {
	OperationID string
	// At is the moment at which an operation that is pending is judged; zero: the last batch's. Every
	// other is judged when it was decided.
	At time.Time
	// Intent is the intent's exact bytes, for an operation of which the ledger has only the digest,
	// since nobody was asked for a signature; nil if they are not to be had. Bytes of another digest
	// are not taken.
	Intent []byte
}

// Explanation is why the ledger decided on an operation as it did: the verdict again, from nothing but
// the log, at the moment that counted.
type Explanation struct {
	OperationID  string          `json:"operationId"`
	Recorded     Recorded        `json:"recorded"`
	Reason       string          `json:"reason,omitzero"` // of a cancellation, as recorded
	At           time.Time       `json:"at"`              // the moment that is judged
	Sequence     uint64          `json:"sequence"`        // of the batch that decided; of the last one where none did
	Author       string          `json:"author"`          // the appliance that wrote that batch
	Intent       *policy.Intent  `json:"intent"`          // nil where the ledger has only its digest
	IntentDigest policy.Digest   `json:"intentDigest,omitzero"`
	Authorized   *Authorize      `json:"-"`
	People       []Person        `json:"people"` // who signed what, in the order of the log
	Verdict      *policy.Verdict `json:"verdict"`
	// Partial is true where the ledger has only the intent's digest and Question.Intent gave none: then
	// only the rules about people, amounts and times were judged again.
	Partial bool `json:"partial,omitzero"`
	// Differs is true where what is recorded cannot be had from what was in force: an authorization
	// that the policies do not allow, a refusal by the policies that they do not give. Why says it.
	Differs bool   `json:"differs"`
	Why     string `json:"why,omitzero"`

	glossary policy.Glossary
	partial  policy.Intent // what is known of an intent that the ledger does not hold
	decoys   int           // other intents that somebody signed under this operation id
}

// Person is one signature about an operation.
type Person struct {
	Name     string        `json:"name"`
	Verb     policy.Verb   `json:"decision,omitzero"` // empty: the requester's own signature
	Reason   string        `json:"reason,omitzero"`
	Keys     []string      `json:"keys"` // kind and id of each that signed
	Intent   policy.Digest `json:"intent"`
	At       time.Time     `json:"at"` // of the batch that recorded it
	Sequence uint64        `json:"sequence"`
	Counts   bool          `json:"counts"`
	Why      string        `json:"why,omitzero"` // it does not count
}

// Explain reads a log from its first batch on and explains one operation of it: what was recorded,
// what the policies say again of it, rule by rule, and whether both agree. It believes nothing but the
// log, verified from the charter whose digest is given: no clock, no store, no network. batches are
// the batches' bytes in order. Errors wrap ErrUnknown, the iterator's, or are a *Refusal of a log that
// does not verify.
func Explain(batches iter.Seq2[[]byte, error], charter1 policy.Digest, q Question) (*Explanation, error) {
	return NewFold(charter1).Explain(batches, q)
}

// Explain is [Explain] of a log whose beginning the fold holds, restored from a snapshot. The fold is
// moved on; what ended before the snapshot is not explained.
func (f *Fold) Explain(batches iter.Seq2[[]byte, error], q Question) (*Explanation, error) {
	if err := policy.CheckID("op", q.OperationID); err != nil {
		return nil, err
	}
	x := &explainer{q: q, e: &Explanation{OperationID: q.OperationID, Recorded: RecordedPending, People: []Person{}}}
	if q.Intent != nil {
		i, err := policy.ParseIntent(q.Intent)
		if err != nil {
			return nil, err
		}
		if i.OperationID != q.OperationID {
			return nil, fmt.Errorf("the intent is of operation %s, not %s", i.OperationID, q.OperationID)
		}
		x.given = &signedIntent{policy.DigestOf(q.Intent), q.Intent, i}
	}
	x.remember(f.state)
	if x.over {
		return nil, fmt.Errorf("%w %s: it ended in batch %d, before the log that is here begins", ErrUnknown, q.OperationID, x.e.Sequence)
	}
	if err := f.replay(batches, x.record, func(b *Batch) { x.after(f, b) }); err != nil {
		return nil, err
	}
	return x.end(f)
}

// explainer walks a log for one operation.
type explainer struct {
	q       Question
	e       *Explanation
	given   *signedIntent
	intents []signedIntent // that somebody signed, in the order of the log
	over    bool           // authorized, rejected or cancelled
	touched bool           // by the batch under way
	batch   uint64         // under way
	denied  bool           // the policies denied it before or after some batch before it was cancelled
}

// remember takes what a restored fold holds of the operation.
func (x *explainer) remember(s *state) {
	op, ok := s.operations.get(x.q.OperationID)
	if !ok {
		return
	}
	x.intents = append(x.intents, op.intents...)
	for n, d := range op.Decisions {
		x.person(s, d.Person, d.Verb, "", d.Keys, d.Intent, place{sequence: op.Decisions[n].Sequence, time: d.At})
	}
	for _, r := range op.Requests {
		x.person(s, r.Person, "", "", r.Keys, r.Intent, place{sequence: r.Sequence, time: r.At})
	}
	switch {
	case op.Authorized != nil:
		x.decided(RecordedAuthorized, place{sequence: op.AuthorizedAt.Sequence, time: op.AuthorizedAt.Time})
	case op.Cancelled != nil:
		x.decided(RecordedCancelled, place{sequence: op.CancelledAt.Sequence, time: op.CancelledAt.Time})
	case op.Rejected:
		x.decided(RecordedRejected, place{sequence: op.Decisions[len(op.Decisions)-1].Sequence, time: op.Decisions[len(op.Decisions)-1].At})
	}
}

// record sees a record before it is made true.
func (x *explainer) record(s *state, at place, r *Record) {
	if x.batch != at.sequence {
		x.batch = at.sequence
		x.deny(s, at)
	}
	switch {
	case r.Decision != nil, r.Request != nil:
		signed, ok := s.signedBy(r)
		if !ok || signed.intent.OperationID != x.q.OperationID {
			return
		}
		x.touched = true
		x.keep(signedIntent{signed.digest, signed.bytes, signed.intent})
		x.person(s, signed.person, signed.verb, signed.reason, signed.keys, signed.digest, at)
	case r.Authorize != nil && r.Authorize.OperationID == x.q.OperationID:
		x.decided(RecordedAuthorized, at)
		x.e.Authorized = r.Authorize
		x.judge(s, r.Authorize.Intent, at.time)
	case r.Cancel != nil && r.Cancel.OperationID == x.q.OperationID && !x.over:
		x.e.Reason = r.Cancel.Reason
		became := RecordedCancelled
		if op, ok := s.operations.get(x.q.OperationID); ok && op.Rejected {
			became = RecordedRejected
		}
		x.decided(became, at)
		x.judge(s, x.wanted(), at.time)
	}
}

// after sees the state after a batch.
func (x *explainer) after(f *Fold, b *Batch) {
	at := place{b.Sequence, b.Time, b.Author}
	if op, ok := f.state.operations.get(x.q.OperationID); ok && op.Rejected && !x.over && x.touched {
		x.decided(RecordedRejected, at)
		x.judge(f.state, x.wanted(), at.time)
	}
	x.touched = false
	x.deny(f.state, at)
}

// deny notes whether the policies denied the operation before and after each batch: a refusal at
// signing is recorded a moment after it was given, by when they may allow it again.
func (x *explainer) deny(s *state, at place) {
	if i := x.intent(x.wanted()); !x.over && !x.denied && i != nil && !at.time.Before(i.NotBefore) {
		x.denied = policy.Judge(s.input(i, x.wanted(), at.time)).Outcome == policy.Deny
	}
}

func (x *explainer) decided(r Recorded, at place) {
	x.over = true
	x.e.Recorded, x.e.At, x.e.Sequence, x.e.Author = r, at.time, at.sequence, at.author
}

func (x *explainer) keep(i signedIntent) {
	for _, have := range x.intents {
		if have.digest == i.digest {
			return
		}
	}
	x.intents = append(x.intents, i)
}

// person notes who signed, with which kind of key.
func (x *explainer) person(s *state, name string, verb policy.Verb, reason string, keys []string, intent policy.Digest, at place) {
	p := Person{Name: name, Verb: verb, Reason: reason, Intent: intent, At: at.time, Sequence: at.sequence}
	for _, id := range keys {
		kind := "a key that is gone"
		if _, key, ok := s.law.charter.PersonByKey(id); ok {
			kind = string(key.Algorithm())
		}
		p.Keys = append(p.Keys, kind+" "+id)
	}
	x.e.People = append(x.e.People, p)
}

// wanted is the digest of the intent to judge: what was authorized, else what was given, else what was
// approved or signed first. Empty where there is none.
func (x *explainer) wanted() policy.Digest {
	switch {
	case x.e.Authorized != nil:
		return x.e.Authorized.Intent
	case x.given != nil:
		return x.given.digest
	}
	for _, p := range x.e.People {
		if p.Verb == policy.Approve {
			return p.Intent
		}
	}
	if len(x.e.People) > 0 {
		return x.e.People[0].Intent
	}
	return ""
}

// intent finds an intent that somebody signed or that was given.
func (x *explainer) intent(digest policy.Digest) *policy.Intent {
	for _, i := range x.intents {
		if i.digest == digest {
			return i.intent
		}
	}
	if x.given != nil && x.given.digest == digest {
		return x.given.intent
	}
	return nil
}

// judge asks the policies again, by the state at that moment.
func (x *explainer) judge(s *state, digest policy.Digest, at time.Time) {
	i := x.intent(digest)
	x.e.Intent, x.e.IntentDigest = i, digest
	if i == nil && x.e.Authorized == nil {
		return // it ended before anybody signed it
	}
	if i == nil {
		in := s.partly(x.e.Authorized, at)
		v := aboutPeopleAndAmounts(policy.Judge(in))
		x.e.Verdict, x.e.Partial, x.e.partial = &v, true, *in.Intent
		x.e.glossary = s.glossary(in)
		return
	}
	in := s.input(i, digest, at)
	v := policy.Judge(in)
	x.e.Verdict = &v
	x.e.glossary = s.glossary(in)
	for n := range x.e.People {
		p := &x.e.People[n]
		p.Counts, p.Why = counts(in, p)
	}
}

// end judges what is pending and compares.
func (x *explainer) end(f *Fold) (*Explanation, error) {
	e := x.e
	if len(e.People) == 0 && !x.over && x.given == nil {
		return nil, fmt.Errorf("%w %s", ErrUnknown, e.OperationID)
	}
	if !x.over {
		h := f.state.head
		e.At, e.Sequence, e.Author = h.time, h.sequence, h.author
		if !x.q.At.IsZero() {
			e.At = policy.Seconds(x.q.At)
		}
		x.judge(f.state, x.wanted(), e.At)
	}
	for _, i := range x.intents {
		if i.digest != e.IntentDigest {
			x.e.decoys++
		}
	}
	x.compare(f.state)
	return e, nil
}

// compare says whether what is recorded follows from what was in force. A cancellation that is the
// API's word about the chain or a caller's wish follows from nothing, and nothing speaks against it.
func (x *explainer) compare(s *state) {
	e := x.e
	differs := func(format string, args ...any) { e.Differs, e.Why = true, fmt.Sprintf(format, args...) }
	switch e.Recorded {
	case RecordedAuthorized:
		if e.Verdict == nil || e.Verdict.Outcome != policy.Allow {
			differs("it was authorized, and the policies do not allow it")
		}
	case RecordedCancelled:
		said, text, _ := strings.Cut(e.Reason, ": ")
		switch {
		case e.Intent == nil || e.Verdict == nil:
		case said == "REJECTED" && !x.denied && e.Verdict.Outcome != policy.Deny:
			differs("it was refused at signing (%s), and at no batch did the policies deny it", policy.Printable(text))
		case said == "CANCELLED" && strings.HasPrefix(text, "expired at ") && e.At.Add(s.law.charter.MaxClockSkew()).Before(e.Intent.ExpiresAt):
			differs("it was cancelled as expired at %s, and its intent holds until %s", stamp(e.At), stamp(e.Intent.ExpiresAt))
		}
	}
}
