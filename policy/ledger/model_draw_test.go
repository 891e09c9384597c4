package ledger_test

import (
	"fmt"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// What is drawn for the model and the ledger beside it: moments, amounts and rules.

func contractOf(token int) tx.Address { return account(fmt.Sprint("contract ", token)) }

func pick[T any](r *modelled, name string, of ...T) T { return rapid.SampledFrom(of).Draw(r.rt, name) }

// some of them, in any order.
func some[T comparable](r *modelled, name string, most int, of ...T) []T {
	return rapid.SliceOfNDistinct(rapid.SampledFrom(of), 1, most, rapid.ID).Draw(r.rt, name)
}

// onceIn is true once in n draws.
func (r *modelled) onceIn(n int, what string) bool { return rapid.IntRange(1, n).Draw(r.rt, what) == n }

// moments are when the verdict on an operation may become another one, in the next day, and the second before each.
func (r *modelled) moments(i *policy.Intent) []time.Time {
	var at []time.Time
	for _, rule := range r.rulesOf(i) {
		for _, d := range r.m.operation(i).decisions {
			at = append(at, d.at.Add(time.Duration(rule.Seconds)*time.Second))
		}
		zone := location(rule.Timezone)
		for t := r.now.Truncate(15 * time.Minute); t.Before(r.now.Add(24 * time.Hour)); t = t.Add(15 * time.Minute) {
			before := t.Add(-time.Second)
			edge := rule.Type == policy.RuleTimeWindow && inside(rule, t) != inside(rule, before)
			if edge || rule.Type == policy.RuleDailyLimit && t.In(zone).YearDay() != before.In(zone).YearDay() {
				at = append(at, t)
			}
		}
	}
	for _, t := range at {
		at = append(at, t.Add(-time.Second))
	}
	at = append(at, r.now.Add(time.Minute), r.now.Add(time.Hour), i.ExpiresAt, i.ExpiresAt.Add(-time.Second))
	return slices.DeleteFunc(at, func(t time.Time) bool { return !t.After(r.now) })
}

// rulesOf are those by which it is judged, at least the ones in force.
func (r *modelled) rulesOf(i *policy.Intent) (rules []policy.Rule) {
	for n := 1; n <= 4; n++ {
		if p := r.m.inForce[id("pol", n)]; p != nil && r.m.covers(p.Scope, i) {
			rules = append(rules, p.Rules...)
		}
	}
	for _, ref := range i.Policies {
		rules = append(rules, r.m.versions[ref.Digest].Rules...)
	}
	return rules
}

// amounts are some, the limits, what they leave, and one more than each.
func (r *modelled) amounts(i *policy.Intent) []policy.Amount {
	nothing := *i
	nothing.OperationType, nothing.Params.Amount = policy.OpMint, ptr(policy.AmountOf(0))
	out := []policy.Amount{policy.AmountOf(1), policy.AmountOf(3), policy.AmountOf(5)}
	for _, rule := range r.rulesOf(i) {
		for _, limit := range []*policy.Amount{rule.Amount, rule.AboveAmount, rule.PerOperation, rule.PerDay} {
			if limit == nil || limit.Cmp(policy.AmountOf(20)) > 0 { // of fees, or none
				continue
			}
			left := limit.Big()
			if spent := r.m.spent(rule.Operations, question{Intent: &nothing, now: r.now}, rule.Timezone); spent != nil && spent.Cmp(left) < 0 {
				left.Sub(left, spent)
			}
			out = append(out, policy.AmountOf(left.Uint64()), *limit, policy.AmountOf(left.Uint64()+1), policy.AmountOf(limit.Big().Uint64()+1))
		}
	}
	return append(out, policy.MaxAmount(), policy.AmountOf(2))
}

// rules begin with an approval rule, mostly one for everything: else hardly anything would be allowed.
func (r *modelled) rules() []policy.Rule {
	rules := []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 1, ApproverGroup: "approvers"}}
	if r.onceIn(16, "no rule for all") {
		rules = nil
	}
	for range max(1-len(rules), rapid.IntRange(0, 2).Draw(r.rt, "rules")) {
		rules = append(rules, r.rule()...)
	}
	return rules
}

