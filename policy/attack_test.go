package policy_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	. "github.com/mintwarden/mintwarden/policy"
)

// What a hostile API process tried: it writes the intent, picks the moment, and has nobody's key.
// Each test is named for the attack and holds the engine or the documents to its refusal.

// unasked is an operation that the API submits and nobody decided on, under those policies.
func unasked(t testing.TB, op OperationType, policies ...*Policy) Input {
	i := mint(t)
	become(t, i, op)
	i.ExpiresAt = i.NotBefore.Add(24 * time.Hour)
	i.Policies = nil
	in := Input{Intent: i, Charter: charter(t), CharterKnown: true, Epoch: 1, Usage: noUsage{}, Now: noon.Add(23 * time.Hour)}
	for n, p := range policies {
		p.ID = id("pol", n+1)
		f := inForce(t, p)
		in.Policies, i.Policies = append(in.Policies, f), append(i.Policies, f.Ref())
	}
	if op != OpDeployToken {
		in.Binding = binding(t)
	}
	in.IntentDigest = DigestOf(mustEncode(t, i))
	return in
}

func upTo(r Rule, amount uint64, operations ...OperationType) Rule {
	r.AboveAmount, r.Operations = ptr(AmountOf(amount)), operations
	return r
}

// Each deployment makes a contract of its own, under which no daily limit ever binds: initial
// supplies below aboveAmount would be money without end. A deployment asks, always.
func TestAttack_TheAPIDeploysBelowAboveAmount(t *testing.T) {
	daily := Rule{Type: RuleDailyLimit, Amount: ptr(AmountOf(5000))}
	one := Rule{Type: RuleRequireApproval, MinApprovers: 1, ApproverGroup: "approvers"}
	for name, rules := range map[string][]Rule{
		"the rule for all":     {upTo(twoOf("approvers"), 1000), daily},
		"a rule of its own":    {twoOf("approvers"), upTo(twoOf("approvers"), 1000, OpDeployToken), daily},
		"MINT's and its own":   {upTo(twoOf("approvers"), 1000, OpMint), upTo(twoOf("approvers"), 1000, OpDeployToken), daily},
		"MINT's rule, implied": {upTo(twoOf("approvers"), 1000, OpMint), twoOf("approvers"), daily},
	} {
		p := policyOf(rules...)
		require.NoError(t, CheckPolicy(p, charter(t)), name)
		in := unasked(t, OpDeployToken, p)
		require.Equal(t, Wait, Judge(in).Outcome, name)
		in.Decisions = []RecordedDecision{approval(t, in, "ann", noon)}
		require.Equal(t, Wait, Judge(in).Outcome, "%s: one of two", name)
		in.Decisions = append(in.Decisions, approval(t, in, "bob", noon))
		require.Equal(t, Allow, Judge(in).Outcome, name)
	}
	// Another policy's easier rule opens nothing: MINT's, implied, asks too.
	in := unasked(t, OpDeployToken, policyOf(upTo(twoOf("approvers"), 1000, OpMint), daily), policyOf(one))
	in.Decisions = []RecordedDecision{approval(t, in, "ann", noon)}
	require.Equal(t, Wait, Judge(in).Outcome)
	// What it was meant for still passes unasked.
	in = unasked(t, OpMint, policyOf(upTo(twoOf("approvers"), 1000), daily))
	require.Equal(t, Allow, Judge(in).Outcome)
}

