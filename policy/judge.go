package policy

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// Judge says whether the intent may be signed now. It is a function of its input alone. An
// operation is judged by the versions that it was submitted under and by those in force, and the
// stricter verdict holds; every rule of both is in the answer.
func Judge(in Input) Verdict {
	room := rooms.Get().(*[]ranked)
	j := judgement{Input: in, outcomes: *room}
	defer func() {
		clear(j.outcomes) // a verdict has copies
		*room = j.outcomes[:0]
		rooms.Put(room)
	}()
	if in.Intent == nil || in.Charter == nil {
		j.add(rankIntent, RuleOutcome{Rule: ReasonIntent, Outcome: Deny, Message: "there is no intent or no charter to judge by"})
		return j.verdict()
	}
	for _, why := range j.misfits() {
		j.add(rankIntent, RuleOutcome{Rule: ReasonIntent, Outcome: Deny, Message: why})
	}
	inForce := slices.DeleteFunc(slices.Clone(in.Policies), func(p *InForce) bool { return p == nil || p.Policy == nil || p.Policy.Retired })
	submitted := j.submitted()
	j.policies = distinct(slices.Concat(inForce, submitted))
	j.checkSet("in force", inForce)
	j.checkSet("at submission", submitted)
	if b := in.Binding; b != nil && !slices.ContainsFunc(inForce, func(p *InForce) bool { return p.Policy.ID == b.PolicyID }) {
		j.add(rankPolicy, RuleOutcome{Rule: ReasonPolicy, Outcome: Deny, Message: fmt.Sprintf("policy %s of token %s is not in force", b.PolicyID, b.TokenID)})
	}
	j.request()
	for _, p := range j.policies {
		for n := range p.Policy.Rules {
			j.rule(p.Policy, &p.Policy.Rules[n])
		}
	}
	j.delays()
	return j.verdict()
}

// The order in which reasons are reported (spec/policy.md).
const (
	rankIntent = iota
	rankPolicy
	rankMaxAmount
	rankBlacklist
	rankWhitelist
	rankDailyLimit
	rankTimeWindow
	rankMaxFee
	rankApproval
	rankDelay
)

// rooms are for the outcomes of one run each, which are larger than all else that a verdict needs.
var rooms = sync.Pool{New: func() any { return new([]ranked) }}

type ranked struct {
	rank int
	RuleOutcome
}

// judgement is one run of Judge.
type judgement struct {
	Input
	policies []*InForce // every version that judges, each once, in the order of id and version
	outcomes []ranked
}

func (j *judgement) add(rank int, o RuleOutcome) { j.outcomes = append(j.outcomes, ranked{rank, o}) }

// of begins the outcome of a rule that somebody wrote.
func of(p *Policy, r *Rule) RuleOutcome {
	return RuleOutcome{PolicyID: p.ID, PolicyVersion: p.Version, Rule: r.Type, Outcome: Deny, rule: r}
}

// submitted gives the versions that the intent names, and denies where one is not to be had.
func (j *judgement) submitted() []*InForce {
	var out []*InForce
	for _, ref := range j.Intent.Policies {
		is := func(p *InForce) bool { return p != nil && p.Policy != nil && p.Ref() == ref }
		among := j.Policies
		n := slices.IndexFunc(among, is)
		if n < 0 {
			among = j.Submitted
			n = slices.IndexFunc(among, is)
		}
		if n < 0 {
			j.add(rankPolicy, RuleOutcome{PolicyID: ref.ID, PolicyVersion: ref.Version, Rule: ReasonPolicy, Outcome: Deny,
				Message: fmt.Sprintf("the intent names version %d of policy %s, %s, which was never in force", ref.Version, ref.ID, ref.Digest)})
			continue
		}
		out = append(out, among[n])
	}
	return out
}

// distinct gives each version once, in the order of id and version, so that no order of arguments
// shows in a verdict.
func distinct(all []*InForce) []*InForce {
	slices.SortStableFunc(all, func(a, b *InForce) int {
		return cmp.Or(cmp.Compare(a.Policy.ID, b.Policy.ID), cmp.Compare(a.Policy.Version, b.Policy.Version), cmp.Compare(a.Digest, b.Digest))
	})
	return slices.CompactFunc(all, func(a, b *InForce) bool { return a.Ref() == b.Ref() })
}

// checkSet holds a set of policies to what must be there: a policy, an approval rule about the
// operation, and a limit of its fee.
func (j *judgement) checkSet(when string, set []*InForce) {
	if len(set) == 0 {
		j.add(rankPolicy, RuleOutcome{Rule: ReasonPolicy, Outcome: Deny, Message: "no policy covers the operation (" + when + ")"})
		return
	}
	if !anyRule(set, func(r *Rule) bool { return r.isApproval() && r.about(j.Intent.OperationType) }) {
		j.add(rankApproval, RuleOutcome{Rule: RuleRequireApproval, Outcome: Deny,
			Message: fmt.Sprintf("no approval rule is about %s (%s)", j.Intent.OperationType, when)})
	}
	if !anyRule(set, func(r *Rule) bool { return r.Type == RuleMaxFee }) {
		o := RuleOutcome{Rule: RuleMaxFee, Outcome: Deny, Requested: j.Intent.FeeCap.String()}
		if network, ok := j.Charter.Network(j.Intent.Network); ok {
			j.atMost(&o, j.Intent.FeeCap, network.DefaultMaxFee, "the charter's fee limit of "+network.Name)
		} else {
			o.Message = fmt.Sprintf("network %s has no fee limit", j.Intent.Network)
		}
		if !slices.ContainsFunc(j.outcomes, func(have ranked) bool { return have.RuleOutcome == o }) {
			j.add(rankMaxFee, o)
		}
	}
}

