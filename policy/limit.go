package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// atMost allows where amount ≤ limit.
func (j *judgement) atMost(o *RuleOutcome, amount, limit Amount, name string) {
	o.Limit, o.Requested = limit.String(), amount.String()
	if amount.Cmp(limit) > 0 {
		o.Outcome, o.Message = Deny, o.Requested+" is above "+name+", "+o.Limit
		return
	}
	o.Outcome, o.Message = Allow, o.Requested+" is within "+name+", "+o.Limit
}

func (j *judgement) maxAmount(o *RuleOutcome, limit *Amount) {
	amount, ok := j.Intent.Amount()
	if !ok || limit == nil {
		o.Message = "the amount or its limit cannot be evaluated"
		return
	}
	j.atMost(o, amount, *limit, "the limit of one operation")
}

// dailyLimit adds what was charged since local midnight to the operations that the rule names.
func (j *judgement) dailyLimit(o *RuleOutcome, r *Rule, limit *Amount) {
	amount, ok := j.Intent.Amount()
	if !ok || limit == nil || j.Usage == nil {
		o.Message = "the amount, its limit or the usage cannot be evaluated"
		return
	}
	location, err := zone(r.Timezone)
	if err != nil {
		o.Message = err.Error()
		return
	}
	since := startOfDay(j.Now, location)
	used, fits := j.charged(r, since)
	o.Limit, o.Used, o.Requested = limit.String(), used.String(), amount.String()
	total, ok := used.Add(amount)
	sum := o.Used + " since " + utc(since) + " and " + o.Requested + " now are "
	if !fits || !ok || total.Cmp(*limit) > 0 {
		o.Message = sum + "above the daily limit, " + o.Limit
		return
	}
	o.Outcome, o.Message = Allow, sum+"within the daily limit, "+o.Limit
}

// charged is one sum over all operations that the rule is about. A contract that does not exist
// yet was charged nothing.
func (j *judgement) charged(r *Rule, since time.Time) (sum Amount, ok bool) {
	contract := j.Intent.Token.ContractAddress
	if contract == nil {
		return Amount{}, j.Intent.OperationType == OpDeployToken
	}
	return r.charged(j.Usage, j.Intent.ChainID, *contract, since)
}

func (r *Rule) charged(usage Usage, chainID uint64, contract tx.Address, since time.Time) (sum Amount, ok bool) {
	var counted []OperationType
	for _, op := range OperationTypes() {
		if op.HasAmount() && r.about(op) && !slices.Contains(counted, op.Counted()) {
			counted = append(counted, op.Counted())
		}
	}
	ok = true
	for _, op := range counted {
		var fits bool
		sum, fits = sum.Add(usage.Charged(chainID, contract, op, since))
		ok = ok && fits
	}
	return sum, ok
}

// Spent tells how much of a day's limit is used up on a contract at now: what was charged since local
// midnight to the operations that the rule is about, and what it allows, both in base units. ok is false of
// a rule that limits no day, and where it cannot be evaluated.
func (r *Rule) Spent(usage Usage, chainID uint64, contract tx.Address, now time.Time) (used, limit Amount, ok bool) {
	perDay := map[RuleType]*Amount{RuleDailyLimit: r.Amount, RuleTokenMintLimit: r.PerDay, RuleTokenBurnLimit: r.PerDay}[r.Type]
	if perDay == nil {
		return Amount{}, Amount{}, false
	}
	location, err := zone(r.Timezone)
	if err != nil {
		return Amount{}, Amount{}, false
	}
	used, ok = r.charged(usage, chainID, contract, startOfDay(now, location))
	return used, *perDay, ok
}

func (j *judgement) timeWindow(o *RuleOutcome, r *Rule) {
	w, err := readWindow(r)
	if err != nil {
		o.Message = err.Error()
		return
	}
	local := j.Now.In(w.zone).Format("Mon 15:04 MST")
	if !w.contains(j.Now) {
		o.Message = local + " is outside the window"
		return
	}
	o.Outcome, o.Message = Allow, local+" is inside the window"
}

func (j *judgement) whitelist(o *RuleOutcome, r *Rule) {
	for _, a := range j.Intent.Addresses() {
		if !slices.Contains(r.Addresses, a) {
			o.Requested, o.Message = a.String(), fmt.Sprintf("%s is not on the list", a)
			return
		}
	}
	o.Outcome, o.Message = Allow, "every address is on the list"
}

func (j *judgement) blacklist(o *RuleOutcome, r *Rule) {
	for _, a := range j.Intent.Addresses() {
		if slices.Contains(r.Addresses, a) {
			o.Requested, o.Message = a.String(), fmt.Sprintf("%s is on the list", a)
			return
		}
	}
	o.Outcome, o.Message = Allow, "no address is on the list"
}
