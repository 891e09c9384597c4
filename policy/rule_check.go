package policy

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/chain/tx"
)

const (
	// maxDelay keeps a DELAY within what a charter can make an intent live for, in seconds.
	maxDelay = 30 * 86400
	// maxMin bounds a quorum; groups are far smaller.
	maxMin = 1000
)

// ruleFields says which fields a rule type must and may have, beside its type. A type that is not
// here is unknown.
var ruleFields = map[RuleType]struct{ must, may []string }{
	RuleRequireApproval:  {nil, []string{"minApprovers", "approverGroup", "quorum", "operations", "aboveAmount"}},
	RuleMaxAmount:        {[]string{"amount"}, []string{"operations"}},
	RuleDailyLimit:       {[]string{"amount"}, []string{"operations", "timezone"}},
	RuleTimeWindow:       {[]string{"days", "start", "end"}, []string{"timezone"}},
	RuleWhitelistAddress: {[]string{"addresses"}, nil},
	RuleBlacklistAddress: {[]string{"addresses"}, nil},
	RuleMaxFee:           {[]string{"amount"}, nil},
	RuleTokenMintLimit:   {[]string{"perOperation", "perDay"}, nil},
	RuleTokenBurnLimit:   {[]string{"perOperation", "perDay"}, nil},
	RuleTokenRoleChange:  {nil, []string{"minApprovers", "approverGroup", "quorum"}},
	RuleDelay:            {[]string{"seconds"}, []string{"operations"}},
}

// present names the fields that say something, in the order of the struct.
func (r *Rule) present() []string {
	var out []string
	for _, f := range []struct {
		name  string
		there bool
	}{
		{"minApprovers", r.MinApprovers != 0}, {"approverGroup", r.ApproverGroup != ""}, {"quorum", r.Quorum != nil},
		{"operations", r.Operations != nil}, {"aboveAmount", r.AboveAmount != nil}, {"amount", r.Amount != nil},
		{"timezone", r.Timezone != ""}, {"days", r.Days != nil}, {"start", r.Start != ""}, {"end", r.End != ""},
		{"addresses", r.Addresses != nil}, {"perOperation", r.PerOperation != nil}, {"perDay", r.PerDay != nil},
		{"seconds", r.Seconds != 0},
	} {
		if f.there {
			out = append(out, f.name)
		}
	}
	return out
}

// ParseRules reads a JSON array of rules strictly and checks each, as a proposal holds them. Errors
// wrap ErrDocument.
func ParseRules(b []byte) ([]Rule, error) {
	var rules []Rule
	if err := decodeStrict(b, MaxDocument, &rules); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if err := checkRules(rules); err != nil {
		return nil, refused("rules", err)
	}
	return rules, nil
}

func checkRules(rules []Rule) error {
	if len(rules) == 0 || len(rules) > maxRules {
		return fmt.Errorf("%d rules, want 1 to %d", len(rules), maxRules)
	}
	for n := range rules {
		if err := rules[n].check(); err != nil {
			return fmt.Errorf("rule %d, %.40q: %w", n+1, rules[n].Type, err)
		}
	}
	return nil
}

// Check is nil if the rule is well-formed in itself; whether a charter takes it is CheckPolicy's
// question. Errors wrap ErrDocument.
func (r *Rule) Check() error {
	if err := r.check(); err != nil {
		return refused(fmt.Sprintf("rule %.40q", r.Type), err)
	}
	return nil
}