func anyRule(set []*InForce, match func(*Rule) bool) bool {
	for _, p := range set {
		for n := range p.Policy.Rules {
			if match(&p.Policy.Rules[n]) {
				return true
			}
		}
	}
	return false
}

// rule judges one rule; DELAY waits for the others.
func (j *judgement) rule(p *Policy, r *Rule) {
	o := of(p, r)
	op := j.Intent.OperationType
	if _, known := ruleFields[r.Type]; known && !r.about(op) && !r.implied(op) {
		o.Outcome, o.Message = Allow, fmt.Sprintf("is not about %s", op)
		j.add(rankApproval, o)
		return
	}
	switch r.Type {
	case RuleRequireApproval, RuleTokenRoleChange:
		j.approval(&o, r)
		j.add(rankApproval, o)
	case RuleMaxAmount:
		j.maxAmount(&o, r.Amount)
		j.add(rankMaxAmount, o)
	case RuleDailyLimit:
		j.dailyLimit(&o, r, r.Amount)
		j.add(rankDailyLimit, o)
	case RuleTokenMintLimit, RuleTokenBurnLimit:
		daily := o
		j.maxAmount(&o, r.PerOperation)
		j.add(rankMaxAmount, o)
		j.dailyLimit(&daily, r, r.PerDay)
		j.add(rankDailyLimit, daily)
	case RuleTimeWindow:
		j.timeWindow(&o, r)
		j.add(rankTimeWindow, o)
	case RuleWhitelistAddress:
		j.whitelist(&o, r)
		j.add(rankWhitelist, o)
	case RuleBlacklistAddress:
		j.blacklist(&o, r)
		j.add(rankBlacklist, o)
	case RuleMaxFee:
		o.Requested = j.Intent.FeeCap.String()
		if r.Amount == nil {
			o.Message = "the rule has no amount"
		} else {
			j.atMost(&o, j.Intent.FeeCap, *r.Amount, "the fee limit")
		}
		j.add(rankMaxFee, o)
	case RuleDelay:
		// judged last, by delays
	default:
		o.Message = fmt.Sprintf("rule type %.40q is not known", r.Type)
		j.add(rankPolicy, o)
	}
}

// verdict puts the outcomes in order and finds the one to report.
func (j *judgement) verdict() Verdict {
	// The order is total over what people see, so that no order of arguments shows.
	slices.SortStableFunc(j.outcomes, func(a, b ranked) int {
		order := cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.PolicyID, b.PolicyID), cmp.Compare(a.PolicyVersion, b.PolicyVersion),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message), cmp.Compare(a.Group, b.Group), cmp.Compare(a.Limit, b.Limit),
			cmp.Compare(a.Outcome, b.Outcome), cmp.Compare(a.Have, b.Have), cmp.Compare(a.Need, b.Need))
		if order == 0 && a.rule != b.rule && a.rule != nil && b.rule != nil {
			return cmp.Compare(a.rule.raw(), b.rule.raw()) // two rules that say the same
		}
		return order
	})
	v := Verdict{Outcome: Allow, Rules: make([]RuleOutcome, len(j.outcomes))}
	for n, o := range j.outcomes {
		v.Rules[n] = o.RuleOutcome
		switch {
		case o.Outcome == Allow:
		case o.Outcome == Wait && v.Outcome == Allow:
			v.Outcome, v.Reported = Wait, &v.Rules[n]
		case o.Outcome != Wait && v.Outcome != Deny:
			v.Outcome, v.Reported = Deny, &v.Rules[n]
		}
	}
	if len(v.Rules) == 0 {
		v.Outcome = Deny
	}
	if v.Reported != nil {
		reported := *v.Reported
		v.Reported = &reported
	}
	return v
}

// ApprovalsComplete is true where no approval is missing, nor the requester's own signature: what is
// not allowed yet waits for a DELAY only, or is denied for another reason.
func (v Verdict) ApprovalsComplete() bool {
	complete := false
	for _, o := range v.Rules {
		switch o.Rule {
		case RuleRequireApproval, RuleTokenRoleChange, ReasonRequest:
		default:
			continue
		}
		if o.Outcome != Allow {
			return false
		}
		complete = complete || o.Rule != ReasonRequest
	}
	return complete
}

// Rejection is why no approval can help any more: members of a group that is asked rejected the
// operation. ok is false where nobody did.
func (v Verdict) Rejection() (why string, ok bool) {
	n := slices.IndexFunc(v.Rules, func(o RuleOutcome) bool { return o.rejected })
	if n < 0 {
		return "", false
	}
	return v.Rules[n].Message, true
}

// Approvals is what the most demanding approval rule asks for: its group, how many persons'
// approvals count, how many must. An unmet rule comes before a met one. All are zero where nobody
// is asked.
func (v Verdict) Approvals() (group string, have, need int) {
	var best RuleOutcome
	for _, o := range v.Rules {
		if o.Need == 0 {
			continue
		}
		unmet, bestUnmet := o.Outcome != Allow, best.Need > 0 && best.Outcome != Allow
		if best.Need == 0 || unmet && !bestUnmet || unmet == bestUnmet && o.Need-o.Have > best.Need-best.Have ||
			unmet == bestUnmet && o.Need-o.Have == best.Need-best.Have && o.Need > best.Need {
			best = o
		}
	}
	return best.Group, best.Have, best.Need
}
