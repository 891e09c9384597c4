package dev_test

import (
	"cmp"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// judge holds an authorization to every rule of one policy; a DELAY counts from
// the last approval that the policy's own rules took.
func (l *lawReader) judge(b *ledger.Batch, a *ledger.Authorize, i *policy.Intent, p *policy.Policy, wrong func(format string, args ...any)) error {
	var complete time.Time
	for _, r := range p.Rules {
		if len(r.Operations) > 0 && !slices.Contains(r.Operations, i.OperationType) {
			continue
		}
		switch r.Type {
		case policy.RuleRequireApproval:
			tree := cmp.Or(r.Quorum, &policy.Quorum{Group: r.ApproverGroup, Min: r.MinApprovers})
			approved, at, held := l.approvals(a, i, tree)
			if !held {
				wrong("%s must approve, %v did: %+v", tree, approved, l.said[a.OperationID])
			} else if at.After(complete) {
				complete = at
			}
		case policy.RuleDailyLimit:
			sum := new(big.Int)
			for at, n := range l.charged {
				if at.contract == l.contract(i) && at.day == b.Time.UTC().Format(time.DateOnly) && (len(r.Operations) == 0 || slices.Contains(r.Operations, at.operation)) {
					sum.Add(sum, n)
				}
			}
			if len(a.Charges) > 0 && sum.Cmp(r.Amount.Big()) > 0 {
				wrong("%s are charged to a daily limit of %s", sum, r.Amount)
			}
		case policy.RuleMaxAmount:
			if amount := i.Params.Amount; amount != nil && amount.Cmp(*r.Amount) > 0 {
				wrong("%s is above %s", amount, r.Amount)
			}
		case policy.RuleBlacklistAddress:
			for _, whom := range []*tx.Address{i.Params.Recipient, i.Params.Subject, i.Params.Source} {
				if whom != nil && slices.Contains(r.Addresses, *whom) {
					wrong("%s is on the blacklist", whom)
				}
			}
		case policy.RuleWhitelistAddress:
			for _, whom := range []*tx.Address{i.Params.Recipient, i.Params.Subject, i.Params.Source} {
				if whom != nil && !slices.Contains(r.Addresses, *whom) {
					wrong("%s is not on the whitelist", whom)
				}
			}
		case policy.RuleMaxFee:
			if i.FeeCap.Cmp(*r.Amount) > 0 {
				wrong("a fee cap of %s is above %s", i.FeeCap, r.Amount)
			}
		case policy.RuleTimeWindow:
			if open, err := isOpen(&r, b.Time); err != nil {
				return err
			} else if !open {
				wrong("%s is not within %s to %s in %s on %v", b.Time, r.Start, r.End, r.Timezone, r.Days)
			}
		case policy.RuleDelay: // below
		default:
			return fmt.Errorf("a rule %s that the soak does not write", r.Type)
		}
	}
	for _, r := range p.Rules {
		if r.Type == policy.RuleDelay && b.Time.Before(complete.Add(time.Duration(r.Seconds)*time.Second)) {
			wrong("%s is not %d s after the approvals of %s", b.Time, r.Seconds, complete)
		}
	}
	return nil
}

// approvals are the persons whose approvals of an authorized intent count for a tree of whom it takes, and the moment from
// which on they were enough.
func (l *lawReader) approvals(a *ledger.Authorize, i *policy.Intent, tree *policy.Quorum) (approved []string, since time.Time, held bool) {
	for _, s := range l.said[a.OperationID] {
		if s.verb != policy.Approve || s.intent != a.Intent || s.who == i.Requester || l.frozen[policy.Subject{Person: s.who}] || slices.Contains(approved, s.who) {
			continue
		}
		if approved = append(approved, s.who); !held && len(l.left(tree, approved)) > 0 {
			since, held = s.at, true
		}
	}
	return approved, since, held
}

// left is who of some people may be left over where a tree holds, in each way in which it does; nothing where it does
// not hold. Who fills one seat fills no other.
func (l *lawReader) left(q *policy.Quorum, people []string) (ways [][]string) {
	each := func(of []*policy.Quorum, before [][]string) (after [][]string) {
		for _, b := range of {
			after = nil
			for _, rest := range before {
				after = append(after, l.left(b, rest)...)
			}
			before = after
		}
		return before
	}
	switch {
	case q.Group != "":
		ways = [][]string{people}
		for range q.Min {
			var fewer [][]string
			for _, rest := range ways {
				for n, who := range rest {
					if l.member(q.Group, who) {
						fewer = append(fewer, slices.Concat(rest[:n], rest[n+1:]))
					}
				}
			}
			ways = fewer
		}
	case q.All != nil:
		ways = each(q.All, [][]string{people})
	case q.Any != nil:
		for _, b := range q.Any {
			ways = append(ways, l.left(b, people)...)
		}
	case q.KOf != nil:
		for chosen := range 1 << len(q.KOf.Of) {
			var of []*policy.Quorum
			for n, b := range q.KOf.Of {
				if chosen>>n&1 == 1 {
					of = append(of, b)
				}
			}
			if len(of) == int(q.KOf.K) {
				ways = append(ways, each(of, [][]string{people})...)
			}
		}
	}
	return ways
}

// isOpen looks whether a window of the day of a moment, or of the day before, holds the moment, by the clock on the wall.
func isOpen(r *policy.Rule, at time.Time) (bool, error) {
	place, err := time.LoadLocation(r.Timezone)
	if err != nil {
		return false, err
	}
	minute := func(c policy.Clock) (n int, err error) {
		var hours, minutes int
		_, err = fmt.Sscanf(string(c), "%d:%d", &hours, &minutes)
		return 60*hours + minutes, err
	}
	start, err := minute(r.Start)
	if err != nil {
		return false, err
	}
	end, err := minute(r.End)
	if end < start {
		end += 24 * 60
	}
	local := at.In(place)
	for ago := range 2 {
		day := strings.ToUpper(local.AddDate(0, 0, -ago).Format("Mon"))
		if now := 60*(local.Hour()+24*ago) + local.Minute(); slices.Contains(r.Days, policy.Weekday(day)) && start <= now && now < end {
			return true, err
		}
	}
	return false, err
}

func (l *lawReader) contract(i *policy.Intent) tx.Address {
	if i.Token.ContractAddress == nil {
		return tx.Address{} // a deployment, with no supply
	}
	return *i.Token.ContractAddress
}
