package ledger_test

import (
	"maps"
	"math/big"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// The rules of spec/policy.md once more, written from that page and not from the engine: slow,
// without a clever line, to be held against the page sentence by sentence. Of the program it takes the documents,
// and nothing that decides. TestEveryVerdictIsTheModels holds a ledger against it.
//
// It leaves out what other tests go through one by one: quorum trees of other shapes than “all of”, intents of
// another chain, charter, token or wallet, what is not an amount's operation once it is allowed (it is judged here,
// and never authorized), an appliance's suspension, custodians' signatures, and the words of a verdict.

// because is what an unmet rule is reported as, in the order of the page.
type because int

const (
	ofMisfit because = iota // the intent or the policies that it names are not of here and now
	ofMaxAmount
	ofBlacklist
	ofWhitelist
	ofDailyLimit
	ofTimeWindow
	ofMaxFee
	ofApprovals
	ofDelay
)

func (b because) String() string {
	return [...]string{"misfit", "amount", "blacklist", "whitelist", "day", "window", "fee", "approvals", "delay"}[b]
}

// unmet is every reason for which an operation is not allowed, by policy: DENY, or WAIT. None is of the policy "".
type unmet map[reason]policy.Outcome

type reason struct {
	policy  string
	version uint64
	because
}

// verdict is DENY where anything denies, and what is reported: the first of what is as bad as that.
func (u unmet) verdict() (policy.Outcome, because) {
	for _, outcome := range []policy.Outcome{policy.Deny, policy.Wait} {
		for b := ofMisfit; b <= ofDelay; b++ {
			for why, o := range u {
				if o == outcome && why.because == b {
					return o, b
				}
			}
		}
	}
	return policy.Allow, 0
}

func (u unmet) must(of *policy.Policy, b because, holds bool, otherwise policy.Outcome) {
	why := reason{because: b}
	if of != nil {
		why.policy, why.version = of.ID, of.Version
	}
	if !holds && u[why] != policy.Deny {
		u[why] = otherwise
	}
}

// model is all that the page lets a verdict depend on.
type model struct {
	epoch          uint64
	signedRequests bool
	defaultMaxFee  policy.Amount
	maxOutstanding int
	groups         map[string]map[string]time.Time // the members, and since when each is one without a break
	keys           map[string]string               // of each person, the one that counts
	suspended      map[string]bool
	frozen         map[string]bool           // token ids
	vaults         map[tx.Address]string     // of the wallets
	tokens         map[string]string         // the policy of each bound token
	inForce        map[string]*policy.Policy // by id, retired ones too
	versions       map[policy.Digest]*policy.Policy
	charges        []modelCharge
	operations     map[string]*modelOperation
}

// modelCharge is what an authorization charged; without an amount it is a recover, behind which every counter
// stands at its limit.
type modelCharge struct {
	contract  tx.Address
	operation policy.OperationType
	amount    *big.Int
	at        time.Time
}

type modelOperation struct {
	wallet                                   string
	requests, decisions                      []modelDecision // in the order of the log
	authorized, settled, cancelled, rejected bool
}

type modelDecision struct {
	person, key string
	verb        policy.Verb
	intent      policy.Digest
	at          time.Time
}

// question is an operation, when it is asked about and who approved it.
type question struct {
	*policy.Intent
	digest policy.Digest
	now    time.Time
	*modelOperation
}

// judge is the stricter verdict of the versions that the operation was submitted under and of those in force: every
// rule of both holds.
func (m *model) judge(i *policy.Intent, digest policy.Digest, now time.Time) unmet {
	q, u := question{i, digest, now, m.operation(i)}, unmet{}
	u.must(nil, ofMisfit, i.Epoch == m.epoch && !now.Before(i.NotBefore) && now.Before(i.ExpiresAt) && !m.frozen[i.Token.ID], policy.Deny)
	if m.signedRequests {
		u.must(nil, ofApprovals, m.keys[i.Requester] != "", policy.Deny) // nobody can sign
		u.must(nil, ofApprovals, slices.ContainsFunc(q.requests, func(d modelDecision) bool { return m.stands(d, q) }), policy.Wait)
	}
	var submitted, inForce, both []*policy.Policy
	for _, ref := range i.Policies {
		submitted = append(submitted, m.versions[ref.Digest])
	}
	mine := m.tokens[i.Token.ID] == "" // a deployment, or no token
	for _, p := range m.inForce {
		if !p.Retired && m.covers(p.Scope, i) {
			inForce = append(inForce, p)
			mine = mine || p.ID == m.tokens[i.Token.ID]
		}
	}
	u.must(nil, ofMisfit, mine, policy.Deny)
	for _, policies := range [][]*policy.Policy{submitted, inForce} {
		if u.must(nil, ofMisfit, len(policies) > 0, policy.Deny); len(policies) == 0 {
			continue
		}
		named, capped := false, false
		for _, p := range policies {
			for _, r := range p.Rules {
				named = named || asksPeople(r) && names(r, i.OperationType)
				capped = capped || r.Type == policy.RuleMaxFee
			}
			if !slices.Contains(both, p) {
				both = append(both, p)
			}
		}
		u.must(nil, ofApprovals, named, policy.Deny)
		u.must(nil, ofMaxFee, capped || i.FeeCap.Cmp(m.defaultMaxFee) <= 0, policy.Deny)
	}
	for _, p := range both {
		m.numbers(p, q, u)
	}
	m.people(both, q, u)
	return u
}

func (m *model) operation(i *policy.Intent) *modelOperation {
	if m.operations[i.OperationID] == nil {
		m.operations[i.OperationID] = &modelOperation{wallet: i.Performer.WalletID}
	}
	return m.operations[i.OperationID]
}

// covers: token, performing vault, source vault, all.
func (m *model) covers(s policy.Scope, i *policy.Intent) bool {
	vaults := []string{m.vaults[i.Performer.Address]}
	if i.Params.Source != nil {
		vaults = append(vaults, m.vaults[*i.Params.Source])
	}
	return s.All || s.TokenID != "" && s.TokenID == i.Token.ID || s.VaultAccountID != "" && slices.Contains(vaults, s.VaultAccountID)
}

// numbers are the rules that ask nobody.
func (m *model) numbers(p *policy.Policy, q question, u unmet) {
	each := func(named []policy.OperationType, limit *policy.Amount) {
		u.must(p, ofMaxAmount, !limits(named, q.OperationType) || amountOfIntent(q.Intent).Cmp(limit.Big()) <= 0, policy.Deny)
	}
	day := func(named []policy.OperationType, limit *policy.Amount, zone string) {
		if limits(named, q.OperationType) {
			sum := m.spent(named, q, zone)
			u.must(p, ofDailyLimit, sum != nil && sum.Cmp(limit.Big()) <= 0, policy.Deny)
		}
	}
	for _, r := range p.Rules {
		switch r.Type {
		case policy.RuleMaxAmount:
			each(r.Operations, r.Amount)
		case policy.RuleDailyLimit:
			day(r.Operations, r.Amount, r.Timezone)
		case policy.RuleTokenMintLimit:
			each(justMints, r.PerOperation)
			day(justMints, r.PerDay, "")
		case policy.RuleTokenBurnLimit:
			each(justBurns, r.PerOperation)
			day(justBurns, r.PerDay, "")
		case policy.RuleTimeWindow:
			u.must(p, ofTimeWindow, inside(r, q.now), policy.Deny)
		case policy.RuleWhitelistAddress, policy.RuleBlacklistAddress:
			for _, a := range []*tx.Address{q.Params.Recipient, q.Params.Subject, q.Params.Source, q.Params.Admin} {
				listed := a != nil && slices.Contains(r.Addresses, *a)
				u.must(p, ofWhitelist, a == nil || listed || r.Type == policy.RuleBlacklistAddress, policy.Deny)
				u.must(p, ofBlacklist, !listed || r.Type == policy.RuleWhitelistAddress, policy.Deny)
			}
		case policy.RuleMaxFee:
			u.must(p, ofMaxFee, q.FeeCap.Cmp(*r.Amount) <= 0, policy.Deny)
		}
	}
}

// people are the rules that ask somebody, and those that wait for them.
func (m *model) people(policies []*policy.Policy, q question, u unmet) {
	type ruleOf struct {
		*policy.Policy
		policy.Rule
	}
	var asking, delays []ruleOf
	for _, p := range policies {
		for _, r := range p.Rules {
			if r.Type == policy.RuleDelay && needs(r, q.OperationType) {
				delays = append(delays, ruleOf{p, r})
			}
		}
	}
	for _, p := range policies {
		for _, r := range p.Rules {
			if !asksPeople(r) || !needs(r, q.OperationType) {
				continue
			}
			rejected := func(d modelDecision) bool { return d.verb == policy.Reject && m.member(d.person, seats(r)...) }
			u.must(p, ofApprovals, !slices.ContainsFunc(q.decisions, rejected), policy.Deny)
			// A deployment makes a contract for which no limit has counted, and a delay begins with approvals.
			amount := amountOfIntent(q.Intent)
			if r.AboveAmount == nil || amount == nil || amount.Cmp(r.AboveAmount.Big()) > 0 || q.OperationType == policy.OpDeployToken || len(delays) > 0 {
				asking = append(asking, ruleOf{p, r})
			}
		}
	}
	var might []string
	for person := range m.keys {
		if person != q.Requester { // a suspension may end
			might = append(might, person)
		}
	}
	approved := func(at time.Time) (persons []string) {
		for _, d := range q.decisions {
			if d.verb == policy.Approve && d.person != q.Requester && m.stands(d, q) && !d.at.After(at) {
				persons = append(persons, d.person)
			}
		}
		return persons
	}
	// One approval more never unseats anybody: what held when a delay would have had to begin still holds.
	holds := func(r ruleOf, at time.Time) bool { return m.seat(seats(r.Rule), approved(at), at) }
	for _, r := range asking {
		u.must(r.Policy, ofApprovals, holds(r, q.now), policy.Wait)
		u.must(r.Policy, ofApprovals, m.seat(seats(r.Rule), might, q.now), policy.Deny)
	}
	for _, d := range delays {
		began := q.now.Add(-time.Duration(d.Seconds) * time.Second)
		missing := slices.ContainsFunc(asking, func(r ruleOf) bool { return !holds(r, began) })
		u.must(d.Policy, ofDelay, len(asking) > 0 && !missing, policy.Wait)
	}
}

// stands is true of what was signed over this intent, with a key that is still its signer's, who is not suspended.
func (m *model) stands(d modelDecision, q question) bool {
	return d.intent == q.digest && d.key == m.keys[d.person] && !m.suspended[d.person]
}

// amend gives the groups other members: who stays is one since when he was.
func (m *model) amend(groups map[string][]string, now time.Time) {
	before := m.groups
	m.groups = map[string]map[string]time.Time{}
	for group, members := range groups {
		m.groups[group] = map[string]time.Time{}
		for _, person := range members {
			if m.groups[group][person] = now; !before[group][person].IsZero() {
				m.groups[group][person] = before[group][person]
			}
		}
	}
}

func (m *model) member(person string, groups ...string) bool {
	return slices.ContainsFunc(groups, func(g string) bool { return !m.groups[g][person].IsZero() })
}

// seats are the groups that a rule asks, once for each person. Another test has trees of every shape: one that
// asks for all of its leaves is enough here.
func seats(r policy.Rule) (out []string) {
	leaves := []*policy.Quorum{{Group: r.ApproverGroup, Min: r.MinApprovers}}
	if r.Quorum != nil {
		leaves = r.Quorum.All
	}
	for _, l := range leaves {
		out = append(out, slices.Repeat([]string{l.Group}, int(l.Min))...)
	}
	return out
}

// seat: one person takes one seat. Whoever came into a group behind his approval takes it from then on.
func (m *model) seat(seats, persons []string, at time.Time) bool {
	if len(seats) == 0 {
		return true
	}
	return slices.ContainsFunc(persons, func(p string) bool {
		others := slices.DeleteFunc(slices.Clone(persons), func(o string) bool { return o == p })
		return m.member(p, seats[0]) && !m.groups[seats[0]][p].After(at) && m.seat(seats[1:], others, at)
	})
}

// anAmount is what carries one. A deployment's initial supply is counted as a mint.
var anAmount = []policy.OperationType{policy.OpMint, policy.OpBurn, policy.OpTransfer, policy.OpDeployToken}

var justMints, justBurns = []policy.OperationType{policy.OpMint}, []policy.OperationType{policy.OpBurn}

// amountOfIntent is nil of what carries none.
func amountOfIntent(i *policy.Intent) *big.Int {
	switch {
	case i.OperationType == policy.OpDeployToken:
		return i.Params.InitialSupply.Big()
	case slices.Contains(anAmount, i.OperationType):
		return i.Params.Amount.Big()
	}
	return nil
}

// limits is true of an amount rule for these operations, or without any for all that have an amount.
func limits(named []policy.OperationType, op policy.OperationType) bool {
	return slices.Contains(anAmount, op) && (named == nil || slices.Contains(named, op) || op == policy.OpDeployToken && slices.Contains(named, policy.OpMint))
}

func asksPeople(r policy.Rule) bool {
	return r.Type == policy.RuleRequireApproval || r.Type == policy.RuleTokenRoleChange
}

// names is true where no operation is named, too: that means all.
func names(r policy.Rule, op policy.OperationType) bool {
	if r.Type == policy.RuleTokenRoleChange {
		return op == policy.OpGrantRole || op == policy.OpRevokeRole
	}
	return r.Operations == nil || slices.Contains(r.Operations, op)
}

// asHardAsMint need at least what MINT needs.
var asHardAsMint = []policy.OperationType{policy.OpGrantRole, policy.OpRevokeRole, policy.OpDeployToken, policy.OpUnpause}

func needs(r policy.Rule, op policy.OperationType) bool {
	return names(r, op) || slices.Contains(asHardAsMint, op) && names(r, policy.OpMint)
}

// spent is what was charged to the contract and these operations since midnight and what is asked for now; nil
// where nobody knows.
func (m *model) spent(named []policy.OperationType, q question, zone string) *big.Int {
	sum, since := amountOfIntent(q.Intent), midnight(q.now, zone)
	for _, c := range m.charges {
		if c.at.Before(since) || q.Token.ContractAddress == nil { // nothing was charged to what is to be deployed
			continue
		}
		if c.amount == nil {
			return nil
		}
		asDeployed := c.operation == policy.OpMint && slices.Contains(named, policy.OpDeployToken) // both are one counter
		if c.contract == *q.Token.ContractAddress && (named == nil || slices.Contains(named, c.operation) || asDeployed) {
			sum = new(big.Int).Add(sum, c.amount)
		}
	}
	return sum
}

// midnight is when the date by the wall became what it is: at a quarter of an hour, in every zone.
func midnight(now time.Time, zone string) time.Time {
	at, place := now.Truncate(15*time.Minute), location(zone)
	for at.Add(-time.Second).In(place).YearDay() == now.In(place).YearDay() {
		at = at.Add(-15 * time.Minute)
	}
	return at
}

// zones are those that are drawn; "" is UTC.
var zones = []string{"", "Europe/Zurich", "America/Havana", "America/St_Johns", "Asia/Kathmandu", "Australia/Lord_Howe", "Pacific/Apia"}

var location = func() func(zone string) *time.Location {
	known := map[string]*time.Location{}
	for _, zone := range zones {
		l, err := time.LoadLocation(zone)
		if err != nil {
			panic(err)
		}
		known[zone] = l
	}
	return func(zone string) *time.Location { return known[zone] }
}()

// inside a window. One that passes midnight belongs to the day on which it starts.
func inside(r policy.Rule, now time.Time) bool {
	wall := now.In(location(r.Timezone))
	clock := policy.Clock(wall.Format("15:04"))
	on := func(day time.Weekday) bool {
		return slices.Contains(r.Days, policy.Weekday(strings.ToUpper(day.String()[:3])))
	}
	if r.Start < r.End {
		return on(wall.Weekday()) && r.Start <= clock && clock < r.End
	}
	return on(wall.Weekday()) && r.Start <= clock || on((wall.Weekday()+6)%7) && clock < r.End
}

// mayBeAuthorized is what holds beside a verdict: once, not behind the rejection of anybody of a group, few at a
// time, and behind a recover fees stand at their limit, too.
func (m *model) mayBeAuthorized(i *policy.Intent, now time.Time) bool {
	outstanding := 0
	for _, o := range m.operations {
		if o.authorized && !o.settled && o.wallet == i.Performer.WalletID {
			outstanding++
		}
	}
	recovered := slices.ContainsFunc(m.charges, func(c modelCharge) bool { return c.amount == nil && !c.at.Before(midnight(now, "")) })
	o := m.operation(i)
	return !o.authorized && !o.cancelled && !o.rejected && outstanding < m.maxOutstanding && !recovered
}

// mayStand is false of a proposal that is refused: a quorum is larger than its group, something that needs what MINT
// needs would be easier, or an amount would pass unasked that no daily limit counts, or that a delay is about.
func (m *model) mayStand(p *policy.Policy, now time.Time) bool {
	hardest := func(op policy.OperationType) (persons int) {
		for _, r := range p.Rules {
			if asksPeople(r) && names(r, op) {
				persons = max(persons, len(seats(r)))
			}
		}
		return persons
	}
	for _, op := range asHardAsMint {
		if asked := hardest(op); asked > 0 && asked < hardest(policy.OpMint) {
			return false
		}
	}
	for _, r := range p.Rules {
		if !asksPeople(r) {
			continue
		}
		for _, op := range anAmount[:3] { // a deployment asks always
			counted := slices.ContainsFunc(p.Rules, func(l policy.Rule) bool {
				return l.Type == policy.RuleDailyLimit && limits(l.Operations, op) ||
					l.Type == policy.RuleTokenMintLimit && limits(justMints, op) || l.Type == policy.RuleTokenBurnLimit && limits(justBurns, op)
			})
			delayed := slices.ContainsFunc(p.Rules, func(d policy.Rule) bool { return d.Type == policy.RuleDelay && names(d, op) })
			if r.AboveAmount != nil && names(r, op) && (!counted || delayed) {
				return false
			}
		}
		if !m.seat(seats(r), slices.Collect(maps.Keys(m.keys)), now) {
			return false
		}
	}
	return true
}
