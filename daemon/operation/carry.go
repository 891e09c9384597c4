package operation

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// carryLanes is how many operations of one batch are carried at once: their commits share etcd's fsyncs.
const carryLanes = 32

// carried is one record on its way into an operation.
type carried struct {
	record *ledger.Record
	batch  *ledger.Batch
	index  int // from 1
}

// carry takes what a batch says of operations into the store: each record in one transaction, the records
// of one operation in order. Whoever carries a record second, here or on another appliance, finds it done.
func (s *Service) carry(ctx context.Context, b *ledger.Batch) error {
	byOperation := map[string][]carried{}
	for i := range b.Records {
		r := &b.Records[i]
		if changesRules(r) {
			s.rules.Add(1)
		}
		id, err := s.operationOf(r)
		if err != nil {
			return fmt.Errorf("operation: batch %d, record %d: %w", b.Sequence, i, err)
		}
		if id != "" {
			byOperation[id] = append(byOperation[id], carried{r, b, i + 1})
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(carryLanes)
	for id, records := range byOperation {
		g.Go(func() error {
			for _, c := range records {
				if err := s.carryRecord(ctx, id, c); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// changesRules reports whether approvals that were too few may be enough after a record, or the other way
// round. Each that does has every operation that waits judged again, so that a checkpoint every five seconds must not.
func changesRules(r *ledger.Record) bool {
	return r.Decision == nil && r.Request == nil && r.Authorize == nil && r.Bump == nil && r.Cancel == nil && r.Settle == nil && r.Wallet == nil &&
		r.Checkpoint == nil
}

// operationOf is the operation that a record tells of; empty for records of other things.
func (s *Service) operationOf(r *ledger.Record) (string, error) {
	switch {
	case r.Decision != nil:
		_, i, err := s.papers.decision(r.Decision)
		if err != nil {
			return "", err
		}
		return i.OperationID, nil
	case r.Request != nil:
		_, i, err := readRequest(r.Request)
		if err != nil {
			return "", err
		}
		return i.OperationID, nil
	case r.Authorize != nil:
		return r.Authorize.OperationID, nil
	case r.Cancel != nil:
		return r.Cancel.OperationID, nil
	case r.Settle != nil:
		return r.Settle.OperationID, nil
	}
	return "", nil
}

// carryRecord makes one record true of one operation. It begins with the state as it is known in memory,
// which the transaction compares; only if that is old it reads.
func (s *Service) carryRecord(ctx context.Context, id string, c carried) error {
	e, known := s.index.get(id)
	for {
		if !known {
			var err error
			e, err = s.loadState(ctx, id)
			if refused(err, registry.TxNotFound) {
				// The ledger takes decisions on operations that this store never had, or has lost.
				s.log.Warn("operation: the ledger tells of one that is not here", "operation", id, "sequence", c.batch.Sequence)
				return nil
			}
			if errors.Is(err, archive.ErrIncomplete) || errors.Is(err, archive.ErrDamaged) {
				// It is over, or never was: a decision that nobody waits for must not keep freezes from being seen.
				s.log.Error("operation: the ledger tells of one that is neither in the store nor in what is left of the archive",
					"operation", id, "sequence", c.batch.Sequence, "error", err)
				return nil
			}
			if err != nil {
				return err
			}
		}
		before := e.op
		if before.LedgerSeq > c.batch.Sequence || (before.LedgerSeq == c.batch.Sequence && before.LedgerIndex >= c.index) {
			return nil
		}
		ctx, span := s.traces.step(ctx, before, "operation.record")
		after := *before
		after.LedgerSeq, after.LedgerIndex, after.UpdatedAt = c.batch.Sequence, c.index, moment(s.now())
		t := s.store.Tx()
		if err := s.stageRecord(ctx, t, &after, c); err != nil {
			span.End(err)
			return err
		}
		asking := before.Status != PendingSignature && after.Status == PendingSignature
		if asking {
			pendBefore()
		}
		// gofail: var carryBeforeCommit struct{}
		err := s.commit(ctx, t, &after, e.rev, before)
		span.SetInt(trace.Sequence, int64(c.batch.Sequence))
		span.End(err)
		if !lostRace(err) {
			// gofail: var carryAfterCommit struct{}
			if asking {
				pendAfter()
			}
			return err
		}
		known = false
	}
}

func (s *Service) stageRecord(ctx context.Context, t *store.Tx, after *Operation, c carried) error {
	switch r := c.record; {
	case r.Decision != nil:
		return s.stageDecision(ctx, t, after, c)
	case r.Request != nil:
		return s.stageRequest(t, after, c)
	case r.Authorize != nil:
		after.Authorized, after.Nonce = true, r.Authorize.Nonce
		t.Audit(c.sealed(after.draft(registry.SystemActor(), "operation.authorized", map[string]any{
			"walletId": r.Authorize.WalletID, "nonce": r.Authorize.Nonce, "gasLimit": r.Authorize.GasLimit,
			"maxFee": r.Authorize.MaxFee.String(), "tip": r.Authorize.Tip.String(), "signingHash": r.Authorize.Tx.String(),
		})))
		return nil
	case r.Cancel != nil:
		e := parseEnd(r.Cancel.Reason)
		return s.stageEnd(ctx, t, after, e, s.asker(askCancel(after.ID), registry.SystemActor()), c.sealed)
	case r.Settle != nil:
		after.Settled = true
		t.Audit(c.sealed(after.draft(registry.SystemActor(), "operation.settled", map[string]any{"transactionHash": r.Settle.TxHash.String()})))
		return nil
	}
	return fmt.Errorf("operation: record %d of batch %d is none of an operation", c.index, c.batch.Sequence)
}

// sealed makes an audit entry one that the ledger asserts.
func (c carried) sealed(d audit.Draft) audit.Draft {
	d.AssertedBy = audit.Seal
	d.Metadata["ledgerSequence"], d.Metadata["ledgerRecord"] = c.batch.Sequence, c.index
	return d
}

// stageDecision writes a person's decision beside those before, and the state that it leads to.
func (s *Service) stageDecision(ctx context.Context, t *store.Tx, after *Operation, c carried) error {
	e := c.record.Decision
	d, i, err := s.papers.decision(e)
	if err != nil {
		return err
	}
	var own []Decision
	if after.decided(d.Approver) {
		if own, err = s.decisionsOf(ctx, after.ID, d.Approver); err != nil {
			return err
		}
	}
	own = append(own, Decision{Approver: d.Approver, Verb: d.Decision, Reason: d.Reason, DecidedAt: d.DecidedAt,
		RecordedAt: c.batch.Time, Sequence: c.batch.Sequence, Document: e.PayloadDigest()})
	b, err := encodeDecisions(own)
	if err != nil {
		return err
	}
	t.Put(store.OpDecision(after.ID, d.Approver), b)
	after.Approvals = append(after.Approvals[:len(after.Approvals):len(after.Approvals)], Approval{d.Approver, d.Decision})
	actor := s.asker(askDecision(after.ID, d.Approver), registry.Actor{Name: d.Approver})
	action := map[policy.Verb]string{policy.Approve: "operation.approval_recorded", policy.Reject: "operation.rejection_recorded"}[d.Decision]
	t.Audit(c.sealed(after.draft(actor, action, map[string]any{"reason": d.Reason, "intentDigest": string(d.IntentDigest())})))

	record, _ := s.registry.Fold().Operation(after.ID)
	if d.Decision == policy.Reject {
		if record.Rejected && after.Status.beforeSignature() {
			text := "rejected by " + d.Approver
			if d.Reason != "" {
				text += ": " + d.Reason
			}
			return s.stageEnd(ctx, t, after, end{Rejected, text}, actor, c.sealed)
		}
		return nil
	}
	if d.IntentDigest() != after.IntentDigest {
		return nil // approved is something else under this operation's id; it counts for nothing
	}
	return s.stageApproved(t, after, i, c)
}

// stageApproved takes an operation on its way to the seal if nobody's word is missing any more.
func (s *Service) stageApproved(t *store.Tx, after *Operation, i *policy.Intent, c carried) error {
	if after.Status != PendingAuthorization {
		return nil
	}
	v := s.judge(i, after.IntentDigest)
	s.metrics.judged("decision", v)
	if !v.ApprovalsComplete() {
		return nil
	}
	if err := after.move(Approved, s.now()); err != nil {
		return err
	}
	t.Audit(c.sealed(after.draft(registry.SystemActor(), Approved.action(), map[string]any{"approvedBy": after.ApprovedBy()})))
	// Nothing stands between an approved operation and the question to the seal: the lane asks it next.
	if err := after.move(PendingSignature, s.now()); err != nil {
		return err
	}
	t.Audit(after.draft(registry.SystemActor(), PendingSignature.action(), nil))
	return nil
}

// stageRequest writes that the requester signed the intent, for which charters with signedRequests wait.
func (s *Service) stageRequest(t *store.Tx, after *Operation, c carried) error {
	r, i, err := readRequest(c.record.Request)
	if err != nil {
		return err
	}
	t.Audit(c.sealed(after.draft(registry.Actor{Name: r.Requester}, "operation.request_signed", map[string]any{"intentDigest": string(policy.DigestOf(r.Intent))})))
	if policy.DigestOf(r.Intent) != after.IntentDigest {
		return nil // something else was asked for under this operation's id
	}
	return s.stageApproved(t, after, i, c)
}

// readRequest reads a requester's signed request and its intent. It verifies nothing.
func readRequest(e *policy.Envelope) (*policy.Request, *policy.Intent, error) {
	r, err := policy.ParseRequest(e.Payload)
	if err != nil {
		return nil, nil, err
	}
	i, err := policy.ParseIntent(r.Intent)
	return r, i, err
}

// stageEnd ends an operation that was not signed, and gives the token of a deployment back. assert says on
// whose word the audit entry rests.
func (s *Service) stageEnd(ctx context.Context, t *store.Tx, o *Operation, e end, a registry.Actor, assert func(audit.Draft) audit.Draft) error {
	if o.Status.Terminal() {
		return nil // a cancel after a rejection changes nothing
	}
	if o.Status == PendingAuthorization && e.status == Failed || o.Status == Approved && e.status == Failed {
		// Another appliance's worker failed it at signing before this store had seen it get there.
		if err := s.advance(o); err != nil {
			return err
		}
	}
	if !o.Status.beforeSignature() {
		// Only a ledger that custodians took back behind the authorization can say so of bytes that are out. They stay what
		// they are, and what the ledger holds behind it, freezes too, must be carried in all the same.
		s.log.Error("the ledger ends an operation whose transaction is signed; it goes on", "operation", o.ID, "status", o.Status, "end", e.status)
		t.Audit(assert(o.draft(a, "operation.end_ignored", map[string]any{"end": string(e.status), "reason": e.text})))
		return nil
	}
	if err := o.move(e.status, s.now()); err != nil {
		return err
	}
	o.FailureReason, o.Attention = e.text, ""
	o.Authorized, o.Nonce = false, 0 // a ledger that ends it has no authorization of it: there is nothing to settle
	t.Audit(assert(o.draft(a, e.status.action(), map[string]any{"reason": e.text})))
	if o.Type != policy.OpDeployToken {
		return nil
	}
	token, rev, err := s.registry.TokenAt(ctx, o.TokenID)
	if err != nil {
		return err
	}
	if token.DeployOperationID == o.ID && token.Status == registry.TokenDeploying {
		token.Status = registry.TokenDraft
		s.registry.StageToken(t, token, rev)
	}
	return nil
}

// advance takes an operation through the states that lead to its signature.
func (s *Service) advance(o *Operation) error {
	for _, to := range []Status{Approved, PendingSignature} {
		if Legal(o.Status, to) {
			if err := o.move(to, s.now()); err != nil {
				return err
			}
		}
	}
	return nil
}

// decisionsOf are the decisions of one person that are in the store.
func (s *Service) decisionsOf(ctx context.Context, id, person string) ([]Decision, error) {
	key := store.OpDecision(id, person)
	kvs, _, err := s.store.GetMany(ctx, key)
	if err == nil {
		err = s.fill([]string{id}, kvs)
	}
	if err != nil || kvs[0].Value == nil {
		return nil, err
	}
	ds, err := decodeDecisions(kvs[0].Value)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return ds, nil
}
