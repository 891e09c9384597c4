package ledger

import (
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/policy"
)

// tables reads the sections behind the charters.
func (r *restoring) tables() {
	s := r.s
	readSection(r, sectionDocuments, func(l *snapRecorded) string { return string(l.Payload) }, func(l *snapRecorded) error {
		s.documents.put(l.Payload, l.Sequence)
		return nil
	})
	readSection(r, sectionPolicies, (*snapPolicy).key, r.policy)
	r.inForce()
	readSection(r, sectionBindings, func(l *snapBinding) string { return l.TokenID }, r.binding)
	readSection(r, sectionContracts, func(l *snapContract) string { return contract{l.ChainID, l.Contract}.key() }, func(l *snapContract) error {
		s.contracts.put(contract{l.ChainID, l.Contract}, l.TokenID)
		return nil
	})
	var lastWallet string // the key of a wallet's line is inside its record
	readSection(r, sectionWallets, func(l *snapWallet) string {
		if rec, err := readRecord(l.Record, TypeWallet); err == nil {
			lastWallet = rec.Wallet.WalletID
		}
		return lastWallet
	}, r.wallet)
	readSection(r, sectionLanes, func(l *snapLane) string { return l.WalletID }, func(l *snapLane) error {
		lane := &lane{next: l.Next, outstanding: l.Outstanding}
		for _, g := range l.Gaps {
			lane.gaps = append(lane.gaps, gap{g.First, g.Last})
		}
		s.lanes.put(l.WalletID, lane)
		return nil
	})
	readSection(r, sectionOperations, func(l *snapOperation) string { return l.OperationID }, r.operation)
	key := func(l *snapSigned) string { return signedKey(l.OperationID, l.Number) }
	readSection(r, sectionDecisions, key, r.decision)
	readSection(r, sectionRequests, key, r.request)
	readSection(r, sectionCounters, func(l *snapCounter) string { return counter{l.ChainID, l.Contract, l.Operation}.key() }, func(l *snapCounter) error {
		s.counters.put(counter{l.ChainID, l.Contract, l.Operation}, usageOf(l.Buckets))
		return nil
	})
	readSection(r, sectionFees, func(l *snapFees) string { return l.WalletID }, func(l *snapFees) error {
		s.fees.put(l.WalletID, usageOf(l.Buckets))
		return nil
	})
	readSection(r, sectionFrozen, func(l *snapFreeze) string { return subjectKey(l.Subject) }, func(l *snapFreeze) error {
		s.frozen.put(l.Subject, freeze{l.Frozen, l.Since.UTC()})
		return nil
	})
	readSection(r, sectionJoins, func(l *Join) string { return l.ApplianceID }, func(l *Join) error {
		s.joins.put(l.ApplianceID, l)
		return l.Check()
	})
}

func usageOf(line []snapBucket) *usage {
	u := &usage{}
	for _, b := range line {
		u.buckets = append(u.buckets, bucket{b.Bucket, b.Amount})
	}
	return u
}

// policy takes the next version of a policy: the oldest that stands signed by the threshold, each
// later one so too, or by a custodian who tightened the one before. How it was taken is what the
// snapshot says, for where a batch holds a charter too, signatures alone do not tell under which of
// the two it was judged; what is said must hold under one of them.
func (r *restoring) policy(l *snapPolicy) error {
	if l.Envelope == nil {
		return fmt.Errorf("policy %.64q: a version without an envelope", l.PolicyID)
	}
	e := l.Envelope.envelope()
	p, err := policy.ParsePolicy(e.Payload)
	if err != nil {
		return err
	}
	if p.ID != l.PolicyID || p.Version != l.Version {
		return fmt.Errorf("policy %.64q version %d, its document says %s version %d", l.PolicyID, l.Version, p.ID, p.Version)
	}
	next := policyVersion{inForce: &policy.InForce{Policy: p, Digest: e.PayloadDigest()}, envelope: e, alone: l.Alone, sequence: l.Sequence}
	if l.Superseded != nil {
		next.superseded = l.Superseded.UTC()
	}
	line, known := r.s.policies.get(p.ID)
	if !known {
		line = &policyLine{}
	}
	if err := r.follows(line, &next); err != nil {
		return fmt.Errorf("policy %s version %d: %w", p.ID, p.Version, err)
	}
	line.versions = append(line.versions, next)
	r.s.policies.put(p.ID, line)
	return nil
}

