package operation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
)

// submitTries bounds how often a submission starts again because the token changed under it.
const submitTries = 8

// Submit checks a request in the order of spec/api.md, writes its intent and stores the operation, all in
// one transaction with its audit entries and the answer to its idempotency key. The operation that it
// returns waits for approvals, or is approved where policy asks for none. Refusals are *registry.Refusal;
// a denial by policy leaves an audit entry and nothing else.
func (s *Service) Submit(ctx context.Context, a registry.Actor, r Request, idem *store.Idempotent) (*Operation, error) {
	ctx, span := s.traces.submit(ctx)
	for try := 1; ; try++ {
		// The first try rests on the token as this process last saw it: what it writes compares the revision, and what
		// it refuses holds only if the token still stands there. Whatever was old is read from the store then.
		o, err := s.submit(ctx, a, r, idem, try == 1)
		if !lostRace(err) {
			if o != nil {
				describe(span, o)
			}
			span.End(err)
			return o, err
		}
		if try == submitTries {
			span.End(err)
			return nil, fmt.Errorf("operation: token %s changed %d times while %s was being submitted: %w", r.TokenID, try, r.Type, err)
		}
	}
}

func (s *Service) submit(ctx context.Context, a registry.Actor, r Request, idem *store.Idempotent, seen bool) (*Operation, error) {
	if err := checkShape(&r); err != nil {
		return nil, err
	}
	if err := s.index.ready(ctx); err != nil {
		return nil, err
	}
	p, err := s.lookUp(ctx, a, &r, seen)
	if err == nil {
		err = s.checkPlan(ctx, a, p)
	}
	var o *Operation
	if err == nil {
		o, err = s.judgeAndCreate(ctx, a, p, idem)
	}
	var refusal *registry.Refusal
	if errors.As(err, &refusal) && p != nil && refusal.Type != registry.PolicyDenied { // that one's entry was written with a look at it
		if changed := s.stands(ctx, p); changed != nil {
			return nil, changed
		}
	}
	return o, err
}

// checkPlan is the checks before the chain is asked.
func (s *Service) checkPlan(ctx context.Context, a registry.Actor, p *plan) error {
	if err := p.checkState(); err != nil {
		return err
	}
	if err := p.checkTemplate(); err != nil {
		return err
	}
	if err := p.checkValues(); err != nil {
		return err
	}
	if err := s.checkReplaces(ctx, p); err != nil {
		return err
	}
	return s.checkPending(a)
}

// stands is nil if the plan's token is what it was when the plan was made. Nobody is refused, and no denial is written,
// for what a token was a moment ago.
func (s *Service) stands(ctx context.Context, p *plan) error {
	if !p.seen {
		return nil
	}
	same, err := s.registry.TokenStands(ctx, p.token.ID, p.tokenRev)
	if err != nil || same {
		return err
	}
	return &store.ConflictError{Key: store.Token(p.token.ID)}
}

// judgeAndCreate asks the chain, then the policies, and stores the operation.
func (s *Service) judgeAndCreate(ctx context.Context, a registry.Actor, p *plan, idem *store.Idempotent) (*Operation, error) {
	chainCtx, span := trace.Call(ctx, "chain.facts")
	span.Set(trace.Peer, "chain")
	err := s.checkFacts(chainCtx, p)
	span.End(err)
	if err != nil {
		return nil, err
	}
	if v, denied := s.missingPolicy(p); denied {
		return nil, s.denied(ctx, a, p, v)
	}
	intent, err := s.intent(p)
	if err != nil {
		return nil, err
	}
	body, err := intent.Encode()
	if err != nil {
		return nil, fmt.Errorf("operation: the intent of %s: %w", p.id, err)
	}
	p.rules = s.rules.Load()
	verdict := s.judge(intent, policy.DigestOf(body))
	if v, denied := p.feeDenial(); denied && !outranksFee(verdict) {
		verdict = v
	}
	s.metrics.judged("submission", verdict)
	if verdict.Outcome != policy.Allow && verdict.Outcome != policy.Wait {
		return nil, s.denied(ctx, a, p, verdict)
	}
	if err := p.checkForeign(intent); err != nil {
		return nil, err
	}
	return s.create(ctx, a, p, intent, body, verdict, idem)
}

// outranksFee reports whether a verdict denies for a reason that is reported before MAX_FEE
// (spec/policy.md, “Order of the reported reason”).
func outranksFee(v policy.Verdict) bool {
	if v.Outcome != policy.Deny || v.Reported == nil {
		return false
	}
	switch v.Reported.Rule {
	case policy.ReasonRequest, policy.RuleRequireApproval, policy.RuleTokenRoleChange, policy.RuleDelay:
		return false
	}
	return true
}

