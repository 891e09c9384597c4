package ledger

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// maxOtherwise bounds what one rehearsal lists, so that neither memory nor answer grows with history.
const maxOtherwise = 1000

// Rehearsal is what a proposed policy would have changed.
type Rehearsal struct {
	Since     time.Time   `json:"since"`
	Until     time.Time   `json:"until"`     // the last batch's
	Judged    int         `json:"judged"`    // operations that the ledger holds of that time
	Otherwise []Otherwise `json:"otherwise"` // in the order in which they ended, at most 1,000
	More      int         `json:"more"`      // that are not listed
}

// Otherwise is one operation that would have been decided otherwise.
type Otherwise struct {
	OperationID   string               `json:"operationId"`
	OperationType policy.OperationType `json:"operationType"`
	TokenID       string               `json:"tokenId,omitzero"`
	Recorded      Recorded             `json:"recorded"` // what became of it
	At            time.Time            `json:"at"`       // the moment at which it would have been otherwise
	Sequence      uint64               `json:"sequence"` // of that batch
	Would         policy.Outcome       `json:"would"`    // what the policies would have said then
	// Rule is why: what would have stopped it, or what stopped it and would not have.
	Rule  policy.RuleOutcome `json:"rule"`
	Words string             `json:"words"`
}

// Rehearse replays a log from its first batch on with the proposal in place of the version of its
// policy that was in force, or beside the others where it is new, and says which operations since a
// moment would have been decided otherwise: those authorized that would have been denied or would
// have had to wait, and those that were not authorized and would have been allowed at a batch in
// which something was recorded of them, or when they ended. Usage is what was charged. It is as if
// the proposal had been in force all the time, at every submission too; what nobody signed and what
// was denied at submission is not in the ledger and not in the answer. An operation that asked nobody
// is judged by its charges alone. Memory does not grow with the log. Errors are the iterator's, the
// proposal's (they wrap [policy.ErrDocument]), or a *Refusal of a log that does not verify.
func Rehearse(batches iter.Seq2[[]byte, error], charter1 policy.Digest, proposal *policy.Policy, since time.Time) (*Rehearsal, error) {
	return NewFold(charter1).Rehearse(batches, proposal, since)
}

// Rehearse is [Rehearse] of a log whose beginning the fold holds, restored from a snapshot. The fold
// is moved on.
func (f *Fold) Rehearse(batches iter.Seq2[[]byte, error], proposal *policy.Policy, since time.Time) (*Rehearsal, error) {
	next, err := inForceAs(proposal)
	if err != nil {
		return nil, err
	}
	r := &rehearser{proposal: next, out: &Rehearsal{Since: since, Otherwise: []Otherwise{}}, open: map[string]*Otherwise{}, touched: map[string]bool{}, seen: map[string]bool{}}
	if err := f.replay(batches, r.record, func(b *Batch) { r.after(f, b) }); err != nil {
		return nil, err
	}
	r.end(f)
	return r.out, nil
}

// inForceAs is a proposal as if it were in force.
func inForceAs(p *policy.Policy) (*policy.InForce, error) {
	b, err := p.Encode()
	if err != nil {
		return nil, err
	}
	return &policy.InForce{Policy: p, Digest: policy.DigestOf(b)}, nil
}

// rehearser walks a log for one proposal. What it holds is of operations that are open, and the list.
type rehearser struct {
	proposal *policy.InForce
	out      *Rehearsal
	open     map[string]*Otherwise // not authorized so far, and would have been allowed
	seen     map[string]bool       // judged, and not over
	touched  map[string]bool       // by what somebody signed in the batch under way
}

// instead is the input with the proposal in the place of its policy's other versions, in force and at
// submission.
func (s *state) instead(in policy.Input, next *policy.InForce) policy.Input {
	other := func(p *policy.InForce) bool { return p.Policy.ID == next.Policy.ID }
	in.Policies = slices.DeleteFunc(slices.Clone(in.Policies), other)
	in.Submitted = slices.DeleteFunc(slices.Clone(in.Submitted), other)
	i := *in.Intent
	i.Policies = slices.DeleteFunc(slices.Clone(i.Policies), func(ref policy.PolicyRef) bool { return ref.ID == next.Policy.ID })
	performing, source := s.vaultsOf(&i)
	if policy.InScope(next.Policy, i.Token.ID, performing, source) {
		in.Policies = append(in.Policies, next)
		i.Policies = append(i.Policies, next.Ref())
	}
	in.Intent = &i
	return in
}

func (r *rehearser) record(s *state, at place, rec *Record) {
	if at.time.Before(r.out.Since) {
		return
	}
	switch {
	case rec.Decision != nil, rec.Request != nil:
		if signed, ok := s.signedBy(rec); ok {
			r.touched[signed.intent.OperationID] = true
		}
	case rec.Authorize != nil:
		r.authorized(s, at, rec.Authorize)
	case rec.Cancel != nil:
		r.cancelled(s, at, rec.Cancel)
	}
}

