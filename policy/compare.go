package policy

import (
	"reflect"
	"slices"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// Change is what a new version does to what is allowed; the zero value is invalid.
type Change string

// The changes.
const (
	Tighter Change = "TIGHTER" // it allows less: one custodian may
	Looser  Change = "LOOSER"  // it allows more, or that cannot be told: the threshold must
)

// Compare says TIGHTER only of the steps that spec/policy.md leaves to one custodian (“stopping is
// easy”), one or several: a lowered amount, a rule added, an address taken off a whitelist or put on
// a blacklist, minApprovers raised. Everything else is LOOSER, what changes nothing too.
func Compare(old, new *Policy) Change {
	if old.Instance != new.Instance || old.ID != new.ID || old.Name != new.Name || old.Scope != new.Scope || old.Retired || new.Retired {
		return Looser
	}
	if checkRules(old.Rules) != nil || checkRules(new.Rules) != nil {
		return Looser // a rule that denies because it is malformed is tightened by no number
	}
	open, rest := slices.Clone(old.Rules), slices.Clone(new.Rules)
	kept := &Policy{}
	steps := 0
	// What stayed as it was is matched first, or a rule could be taken for a step of its neighbour.
	for _, match := range []func(a, b *Rule) bool{sameRule, tighterRule} {
		open = slices.DeleteFunc(open, func(was Rule) bool {
			at := slices.IndexFunc(rest, func(r Rule) bool { return match(&was, &r) })
			if at < 0 {
				return false
			}
			if !sameRule(&was, &rest[at]) {
				steps++
			}
			kept.Rules = append(kept.Rules, rest[at])
			rest = slices.Delete(rest, at, at+1)
			return true
		})
	}
	if len(open) > 0 {
		return Looser // a rule is gone, or changed otherwise
	}
	for n := range rest {
		if !kept.onlyStops(&rest[n]) {
			return Looser
		}
		steps++
	}
	if steps == 0 {
		return Looser
	}
	return Tighter
}

// onlyStops is true where adding the rule to the policy cannot allow anything. The first approval
// rule about an operation does: without one it is refused. So does the first MAX_FEE, which takes
// the place of the network's own limit.
func (p *Policy) onlyStops(r *Rule) bool {
	if r.Type == RuleMaxFee {
		return slices.ContainsFunc(p.Rules, func(have Rule) bool { return have.Type == RuleMaxFee })
	}
	if !r.isApproval() {
		return true
	}
	for _, op := range OperationTypes() {
		if _, any := p.hardest(op); r.about(op) && !any {
			return false
		}
	}
	return true
}

func sameRule(a, b *Rule) bool { return reflect.DeepEqual(a, b) }

// tighterRule is true where b is a, but for the numbers and lists that a step may change, and none
// of those went the other way.
func tighterRule(a, b *Rule) bool {
	rest, want := *b, *a
	ok := lowered(a.Amount, b.Amount) && lowered(a.PerOperation, b.PerOperation) && lowered(a.PerDay, b.PerDay) && lowered(a.AboveAmount, b.AboveAmount) &&
		b.MinApprovers >= a.MinApprovers
	switch a.Type {
	case RuleWhitelistAddress:
		ok = ok && within(b.Addresses, a.Addresses)
		want.Addresses, rest.Addresses = nil, nil
	case RuleBlacklistAddress:
		ok = ok && within(a.Addresses, b.Addresses)
		want.Addresses, rest.Addresses = nil, nil
	}
	for _, r := range []*Rule{&want, &rest} {
		r.Amount, r.PerOperation, r.PerDay, r.AboveAmount, r.MinApprovers = nil, nil, nil, nil, 0
	}
	return ok && sameRule(&want, &rest)
}

// lowered is true where both are there and b ≤ a, or neither is.
func lowered(a, b *Amount) bool {
	if a == nil || b == nil {
		return a == b
	}
	return b.Cmp(*a) <= 0
}

func within(some, all []tx.Address) bool {
	return !slices.ContainsFunc(some, func(a tx.Address) bool { return !slices.Contains(all, a) })
}