// follows is nil if the version may stand behind those of the line.
func (r *restoring) follows(line *policyLine, next *policyVersion) error {
	p := next.inForce.Policy
	if len(line.versions) > 0 {
		before := line.newest()
		if before.superseded.IsZero() {
			return errors.New("nothing superseded the version before")
		}
		// Behind a gap stands a tightening of what was kept before it (forget.go).
		if gap := p.Version != before.inForce.Policy.Version+1; !gap || !next.alone {
			if refusal := succeeds("policy "+p.ID, line.recorded(), p.Version, p.Replaces); refusal != nil {
				return refusal
			}
		}
		if next.alone && policy.Compare(before.inForce.Policy, p) != policy.Tighter {
			return errors.New("signed alone, and no tightening of the version before")
		}
	} else if next.alone {
		return errors.New("signed alone, and no version before")
	}
	return r.held(next.sequence, func(c *law) error {
		_, err := c.charter.VerifyThreshold(policy.DocPolicy, next.envelope)
		if !next.alone {
			return err
		}
		if err == nil {
			return errors.New("signed by the threshold, and said to be signed alone")
		}
		_, err = c.charter.VerifyCustodians(policy.DocPolicy, next.envelope)
		return err
	})
}

// inForce holds what is true of all policies together.
func (r *restoring) inForce() {
	for id, line := range r.s.policies.own {
		if !line.newest().superseded.IsZero() {
			r.fail(fmt.Errorf("policy %s: version %d is superseded by none", id, line.newest().inForce.Policy.Version))
		}
	}
	if n := r.s.resting(); n > maxResting {
		r.fail(fmt.Errorf("%d versions that were signed alone stand beside those in force, at most %d", n, maxResting))
	}
}

func (r *restoring) binding(l *snapBinding) error {
	line := &bindingLine{sequence: l.Sequence, used: l.Used}
	if (l.Envelope == nil) == (l.Binding == nil) {
		return fmt.Errorf("binding of token %.64q: want an envelope or a deployment's record", l.TokenID)
	}
	if l.Envelope != nil {
		e := l.Envelope.envelope()
		b, err := policy.ParseBinding(e.Payload)
		if err != nil {
			return err
		}
		err = r.held(l.Sequence, func(c *law) error {
			_, err := c.charter.VerifyThreshold(policy.DocBinding, e)
			return err
		})
		if err != nil {
			return fmt.Errorf("binding of token %s: %w", b.TokenID, err)
		}
		line.document, line.envelope, line.digest = b, e, e.PayloadDigest()
	} else {
		rec, err := readRecord(l.Binding, TypeBinding)
		if err != nil {
			return err
		}
		document, err := rec.DeployBinding.Encode()
		if err != nil {
			return err
		}
		line.document, line.digest = rec.DeployBinding, policy.DigestOf(document)
	}
	if line.document.TokenID != l.TokenID {
		return fmt.Errorf("binding of token %.64q, its document says %s", l.TokenID, line.document.TokenID)
	}
	view := *line.document
	view.Performers = l.Performers
	if err := view.Check(); err != nil {
		return err
	}
	line.view = &view
	r.s.bindings.put(l.TokenID, line)
	return nil
}

func (r *restoring) wallet(l *snapWallet) error {
	rec, err := readRecord(l.Record, TypeWallet)
	if err != nil {
		return err
	}
	if l.Recorded == nil {
		return fmt.Errorf("wallet %s was never recorded", rec.Wallet.WalletID)
	}
	r.s.wallets.put(rec.Wallet.WalletID, &WalletRecord{*rec.Wallet, l.Recorded.moment()})
	r.s.addresses.put(account{rec.Wallet.Network, rec.Wallet.Address}, rec.Wallet.WalletID)
	return nil
}

var errNoMoment = errors.New("a record without its moment, or the reverse")