func (r *Rule) check() error {
	fields, ok := ruleFields[r.Type]
	if !ok {
		return errors.New("the rule type is not known")
	}
	if r.isApproval() {
		if err := r.checkQuorum(); err != nil {
			return err
		}
	}
	have := r.present()
	for _, name := range fields.must {
		if !slices.Contains(have, name) {
			return fmt.Errorf("%s is missing", name)
		}
	}
	for _, name := range have {
		if !slices.Contains(fields.must, name) && !slices.Contains(fields.may, name) {
			return fmt.Errorf("%s is not a field of it", name)
		}
	}
	if err := r.checkOperations(); err != nil {
		return err
	}
	switch r.Type {
	case RuleTimeWindow:
		_, err := readWindow(r)
		return err
	case RuleDailyLimit:
		_, err := zone(r.Timezone)
		return err
	case RuleWhitelistAddress, RuleBlacklistAddress:
		return checkAddresses(r.Addresses)
	case RuleDelay:
		if r.Seconds > maxDelay {
			return fmt.Errorf("seconds %d: at most %d", r.Seconds, maxDelay)
		}
	}
	return nil
}

// isApproval is true of the rules that ask for people.
func (r *Rule) isApproval() bool {
	return r.Type == RuleRequireApproval || r.Type == RuleTokenRoleChange
}

func (r *Rule) checkQuorum() error {
	if r.Quorum != nil {
		if r.MinApprovers != 0 || r.ApproverGroup != "" {
			return errors.New("quorum stands in place of minApprovers and approverGroup, not beside them")
		}
		return r.Quorum.check(1)
	}
	if r.MinApprovers == 0 || r.MinApprovers > maxMin {
		return fmt.Errorf("minApprovers %d: want 1 to %d", r.MinApprovers, maxMin)
	}
	if err := CheckName(r.ApproverGroup); err != nil {
		return fmt.Errorf("approverGroup: %w", err)
	}
	return nil
}

func (r *Rule) checkOperations() error {
	if r.Operations == nil {
		return nil
	}
	if len(r.Operations) == 0 {
		return errors.New("operations is empty: leave it out to mean all")
	}
	for n, op := range r.Operations {
		if !op.Valid() {
			return fmt.Errorf("operation type %.40q is not known", op)
		}
		if slices.Contains(r.Operations[:n], op) {
			return fmt.Errorf("operation type %s twice", op)
		}
		if (r.Type == RuleMaxAmount || r.Type == RuleDailyLimit) && !op.HasAmount() {
			return fmt.Errorf("operation type %s has no amount", op)
		}
	}
	return nil
}

func checkAddresses(all []tx.Address) error {
	if len(all) == 0 {
		return errors.New("addresses is empty")
	}
	seen := make(map[tx.Address]bool, len(all))
	for _, a := range all {
		if a.IsZero() {
			return errors.New("addresses holds the zero address")
		}
		if seen[a] {
			return fmt.Errorf("address %s twice", a)
		}
		seen[a] = true
	}
	return nil
}

// about is true where the rule is about the operation: it names it, or names none. An amount rule
// about MINT is about DEPLOY_TOKEN too, whose initial supply counts as minted.
func (r *Rule) about(op OperationType) bool {
	switch r.Type {
	case RuleTokenMintLimit:
		return op.Counted() == OpMint
	case RuleTokenBurnLimit:
		return op == OpBurn
	case RuleTokenRoleChange:
		return op == OpGrantRole || op == OpRevokeRole
	case RuleMaxAmount, RuleDailyLimit:
		return op.HasAmount() && (r.Operations == nil || slices.Contains(r.Operations, op) || slices.Contains(r.Operations, op.Counted()))
	}
	return r.Operations == nil || slices.Contains(r.Operations, op)
}

// implied is true where a rule that is not about the operation holds for it all the same: what
// MINT needs is the least that role changes, deployments and UNPAUSE need. It does not stand in for
// an approval rule of their own.
func (r *Rule) implied(op OperationType) bool {
	return (r.isApproval() || r.Type == RuleDelay) && op.asHardAsMint() && r.about(OpMint)
}

// tree is the quorum that an approval rule asks for.
func (r *Rule) tree() *Quorum {
	if r.Quorum != nil {
		return r.Quorum
	}
	return &Quorum{Group: r.ApproverGroup, Min: r.MinApprovers}
}
