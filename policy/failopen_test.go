package policy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// The sentences of spec/policy.md, “Never fail open”, that concern the engine and the documents:
// each has happened to a system in this field. (The ledger's, the journal's and the PIN's are
// theirs to test.)

// approved is a mint that two of the approvers approved: allowed, if nothing is changed.
func approved(t testing.TB, rules ...Rule) Input {
	if len(rules) == 0 {
		rules = []Rule{twoOf("approvers")}
	}
	i := mint(t)
	p := inForce(t, policyOf(rules...))
	i.Policies = []PolicyRef{p.Ref()}
	in := Input{Intent: i, Charter: charter(t), CharterKnown: true, Epoch: 1, Binding: binding(t), Policies: []*InForce{p}, Usage: noUsage{}, Now: noon.Add(time.Minute)}
	in.IntentDigest = DigestOf(mustEncode(t, i))
	for n, person := range []string{"ann", "bob"} {
		in.Decisions = append(in.Decisions, RecordedDecision{Person: person, Verb: Approve, Intent: in.IntentDigest, Keys: keysOf(in.Charter, person), At: noon.Add(time.Second), Sequence: uint64(n + 2)})
	}
	return in
}

func TestTheApprovedMintIsAllowed(t *testing.T) {
	require.Equal(t, Allow, Judge(approved(t)).Outcome, "or the tests below say nothing")
}

func TestNeverFailOpen_TheZeroVerdictAndTheZeroInputDeny(t *testing.T) {
	require.NotEqual(t, Allow, Verdict{}.Outcome)
	require.False(t, Verdict{}.ApprovalsComplete())
	v := Judge(Input{})
	require.Equal(t, Deny, v.Outcome)
	require.NotNil(t, v.Reported)
}

func TestNeverFailOpen_AQuorumOfZeroApprovesNothing(t *testing.T) {
	in := approved(t)
	in.Policies[0].Policy.Rules[0].MinApprovers = 0
	require.Equal(t, Deny, Judge(in).Outcome)
	_, err := in.Policies[0].Policy.Encode()
	require.ErrorIs(t, err, ErrDocument)
	in.Policies[0].Policy.Rules[0] = Rule{Type: RuleRequireApproval, Quorum: &Quorum{KOf: &KOf{K: 0, Of: []*Quorum{{Group: "approvers", Min: 1}}}}}
	require.Equal(t, Deny, Judge(in).Outcome)
	in.Policies[0].Policy.Rules[0].Quorum = &Quorum{}
	require.Equal(t, Deny, Judge(in).Outcome)
}

func TestNeverFailOpen_AnEmptyGroupApprovesNothing(t *testing.T) {
	in := approved(t)
	in.Charter.Groups["approvers"] = nil
	require.Equal(t, Deny, Judge(in).Outcome)
	delete(in.Charter.Groups, "approvers")
	require.Equal(t, Deny, Judge(in).Outcome)
}

func TestNeverFailOpen_AMissingPolicyAllowsNothing(t *testing.T) {
	in := approved(t)
	in.Policies = nil
	require.Equal(t, Deny, Judge(in).Outcome)
	in = approved(t)
	in.Submitted, in.Policies = in.Policies, nil
	require.Equal(t, Deny, Judge(in).Outcome, "a policy that was once in force is none in force")
	in = approved(t)
	in.Policies[0].Policy.Rules = []Rule{{Type: RuleMaxAmount, Amount: ptr(MaxAmount())}}
	require.Equal(t, Deny, Judge(in).Outcome, "limits alone approve nothing")
}

func TestNeverFailOpen_OnePersonWithTwoKeysIsOneApprover(t *testing.T) {
	in := approved(t)
	d, err := in.Charter.VerifyDecision(sign(t, DocDecision, decision(t, "ann", Approve), "ann", "ann's other"))
	require.NoError(t, err)
	require.Equal(t, "ann", d.Approver)
	in.Decisions[1].Person, in.Decisions[1].Keys = "ann", []string{signer(t, "ann's other").Public().KeyID()}
	v := Judge(in)
	require.Equal(t, Wait, v.Outcome)
	_, have, need := v.Approvals()
	require.Equal(t, 1, have)
	require.Equal(t, 2, need)
}

func TestNeverFailOpen_AnApproverRemovedBetweenApprovalAndSigningNoLongerCounts(t *testing.T) {
	in := approved(t)
	in.Charter.Groups["approvers"] = []string{"ann", "cat"}
	require.Equal(t, Wait, Judge(in).Outcome)
	in = approved(t)
	in.Charter.Persons = append(in.Charter.Persons[:1], in.Charter.Persons[2:]...) // bob is gone
	require.Equal(t, Wait, Judge(in).Outcome)
}

