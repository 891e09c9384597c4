package policy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/policytest"
)

func TestCompare(t *testing.T) {
	rules := func() []Rule {
		return []Rule{twoOf("approvers"), {Type: RuleMaxAmount, Amount: ptr(AmountOf(10))}, {Type: RuleDailyLimit, Amount: ptr(AmountOf(100))},
			{Type: RuleMaxFee, Amount: ptr(AmountOf(10))}, {Type: RuleWhitelistAddress, Addresses: []tx.Address{account("alice"), account("bert")}},
			{Type: RuleBlacklistAddress, Addresses: []tx.Address{account("mallory")}}, {Type: RuleTokenMintLimit, PerOperation: ptr(AmountOf(5)), PerDay: ptr(AmountOf(50))},
			{Type: RuleTimeWindow, Days: []Weekday{"MON"}, Start: "09:00", End: "17:00"}, {Type: RuleDelay, Seconds: 60}}
	}
	for name, c := range map[string]struct {
		want   Change
		change func(p *Policy)
	}{
		"nothing":                      {Looser, func(p *Policy) {}},
		"another order only":           {Looser, func(p *Policy) { slices.Reverse(p.Rules) }},
		"a lower limit":                {Tighter, func(p *Policy) { p.Rules[1].Amount = ptr(AmountOf(9)) }},
		"a lower limit, reordered":     {Tighter, func(p *Policy) { p.Rules[1].Amount = ptr(AmountOf(9)); slices.Reverse(p.Rules) }},
		"a limit of nothing":           {Tighter, func(p *Policy) { p.Rules[1].Amount = ptr(Amount{}) }},
		"a lower daily limit":          {Tighter, func(p *Policy) { p.Rules[2].Amount = ptr(AmountOf(99)) }},
		"a lower fee":                  {Tighter, func(p *Policy) { p.Rules[3].Amount = ptr(AmountOf(9)) }},
		"a lower mint limit":           {Tighter, func(p *Policy) { p.Rules[6].PerDay = ptr(AmountOf(49)) }},
		"one lower, one higher":        {Looser, func(p *Policy) { p.Rules[6].PerDay, p.Rules[6].PerOperation = ptr(AmountOf(49)), ptr(AmountOf(6)) }},
		"a higher limit":               {Looser, func(p *Policy) { p.Rules[1].Amount = ptr(AmountOf(11)) }},
		"a lower limit elsewhere too":  {Looser, func(p *Policy) { p.Rules[1].Amount = ptr(AmountOf(11)); p.Rules[2].Amount = ptr(AmountOf(1)) }},
		"more approvers":               {Tighter, func(p *Policy) { p.Rules[0].MinApprovers = 3 }},
		"fewer approvers":              {Looser, func(p *Policy) { p.Rules[0].MinApprovers = 1 }},
		"another group":                {Looser, func(p *Policy) { p.Rules[0].ApproverGroup = "traders" }},
		"fewer operations":             {Looser, func(p *Policy) { p.Rules[0].Operations = []OperationType{OpMint} }},
		"nobody up to":                 {Looser, func(p *Policy) { p.Rules[0].AboveAmount = ptr(AmountOf(1)) }},
		"off the whitelist":            {Tighter, func(p *Policy) { p.Rules[4].Addresses = p.Rules[4].Addresses[:1] }},
		"on the whitelist":             {Looser, func(p *Policy) { p.Rules[4].Addresses = append(p.Rules[4].Addresses, account("mallory")) }},
		"another one on the whitelist": {Looser, func(p *Policy) { p.Rules[4].Addresses[0] = account("mallory") }},
		"on the blacklist":             {Tighter, func(p *Policy) { p.Rules[5].Addresses = append(p.Rules[5].Addresses, account("alice")) }},
		"off the blacklist":            {Looser, func(p *Policy) { p.Rules[5].Addresses = nil }},
		"a longer window":              {Looser, func(p *Policy) { p.Rules[7].End = "18:00" }},
		"a shorter window":             {Looser, func(p *Policy) { p.Rules[7].End = "16:00" }},
		"a shorter delay":              {Looser, func(p *Policy) { p.Rules[8].Seconds = 59 }},
		"a longer delay":               {Looser, func(p *Policy) { p.Rules[8].Seconds = 61 }},
		"one rule less":                {Looser, func(p *Policy) { p.Rules = p.Rules[1:] }},
		"one rule more":                {Tighter, func(p *Policy) { p.Rules = append(p.Rules, Rule{Type: RuleMaxAmount, Amount: ptr(AmountOf(1000))}) }},
		"the same rule again":          {Tighter, func(p *Policy) { p.Rules = append(p.Rules, p.Rules[1]) }},
		"the same approval rule again": {Tighter, func(p *Policy) { p.Rules = append(p.Rules, p.Rules[0]) }},
		"one more approval rule":       {Tighter, func(p *Policy) { p.Rules = append(p.Rules, twoOf("compliance")) }},
		"a rule in the place of one":   {Looser, func(p *Policy) { p.Rules[7] = Rule{Type: RuleMaxAmount, Amount: ptr(Amount{})} }},
		"another name":                 {Looser, func(p *Policy) { p.Name = "other"; p.Rules[1].Amount = ptr(AmountOf(9)) }},
		"another scope":                {Looser, func(p *Policy) { p.Scope = Scope{TokenID: id("token", 1)}; p.Rules[1].Amount = ptr(AmountOf(9)) }},
		"retired":                      {Looser, func(p *Policy) { p.Retired = true }},
	} {
		now := policyOf(rules()...)
		c.change(now)
		require.Equal(t, c.want, Compare(policyOf(rules()...), now), name)
	}
	// The first approval rule lets pass what was refused before; the first MAX_FEE may be above the
	// network's own limit.
	burns := Rule{Type: RuleRequireApproval, MinApprovers: 1, ApproverGroup: "approvers", Operations: []OperationType{OpBurn}}
	require.Equal(t, Looser, Compare(policyOf(burns), policyOf(burns, twoOf("approvers"))))
	require.Equal(t, Looser, Compare(policyOf(burns), policyOf(burns, Rule{Type: RuleMaxFee, Amount: ptr(AmountOf(1))})))
}

