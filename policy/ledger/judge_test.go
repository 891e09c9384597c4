package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// named makes an intent name the policies that are in force for it, as the API does.
func (w *world) named(i *policy.Intent) *policy.Intent {
	i.Policies = nil
	for _, p := range w.fold.PoliciesInScope(i.Token.ID, id("vault", 1), "") {
		i.Policies = append(i.Policies, p.Ref())
	}
	return i
}

// asked is a mint under the policies in force.
func (w *world) asked(change ...func(*policy.Intent)) *policy.Intent {
	return w.named(w.mint(w.op(), change...))
}

func amountOf(n uint64) func(*policy.Intent) {
	return func(i *policy.Intent) { i.Params.Amount = ptr(policy.AmountOf(n)) }
}

func (w *world) digestOf(i *policy.Intent) policy.Digest {
	b, err := i.Encode()
	require.NoError(w.t, err)
	return policy.DigestOf(b)
}

func (w *world) judged(i *policy.Intent) policy.Verdict { return w.fold.Judge(i, w.digestOf(i), w.now) }

// amended commits the next version of policy 1 with those rules.
func (w *world) amended(rules ...policy.Rule) *policy.InForce {
	p, _ := w.fold.Policy(id("pol", 1))
	next := *p.Policy
	next.Version, next.Replaces, next.Rules, next.CreatedAt = next.Version+1, &p.Digest, rules, w.now
	w.commit(ledger.Record{Policy: sign(w.t, policy.DocPolicy, &next, "custodian-1", "custodian-3")})
	p, _ = w.fold.Policy(id("pol", 1))
	return p
}

func twoApprovers() policy.Rule {
	return policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}
}

func dailyLimit(n uint64, zone string) policy.Rule {
	return policy.Rule{Type: policy.RuleDailyLimit, Amount: ptr(policy.AmountOf(n)), Timezone: zone}
}

func reported(v policy.Verdict) policy.RuleType {
	if v.Reported == nil {
		return ""
	}
	return v.Reported.Rule
}

func TestJudgeSeesWhatTheLedgerHolds(t *testing.T) {
	w := begun(t)
	w.amended(twoApprovers(), dailyLimit(2500, ""))
	i := w.asked()
	require.Equal(t, policy.Wait, w.judged(i).Outcome)

	w.commit(w.approve(i, "ann"))
	require.Equal(t, policy.Wait, w.judged(i).Outcome)

	s := w.fold.Stage(w.now, w.author)
	require.NoError(t, s.Add(w.approve(i, "bob")))
	require.Equal(t, policy.Allow, s.Judge(i, w.digestOf(i), s.Time()).Outcome, "a stage judges with what it added")
	require.Equal(t, policy.Wait, w.judged(i).Outcome, "its fold does not")

	w.commit(w.approve(i, "bob"))
	require.Equal(t, policy.Allow, w.judged(i).Outcome)

	suspend := &policy.Freeze{Format: policy.Format, Instance: "dev-1", Subject: policy.Subject{Person: "bob"}, Frozen: true, CreatedAt: w.now}
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, suspend, "custodian-1")})
	require.Equal(t, policy.Wait, w.judged(i).Outcome, "a suspended person's approval does not count")
	w.commit(w.approve(i, "cat"))
	require.Equal(t, policy.Allow, w.judged(i).Outcome)

	for range 2 {
		w.commit(w.authorize(w.asked()))
	}
	v := w.judged(i)
	require.Equal(t, policy.Deny, v.Outcome, "2,000 of 2,500 are charged")
	require.Equal(t, policy.RuleDailyLimit, reported(v))

	w.pass(25 * time.Hour)
	require.Equal(t, policy.ReasonIntent, reported(w.judged(i)), "the next day it is expired")

	stop := &policy.Freeze{Format: policy.Format, Instance: "dev-1", Subject: policy.Subject{TokenID: id("token", 1)}, Frozen: true, CreatedAt: w.now}
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, stop, "custodian-1")})
	v = w.judged(w.asked())
	require.Equal(t, policy.Deny, v.Outcome)
	require.Contains(t, v.Reported.Message, "frozen")
}

func TestJudgeHoldsTheVersionThatWasSuperseded(t *testing.T) {
	w := begun(t)
	w.amended(twoApprovers(), dailyLimit(500, ""))
	i := w.asked()
	w.amended(twoApprovers(), dailyLimit(5000, ""))
	v := w.judged(i)
	require.Equal(t, policy.Deny, v.Outcome, "it was asked for when 500 a day were the limit")
	require.Equal(t, uint64(2), v.Reported.PolicyVersion)
}

func TestNothingIsAllowedBeforeCharterOne(t *testing.T) {
	w := begun(t)
	i := w.asked()
	require.Equal(t, policy.Deny, ledger.NewFold(w.root).Judge(i, w.digestOf(i), w.now).Outcome)
	require.Equal(t, policy.Deny, w.fold.Judge(nil, "", w.now).Outcome)
}

func TestThePolicyOfTheVaultThatPaysJudgesToo(t *testing.T) {
	w := begun(t)
	p := w.beside(maxAmountOf(1))
	p.Scope = policy.Scope{VaultAccountID: id("vault", 2)}
	w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, p, "custodian-1", "custodian-2")})
	from := func(source tx.Address) func(*policy.Intent) {
		return func(i *policy.Intent) {
			i.OperationType, i.Params = policy.OpTransfer, policy.Params{Amount: ptr(policy.AmountOf(2)), Source: &source, Recipient: ptr(account("alice"))}
		}
	}
	require.Equal(t, policy.Wait, w.judged(w.asked(from(wallet(1).Address))).Outcome)
	require.Equal(t, policy.Wait, w.judged(w.asked(from(account("a stranger")))).Outcome)
	v := w.judged(w.asked(from(wallet(2).Address)))
	require.Equal(t, policy.Deny, v.Outcome)
	require.Equal(t, policy.RuleMaxAmount, reported(v))
}
