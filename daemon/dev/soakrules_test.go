package dev_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// Custodians draw what they write: the daily limit of the tight token, the groups of the charter, and the rules of the
// policy for all. Whatever they draw can be met by the three approvers, or by waiting.

// otherLimit draws another daily limit for the tight token: lower than the one
// in force, or higher than every one before, so that there is something to charge.
func (c *crowd) otherLimit(r *rand.Rand) func([]client.PolicyRule) []client.PolicyRule {
	return func(was []client.PolicyRule) []client.PolicyRule {
		rules := slices.Clone(was)
		for n := range rules {
			if rules[n].Type != client.PolicyRuleTypeDAILYLIMIT {
				continue
			}
			var now int64
			if _, err := fmt.Sscan(*rules[n].Amount, &now); err != nil {
				c.fault("a limit of %s: %v", *rules[n].Amount, err)
			}
			if r.IntN(2) == 0 {
				now -= 1 + r.Int64N(now/2)
			} else {
				c.mu.Lock()
				c.highest += 1 + r.Int64N(500)
				now = c.highest
				c.mu.Unlock()
			}
			amount := fmt.Sprint(now)
			rules[n].Amount = &amount
		}
		return rules
	}
}

// ranks are who is of which group while nobody is left out. Two of them share a person, who fills one seat all the same.
var ranks = map[string][]string{"approvers": {"approver-1", "approver-2", "approver-3"}, "seniors": {"approver-1", "approver-2"},
	"juniors": {"approver-2", "approver-3"}}

// groups has everybody in his groups but one person, who is of none.
func groups(c *policy.Charter, without string) {
	for group, people := range ranks {
		c.Groups[group] = slices.DeleteFunc(slices.Clone(people), func(who string) bool { return who == without })
	}
}

// otherGroups draws who approves, and how many authorizations of a wallet may
// wait for the chain.
func otherGroups(r *rand.Rand) func(*policy.Charter) {
	return func(c *policy.Charter) {
		groups(c, []string{"approver-1", "approver-2", "approver-3", "", ""}[r.IntN(5)])
		c.Limits.MaxOutstanding = uint64(4 + r.IntN(13))
	}
}

// dailyLimits are those of the rules that say one.
func dailyLimits(rules []client.PolicyRule) []client.PolicyRule {
	return slices.DeleteFunc(slices.Clone(rules), func(rule client.PolicyRule) bool { return rule.Type != client.PolicyRuleTypeDAILYLIMIT })
}

// otherRules draws who must approve, for how long it then waits, how much an
// operation may be about and may cost, when it may be, and whom it may be done to.
func (c *crowd) otherRules(r *rand.Rand) func([]client.PolicyRule) []client.PolicyRule {
	return func(was []client.PolicyRule) []client.PolicyRule {
		rules := append([]client.PolicyRule{otherApproval(r)}, dailyLimits(was)...)
		for _, draw := range []func(*rand.Rand) client.PolicyRule{delay, mostAmount, mostFee, window, blacklist, c.whitelist} {
			if r.IntN(4) == 0 {
				rules = append(rules, draw(r))
			}
		}
		return rules
	}
}

// persons is the rule that so many of all approvers must approve.
func persons(many int) client.PolicyRule {
	group := "approvers"
	return client.PolicyRule{Type: client.PolicyRuleTypeREQUIREAPPROVAL, MinApprovers: &many, ApproverGroup: &group}
}

// otherApproval draws two or three of all, or a tree.
func otherApproval(r *rand.Rand) client.PolicyRule {
	of := func(group string, many int) client.Quorum { return client.Quorum{Group: &group, Min: &many} }
	all := func(of ...client.Quorum) client.Quorum { return client.Quorum{All: &of} }
	either := func(of ...client.Quorum) client.Quorum { return client.Quorum{Any: &of} }
	some := func(k int, of ...client.Quorum) client.Quorum {
		return client.Quorum{KOf: &client.QuorumKOf{K: k, Of: of}}
	}
	trees := []client.Quorum{
		all(of("seniors", 1), of("juniors", 1)),
		either(of("approvers", 3), all(of("seniors", 1), of("juniors", 1))),
		some(2, of("seniors", 1), of("juniors", 1), of("approvers", 1)),
		all(of("seniors", 1), some(1, of("juniors", 2), either(of("juniors", 1), of("approvers", 1)))),
	}
	switch n := r.IntN(3 + len(trees)); n {
	case 0, 1:
		return persons(2)
	case 2:
		return persons(3)
	default:
		return client.PolicyRule{Type: client.PolicyRuleTypeREQUIREAPPROVAL, Quorum: &trees[n-3]}
	}
}

func delay(r *rand.Rand) client.PolicyRule {
	seconds := int64(1 + r.IntN(4))
	return client.PolicyRule{Type: client.PolicyRuleTypeDELAY, Seconds: &seconds}
}

func mostAmount(r *rand.Rand) client.PolicyRule {
	most := fmt.Sprint(mostOfQustody + r.IntN(50))
	return client.PolicyRule{Type: client.PolicyRuleTypeMAXAMOUNT, Amount: &most}
}

// mostFee is in wei: an operation costs some 10^12 to 10^16.
func mostFee(r *rand.Rand) client.PolicyRule {
	most := "1" + strings.Repeat("0", 11+r.IntN(7))
	return client.PolicyRule{Type: client.PolicyRuleTypeMAXFEE, Amount: &most}
}

func blacklist(r *rand.Rand) client.PolicyRule {
	whom := []client.Address{subject(r), subject(r)}
	if whom[0] == whom[1] {
		whom = whom[:1]
	}
	return client.PolicyRule{Type: client.PolicyRuleTypeBLACKLISTADDRESS, Addresses: &whom}
}

// whitelist draws strangers; all of our wallets are on it.
func (c *crowd) whitelist(r *rand.Rand) client.PolicyRule {
	whom := []client.Address{}
	for _, w := range c.h.wallets {
		whom = append(whom, w.Address)
	}
	for range 20 {
		if who := subject(r); !slices.Contains(whom, who) {
			whom = append(whom, who)
		}
	}
	return client.PolicyRule{Type: client.PolicyRuleTypeWHITELISTADDRESS, Addresses: &whom}
}

// window draws hours that are about to end, or to begin, or the whole of today, by the clock of some place.
func window(r *rand.Rand) client.PolicyRule {
	zone := []string{"UTC", "Europe/Zurich", "America/St_Johns", "Asia/Kathmandu"}[r.IntN(4)]
	place, err := time.LoadLocation(zone)
	if err != nil {
		panic(err) // Go's own list has them
	}
	now := time.Now().In(place)
	clock := func(after time.Duration) *string { text := now.Add(after).Format("15:04"); return &text }
	minutes := func(least, most int) time.Duration { return time.Duration(least+r.IntN(most-least)) * time.Minute }
	days := []client.PolicyRuleDays{"MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"}
	rule := client.PolicyRule{Type: client.PolicyRuleTypeTIMEWINDOW, Timezone: &zone, Days: &days}
	switch r.IntN(4) {
	case 0:
		rule.Start, rule.End = clock(-minutes(5, 600)), clock(minutes(1, 3))
	case 1:
		rule.Start, rule.End = clock(minutes(1, 3)), clock(minutes(10, 600))
	default:
		start, end := "00:00", "24:00"
		days = []client.PolicyRuleDays{days[(now.Weekday()+6)%7]}
		rule.Start, rule.End = &start, &end
	}
	return rule
}