// What is said to be tighter never allows more.
func TestTighterNeverAllowsMore(t *testing.T) {
	base := charter(t)
	tighter := 0
	policytest.Check(t, func(rt *rapid.T) {
		in := drawInput(rt, t, base)
		before := Judge(in)
		old := in.Policies[rapid.IntRange(0, len(in.Policies)-1).Draw(rt, "of policy")]
		now := *old.Policy
		now.Rules = slices.Clone(now.Rules)
		for range rapid.IntRange(1, 2).Draw(rt, "changes") {
			r := &now.Rules[rapid.IntRange(0, len(now.Rules)-1).Draw(rt, "rule changed")]
			switch rapid.IntRange(0, 4).Draw(rt, "change") {
			case 0:
				now.Rules = append(now.Rules, drawRule(rt))
			case 1:
				if r.Amount != nil {
					r.Amount = ptr(drawAmount(rt, "new amount"))
				}
			case 2:
				r.MinApprovers = rapid.Uint32Range(0, 3).Draw(rt, "new min")
			case 3:
				if len(r.Addresses) > 0 {
					r.Addresses = rapid.SliceOfDistinct(rapid.SampledFrom([]tx.Address{account("alice"), account("bert"), account("mallory"), account("treasury")}), rapid.ID).Draw(rt, "new addresses")
				}
			case 4:
				*r = drawRule(rt)
			}
		}
		if Compare(old.Policy, &now) != Tighter {
			return
		}
		tighter++
		old.Policy = &now
		require.GreaterOrEqual(rt, strictness(Judge(in).Outcome), strictness(before.Outcome))
	}, func() bool { return tighter > 0 })
}