// create writes the operation.
func (s *Service) create(ctx context.Context, a registry.Actor, p *plan, intent *policy.Intent, body []byte, v policy.Verdict, idem *store.Idempotent) (*Operation, error) {
	o := p.operation(intent, policy.DigestOf(body), v)
	o.CredentialID = a.CredentialID
	o.SourceVault = s.sourceVault(o.Network, p.source())
	now := s.now()
	o.CreatedAt, o.Attention = moment(now), p.contested
	twin := ""
	if o.Type != policy.OpCancel { // its twin would be one of the same nonce, which the ledger gives once
		s.index.ask(func(t *tally) { twin = t.twin(o) })
	}
	if twin != "" {
		o.Attention = fmt.Sprintf("equal in type, token, amount and recipient to operation %s, which is still open", twin)
	}
	next := PendingAuthorization
	if v.ApprovalsComplete() {
		next = Approved
	}
	for _, to := range []Status{Submitted, next} {
		if err := o.move(to, now); err != nil {
			return nil, err
		}
	}
	o.Intent, o.Reason = body, p.request.Reason
	if next == PendingAuthorization {
		s.index.judge(o.ID, standing{rules: p.rules, since: o.since()})
	}
	for tried := map[place]bool{}; ; {
		err := s.write(ctx, a, p, o, body, tried, idem)
		switch {
		case err == nil:
			s.papers.keepIntent(o.IntentDigest, body, intent)
			return o, nil
		case !lostPlace(err, o.place()):
			s.index.unjudge(o.ID)
			return nil, err
		}
		tried[o.place()] = true
	}
}

// write stores a new operation, with everything that tells of it, and takes a place for it if it waits; the
// places that were tried are others'.
func (s *Service) write(ctx context.Context, a registry.Actor, p *plan, o *Operation, body []byte, tried map[place]bool, idem *store.Idempotent) error {
	t := s.store.Tx()
	if o.Status == PendingAuthorization {
		at, leave, err := s.reserve(a, tried)
		if err != nil {
			return err
		}
		defer leave()
		o.Place = at.number
		t.PutIfAbsent(at.key(), []byte(o.ID))
	}
	// That the operation is new is compared once, with its state.
	t.Put(store.OpIntent(o.ID), storedIntent.Pack(body))
	s.traces.keep(ctx, t, o.ID)
	if o.Type == policy.OpDeployToken {
		token := *p.token
		token.Status, token.DeployOperationID = registry.TokenDeploying, o.ID
		s.registry.StageToken(t, &token, p.tokenRev)
	} else {
		t.Require(store.Token(o.TokenID), p.tokenRev) // or it could be for a token that was retired a moment ago
	}
	asked := map[string]any{
		"intentDigest": string(o.IntentDigest), "performer": o.Performer.String(), "expiresAt": o.ExpiresAt.Format(time.RFC3339),
	}
	if o.Reason != "" {
		t.Put(store.OpReason(o.ID), []byte(o.Reason))
		asked["reason"] = o.Reason
	}
	p.stageForeign(t, o, asked)
	t.Audit(o.draft(a, Submitted.action(), asked))
	t.Audit(o.draft(a, o.Status.action(), map[string]any{
		"policyId": o.PolicyID, "policyVersion": o.PolicyVersion, "requiredApprovals": o.RequiredApprovals, "approvalGroup": o.ApprovalGroup,
	}))
	t.Idempotent(idem, o)
	// gofail: var submitBeforeCommit struct{}
	if err := s.commit(ctx, t, o, 0, nil); err != nil {
		return err
	}
	// gofail: var submitAfterCommit struct{}
	return nil
}

// denied writes the audit entry of a denial and makes the refusal that tells of it.
func (s *Service) denied(ctx context.Context, a registry.Actor, p *plan, v policy.Verdict) error {
	o := p.operation(nil, "", v)
	details := map[string]any{}
	message := "policy denies it"
	if r := v.Reported; r != nil {
		used := r.Used
		if used == "" && r.Limit != "" {
			used = "0" // a limit of one operation is used by no other
		}
		details = map[string]any{"rule": string(r.Rule), "limit": r.Limit, "used": used, "requested": r.Requested}
		message = fmt.Sprintf("%s: %s", r.Rule, r.Message)
		if r.PolicyID != "" {
			details["policyId"], details["policyVersion"] = r.PolicyID, r.PolicyVersion
			message = fmt.Sprintf("policy %s version %d, %s", r.PolicyID, r.PolicyVersion, message)
		}
	}
	meta := map[string]any{"message": message}
	for k, val := range details {
		meta[k] = val
	}
	if o.Amount != nil {
		meta["amount"] = o.Amount.String()
	}
	d := o.draft(a, "operation.denied", meta)
	d.ResourceType, d.ResourceID = "token", o.TokenID
	if o.Type == policy.OpCancel {
		d.ResourceType, d.ResourceID = "wallet", o.WalletID
	}
	t := s.store.Tx()
	if p.seen {
		t.Require(store.Token(p.token.ID), p.tokenRev)
	}
	details["auditId"] = t.Audit(d)
	if _, err := t.Commit(ctx); err != nil {
		return err
	}
	return &registry.Refusal{Type: registry.PolicyDenied, Message: message, Details: details}
}

// of is what p points to, or the zero value.
func of[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