func TestNeverFailOpen_AnApprovalForAnotherIntentDoesNotFit(t *testing.T) {
	for name, change := range map[string]func(*Intent){
		"chain":          func(i *Intent) { i.Network, i.ChainID, i.Scheme = "geth-dev", 1337, tx.Secp256k1 },
		"token":          func(i *Intent) { i.Token.ID = id("token", 2) },
		"contract":       func(i *Intent) { i.Token.ContractAddress = ptr(account("other-contract")) },
		"operation":      func(i *Intent) { i.OperationID = id("op", 2) },
		"amount":         func(i *Intent) { i.Params.Amount = ptr(AmountOf(1)) },
		"recipient":      func(i *Intent) { i.Params.Recipient = ptr(account("mallory")) },
		"fee cap":        func(i *Intent) { i.FeeCap = AmountOf(1) },
		"policy version": func(i *Intent) { i.Policies[0].Version = 2 },
		"policy digest":  func(i *Intent) { i.Policies[0].Digest = DigestOf(nil) },
		"epoch":          func(i *Intent) { i.Epoch = 2 },
		"charter":        func(i *Intent) { i.Charter = DigestOf(nil) },
		"later expiry":   func(i *Intent) { i.ExpiresAt = i.ExpiresAt.Add(time.Second) },
		"requester":      func(i *Intent) { i.Requester = "eve" },
		"performer":      func(i *Intent) { i.Performer.WalletID = id("wallet", 2) },
	} {
		in := approved(t)
		// What was approved is another intent than the one to be signed …
		other := mint(t)
		other.Policies = slices.Clone(in.Intent.Policies)
		change(other)
		for n := range in.Decisions {
			in.Decisions[n].Intent = DigestOf(mustEncode(t, other))
		}
		v := Judge(in)
		require.Equal(t, Wait, v.Outcome, name)
		require.False(t, v.ApprovalsComplete(), name)
		// … and the other way about.
		in = approved(t)
		in.Intent = other
		in.IntentDigest = DigestOf(mustEncode(t, other))
		require.NotEqual(t, Allow, Judge(in).Outcome, name)
	}
}

func TestNeverFailOpen_AnIntentThatFitsNothingHereIsDeniedThoughApproved(t *testing.T) {
	for name, change := range map[string]func(*Input){
		"unknown charter":  func(in *Input) { in.CharterKnown = false },
		"another epoch":    func(in *Input) { in.Epoch = 2 },
		"another instance": func(in *Input) { in.Charter.Instance = "dev-2" },
		"another chain":    func(in *Input) { in.Charter.Networks[0].ChainID = 5 },
		"no network":       func(in *Input) { in.Charter.Networks = nil },
		"no binding":       func(in *Input) { in.Binding = nil },
		"other decimals":   func(in *Input) { in.Binding.Decimals = 6 },
		"other contract":   func(in *Input) { in.Binding.ContractAddress = account("other-contract") },
		"other symbol":     func(in *Input) { in.Binding.Symbol = "EIX" },
		"other template":   func(in *Input) { in.Binding.TemplateID = "tpl_qrc20_v2" },
		"other performer":  func(in *Input) { in.Binding.Performers = []string{id("wallet", 2)} },
		"expired":          func(in *Input) { in.Now = in.Intent.ExpiresAt },
		"long expired":     func(in *Input) { in.Now = in.Intent.ExpiresAt.Add(1000 * time.Hour) },
		"no time":          func(in *Input) { in.Now = time.Time{} },
		"no digest":        func(in *Input) { in.IntentDigest = "" },
		"nobody can sign":  func(in *Input) { in.Charter.Flags.SignedRequests = true },
		"a nil policy":     func(in *Input) { in.Policies = []*InForce{nil} },
		"unknown verb":     func(in *Input) { in.Decisions[0].Verb = "" },
	} {
		in := approved(t)
		change(&in)
		require.Equal(t, Deny, Judge(in).Outcome, name)
	}
}

func TestNeverFailOpen_AnAmountThatCannotBeEvaluatedIsOverTheLimit(t *testing.T) {
	limits := []Rule{twoOf("approvers"), {Type: RuleMaxAmount, Amount: ptr(MaxAmount())}, {Type: RuleDailyLimit, Amount: ptr(MaxAmount())}}
	require.Equal(t, Allow, Judge(approved(t, limits...)).Outcome)
	in := approved(t, limits...)
	in.Intent.Params.Amount = nil
	require.Equal(t, RuleMaxAmount, Judge(in).Reported.Rule)
	in = approved(t, limits...)
	in.Usage = nil
	require.Equal(t, RuleDailyLimit, Judge(in).Reported.Rule)
	in = approved(t, limits...)
	in.Usage = usage(func(OperationType, time.Time) Amount { return MaxAmount() })
	require.Equal(t, RuleDailyLimit, Judge(in).Reported.Rule, "the sum passes 2^256-1")
}

func TestNeverFailOpen_ARequesterDoesNotApproveHisOwnRequest(t *testing.T) {
	in := approved(t)
	in.Intent.Requester = "ann"
	require.Equal(t, Wait, Judge(in).Outcome)
}

// usage is one that does not look at contracts.
type usage func(OperationType, time.Time) Amount

func (u usage) Charged(_ uint64, _ tx.Address, op OperationType, since time.Time) Amount {
	return u(op, since)
}

func TestNeverFailOpen_AnUnknownFieldInAnythingSignedIsRefused(t *testing.T) {
	for name, d := range documents(t) {
		b := mustEncode(t, d.doc)
		_, err := d.parse(b)
		require.NoError(t, err, name)
		for _, more := range []string{`"x":1,`, `"Format":1,`, `"format ":1,`} {
			_, err = d.parse(append([]byte("{"+more), b[1:]...))
			require.ErrorIs(t, err, ErrDocument, "%s with %s", name, more)
		}
	}
}
