package operation

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Decide hands a person's signed decision to the seal and answers once it is recorded and carried in. The
// same decision again is no error; another one of that person is APPROVAL_DUPLICATE, save a rejection after
// an approval. What the seal would refuse is refused here with the reason that a person can act on.
func (s *Service) Decide(ctx context.Context, a registry.Actor, id string, verb policy.Verb, envelope []byte) (*Operation, error) {
	o, _, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(envelope) == 0 {
		return nil, registry.Refuse(registry.MissingField, "envelope is missing: sign the decision with mintwarden approve or reject")
	}
	e, err := policy.ParseEnvelope(envelope)
	if err != nil {
		return nil, registry.Refuse(registry.ApprovalInvalid, "%s", err)
	}
	d, err := s.checkDecision(a, o, verb, e)
	if err != nil {
		return nil, err
	}
	again, err := o.repeats(d, e, s.void(o.ID, d.Approver))
	if again || err != nil {
		return o, err
	}
	if err := mayDecide(o, verb); err != nil {
		return nil, err
	}
	if verb == policy.Approve && !s.now().Before(o.ExpiresAt) {
		return nil, registry.Refuse(registry.ApprovalInvalid, "operation %s expired at %s", o.ID, o.ExpiresAt.Format("2006-01-02T15:04:05Z"))
	}
	defer s.asks(askDecision(id, d.Approver), a)()
	step, span := s.traces.step(ctx, o, "operation.decide")
	// gofail: var decideBeforeSeal struct{}
	r, err := s.seal.Decide(step, e)
	span.End(err)
	if err != nil {
		return nil, s.decisionRefused(ctx, o, err)
	}
	// gofail: var decideAfterSeal struct{}
	if err := s.registry.WaitCarried(ctx, r.Sequence); err != nil {
		return nil, err
	}
	// gofail: var decideBeforeAnswer struct{}
	return s.Get(ctx, id)
}

// checkDecision: 1202. The envelope holds this verb on exactly this operation's intent, signed by the
// person whose key made the request, who may approve it.
func (s *Service) checkDecision(a registry.Actor, o *Operation, verb policy.Verb, e *policy.Envelope) (*policy.Decision, error) {
	invalid := func(format string, args ...any) error {
		return registry.Refuse(registry.ApprovalInvalid, format, args...)
	}
	charter, _ := s.registry.Fold().Charter()
	d, i, err := charter.OpenDecision(e)
	if err != nil {
		return nil, invalid("%s", err)
	}
	s.papers.keepDecision(e.PayloadDigest(), d, i)
	person, known := charter.PersonByUser(a.UserID)
	switch {
	case !known || person.Name != d.Approver:
		return nil, invalid("the decision is signed by %s, the request was made with the key of %s; they must be one person", d.Approver, a.Name)
	case d.Decision != verb:
		return nil, invalid("the envelope holds a decision to %s, not to %s", d.Decision, verb)
	case i.OperationID != o.ID:
		return nil, invalid("the decision is about operation %s, not %s", i.OperationID, o.ID)
	case verb == policy.Approve && !bytes.Equal(d.Intent, o.Intent): // a rejection counts whatever intent was shown
		return nil, invalid("the decision is about the intent %s, operation %s has %s", d.IntentDigest(), o.ID, o.IntentDigest)
	case verb == policy.Approve && d.Approver == o.RequestedBy:
		return nil, invalid("%s requested operation %s and cannot approve it", d.Approver, o.ID)
	case !s.approves(o, d.Approver):
		return nil, invalid("%s is of no group that approves operation %s", d.Approver, o.ID)
	}
	return d, nil
}

// void reports whether the person's approval of an operation stopped counting, because the charter took the
// key away that made it: then he may approve again, with another one.
func (s *Service) void(id, person string) bool {
	fold := s.registry.Fold()
	charter, _ := fold.Charter()
	op, _ := fold.Operation(id)
	last, _, ok := op.DecisionBy(person)
	return ok && charter != nil && last.Verb == policy.Approve && !charter.Signed(last)
}

// repeats reports whether exactly this decision is recorded; another one of the person is 1203, save a
// rejection after an approval, or any after an approval that is void.
func (o *Operation) repeats(d *policy.Decision, e *policy.Envelope, void bool) (bool, error) {
	digest := e.PayloadDigest()
	var last *Decision
	for n := range o.Decisions {
		if o.Decisions[n].Approver != d.Approver {
			continue
		}
		if o.Decisions[n].Document == digest {
			return true, nil
		}
		last = &o.Decisions[n]
	}
	if last == nil || void || (last.Verb == policy.Approve && d.Decision == policy.Reject) {
		return false, nil
	}
	return false, registry.Refuse(registry.ApprovalDuplicate, "%s decided to %s operation %s already", d.Approver, last.Verb, o.ID)
}

func mayDecide(o *Operation, verb policy.Verb) error {
	if o.Status.Terminal() {
		return processed(o)
	}
	if o.Status == PendingAuthorization || (verb == policy.Reject && o.Status.beforeSignature()) {
		return nil
	}
	return registry.Refuse(registry.TxStateConflict, "operation %s is %s; %s", o.ID, o.Status, map[policy.Verb]string{
		policy.Approve: "only one that is PENDING_AUTHORIZATION can be approved",
		policy.Reject:  "it can be rejected only before it is signed"}[verb])
}

