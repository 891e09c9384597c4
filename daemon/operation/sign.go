package operation

import (
	"context"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// unsignedStates are those from which an operation can be signed, or end without.
var unsignedStates = []Status{PendingSignature, Queued}

// sign has the seal authorize and sign an operation, and writes the bytes: whatever a crash left, it reads
// where the operation is and goes on from there.
func (l *lane) sign(ctx context.Context, fence *store.Fence, e entry) error {
	o := e.op
	if !o.Authorized && !l.s.now().Before(o.ExpiresAt) {
		return l.expire(ctx, fence, e)
	}
	if o.Status == Approved {
		var err error
		pendBefore()
		if o, err = l.walk(ctx, fence, o.ID, []Status{Approved}, []leg{{PendingSignature, nil}}, nil); err != nil {
			return err
		}
		pendAfter()
		if o.Status != PendingSignature {
			return nil
		}
	}
	body, i, err := l.s.intentOf(ctx, o)
	if err != nil {
		return err
	}
	r := seal.AuthorizeRequest{OperationID: o.ID, Intent: body, Head: l.s.headOf(o.Network)}
	if err := l.s.foreignOffer(ctx, o, i, &r); err != nil {
		return err
	}
	if a, ok := l.s.authorization(o.ID); ok {
		r.GasLimit, r.MaxFee, r.Tip = a.GasLimit, a.MaxFee, a.Tip
	} else if why, err := l.s.propose(ctx, o, i, &r); err != nil {
		return l.putOff(ctx, fence, o, err)
	} else if why != "" {
		return l.end(ctx, fence, o, end{Failed, why})
	} else if no, err := l.s.wanted(ctx, o, &r); err != nil {
		return err
	} else if no != nil {
		return l.end(ctx, fence, o, *no)
	}
	// gofail: var authorizeBeforeSeal struct{}
	result, err := l.s.seal.Authorize(ctx, r)
	// gofail: var authorizeAfterSeal struct{}
	if err != nil {
		return l.notAuthorized(ctx, fence, o, i, err)
	}
	if result.Verdict != nil {
		l.s.metrics.judged("signing", *result.Verdict)
	}
	return l.keep(ctx, fence, o, i, result)
}

// headOf is the newest block of a network that was seen, which the seal holds its clock against; nil before
// the first.
func (s *Service) headOf(network string) *seal.ChainHead {
	h := s.heads.get(network)
	if h.Hash.IsZero() {
		return nil
	}
	return &seal.ChainHead{Number: h.Number, Time: h.Time.UTC()}
}

// The points before and after the commit that makes an operation PENDING_SIGNATURE, alone or with what led
// there.
func pendBefore() {
	// gofail: var pendBeforeCommit struct{}
}

func pendAfter() {
	// gofail: var pendAfterCommit struct{}
}

func missing(ok bool, what string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("operation: %s is not in the store", what)
}

// fees are what an authorization offers.
type authorized struct {
	GasLimit    uint64
	MaxFee, Tip policy.Amount
}

// authorization is the ledger's authorization of an operation, if it is known here.
func (s *Service) authorization(id string) (authorized, bool) {
	r, ok := s.registry.Fold().Operation(id)
	if !ok || r.Authorized == nil {
		return authorized{}, false
	}
	return authorized{r.Authorized.GasLimit, r.Authorized.MaxFee, r.Authorized.Tip}, true
}

// keep writes the signed bytes, if none are there, and the state that says so.
func (l *lane) keep(ctx context.Context, fence *store.Fence, o *Operation, i *policy.Intent, r *seal.AuthorizeResult) error {
	if tx.HashOf(r.RawTx) != r.TxHash {
		return fmt.Errorf("operation: the seal says that the transaction of %s is %s, its bytes are %s", o.ID, r.TxHash, tx.HashOf(r.RawTx))
	}
	signed, err := tx.Decode(i.Scheme.Kind(), r.RawTx)
	if err != nil {
		return fmt.Errorf("operation: the transaction of %s: %w", o.ID, err)
	}
	b := l.s.storedTx(ctx, o, storedTx{r.RawTx, r.TxHash, signed.Nonce})
	legs := []leg{{Signed, map[string]any{"transactionHash": r.TxHash.String(), "nonce": signed.Nonce, "ledgerSequence": r.Sequence}}}
	if l.turn(signed.Nonce) {
		// Nothing stands between these bytes and the chain but to read them back: sending does that next.
		legs = append(legs, leg{Broadcasting, nil})
		broadcastBefore()
		defer broadcastAfter()
	}
	// gofail: var keepBeforeCommit struct{}
	_, err = l.walk(ctx, fence, o.ID, unsignedStates, legs, func(o *Operation, t *store.Tx) error {
		t.PutIfAbsent(store.OpTx(o.ID, 1), b)
		t.Put(store.TxOperation(r.TxHash), []byte(o.ID))
		o.TransactionHash, o.Nonce, o.Attention = &r.TxHash, signed.Nonce, ""
		return nil
	})
	// gofail: var keepAfterCommit struct{}
	return err
}

// notAuthorized does what an answer of the seal other than yes asks for. An error is tried again.
func (l *lane) notAuthorized(ctx context.Context, fence *store.Fence, o *Operation, i *policy.Intent, cause error) error {
	kind, ok := seal.KindOf(cause)
	if !ok {
		return cause
	}
	switch kind {
	case seal.KindDenied:
		l.s.metrics.judged("signing", policy.Verdict{Outcome: policy.Deny, Reported: &policy.RuleOutcome{Rule: ruleOf(message(cause))}})
		if !l.s.now().Before(o.ExpiresAt) {
			return l.end(ctx, fence, o, expiry(o))
		}
		return l.end(ctx, fence, o, end{Rejected, message(cause)})
	case seal.KindInvalid:
		return l.end(ctx, fence, o, end{Failed, "the seal refuses it: " + message(cause)})
	case seal.KindQueued:
		if o.Status == Queued {
			return errNothingNew
		}
		_, err := l.walk(ctx, fence, o.ID, []Status{PendingSignature}, []leg{{Queued, map[string]any{"reason": message(cause)}}}, nil)
		return err
	case seal.KindWait:
		if l.s.complete(o, i) {
			return cause // a delay runs
		}
		_, err := l.walk(ctx, fence, o.ID, unsignedStates, []leg{{PendingAuthorization, map[string]any{"reason": message(cause)}}}, nil)
		return err
	}
	return l.unsigned(ctx, fence, o, cause) // sealed, clock, store, hsm, busy, or excluded by what is being carried in
}

// ruleOf is the rule that a denial's message begins with.
func ruleOf(text string) policy.RuleType {
	for i, c := range text {
		if c == ':' {
			return policy.RuleType(text[:i])
		}
		if (c < 'A' || c > 'Z') && c != '_' {
			break
		}
	}
	return ""
}

// complete reports whether no approval is missing, as far as the ledger was followed.
func (s *Service) complete(o *Operation, i *policy.Intent) bool {
	return s.judge(i, o.IntentDigest).ApprovalsComplete()
}

// recheck approves an operation whose approvals became complete by something other than a decision: a
// changed policy, a changed charter, a decision that came while the seal was asked. It ends one whose
// rejecter came into a group after his word was recorded: nothing was rejected then, and now nobody
// else's word is worth anything.
func (l *lane) recheck(ctx context.Context, fence *store.Fence, e entry) error {
	by := l.s.standing(e.op)
	_, i, err := l.s.intentOf(ctx, e.op)
	if err != nil {
		return err
	}
	v := l.s.judge(i, e.op.IntentDigest)
	if why, ok := v.Rejection(); ok {
		return l.end(ctx, fence, e.op, end{Rejected, why})
	}
	if !v.ApprovalsComplete() {
		l.note(func() { l.checked[e.op.ID] = by })
		return nil
	}
	_, err = l.walk(ctx, fence, e.op.ID, []Status{PendingAuthorization}, []leg{{Approved, nil}}, nil)
	return err
}

// standing is what an operation's approvals were judged by.
type standing struct {
	rules     uint64 // Service.rules
	approvals int
	since     time.Time
}

func (s *Service) standing(o *Operation) standing {
	return standing{s.rules.Load(), len(o.Approvals), o.since()}
}

// expire ends an operation whose time is over, if the seal has not authorized it.
func (l *lane) expire(ctx context.Context, fence *store.Fence, e entry) error {
	return l.end(ctx, fence, e.op, expiry(e.op))
}

func expiry(o *Operation) end {
	return end{Cancelled, "expired at " + o.ExpiresAt.Format(time.RFC3339)}
}

// end has the seal record that an operation is not to be signed. The state follows when that is carried in;
// where the ledger holds an authorization already, the operation goes on with it.
func (l *lane) end(ctx context.Context, fence *store.Fence, o *Operation, e end) error {
	r, err := l.s.seal.Cancel(ctx, o.ID, e.reason())
	if err == nil {
		l.recorded(o.ID, r.Sequence)
		return nil
	}
	kind, ok := seal.KindOf(err)
	if ok && (kind == seal.KindConflict || kind == seal.KindDuplicate) {
		// Whatever excludes it is in the ledger and is being carried in.
		return fmt.Errorf("operation: %s cannot end as %s: %w", o.ID, e.status, err)
	}
	if kind == seal.KindDenied {
		return l.endForgotten(ctx, fence, o, e)
	}
	return err
}

// endForgotten ends an operation that is older than the ledger remembers: the seal records nothing of it
// any more and would never authorize it (policy/ledger, forget.go), so that this side's word is enough.
func (l *lane) endForgotten(ctx context.Context, fence *store.Fence, o *Operation, e end) error {
	_, err := l.change(ctx, fence, o.ID, func(o *Operation, t *store.Tx) (bool, error) {
		if !o.Status.beforeSignature() || o.Authorized {
			return false, nil
		}
		return true, l.s.stageEnd(ctx, t, o, e, registry.SystemActor(), func(d audit.Draft) audit.Draft { return d })
	})
	return err
}

// settle tells the seal that an operation is final on the chain, which frees its place.
func (l *lane) settle(ctx context.Context, _ *store.Fence, e entry) error {
	if e.op.TransactionHash == nil {
		return fmt.Errorf("operation: %s is %s, authorized, and has no transaction", e.op.ID, e.op.Status)
	}
	// gofail: var settleBeforeSeal struct{}
	r, err := l.s.seal.Settle(ctx, seal.SettleRequest{OperationID: e.op.ID, TxHash: *e.op.TransactionHash})
	// gofail: var settleAfterSeal struct{}
	if err != nil {
		return err
	}
	l.recorded(e.op.ID, r.Sequence)
	return nil
}