var ruleTypes = []policy.RuleType{policy.RuleRequireApproval, policy.RuleDailyLimit, policy.RuleDelay, policy.RuleTimeWindow, policy.RuleDelay, policy.RuleDailyLimit,
	policy.RuleMaxAmount, policy.RuleTokenMintLimit, policy.RuleTokenBurnLimit, policy.RuleWhitelistAddress, policy.RuleBlacklistAddress, policy.RuleMaxFee, policy.RuleTokenRoleChange}

// rule is one, or one and the limit without which it may not stand.
func (r *modelled) rule() []policy.Rule {
	limit := func(name string) *policy.Amount {
		return ptr(pick(r, name, policy.AmountOf(3), policy.AmountOf(8), policy.AmountOf(9), policy.AmountOf(20), policy.MaxAmount()))
	}
	operations := func(of []policy.OperationType) []policy.OperationType {
		if rapid.Bool().Draw(r.rt, "all operations") {
			return nil
		}
		return some(r, "operations", 3, of...)
	}
	a := policy.Rule{Type: pick(r, "rule", slices.Concat(r.often, r.often, r.often, ruleTypes)...)}
	switch a.Type {
	case policy.RuleRequireApproval, policy.RuleTokenRoleChange:
		least, group := rapid.SampledFrom([]uint32{1, 1, 1, 2, 3, 1}).Draw(r.rt, "least"), pick(r, "group", "approvers", "traders", "compliance")
		if a.MinApprovers, a.ApproverGroup = least, group; r.onceIn(3, "a tree") {
			a.MinApprovers, a.ApproverGroup, a.Quorum = 0, "", &policy.Quorum{All: []*policy.Quorum{{Group: "traders", Min: 1}, {Group: group, Min: least}}}
		}
		if a.Type == policy.RuleTokenRoleChange {
			break
		}
		if a.Operations = operations(policy.OperationTypes()); r.onceIn(2, "above") {
			a.Operations, a.AboveAmount = operations(anAmount[:3]), ptr(policy.AmountOf(pick(r, "above", uint64(3), 8, 1)))
			if !r.onceIn(6, "uncounted") {
				return []policy.Rule{a, {Type: policy.RuleDailyLimit, Amount: limit("a day"), Operations: a.Operations, Timezone: pick(r, "zone", zones...)}}
			}
		}
	case policy.RuleMaxAmount:
		a.Amount, a.Operations = limit("limit"), operations(anAmount)
	case policy.RuleDailyLimit:
		a.Amount, a.Operations, a.Timezone = limit("a day"), operations(anAmount), pick(r, "zone", zones...)
	case policy.RuleTokenMintLimit, policy.RuleTokenBurnLimit:
		a.PerOperation, a.PerDay = limit("limit"), limit("a day")
	case policy.RuleTimeWindow:
		hours := pick(r, "hours", [2]policy.Clock{"00:00", "24:00"}, [2]policy.Clock{"02:30", "17:45"}, [2]policy.Clock{"22:00", "09:00"}, [2]policy.Clock{"09:00", "02:30"})
		a.Start, a.End, a.Timezone = hours[0], hours[1], pick(r, "zone", zones...)
		a.Days = slices.DeleteFunc([]policy.Weekday{"MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"}, func(policy.Weekday) bool { return r.onceIn(4, "not on it") })
		a.Days = append(a.Days, "SUN")[:max(1, len(a.Days))]
	case policy.RuleWhitelistAddress:
		a.Addresses = []tx.Address{account("alice"), wallet(1).Address, wallet(2).Address}
	case policy.RuleBlacklistAddress:
		a.Addresses = []tx.Address{pick(r, "listed", account("bert"), wallet(2).Address)}
	case policy.RuleMaxFee:
		a.Amount = ptr(policy.AmountOf(pick(r, "fee", uint64(5e15), 1e16, 2e16)))
	case policy.RuleDelay:
		a.Seconds, a.Operations = pick(r, "seconds", uint64(1), 60, 3600), operations(policy.OperationTypes())
	}
	return []policy.Rule{a}
}
