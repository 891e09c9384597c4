package policy

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Words is the verdict rule by rule for a person who is no programmer: what each rule asks for, what
// was found, amounts in units of the intent's token, days and windows by the clock of the rule's own
// time zone. now is the moment that was judged, g holds the policies that judged. Nothing in it is
// unprintable.
func (v Verdict) Words(i *Intent, now time.Time, g Glossary) []string {
	lines := make([]string, len(v.Rules))
	for n, o := range v.Rules {
		lines[n] = fmt.Sprintf("%s: %s.", outcomeWords(o.Outcome), o.sentence(i, now, g))
	}
	return lines
}

// outcomeWords begins a line.
func outcomeWords(o Outcome) string {
	switch o {
	case Allow:
		return "Holds"
	case Wait:
		return "Waits"
	}
	return "Does not hold"
}

// sentence says what a rule asks for and what was found.
func (o RuleOutcome) sentence(i *Intent, now time.Time, g Glossary) string {
	found := Printable(o.Message)
	if o.PolicyID == "" {
		if o.Rule == RuleMaxFee {
			return "the charter's fee limit, " + o.fee(g, found)
		}
		return found
	}
	r := o.rule
	where := fmt.Sprintf("policy %s v%d", g.name(o), o.PolicyVersion)
	if r == nil {
		return where + ", " + found
	}
	ask := r.Words(i.Token.Symbol, i.Token.Decimals)
	if !r.about(i.OperationType) && !r.implied(i.OperationType) {
		return fmt.Sprintf("%s, %s: it is not about %s", where, ask, operationWords(i.OperationType))
	}
	switch r.Type {
	case RuleMaxFee:
		found = o.fee(g, found)
	case RuleMaxAmount, RuleDailyLimit, RuleTokenMintLimit, RuleTokenBurnLimit:
		found = o.amounts(i, r, now, found)
	}
	return fmt.Sprintf("%s, %s: %s", where, ask, found)
}

func operationWords(op OperationType) string {
	if op == "" {
		return "what is not known here"
	}
	return Printable(string(op))
}

// name is what the outcome's policy is called, its id where the reader does not have it.
func (g Glossary) name(o RuleOutcome) string {
	n := slices.IndexFunc(g.Policies, func(p *InForce) bool {
		return p != nil && p.Policy != nil && p.Policy.ID == o.PolicyID && p.Policy.Version == o.PolicyVersion
	})
	if n < 0 {
		return Printable(o.PolicyID)
	}
	return Word(g.Policies[n].Policy.Name)
}

// fee says a fee limit in the network's currency.
func (o RuleOutcome) fee(g Glossary, otherwise string) string {
	limit, err := ParseAmount(o.Limit)
	requested, also := ParseAmount(o.Requested)
	if err != nil || also != nil {
		return otherwise
	}
	is := "within"
	if o.Outcome != Allow {
		is = "above"
	}
	return fmt.Sprintf("a fee of at most %s %s is %s %s", Units(requested, CurrencyDecimals), Word(g.Currency), is, Units(limit, CurrencyDecimals))
}

// amounts says what was used of a limit, by the rule's own day.
func (o RuleOutcome) amounts(i *Intent, r *Rule, now time.Time, otherwise string) string {
	limit, err := ParseAmount(o.Limit)
	requested, also := ParseAmount(o.Requested)
	if err != nil || also != nil {
		return otherwise
	}
	in := func(a Amount) string { return Units(a, i.Token.Decimals) + " " + Word(i.Token.Symbol) }
	is := "within"
	if o.Outcome != Allow {
		is = "above"
	}
	used, err := ParseAmount(o.Used)
	if err != nil {
		return fmt.Sprintf("%s is %s %s", in(requested), is, in(limit))
	}
	l, err := zone(r.Timezone)
	if err != nil {
		return otherwise
	}
	sum, _ := used.Add(requested)
	return fmt.Sprintf("%s used since %s, with %s now %s, %s %s", in(used), startOfDay(now, l).In(l).Format("Mon 2006-01-02 15:04 MST"),
		in(requested), in(sum), is, in(limit))
}

// Summary is what the verdict comes to, in a word for people: “allowed”, “denied”, “not allowed yet”.
func (v Verdict) Summary() string {
	switch v.Outcome {
	case Allow:
		return "allowed"
	case Wait:
		return "not allowed yet"
	}
	return "denied"
}

// Reason is the reported rule's sentence, empty where the verdict allows.
func (v Verdict) Reason(i *Intent, now time.Time, g Glossary) string {
	if v.Reported == nil {
		return ""
	}
	return strings.TrimSpace(v.Reported.sentence(i, now, g))
}
