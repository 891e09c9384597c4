package policy

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"strings"
	"time"
)

// approval judges a rule that asks for people. Membership is the current charter's: somebody who
// was removed since no longer counts. A rejection by a member denies, whatever intent bytes it
// holds and even where the amount asks nobody.
func (j *judgement) approval(o *RuleOutcome, r *Rule) {
	tree := r.tree()
	groups := tree.groups()
	o.Group = strings.Join(groups, ", ")
	if tree.plan(groups) == nil {
		o.Message = "the quorum asks nobody, or cannot be evaluated"
		return
	}
	for _, g := range groups {
		if _, ok := j.Charter.Group(g); !ok {
			o.Message = fmt.Sprintf("group %s is not in the charter", Printable(g))
			return
		}
	}
	if who := j.rejecters(groups); len(who) > 0 {
		o.rejected, o.Message = true, "rejected by "+strings.Join(who, ", ")
		return
	}
	if !j.asks(r) {
		o.Outcome, o.Message = Allow, fmt.Sprintf("asks nobody up to %s", r.AboveAmount)
		return
	}
	have := j.approvers(groups, j.Decisions)
	o.Have, o.Need = tree.filled(have, j.members)
	switch {
	case o.Have == o.Need:
		o.Outcome, o.Message = Allow, fmt.Sprintf("approved by %s: %s", strings.Join(have, ", "), tree)
	case !tree.holds(j.possible(groups), j.members):
		o.Message = fmt.Sprintf("%s cannot be reached: too few may approve what %s asked for", tree, j.Intent.Requester)
	default:
		o.Outcome, o.Message = Wait, fmt.Sprintf("%d of %d needed approvals: %s", o.Have, o.Need, tree)
	}
}

// asks is false where the rule lets amounts up to aboveAmount pass and this is one.
func (j *judgement) asks(r *Rule) bool {
	amount, ok := j.Intent.Amount()
	return r.AboveAmount == nil || !ok || !passesUnasked(j.Intent.OperationType, j.policies) || amount.Cmp(*r.AboveAmount) > 0
}

// passesUnasked is true of the operations to which an aboveAmount applies, under those policies. It
// says nothing of what must be as hard as MINT: each deployment makes a contract that no daily limit
// has counted for, so that many small ones would be new supply without end. And it says nothing of
// what a DELAY holds back, which begins when approvals are recorded: where nobody is asked there is
// no moment that the API process did not write itself.
func passesUnasked(op OperationType, policies []*InForce) bool {
	return op.HasAmount() && !op.asHardAsMint() && !anyRule(policies, func(r *Rule) bool {
		return r.Type == RuleDelay && (r.about(op) || r.implied(op))
	})
}

func (j *judgement) members(group string) []string {
	members, _ := j.Charter.Group(group)
	return members
}

func (j *judgement) memberOfAny(groups []string, person string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return slices.Contains(j.members(g), person) })
}