func (r *restoring) operation(l *snapOperation) error {
	if err := policy.CheckID("op", l.OperationID); err != nil {
		return err
	}
	op := &operation{OperationRecord: OperationRecord{OperationID: l.OperationID, Rejected: l.Rejected, IntentDigest: l.Intent}}
	if l.Expires != nil {
		op.expires = l.Expires.UTC()
	}
	for _, part := range []struct {
		value []byte
		at    *snapMoment
		kind  Type
		take  func(*Record, Moment)
	}{
		{l.Authorized, l.AuthorizedAt, TypeAuthorize, func(rec *Record, at Moment) { op.Authorized, op.AuthorizedAt = rec.Authorize, at }},
		{l.Cancelled, l.CancelledAt, TypeCancel, func(rec *Record, at Moment) { op.Cancelled, op.CancelledAt = rec.Cancel, at }},
		{l.Settled, l.SettledAt, TypeSettle, func(rec *Record, at Moment) { op.Settled, op.SettledAt = rec.Settle, at }},
	} {
		if (part.value == nil) != (part.at == nil) {
			return errNoMoment
		}
		if part.value == nil {
			continue
		}
		rec, err := readRecord(part.value, part.kind)
		if err != nil {
			return err
		}
		part.take(rec, part.at.moment())
	}
	for _, value := range l.Bumps {
		rec, err := readRecord(value, TypeBump)
		if err != nil {
			return err
		}
		op.Bumps = append(op.Bumps, *rec.Bump)
	}
	if !op.isOver() && (l.Decisions != nil || l.Requests != nil || l.Intent != "") {
		return fmt.Errorf("operation %s is open, and its decisions stand without their envelopes", op.OperationID)
	}
	for _, d := range l.Decisions {
		op.Decisions = append(op.Decisions, policy.RecordedDecision{Person: d.Person, Verb: d.Decision, Intent: d.Intent, Keys: d.Keys,
			At: d.At.UTC(), Sequence: d.Sequence})
		op.Payloads = append(op.Payloads, d.Payload)
	}
	for _, d := range l.Requests {
		op.Requests = append(op.Requests, policy.RecordedRequest{Person: d.Person, Intent: d.Intent, Keys: d.Keys, At: d.At.UTC(), Sequence: d.Sequence})
		op.RequestPayloads = append(op.RequestPayloads, d.Payload)
	}
	r.s.operations.put(op.OperationID, op)
	if l.Look != nil {
		r.m.watch(l.Look.UTC(), op.OperationID)
	}
	return nil
}

// signed finds the open operation to which the next decision or request belongs.
func (r *restoring) signed(l *snapSigned, have int) (*operation, error) {
	op, ok := r.s.operations.get(l.OperationID)
	if !ok || op.isOver() || l.Number != have || l.Envelope == nil {
		return nil, fmt.Errorf("number %d of operation %.64q has no place", l.Number, l.OperationID)
	}
	return op, nil
}

func (r *restoring) decision(l *snapSigned) error {
	op, err := r.signed(l, len(r.s.peek(l.OperationID).Decisions))
	if err != nil {
		return err
	}
	e := l.Envelope.envelope()
	return r.held(l.Sequence, func(c *law) error {
		o, err := r.s.memo.open(c, e)
		if err != nil {
			return err
		}
		if o.intent.OperationID != op.OperationID {
			return fmt.Errorf("a decision on operation %s stands with operation %s", o.intent.OperationID, op.OperationID)
		}
		op.decide(o, e, place{sequence: l.Sequence, time: l.At.UTC()})
		return nil
	})
}

func (r *restoring) request(l *snapSigned) error {
	op, err := r.signed(l, len(r.s.peek(l.OperationID).Requests))
	if err != nil {
		return err
	}
	e := l.Envelope.envelope()
	return r.held(l.Sequence, func(c *law) error {
		d, err := c.charter.VerifyRequest(e)
		if err != nil {
			return err
		}
		i, err := policy.ParseIntent(d.Intent)
		if err != nil {
			return err
		}
		if i.OperationID != op.OperationID {
			return fmt.Errorf("a request of operation %s stands with operation %s", i.OperationID, op.OperationID)
		}
		op.request(d, i, e, place{sequence: l.Sequence, time: l.At.UTC()})
		return nil
	})
}