func processed(o *Operation) error {
	return &registry.Refusal{Type: registry.AlreadyProcessed, Message: fmt.Sprintf("operation %s is %s already", o.ID, o.Status),
		Details: map[string]any{"status": string(o.Status)}}
}

// decisionRefused says in the API's words why the seal did not record a decision.
func (s *Service) decisionRefused(ctx context.Context, o *Operation, err error) error {
	kind, ok := seal.KindOf(err)
	if !ok {
		return err
	}
	switch kind {
	case seal.KindInvalid, seal.KindDenied:
		return registry.Refuse(registry.ApprovalInvalid, "%s", message(err))
	case seal.KindDuplicate:
		return registry.Refuse(registry.ApprovalDuplicate, "%s", message(err))
	case seal.KindConflict:
		return s.stateConflict(ctx, o, err)
	}
	return err
}

// stateConflict: the ledger holds something that excludes what was asked; say what became of the operation.
func (s *Service) stateConflict(ctx context.Context, o *Operation, cause error) error {
	if now, err := s.Get(ctx, o.ID); err == nil && now.Status.Terminal() {
		return processed(now)
	}
	return registry.Refuse(registry.TxStateConflict, "%s", message(cause))
}

// message is the seal's own words.
func message(err error) string {
	var e *seal.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// Cancel withdraws an operation that is not signed yet, and answers once the seal recorded that. The ledger holds it
// before the answer to idem's key can be kept, so the key is taken first: a request that began before knows what it did.
func (s *Service) Cancel(ctx context.Context, a registry.Actor, id, reason string, idem *store.Idempotent) (*Operation, error) {
	o, _, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	text := "withdrawn by " + a.Name
	if reason != "" {
		text += ": " + reason
	}
	e := end{Cancelled, text}
	switch {
	case idem != nil && idem.Begun && e.of(o):
		return o, s.store.Finish(ctx, idem, o)
	case o.Status.Terminal():
		return nil, processed(o)
	case !o.Status.beforeSignature():
		return nil, registry.Refuse(registry.TxStateConflict, "operation %s is %s; it can be cancelled only before it is signed", id, o.Status)
	}
	if err := s.store.Begin(ctx, idem, id); err != nil {
		return nil, err
	}
	defer s.asks(askCancel(id), a)()
	step, span := s.traces.step(ctx, o, "operation.cancel")
	r, err := s.seal.Cancel(step, id, e.reason())
	span.End(err)
	if err != nil {
		return nil, s.cancelRefused(ctx, o, idem, err)
	}
	if err := s.registry.WaitCarried(ctx, r.Sequence); err != nil {
		return nil, err
	}
	if o, err = s.Get(ctx, id); err != nil {
		return nil, err
	}
	return o, s.store.Finish(ctx, idem, o)
}

// cancelRefused says in the API's words why the seal did not record a withdrawal, whose key is free again. After any
// other error it may be recorded.
func (s *Service) cancelRefused(ctx context.Context, o *Operation, idem *store.Idempotent, err error) error {
	switch kind, _ := seal.KindOf(err); kind {
	case seal.KindConflict, seal.KindDuplicate, seal.KindDenied:
		err = s.stateConflict(ctx, o, err)
	case seal.KindInvalid:
		err = registry.Refuse(registry.Validation, "reason: %s", message(err))
	default:
		return err
	}
	if kept := s.store.GiveBack(ctx, idem); kept != nil {
		s.log.Warn("operation: the key of a refused withdrawal stays taken", "operation", o.ID, "error", kept)
	}
	return err
}

// end is how an operation ends without a signature; the ledger's cancel record carries it as its reason,
// so that every appliance ends the operation in the same state.
type end struct {
	status Status
	text   string
}

// maxEndText leaves room for the status within the ledger's bound of a reason, in bytes.
const maxEndText = 1000

func (e end) reason() string {
	text := e.text
	for len(text) > maxEndText {
		r := []rune(text)
		text = string(r[:len(r)*maxEndText/len(text)])
	}
	return string(e.status) + ": " + text
}

// parseEnd reads a cancel record's reason. One that this version did not write ends as CANCELLED.
func parseEnd(reason string) end {
	for _, s := range []Status{Rejected, Cancelled, Failed} {
		if text, ok := strings.CutPrefix(reason, string(s)+": "); ok {
			return end{s, text}
		}
	}
	return end{Cancelled, reason}
}

// of reports whether an operation ended so.
func (e end) of(o *Operation) bool {
	return o.Status == e.status && o.FailureReason == parseEnd(e.reason()).text
}

// asks notes who causes a record that the seal is about to write, so that its audit entry names the
// request; the function that it returns forgets it.
func (s *Service) asks(key string, a registry.Actor) func() {
	s.askers.Store(key, a)
	return func() { s.askers.Delete(key) }
}

func askDecision(id, person string) string { return "decide " + id + " " + person }
func askCancel(id string) string           { return "cancel " + id }

// asker is who caused a record here, or else.
func (s *Service) asker(key string, otherwise registry.Actor) registry.Actor {
	if a, ok := s.askers.Load(key); ok {
		return a.(registry.Actor)
	}
	return otherwise
}

// refused reports whether err is a refusal of that type.
func refused(err error, kind string) bool {
	var r *registry.Refusal
	return errors.As(err, &r) && r.Type == kind
}
