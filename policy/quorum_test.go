package policy_test

import (
	"fmt"
	"math/bits"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	. "github.com/mintwarden/mintwarden/policy"
)

// drawTree is a well-formed quorum tree of at most that depth.
func drawTree(t *rapid.T, depth int) *Quorum {
	kind := 0
	if depth > 1 {
		kind = rapid.IntRange(0, 3).Draw(t, "kind")
	}
	if kind == 0 {
		return &Quorum{Group: rapid.SampledFrom([]string{"approvers", "traders", "compliance"}).Draw(t, "group"), Min: rapid.Uint32Range(1, 3).Draw(t, "min")}
	}
	var branches []*Quorum
	for range rapid.IntRange(1, 3).Draw(t, "branches") {
		branches = append(branches, drawTree(t, depth-1))
	}
	switch kind {
	case 1:
		return &Quorum{All: branches}
	case 2:
		return &Quorum{Any: branches}
	}
	return &Quorum{KOf: &KOf{K: rapid.Uint32Range(1, uint32(len(branches))).Draw(t, "k"), Of: branches}}
}

// seatings are all sets of persons, as bits of the list, that fill the tree, each person in one seat,
// found by trying everything.
func seatings(q *Quorum, persons []string, groups map[string][]string) map[uint]bool {
	out := map[uint]bool{}
	disjoint := func(some, more map[uint]bool) map[uint]bool {
		both := map[uint]bool{}
		for a := range some {
			for b := range more {
				if a&b == 0 {
					both[a|b] = true
				}
			}
		}
		return both
	}
	switch {
	case q.Group != "":
		var members uint
		for n, p := range persons {
			if slices.Contains(groups[q.Group], p) {
				members |= 1 << n
			}
		}
		for mask := uint(0); mask < 1<<len(persons); mask++ {
			if mask&^members == 0 && bits.OnesCount(mask) == int(q.Min) {
				out[mask] = true
			}
		}
	case q.Any != nil:
		for _, b := range q.Any {
			for mask := range seatings(b, persons, groups) {
				out[mask] = true
			}
		}
	default:
		branches, k := q.All, len(q.All)
		if q.KOf != nil {
			branches, k = q.KOf.Of, int(q.KOf.K)
		}
		for choice := uint(0); choice < 1<<len(branches); choice++ {
			if bits.OnesCount(choice) != k {
				continue
			}
			all := map[uint]bool{0: true}
			for n, b := range branches {
				if choice&(1<<n) != 0 {
					all = disjoint(all, seatings(b, persons, groups))
				}
			}
			for mask := range all {
				out[mask] = true
			}
		}
	}
	return out
}

// A tree of any shape holds exactly if its seats can be filled by distinct persons, waits exactly if
// all who may approve could fill them, and is denied otherwise.
func TestAQuorumTreeHoldsExactlyIfDistinctPersonsFillIt(t *testing.T) {
	base := charter(t)
	groups := map[string][]string{"approvers": {"ann", "bob", "cat"}, "traders": {"ann", "bob", "eve"}, "compliance": {"bob", "dan"}}
	base.Groups = groups
	everybody := []string{"ann", "bob", "cat", "dan", "eve"}
	seen := map[Outcome]int{}
	rapid.Check(t, func(rt *rapid.T) {
		tree := drawTree(rt, 4)
		rule := Rule{Type: RuleRequireApproval, Quorum: tree}
		if rule.Check() != nil {
			rt.Skip("too many ways to hold")
		}
		in := approved(t, rule)
		in.Charter = base
		in.Intent.Requester = rapid.SampledFrom([]string{"oscar", "ann", "bob"}).Draw(rt, "requester")
		may := slices.DeleteFunc(slices.Clone(everybody), func(p string) bool { return p == in.Intent.Requester })
		in.Decisions = nil
		var approvers []string
		for _, p := range everybody {
			if !rapid.Bool().Draw(rt, p) {
				continue
			}
			in.Decisions = append(in.Decisions, RecordedDecision{Person: p, Verb: Approve, Intent: in.IntentDigest, Keys: keysOf(base, p), At: noon, Sequence: 2})
			if p != in.Intent.Requester {
				approvers = append(approvers, p)
			}
		}
		want := Deny
		if len(seatings(tree, approvers, groups)) > 0 {
			want = Allow
		} else if len(seatings(tree, may, groups)) > 0 {
			want = Wait
		}
		seen[want]++
		require.Equal(rt, want, Judge(in).Outcome, "%s approved by %v", tree, approvers)
	})
	require.Len(t, seen, 3)
}

