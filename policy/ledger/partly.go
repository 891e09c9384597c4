package ledger

import (
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// partly is the input of an authorization whose intent the ledger does not hold, since nobody was
// asked to sign it: what its charges say of operation, token and amount. Recipient and fee are
// unknown, and the policies that it named are taken to be those in force.
func (s *state) partly(a *Authorize, at time.Time) policy.Input {
	i := &policy.Intent{Instance: s.instance, Epoch: s.head.epoch, OperationID: a.OperationID, NotBefore: at, ExpiresAt: a.Expiry,
		Performer: policy.Performer{WalletID: a.WalletID}}
	if s.law != nil {
		i.Charter = s.law.digest
	}
	if w, ok := s.wallets.get(a.WalletID); ok {
		i.Network, i.Scheme, i.Performer.Address = w.Network, w.Scheme, w.Address
	}
	if len(a.Charges) == 1 {
		c := a.Charges[0]
		i.OperationType, i.ChainID, i.Params.Amount = c.Operation, c.ChainID, &c.Amount
		token, _ := s.contracts.get(contract{c.ChainID, c.Contract})
		if line, ok := s.bindings.get(token); ok {
			b := line.view
			i.Token = policy.Token{ID: b.TokenID, ContractAddress: &b.ContractAddress, TemplateID: b.TemplateID, Symbol: b.Symbol, Decimals: b.Decimals}
		}
	}
	for _, p := range s.inScope(i) {
		i.Policies = append(i.Policies, p.Ref())
	}
	return s.input(i, a.Intent, at)
}

// aboutPeopleAndAmounts keeps of a verdict what does not need the intent's every field: rules about
// people, amounts and times. An operation that charges nothing is of no known type, so that no
// approval rule is about it and it is denied: nothing but an amount passes without anybody's
// signature.
func aboutPeopleAndAmounts(v policy.Verdict) policy.Verdict {
	out := policy.Verdict{Outcome: policy.Allow}
	for _, o := range v.Rules {
		if !slices.Contains(judgedPartly, o.Rule) {
			continue
		}
		out.Rules = append(out.Rules, o)
		if o.Outcome == policy.Allow || out.Outcome == policy.Deny || out.Outcome == o.Outcome {
			continue
		}
		out.Outcome, out.Reported = o.Outcome, &o
	}
	if len(out.Rules) == 0 {
		out.Outcome = policy.Deny
	}
	return out
}

var judgedPartly = []policy.RuleType{policy.ReasonPolicy, policy.ReasonRequest, policy.RuleRequireApproval, policy.RuleTokenRoleChange,
	policy.RuleMaxAmount, policy.RuleDailyLimit, policy.RuleTimeWindow, policy.RuleTokenMintLimit, policy.RuleTokenBurnLimit, policy.RuleDelay}
