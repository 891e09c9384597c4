package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// proposed is the next version of policy 1 with those rules, in force nowhere.
func (w *world) proposed(rules ...policy.Rule) *policy.Policy {
	p, _ := w.fold.Policy(id("pol", 1))
	next := *p.Policy
	next.Version, next.Replaces, next.Rules, next.CreatedAt = next.Version+1, &p.Digest, rules, w.now
	return &next
}

// beside is a new policy for the token.
func (w *world) beside(rules ...policy.Rule) *policy.Policy {
	return &policy.Policy{Format: policy.Format, Instance: "dev-1", ID: id("pol", 2), Version: 1, Name: "beside", Scope: policy.Scope{TokenID: id("token", 1)},
		Rules: rules, CreatedAt: w.now}
}

func (w *world) rehearsed(p *policy.Policy, since time.Time) *ledger.Rehearsal {
	w.t.Helper()
	r, err := ledger.Rehearse(w.log(), w.root, p, since)
	require.NoError(w.t, err)
	return r
}

func threeApprovers() policy.Rule {
	r := twoApprovers()
	r.MinApprovers = 3
	return r
}

func oneApprover() policy.Rule {
	r := twoApprovers()
	r.MinApprovers = 1
	return r
}

func maxAmountOf(n uint64) policy.Rule {
	return policy.Rule{Type: policy.RuleMaxAmount, Amount: ptr(policy.AmountOf(n))}
}

func TestARehearsalNamesWhatATighterPolicyWouldHaveStopped(t *testing.T) {
	w := begun(t)
	small, large := w.asked(amountOf(10)), w.asked(amountOf(2000))
	w.authorized(small)
	w.pass(time.Hour)
	w.authorized(w.named(w.mint(large.OperationID, amountOf(2000))))
	head, _ := w.fold.Head()

	r := w.rehearsed(w.proposed(twoApprovers()), noon)
	require.Equal(t, 2, r.Judged)
	require.Empty(t, r.Otherwise, "a proposal that says the same changes nothing")
	require.Equal(t, w.now, r.Until)

	r = w.rehearsed(w.proposed(twoApprovers(), maxAmountOf(1000)), noon)
	require.Len(t, r.Otherwise, 1)
	o := r.Otherwise[0]
	require.Equal(t, large.OperationID, o.OperationID)
	require.Equal(t, policy.OpMint, o.OperationType)
	require.Equal(t, ledger.RecordedAuthorized, o.Recorded)
	require.Equal(t, policy.Deny, o.Would)
	require.Equal(t, policy.RuleMaxAmount, o.Rule.Rule)
	require.Equal(t, head, o.Sequence)
	require.Equal(t, w.now, o.At)
	require.Contains(t, o.Words, "was authorized at 2026-04-27T13:00:00Z and would have been denied: policy dev-default v2, at most")

	r = w.rehearsed(w.proposed(threeApprovers()), noon)
	require.Len(t, r.Otherwise, 2)
	require.Equal(t, policy.Wait, r.Otherwise[0].Would)
	require.Equal(t, policy.RuleRequireApproval, r.Otherwise[0].Rule.Rule)
	require.Contains(t, r.Otherwise[0].Words, "would have had to wait")

	// As charged: 10 before it.
	r = w.rehearsed(w.proposed(twoApprovers(), dailyLimit(2009, "")), noon)
	require.Len(t, r.Otherwise, 1)
	require.Equal(t, "10", r.Otherwise[0].Rule.Used)
	require.Empty(t, w.rehearsed(w.proposed(twoApprovers(), dailyLimit(2010, "")), noon).Otherwise)

	require.Len(t, w.rehearsed(w.beside(maxAmountOf(1000)), noon).Otherwise, 1, "beside the policy that is in force")
	require.Empty(t, w.rehearsed(w.proposed(twoApprovers(), maxAmountOf(1000)), w.now.Add(time.Second)).Otherwise, "what was before the moment is not judged")

	retired := w.proposed(twoApprovers())
	retired.Retired = true
	require.Len(t, w.rehearsed(retired, noon).Otherwise, 2)
}

