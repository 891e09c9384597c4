package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// The lost log held what widens, and behind it what took that back: a policy that was loosened and tightened again, a
// token that was let go and stopped again, a token that was bound anew twice. Behind a recover onto what was before all
// that, whoever kept the documents hands in those that widen, and keeps the others to himself.
func TestAttack_WhatWasTakenBackInTheLostLog(t *testing.T) {
	w := begun(t)
	frozen := func(frozen bool) ledger.Record {
		f := &policy.Freeze{Format: 1, Instance: "dev-1", Subject: policy.Subject{TokenID: id("token", 1)}, Frozen: frozen, CreatedAt: w.now}
		return ledger.Record{Freeze: sign(t, policy.DocFreeze, f, "custodian-1", "custodian-2")}
	}
	next := func(change func(*policy.Policy)) ledger.Record {
		in, _ := w.fold.Policy(id("pol", 1))
		p := *in.Policy
		p.Version, p.Replaces, p.CreatedAt = p.Version+1, ptr(in.Digest), w.now
		change(&p)
		return ledger.Record{Policy: sign(t, policy.DocPolicy, &p, "custodian-1", "custodian-3")}
	}
	one := func(p *policy.Policy) {
		p.Rules = []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 1, ApproverGroup: "approvers"}}
	}
	three := func(p *policy.Policy) {
		p.Rules = []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 3, ApproverGroup: "approvers"}}
	}
	another := func() ledger.Record {
		p := w.policy()
		p.ID = id("pol", 2)
		return ledger.Record{Policy: sign(t, policy.DocPolicy, p, "custodian-1", "custodian-3")}
	}
	rebound := func() ledger.Record {
		b, digest, _, _ := w.fold.BindingDocument(id("token", 1))
		next := *b
		next.Version, next.Replaces, next.Performers, next.CreatedAt = 2, &digest, []string{id("wallet", 1), id("wallet", 2)}, w.now
		return ledger.Record{Binding: sign(t, policy.DocBinding, &next, "custodian-1", "custodian-2")}
	}

	w.commit(frozen(true))
	w.pass(time.Hour)
	lost := []ledger.Record{next(one), another(), rebound(), frozen(false)}
	tightened := next(three)
	lostFold := w.again()
	value := w.encode(w.batch(lost...))
	_, err := lostFold.Apply(value)
	require.NoError(t, err, "all of it was taken once")
	w.pass(time.Minute)
	stopped := frozen(true)

	w.pass(time.Minute)
	value = w.encode(w.recovered(w.recovering()))
	_, err = w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)
	void := func() {
		t.Helper()
		for _, r := range lost {
			w.refused(ledger.ReasonDocument, "what widens is to be signed anew", r)
		}
	}
	void()
	for range 3 { // for good, and not for as long as usage is kept
		w.pass(30 * time.Hour)
		w.cancelled(1, "time goes by")
		void()
	}
	w.fold = w.restored()
	void()

	w.commit(stopped, tightened) // what stops and tightens counts whenever it was written
	w.commit(next(one), another(), rebound(), frozen(false))
	require.Equal(t, ledger.State(w.fold), ledger.State(w.again()))
}

// What a recover says of usage is over once no charge of before it is kept, although when it was is still known.
func TestARecoverIsLongAgo(t *testing.T) {
	w := begun(t)
	value := w.encode(w.recovered(w.recovering()))
	_, err := w.fold.Apply(value)
	require.NoError(t, err)
	w.values = append(w.values, value)
	charged := func() policy.Amount {
		return w.fold.Charged(chainID, account("contract"), policy.OpMint, time.Time{})
	}
	w.pass(49*time.Hour - time.Second) // cancelled adds one
	w.cancelled(1, "the last moment")
	require.Equal(t, policy.MaxAmount(), charged())
	w.cancelled(1, "behind it")
	require.Equal(t, policy.Amount{}, charged())
	w.pass(15 * time.Minute)
	w.cancelled(1, "in another bucket")
	require.Equal(t, policy.Amount{}, charged())
	w.restored()
}