// rejecters are the members who rejected the operation, sorted. A suspended member's stays.
func (j *judgement) rejecters(groups []string) []string {
	var out []string
	for _, d := range j.Decisions {
		if d.Verb != Approve && j.memberOfAny(groups, d.Person) {
			out = append(out, d.Person)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// approvers are the distinct persons, sorted, whose approval of exactly this intent counts. A key
// that was expelled since approved nothing: whoever had it may have been somebody else.
func (j *judgement) approvers(groups []string, decisions []RecordedDecision) []string {
	var out []string
	for _, d := range decisions {
		if d.Verb == Approve && d.Intent == j.IntentDigest && d.Person != j.Intent.Requester &&
			!slices.Contains(j.Suspended, d.Person) && j.Charter.Signed(d) && j.memberOfAny(groups, d.Person) {
			out = append(out, d.Person)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// able is true of a person of the charter who has a key to decide with.
func (j *judgement) able(person string) bool {
	p, ok := j.Charter.Person(person)
	return ok && len(p.Keys) > 0
}

// possible are all who could approve this request if they would. A suspension may be lifted in
// time, so it does not count here.
func (j *judgement) possible(groups []string) []string {
	var out []string
	for _, g := range groups {
		for _, person := range j.members(g) {
			if person != j.Intent.Requester && j.able(person) {
				out = append(out, person)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// delays judges the DELAY rules, which count from the moment at which every approval rule held.
func (j *judgement) delays() {
	op := j.Intent.OperationType
	var quorum time.Time
	var complete, known bool
	for _, p := range j.policies {
		for n := range p.Policy.Rules {
			r := &p.Policy.Rules[n]
			if r.Type != RuleDelay || !r.about(op) && !r.implied(op) {
				continue
			}
			if !known {
				quorum, complete = j.quorumAt()
				known = true
			}
			o := of(p.Policy, r)
			until := quorum.Add(time.Duration(min(r.Seconds, maxDelay)) * time.Second)
			switch {
			case r.Seconds == 0 || r.Seconds > maxDelay:
				o.Message = fmt.Sprintf("a delay of %d seconds cannot be evaluated", r.Seconds)
			case !complete:
				o.Outcome, o.Message = Wait, fmt.Sprintf("%d seconds begin when the approvals are complete", r.Seconds)
			case j.Now.Before(until):
				o.Outcome, o.Message = Wait, fmt.Sprintf("waits until %s, %d seconds after the approvals were complete", utc(until), r.Seconds)
			default:
				o.Outcome, o.Message = Allow, fmt.Sprintf("%d seconds have passed since %s", r.Seconds, utc(quorum))
			}
			j.add(rankDelay, o)
		}
	}
}

// quorumAt is when the batch was recorded that completed the approvals. complete is false while one
// is missing, and where no rule asks for any. Every rule is asked here: see passesUnasked.
func (j *judgement) quorumAt() (at time.Time, complete bool) {
	recorded := slices.Clone(j.Decisions)
	slices.SortStableFunc(recorded, func(a, b RecordedDecision) int {
		return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Sequence, b.Sequence))
	})
	for _, p := range j.policies {
		for n := range p.Policy.Rules {
			r := &p.Policy.Rules[n]
			if !r.isApproval() || !r.about(j.Intent.OperationType) && !r.implied(j.Intent.OperationType) {
				continue
			}
			since, holds := j.heldSince(r.tree(), recorded)
			if !holds {
				return time.Time{}, false
			}
			complete = true
			if since.After(at) {
				at = since
			}
		}
	}
	return at, complete
}

// heldSince is the batch's time since which the tree holds: a decision's, or a charter's that brought
// somebody into a group. Under an earlier charter those count who were of the group then and ever since.
func (j *judgement) heldSince(tree *Quorum, recorded []RecordedDecision) (since time.Time, holds bool) {
	groups, members := tree.groups(), j.members
	reigns := j.Charters
	if len(reigns) == 0 {
		reigns = []Reign{{Charter: j.Charter}}
	}
	for k := len(reigns) - 1; k >= 0; k-- {
		reign := reigns[k]
		if k < len(reigns)-1 {
			members = alsoThen(members, reign.Charter)
		}
		// One more decision never unseats anybody.
		n := sort.Search(len(recorded), func(n int) bool {
			return !recorded[n].At.IsZero() && tree.holds(j.approvers(groups, recorded[:n+1]), members)
		})
		if n == len(recorded) {
			return since, holds // it took the charter behind this one
		}
		if recorded[n].Sequence >= reign.Sequence {
			return recorded[n].At, true
		}
		since, holds = reign.Since, true
		recorded = recorded[:sort.Search(len(recorded), func(n int) bool { return recorded[n].Sequence >= reign.Sequence })]
	}
	return since, holds
}

// alsoThen is those members whom an earlier charter has in the group, too.
func alsoThen(members func(group string) []string, c *Charter) func(group string) []string {
	return func(group string) []string {
		then, _ := c.Group(group)
		return slices.DeleteFunc(slices.Clone(members(group)), func(person string) bool { return !slices.Contains(then, person) })
	}
}