// A tree of 44 KB, which one custodian or whoever may propose has others read, is refused for its ways to hold before
// they are made: they would take some hundred megabytes.
func TestAttack_AQuorumTreeWithAMillionWaysToHold(t *testing.T) {
	leaves := func(n int) []*Quorum { return slices.Repeat([]*Quorum{{Group: "approvers", Min: 1}}, n) }
	wide := &Quorum{All: []*Quorum{{All: leaves(12)}, {Any: leaves(1000)}}}
	rule := Rule{Type: RuleRequireApproval, Quorum: &Quorum{All: []*Quorum{wide, wide}}}
	require.ErrorContains(t, rule.Check(), "ways to hold")
	require.Less(t, testing.AllocsPerRun(1, func() { _ = rule.Check() }), 100_000.0)
}

// crowd is a charter with a group, everybody, of so many persons.
func crowd(t *testing.T, n int) *Charter {
	c := charter(t)
	for i := range n {
		name := fmt.Sprintf("person-%03d", i)
		c.Persons = append(c.Persons, Person{name, keys(t, name), []string{id("user", 100+i)}})
		c.Groups["everybody"] = append(c.Groups["everybody"], name)
	}
	return c
}

// A tree of 30 KB that holds in a thousand ways, each of which asks everybody a dozen times, kept whoever checked the
// proposal busy, and once one custodian had tightened the policy with it the seal at each operation: every vacant seat
// had everybody asked whether somebody else could be asked. Now a search asks nobody twice, and ends with the first
// seat for which there is nobody.
func TestAttack_AQuorumTreeWhoseSeatsNobodyCanFill(t *testing.T) {
	heavy := func(people uint32) Rule {
		return Rule{Type: RuleRequireApproval, Quorum: &Quorum{Any: []*Quorum{{Group: "approvers", Min: 2}, {All: []*Quorum{
			{All: slices.Repeat([]*Quorum{{Group: "everybody", Min: people}}, 12)},
			{Any: slices.Repeat([]*Quorum{{Group: "everybody", Min: 1}}, 1000)}}}}}}
	}
	for _, people := range []int{16, 250} {
		c, rule := crowd(t, people), heavy(uint32(people))
		before, after := policyOf(twoOf("approvers")), policyOf(twoOf("approvers"), rule)
		require.Equal(t, Tighter, Compare(before, after))
		require.Less(t, testing.AllocsPerRun(1, func() { require.NoError(t, CheckPolicy(after, c)) }), 100_000.0)

		in := approved(t, rule, Rule{Type: RuleDelay, Seconds: 1})
		in.Charter = c
		require.Equal(t, Allow, Judge(in).Outcome)
		in.Decisions = nil
		for _, person := range c.Groups["everybody"] {
			in.Decisions = append(in.Decisions, approval(t, in, person, noon))
		}
		require.Less(t, testing.AllocsPerRun(1, func() { require.Equal(t, Wait, Judge(in).Outcome) }), 100_000.0)
	}
}

// What is all of many parts holds in one way, however many they are; some of many hold in as many ways as there are
// to choose them.
func TestAQuorumOfManyParts(t *testing.T) {
	c := crowd(t, 200)
	of := func(n int) (parts []*Quorum) {
		for i := range n {
			group := fmt.Sprintf("group-%d", i)
			c.Groups[group] = c.Groups["everybody"][i : i+1]
			parts = append(parts, &Quorum{Group: group, Min: 1})
		}
		return parts
	}
	in := approved(t, twoOf("approvers"))
	in.Charter = c
	for _, person := range c.Groups["everybody"] {
		in.Decisions = append(in.Decisions, approval(t, in, person, noon))
	}
	for name, tree := range map[string]*Quorum{
		"all of 13":          {All: of(13)},
		"all of 200":         {All: of(200)},
		"199 of 200":         {KOf: &KOf{K: 199, Of: of(200)}},
		"one of 200":         {Any: of(200)},
		"two of 40, and 160": {All: append(of(160), &Quorum{KOf: &KOf{K: 2, Of: of(200)[160:]}})},
	} {
		rule := Rule{Type: RuleRequireApproval, Quorum: tree}
		require.NoError(t, CheckPolicy(policyOf(rule), c), name)
		in.Policies[0].Policy.Rules = []Rule{rule}
		v := Judge(in)
		require.Equal(t, Allow, v.Outcome, name)
		_, have, need := v.Approvals()
		require.Equal(t, map[string]int{"all of 13": 13, "all of 200": 200, "199 of 200": 199, "one of 200": 1, "two of 40, and 160": 162}[name], need, name)
		require.Equal(t, need, have, name)
	}
	for name, tree := range map[string]*Quorum{
		"6 of 13":                   {KOf: &KOf{K: 6, Of: of(13)}},
		"2 of 47":                   {KOf: &KOf{K: 2, Of: of(47)}},
		"some of 33 and some of 32": {All: []*Quorum{{Any: of(33)}, {Any: of(32)}}},
	} {
		require.ErrorContains(t, CheckPolicy(policyOf(Rule{Type: RuleRequireApproval, Quorum: tree}), c), "ways to hold", name)
	}
}