// soundRules are well-formed rules of a policy that a custodian may tighten.
func soundRules(rt *rapid.T) []Rule {
	rules := []Rule{{Type: RuleRequireApproval, MinApprovers: rapid.Uint32Range(1, 2).Draw(rt, "approvers"), ApproverGroup: "approvers"}}
	amount := func(name string) *Amount { return ptr(AmountOf(rapid.Uint64Range(0, 15).Draw(rt, name))) }
	for range rapid.IntRange(0, 4).Draw(rt, "more rules") {
		switch rapid.IntRange(0, 8).Draw(rt, "rule") {
		case 0:
			rules = append(rules, Rule{Type: RuleMaxAmount, Amount: amount("amount"), Operations: drawOperations(rt, true)})
		case 1:
			rules = append(rules, Rule{Type: RuleDailyLimit, Amount: amount("amount"), Operations: drawOperations(rt, true)})
		case 2:
			rules = append(rules, Rule{Type: RuleTokenMintLimit, PerOperation: amount("each"), PerDay: amount("day")})
		case 3:
			rules = append(rules, Rule{Type: RuleWhitelistAddress, Addresses: []tx.Address{account("alice"), account("bert"), account("treasury"), account("mallory")}})
		case 4:
			rules = append(rules, Rule{Type: RuleBlacklistAddress, Addresses: []tx.Address{account("eve")}})
		case 5:
			rules = append(rules, Rule{Type: RuleMaxFee, Amount: ptr(AmountOf(rapid.Uint64Range(1, 4).Draw(rt, "fee")))})
		case 6:
			rules = append(rules, Rule{Type: RuleDelay, Seconds: rapid.Uint64Range(1, 90).Draw(rt, "seconds")})
		case 7:
			rules = append(rules, Rule{Type: RuleRequireApproval, Quorum: &Quorum{Any: []*Quorum{{Group: "approvers", Min: 1}, {Group: "compliance", Min: 1}}}})
		case 8:
			rules = append(rules, Rule{Type: RuleRequireApproval, MinApprovers: 1, ApproverGroup: "traders", AboveAmount: amount("above"), Operations: []OperationType{OpMint, OpBurn}},
				Rule{Type: RuleDailyLimit, Amount: amount("day")})
		}
	}
	return rules
}

// step does one thing that spec/policy.md leaves to one custodian. done is false where the rule has
// nothing of the kind.
func step(rt *rapid.T, p *Policy) (done bool) {
	less := func(a **Amount) bool {
		if *a == nil || (*a).Is0() {
			return false
		}
		n := (*a).Big().Uint64()
		*a = ptr(AmountOf(rapid.Uint64Range(0, n-1).Draw(rt, "lowered")))
		return true
	}
	r := &p.Rules[rapid.IntRange(0, len(p.Rules)-1).Draw(rt, "of rule")]
	switch rapid.IntRange(0, 7).Draw(rt, "step") {
	case 0:
		return less(&r.Amount)
	case 1:
		return less(&r.PerOperation)
	case 2:
		return less(&r.PerDay)
	case 3:
		return less(&r.AboveAmount)
	case 4:
		if r.MinApprovers > 0 {
			r.MinApprovers++
		}
		return r.MinApprovers > 0
	case 5:
		if r.Type == RuleWhitelistAddress && len(r.Addresses) > 1 {
			n := rapid.IntRange(0, len(r.Addresses)-1).Draw(rt, "taken off")
			r.Addresses = slices.Delete(slices.Clone(r.Addresses), n, n+1)
			return true
		}
		if r.Type == RuleBlacklistAddress && !slices.Contains(r.Addresses, account("alice")) {
			r.Addresses = append(slices.Clone(r.Addresses), account("alice"))
			return true
		}
		return false
	case 6:
		p.Rules = append(p.Rules, Rule{Type: RuleMaxAmount, Amount: ptr(AmountOf(rapid.Uint64Range(0, 15).Draw(rt, "new limit")))})
	case 7:
		p.Rules = append(p.Rules, Rule{Type: RuleRequireApproval, MinApprovers: 1, ApproverGroup: "compliance"})
	}
	return true
}

// Each step that one custodian may take is TIGHTER, its reverse is LOOSER, and no operation is allowed
// by the policy after it that was not allowed before.
func TestTheStepsOfOneCustodianNeverAllowMore(t *testing.T) {
	base := charter(t)
	stricter := 0
	policytest.Check(t, func(rt *rapid.T) {
		in := drawInput(rt, t, base)
		in.Policies = in.Policies[:1]
		old := policyOf(soundRules(rt)...)
		in.Policies[0].Policy = old
		in.Intent.Policies = []PolicyRef{in.Policies[0].Ref()}
		before := Judge(in)
		now := *old
		now.Rules = slices.Clone(old.Rules)
		steps := 0
		for range rapid.IntRange(1, 3).Draw(rt, "steps") {
			if step(rt, &now) {
				steps++
			}
		}
		if steps == 0 {
			return
		}
		require.Equal(rt, Tighter, Compare(old, &now))
		require.Equal(rt, Looser, Compare(&now, old))
		in.Policies[0].Policy = &now
		in.Intent.Policies = []PolicyRef{in.Policies[0].Ref()}
		after := Judge(in)
		require.GreaterOrEqual(rt, strictness(after.Outcome), strictness(before.Outcome))
		if strictness(after.Outcome) > strictness(before.Outcome) {
			stricter++
		}
	}, func() bool { return stricter > 0 })
}
