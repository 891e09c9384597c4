package policy

import (
	"fmt"
	"strings"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// words are what the policy says about the intent: whom it asks, and everything else. unasked is
// false where an aboveAmount lets nothing pass.
func (p *Policy) words(i *Intent, unasked bool) (ask, rest string) {
	var asks, others []string
	for n := range p.Rules {
		r := &p.Rules[n]
		switch {
		case !r.about(i.OperationType) && !r.implied(i.OperationType):
		case r.isApproval():
			asked := *r
			if !unasked {
				asked.AboveAmount = nil
			}
			asks = append(asks, asked.approvalWords(i.Token.Symbol, i.Token.Decimals))
		default:
			others = append(others, r.Words(i.Token.Symbol, i.Token.Decimals))
		}
	}
	if len(asks) == 0 {
		asks = []string{"asks nobody"}
	}
	return strings.Join(asks, " and "), strings.Join(others, "; ")
}

// Words is the rule in words, with amounts in units of a token of that symbol and decimals (an
// empty symbol leaves them in base units). Fees are in wei's 10^18 and without a currency's name.
func (r *Rule) Words(symbol string, decimals uint8) string {
	amount := func(a *Amount) string { return amountWords(a, symbol, decimals) }
	switch r.Type {
	case RuleRequireApproval, RuleTokenRoleChange:
		return r.approvalWords(symbol, decimals) + r.operationWords()
	case RuleMaxAmount:
		return "at most " + amount(r.Amount) + " an operation" + r.operationWords()
	case RuleDailyLimit:
		return "at most " + amount(r.Amount) + " a day" + r.zoneWords() + r.operationWords()
	case RuleTimeWindow:
		days := make([]string, len(r.Days))
		for n, d := range r.Days {
			days[n] = Printable(string(d))
		}
		return fmt.Sprintf("only %s from %s to %s%s", strings.Join(days, " "), Printable(string(r.Start)), Printable(string(r.End)), r.zoneWords())
	case RuleWhitelistAddress:
		return "only with " + addressWords(r.Addresses)
	case RuleBlacklistAddress:
		return "never with " + addressWords(r.Addresses)
	case RuleMaxFee:
		if r.Amount == nil {
			return "a fee limit without an amount"
		}
		return "a fee cap of at most " + Units(*r.Amount, CurrencyDecimals)
	case RuleTokenMintLimit:
		return "mints of at most " + amount(r.PerOperation) + " each and " + amount(r.PerDay) + " a day (UTC)"
	case RuleTokenBurnLimit:
		return "burns of at most " + amount(r.PerOperation) + " each and " + amount(r.PerDay) + " a day (UTC)"
	case RuleDelay:
		return fmt.Sprintf("not before %d seconds after the approvals are complete", r.Seconds) + r.operationWords()
	}
	return "an unknown rule " + Printable(string(r.Type))
}

func (r *Rule) approvalWords(symbol string, decimals uint8) string {
	s := Printable(r.tree().String())
	if r.AboveAmount != nil {
		s += " above " + amountWords(r.AboveAmount, symbol, decimals)
	}
	return s
}

func (r *Rule) operationWords() string {
	if r.Operations == nil {
		return ""
	}
	ops := make([]string, len(r.Operations))
	for n, op := range r.Operations {
		ops[n] = Printable(string(op))
	}
	return " (" + strings.Join(ops, ", ") + ")"
}

func (r *Rule) zoneWords() string {
	if r.Timezone == "" {
		return " (UTC)"
	}
	return " (" + Printable(r.Timezone) + ")"
}

func amountWords(a *Amount, symbol string, decimals uint8) string {
	switch {
	case a == nil:
		return "an unknown amount"
	case symbol == "":
		return Units(*a, 0) + " base units"
	}
	return fmt.Sprintf("%s %s (%s)", Units(*a, decimals), Word(symbol), a)
}

func addressWords(all []tx.Address) string {
	s := make([]string, len(all))
	for n, a := range all {
		s[n] = a.String()
	}
	return strings.Join(s, ", ")
}