// authorized judges what was allowed.
func (r *rehearser) authorized(s *state, at place, a *Authorize) {
	r.count(a.OperationID)
	r.over(a.OperationID)
	var in policy.Input
	partly := false
	if i := s.peek(a.OperationID).intent(a.Intent); i != nil {
		in = s.input(i, a.Intent, at.time)
	} else {
		in, partly = s.partly(a, at.time), true
	}
	in = s.instead(in, r.proposal)
	v := policy.Judge(in)
	if partly {
		v = aboutPeopleAndAmounts(v)
	}
	if v.Outcome == policy.Allow {
		return
	}
	o := r.otherwise(in, a.OperationID, RecordedAuthorized, at, v.Outcome)
	if v.Reported != nil {
		o.Rule = *v.Reported
	}
	would := "would have been denied"
	if v.Outcome == policy.Wait {
		would = "would have had to wait"
	}
	o.Words = fmt.Sprintf("%s was authorized at %s and %s: %s", o.name(), stamp(o.At), would, v.Reason(in.Intent, at.time, s.glossary(in)))
	r.list(o)
}

// cancelled looks once more at what ends unauthorized, and lists it if it would have been allowed.
func (r *rehearser) cancelled(s *state, at place, c *Cancel) {
	if s.peek(c.OperationID).Rejected {
		return // it ended then
	}
	r.count(c.OperationID)
	r.would(s, at, c.OperationID)
	r.unauthorized(c.OperationID, RecordedCancelled)
}

// after looks at what somebody signed in the batch.
func (r *rehearser) after(f *Fold, b *Batch) {
	r.out.Until = b.Time
	at := place{b.Sequence, b.Time, b.Author}
	for _, id := range slices.Sorted(maps.Keys(r.touched)) {
		op, ok := f.state.operations.get(id)
		switch {
		case !ok || op.Authorized != nil || op.Cancelled != nil:
		case op.Rejected:
			r.count(id)
			r.unauthorized(id, RecordedRejected)
		default:
			r.count(id)
			r.would(f.state, at, id)
		}
	}
	clear(r.touched)
	if len(r.seen) > 2*len(f.state.operations.own)+1024 {
		r.forget(f)
	}
}

// forget ends what the fold let go of: it expired, and nobody cancelled it.
func (r *rehearser) forget(f *Fold) {
	for _, id := range slices.Sorted(maps.Keys(r.seen)) {
		if !f.state.operations.has(id) {
			r.unauthorized(id, RecordedPending)
		}
	}
}

// would notes an operation that the proposal allows and that is not allowed as it is. What has expired
// by then is judged at the last moment before it did.
func (r *rehearser) would(s *state, at place, id string) {
	op, ok := s.operations.get(id)
	if _, noted := r.open[id]; noted || !ok || op.Rejected {
		return
	}
	for _, signed := range op.intents {
		now := at.time
		if !now.Before(signed.intent.ExpiresAt) {
			now = signed.intent.ExpiresAt.Add(-time.Second)
		}
		is := s.input(signed.intent, signed.digest, now)
		in := s.instead(is, r.proposal)
		if policy.Judge(in).Outcome != policy.Allow {
			continue
		}
		v := policy.Judge(is)
		if v.Outcome == policy.Allow {
			return // it could have been authorized as it is
		}
		o := r.otherwise(in, id, RecordedPending, place{at.sequence, now, at.author}, policy.Allow)
		if v.Reported != nil {
			o.Rule = *v.Reported
		}
		o.Words = v.Reason(is.Intent, now, s.glossary(is))
		r.open[id] = &o
		return
	}
}

// end lists what is still open.
func (r *rehearser) end(f *Fold) {
	at := place{sequence: f.state.head.sequence, time: f.state.head.time, author: f.state.head.author}
	for _, id := range slices.Sorted(maps.Keys(r.seen)) {
		r.would(f.state, at, id)
	}
	for _, id := range slices.Sorted(maps.Keys(r.open)) {
		r.unauthorized(id, RecordedPending)
	}
}

// unauthorized lists an operation that ended without an authorization, if it would have had one.
func (r *rehearser) unauthorized(id string, became Recorded) {
	o, ok := r.open[id]
	r.over(id)
	if !ok {
		return
	}
	o.Recorded = became
	was := map[Recorded]string{RecordedRejected: "was rejected", RecordedCancelled: "was cancelled", RecordedPending: "is not authorized"}[became]
	o.Words = fmt.Sprintf("%s %s and would have been allowed at %s, where it was not: %s", o.name(), was, stamp(o.At), o.Words)
	r.list(*o)
}

func (r *rehearser) over(id string) {
	delete(r.open, id)
	delete(r.seen, id)
}

func (r *rehearser) count(id string) {
	if !r.seen[id] {
		r.seen[id] = true
		r.out.Judged++
	}
}

func (r *rehearser) list(o Otherwise) {
	if len(r.out.Otherwise) >= maxOtherwise {
		r.out.More++
		return
	}
	r.out.Otherwise = append(r.out.Otherwise, o)
}

func (r *rehearser) otherwise(in policy.Input, id string, became Recorded, at place, would policy.Outcome) Otherwise {
	return Otherwise{OperationID: id, OperationType: in.Intent.OperationType, TokenID: in.Intent.Token.ID, Recorded: became,
		At: at.time, Sequence: at.sequence, Would: would}
}

// name is the operation's type and id.
func (o *Otherwise) name() string {
	return strings.TrimSpace(string(o.OperationType) + " " + o.OperationID)
}

// glossary is what words about the input's policies need.
func (s *state) glossary(in policy.Input) policy.Glossary {
	g := policy.Glossary{Policies: slices.Concat(in.Policies, in.Submitted)}
	if s.law != nil {
		if network, ok := s.law.charter.Network(in.Intent.Network); ok {
			g.Currency = network.Currency
		}
	}
	return g
}