func TestARehearsalNamesWhatALooserPolicyWouldHaveAllowed(t *testing.T) {
	w := begun(t)
	w.amended(twoApprovers(), maxAmountOf(1000), policy.Rule{Type: policy.RuleDelay, Seconds: 7200})
	rejected, limited, expired, waiting, done := w.asked(), w.asked(amountOf(5000)), w.asked(), w.asked(), w.asked()
	for _, i := range []*policy.Intent{rejected, expired, waiting, done} {
		w.commit(w.approve(i, "ann"))
	}
	w.commit(w.approve(limited, "ann"), w.approve(limited, "bob"))
	w.commit(w.decide(policy.Reject, rejected, "cat"))
	w.commit(w.approve(done, "bob"), w.authorize(done))
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: limited.OperationID, Reason: "REJECTED: MAX_AMOUNT: too much"}})
	w.pass(2 * time.Hour)
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: expired.OperationID, Reason: "CANCELLED: expired"}})
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: rejected.OperationID, Reason: "REJECTED: by cat"}})

	r := w.rehearsed(w.proposed(oneApprover(), maxAmountOf(1000)), noon)
	require.Equal(t, 5, r.Judged)
	ends := map[string]ledger.Recorded{}
	for _, o := range r.Otherwise {
		require.Equal(t, policy.Allow, o.Would)
		require.Equal(t, policy.RuleRequireApproval, o.Rule.Rule)
		ends[o.OperationID] = o.Recorded
	}
	require.Equal(t, map[string]ledger.Recorded{rejected.OperationID: ledger.RecordedRejected, expired.OperationID: ledger.RecordedCancelled,
		waiting.OperationID: ledger.RecordedPending}, ends, "one approval would have been enough, before cat rejected")
	require.Contains(t, r.Otherwise[0].Words, "was rejected and would have been allowed at 2026-04-27T12:00:00Z, where it was not: ")

	r = w.rehearsed(w.proposed(twoApprovers(), maxAmountOf(5000)), noon)
	require.Len(t, r.Otherwise, 1)
	require.Equal(t, limited.OperationID, r.Otherwise[0].OperationID)
	require.Equal(t, policy.RuleMaxAmount, r.Otherwise[0].Rule.Rule)

	r = w.rehearsed(w.proposed(twoApprovers(), maxAmountOf(1000)), noon)
	require.Empty(t, r.Otherwise, "without the delay: none that waited had both approvals")
}

func TestARehearsalFindsWhatAShorterDelayWouldHaveLetPass(t *testing.T) {
	w := begun(t)
	w.amended(twoApprovers(), policy.Rule{Type: policy.RuleDelay, Seconds: 7200})
	i := w.asked()
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
	w.pass(61 * time.Minute)
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: i.OperationID, Reason: "CANCELLED: expired"}})
	r := w.rehearsed(w.proposed(twoApprovers(), policy.Rule{Type: policy.RuleDelay, Seconds: 1800}), noon)
	require.Len(t, r.Otherwise, 1)
	require.Equal(t, policy.RuleDelay, r.Otherwise[0].Rule.Rule)
	require.Equal(t, noon.Add(time.Hour-time.Second), r.Otherwise[0].At, "the last moment of its intent")
}

func TestARehearsalJudgesWhatAskedNobodyByItsCharges(t *testing.T) {
	w := begun(t)
	unasked := policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers", AboveAmount: ptr(policy.AmountOf(1000))}
	w.amended(unasked, dailyLimit(5000, ""))
	i := w.asked()
	w.commit(w.authorize(i))
	require.Empty(t, w.rehearsed(w.proposed(unasked, dailyLimit(5000, "")), noon).Otherwise)
	r := w.rehearsed(w.proposed(twoApprovers()), noon)
	require.Len(t, r.Otherwise, 1)
	require.Equal(t, i.OperationID, r.Otherwise[0].OperationID)
	require.Equal(t, policy.Wait, r.Otherwise[0].Would)
	require.Len(t, w.rehearsed(w.proposed(unasked, dailyLimit(999, "")), noon).Otherwise, 1)
}