// Where nobody is asked nothing is recorded, and what the API writes as notBefore begins no delay:
// it would write yesterday.
func TestAttack_TheAPIBackdatesAnIntentToPassADelay(t *testing.T) {
	daily, hour := Rule{Type: RuleDailyLimit, Amount: ptr(AmountOf(5000))}, Rule{Type: RuleDelay, Seconds: 3600}
	for name, policies := range map[string][]*Policy{
		"in one policy":            {policyOf(upTo(twoOf("approvers"), 1000), daily, hour)},
		"in two policies":          {policyOf(upTo(twoOf("approvers"), 1000), daily), policyOf(hour)},
		"beside one that asks not": {policyOf(upTo(twoOf("approvers"), 1000), daily), policyOf(upTo(twoOf("traders"), 1000), daily, hour)},
	} {
		in := unasked(t, OpMint, policies...)
		v := Judge(in)
		require.Equal(t, Wait, v.Outcome, name)
		require.False(t, v.ApprovalsComplete(), "%s: people are asked, or it would wait for ever", name)
		// It counts from the record, however old the intent claims to be.
		in.Decisions = []RecordedDecision{approval(t, in, "ann", in.Now.Add(-2*time.Hour)), approval(t, in, "bob", in.Now.Add(-59*time.Minute))}
		require.Equal(t, RuleDelay, Judge(in).Reported.Rule, name)
		in.Now = in.Now.Add(time.Minute)
		require.Equal(t, Allow, Judge(in).Outcome, name)
	}
	// A policy that means both is not taken, so that nobody relies on it.
	err := CheckPolicy(policyOf(upTo(twoOf("approvers"), 1000), daily, hour), charter(t))
	require.ErrorIs(t, err, ErrDocument)
	require.ErrorContains(t, err, "DELAY")
	burns := hour
	burns.Operations = []OperationType{OpBurn, OpDeployToken}
	require.NoError(t, CheckPolicy(policyOf(twoOf("approvers"), upTo(twoOf("approvers"), 1000, OpMint), daily, burns), charter(t)))
	require.Error(t, CheckPolicy(policyOf(twoOf("approvers"), upTo(twoOf("approvers"), 1000, OpBurn), daily, burns), charter(t)))
}

// approval is a person's recorded approval of the input's intent, with all of his keys.
func approval(t testing.TB, in Input, person string, at time.Time) RecordedDecision {
	return RecordedDecision{Person: person, Verb: Approve, Intent: in.IntentDigest, Keys: keysOf(in.Charter, person), At: at, Sequence: uint64(len(in.Decisions) + 2)}
}

// keysOf is the ids of all of a person's keys.
func keysOf(c *Charter, person string) []string {
	var ids []string
	if p, ok := c.Person(person); ok {
		for _, k := range p.Keys {
			ids = append(ids, k.KeyID())
		}
	}
	return ids
}

// A stolen key approves, the custodians expel it, the person stays: what the thief approved is no
// approval any more. One signed with a key that was kept, too, is.
func TestAttack_AnApprovalOfAStolenKeyOutlivesItsExpulsion(t *testing.T) {
	with := func(signers ...string) Input {
		in := approved(t)
		in.Decisions[0].Keys = nil
		for _, s := range signers {
			in.Decisions[0].Keys = append(in.Decisions[0].Keys, signer(t, s).Public().KeyID())
		}
		return in
	}
	rekeyed := func(in Input) Input {
		in.Charter.Persons[0].Keys = keys(t, "ann's other", "ann's new")
		return in
	}
	require.Equal(t, Allow, Judge(with("ann")).Outcome)
	require.Equal(t, Wait, Judge(rekeyed(with("ann"))).Outcome)
	require.Equal(t, Allow, Judge(rekeyed(with("ann", "ann's other"))).Outcome)
	require.Equal(t, Allow, Judge(rekeyed(with("ann's new"))).Outcome)
	require.Equal(t, Wait, Judge(with()).Outcome, "no key at all")
	require.Equal(t, Wait, Judge(with("bob")).Outcome, "somebody else's key")

	// Approved again with the new key, it counts, once.
	in := rekeyed(with("ann"))
	in.Decisions = append(in.Decisions, approval(t, in, "ann", noon.Add(time.Minute)))
	require.Equal(t, Allow, Judge(in).Outcome)
	in.Decisions = slices.Delete(in.Decisions, 1, 2)
	require.Equal(t, Wait, Judge(in).Outcome, "ann alone")

	// Stopping needs no key that lasts.
	in = rekeyed(with("ann"))
	in.Decisions[0].Verb = Reject
	require.Equal(t, Deny, Judge(in).Outcome)
}
