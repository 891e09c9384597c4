package policy

import (
	"fmt"
	"slices"
)

// CheckPolicy is nil if the policy may be in force under the charter (spec/policy.md, “Rules”):
// its groups exist and are large enough, aboveAmount stands beside a daily limit of the same
// operations and beside no DELAY of them, and nothing that can end in new supply is easier than MINT. Errors wrap ErrDocument.
func CheckPolicy(p *Policy, c *Charter) error {
	if err := p.Check(); err != nil {
		return err
	}
	if p.Instance != c.Instance {
		return refused("policy", fmt.Errorf("instance %s, this is %s", p.Instance, c.Instance))
	}
	if p.Retired {
		return nil // it judges nothing, and groups that it names may be gone
	}
	for n := range p.Rules {
		r := &p.Rules[n]
		if !r.isApproval() {
			continue
		}
		if err := first(c.checkQuorum(r.tree()), p.checkAboveAmount(r)); err != nil {
			return refused("policy", fmt.Errorf("rule %d, %s: %w", n+1, r.Type, err))
		}
	}
	if err := p.checkAsHardAsMint(); err != nil {
		return refused("policy", err)
	}
	return nil
}

// checkQuorum is nil if everybody together could make the tree hold.
func (c *Charter) checkQuorum(tree *Quorum) error {
	j := judgement{Input: Input{Charter: c, Intent: &Intent{}}}
	groups := tree.groups()
	for _, g := range groups {
		if _, ok := c.Group(g); !ok {
			return fmt.Errorf("group %s is not in the charter", g)
		}
	}
	if !tree.holds(j.possible(groups), j.members) {
		return fmt.Errorf("%s: the quorum is larger than its group", tree)
	}
	able := make(map[string]int, len(groups))
	for _, g := range groups {
		able[g] = len(j.possible([]string{g}))
	}
	return tree.checkLeaves(able)
}

// checkLeaves is nil if no part of the tree is out of reach by itself, as one of an “any” can be: each
// leaf's group has so many who are able to approve.
func (q *Quorum) checkLeaves(able map[string]int) error {
	if n := able[q.Group]; q.Group != "" && int(q.Min) > n {
		return fmt.Errorf("%d of %s: the quorum is larger than its group of %d", q.Min, q.Group, n)
	}
	for _, b := range q.branches() {
		if err := b.checkLeaves(able); err != nil {
			return err
		}
	}
	return nil
}

// checkAboveAmount is nil if every amount that the rule lets pass unasked is within a daily limit:
// without one, many small amounts would pass for a great one. It does not stand beside a DELAY of
// the same operation, which is of those that people are asked for.
func (p *Policy) checkAboveAmount(r *Rule) error {
	if r.AboveAmount == nil {
		return nil
	}
	for _, op := range OperationTypes() {
		if !op.HasAmount() || !r.about(op) {
			continue
		}
		limited := slices.ContainsFunc(p.Rules, func(l Rule) bool {
			return (l.Type == RuleDailyLimit || l.Type == RuleTokenMintLimit || l.Type == RuleTokenBurnLimit) && l.about(op)
		})
		if !limited {
			return fmt.Errorf("aboveAmount for %s without a DAILY_LIMIT on it", op)
		}
		if !op.asHardAsMint() && slices.ContainsFunc(p.Rules, func(d Rule) bool { return d.Type == RuleDelay && d.about(op) }) {
			return fmt.Errorf("aboveAmount for %s beside a DELAY on it, which begins with approvals: one of them is for other operations", op)
		}
	}
	return nil
}

// checkAsHardAsMint is nil if GRANT_ROLE, REVOKE_ROLE, DEPLOY_TOKEN and UNPAUSE each ask for as
// many approvals as MINT, where the policy has a rule about them. (One that has none is judged by
// MINT's all the same, and refused unless another policy has one.)
func (p *Policy) checkAsHardAsMint() error {
	mint, _ := p.hardest(OpMint)
	for _, op := range OperationTypes() {
		if !op.asHardAsMint() {
			continue
		}
		if need, any := p.hardest(op); any && need < mint {
			return fmt.Errorf("%s needs %d approvals where MINT needs %d: it may not be easier", op, need, mint)
		}
	}
	return nil
}

// hardest is the greatest number of approvals that a rule about the operation asks for; any is
// false where there is none.
func (p *Policy) hardest(op OperationType) (need int, any bool) {
	for n := range p.Rules {
		r := &p.Rules[n]
		if r.isApproval() && r.about(op) {
			need, any = max(need, r.tree().need()), true
		}
	}
	return need, any
}