// What expired and was cancelled by nobody is listed when the fold lets go of it; the list ends at a
// thousand.
func TestARehearsalListsAThousandAndCountsTheRest(t *testing.T) {
	w := begun(t)
	const rounds, each = 18, 60
	for range rounds {
		var records []ledger.Record
		for range each {
			i := w.asked(by("zoe"))
			records = append(records, w.approve(i, "bob"))
		}
		w.commit(records...)
		w.pass(25 * time.Hour)
	}
	w.amended(threeApprovers())
	r := w.rehearsed(w.proposed(oneApprover()), noon)
	require.Equal(t, rounds*each, r.Judged)
	require.Len(t, r.Otherwise, 1000)
	require.Equal(t, rounds*each-1000, r.More)
}

func TestNothingIsRehearsedFromALogThatDoesNotVerify(t *testing.T) {
	w := begun(t)
	w.authorized(w.asked())
	p := w.proposed(twoApprovers())
	_, err := ledger.Rehearse(w.log(), policy.DigestOf([]byte("other")), p, noon)
	var r *ledger.Refusal
	require.ErrorAs(t, err, &r)
	p.Rules = nil
	_, err = ledger.Rehearse(w.log(), w.root, p, noon)
	require.ErrorIs(t, err, policy.ErrDocument)
}

func TestSimulations(t *testing.T) {
	w := begun(t)
	w.amended(twoApprovers(), dailyLimit(2500, ""), office(), policy.Rule{Type: policy.RuleDelay, Seconds: 60, Operations: []policy.OperationType{policy.OpGrantRole}})
	w.authorized(w.asked())
	alice := account("alice")
	mint := ledger.Simulation{OperationType: policy.OpMint, TokenID: id("token", 1), Amount: ptr(policy.AmountOf(1500)), Recipient: &alice}
	judge := func(q ledger.Simulation, at time.Time) policy.Verdict {
		t.Helper()
		before := ledger.State(w.fold)
		v, err := w.fold.Simulate(q, at)
		require.NoError(t, err)
		require.Equal(t, before, ledger.State(w.fold))
		return v
	}
	with := func(change func(*ledger.Simulation)) ledger.Simulation {
		q := mint
		change(&q)
		return q
	}
	require.Equal(t, policy.Wait, judge(mint, noon).Outcome)
	approved := with(func(q *ledger.Simulation) { q.Approvers = []string{"ann", "bob"} })
	require.Equal(t, policy.Allow, judge(approved, noon).Outcome)
	require.Equal(t, policy.RuleTimeWindow, reported(judge(approved, noon.Add(8*time.Hour))))
	require.Equal(t, policy.RuleDailyLimit, reported(judge(with(func(q *ledger.Simulation) { q.Amount = ptr(policy.AmountOf(1501)) }), noon)))
	require.Equal(t, policy.Deny, judge(with(func(q *ledger.Simulation) { q.Approvers, q.Rejecters = []string{"ann", "bob"}, []string{"cat"} }), noon).Outcome)
	require.Equal(t, policy.Wait, judge(with(func(q *ledger.Simulation) { q.Approvers, q.Requester = []string{"ann", "bob"}, "ann" }), noon).Outcome)
	require.Equal(t, policy.RuleMaxFee, reported(judge(with(func(q *ledger.Simulation) { q.FeeCap = ptr(policy.AmountOf(1e17)) }), noon)))

	stricter := w.proposed(threeApprovers())
	v := judge(with(func(q *ledger.Simulation) { q.Approvers, q.Proposal = []string{"ann", "bob"}, stricter }), noon)
	require.Equal(t, policy.Wait, v.Outcome)
	for _, o := range v.Rules {
		require.NotEqual(t, policy.RuleDailyLimit, o.Rule, "the proposal takes the place of what is in force")
	}

	grant := ledger.Simulation{OperationType: policy.OpGrantRole, TokenID: id("token", 1), Role: "MINTER", Subject: &alice, Approvers: []string{"ann", "bob"}}
	require.Equal(t, policy.RuleDelay, reported(judge(grant, noon)))
	grant.ApprovedAt = noon.Add(-time.Hour)
	require.Equal(t, policy.Allow, judge(grant, noon).Outcome)
	deploy := ledger.Simulation{OperationType: policy.OpDeployToken, WalletID: id("wallet", 1), Amount: ptr(policy.AmountOf(2501)), Approvers: []string{"ann", "bob"}}
	require.Equal(t, policy.RuleDailyLimit, reported(judge(deploy, noon)))
	deploy.Amount = nil
	require.Equal(t, policy.Allow, judge(deploy, noon).Outcome)
	cancel := ledger.Simulation{OperationType: policy.OpCancel, WalletID: id("wallet", 1)}
	require.Equal(t, policy.Wait, judge(cancel, noon).Outcome)

	for name, q := range map[string]ledger.Simulation{
		"an unknown type":   with(func(q *ledger.Simulation) { q.OperationType = "PRINT" }),
		"an unknown token":  with(func(q *ledger.Simulation) { q.TokenID = id("token", 9) }),
		"an unknown wallet": with(func(q *ledger.Simulation) { q.WalletID = id("wallet", 9) }),
		"no recipient":      with(func(q *ledger.Simulation) { q.Recipient = nil }),
		"a zero recipient":  with(func(q *ledger.Simulation) { q.Recipient = &tx.Address{} }),
		"no amount":         with(func(q *ledger.Simulation) { q.Amount = nil }),
		"a malformed proposal": with(func(q *ledger.Simulation) {
			q.Proposal = w.proposed()
		}),
	} {
		_, err := w.fold.Simulate(q, noon)
		require.ErrorIs(t, err, policy.ErrDocument, name)
	}
	_, err := ledger.NewFold(w.root).Simulate(mint, noon)
	require.ErrorIs(t, err, policy.ErrDocument)
}

func TestASimulatedRequestIsSignedWhereTheCharterAsks(t *testing.T) {
	w := begun(t, signedRequests)
	alice := account("alice")
	q := ledger.Simulation{OperationType: policy.OpMint, TokenID: id("token", 1), Amount: ptr(policy.AmountOf(1)), Recipient: &alice, Requester: "dan", Approvers: []string{"ann", "bob"}}
	v, err := w.fold.Simulate(q, noon)
	require.NoError(t, err)
	require.Equal(t, policy.ReasonRequest, reported(v))
	q.Signed = true
	v, err = w.fold.Simulate(q, noon)
	require.NoError(t, err)
	require.Equal(t, policy.Allow, v.Outcome)
}

// Where no policy is in force there is none to name, and that is the verdict.
func TestASimulationWithoutAPolicyIsDenied(t *testing.T) {
	w := genesis(t)
	w.commit(ledger.Record{Wallet: wallet(1)})
	v, err := w.fold.Simulate(ledger.Simulation{OperationType: policy.OpDeployToken, WalletID: id("wallet", 1)}, noon)
	require.NoError(t, err)
	require.Equal(t, policy.Deny, v.Outcome)
	require.Equal(t, policy.ReasonPolicy, reported(v))
	v, err = w.fold.Simulate(ledger.Simulation{OperationType: policy.OpDeployToken, WalletID: id("wallet", 1), Approvers: []string{"ann", "bob"}, Proposal: w.policy()}, noon)
	require.NoError(t, err)
	require.Equal(t, policy.Allow, v.Outcome)
}
