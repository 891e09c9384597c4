package ledger_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/policytest"
)

// modelled is a ledger and the model beside it, to which the same happens. Amounts are drawn beside what the limits
// leave, moments beside the windows' edges, midnights and the delays' ends, and charters and suspensions strike those
// who decided: chance alone would seldom meet any of it. (rapid draws the first of several more often than the last.)
type modelled struct {
	*world
	rt    *rapid.T
	m     *model
	asked []*policy.Intent
	often []policy.RuleType // rules that are drawn more often than others, so that some of a kind meet
	keys  int               // that people were given
	seen  map[string]int    // outcomes and their reasons
}

// TestEveryVerdictIsTheModels draws policies, operations, decisions, charters, recovers and days, and holds every
// rule's outcome, now and at moments when another one may be due, against the model's, and what the ledger takes
// against what it should.
func TestEveryVerdictIsTheModels(t *testing.T) {
	groups := map[string][]string{"approvers": {"ann", "bob", "cat"}, "traders": {"ann", "bob", "dan"}, "compliance": {"bob", "dan"}}
	first := func(signedRequests bool) *world {
		w := genesis(t, func(c *policy.Charter) {
			c.Groups, c.Limits.MaxOutstanding, c.Flags.SignedRequests = groups, 3, signedRequests
		})
		w.commit(ledger.Record{Wallet: wallet(1)}, ledger.Record{Wallet: wallet(2)})
		for n := 1; n <= 2; n++ {
			p, b := w.policy(), w.binding()
			p.ID, p.Scope = id("pol", n), scopes[n]
			b.TokenID, b.ContractAddress, b.PolicyID, b.Performers = id("token", n), contractOf(n), p.ID, []string{id("wallet", 1), id("wallet", 2)}
			w.commit(ledger.Record{Policy: sign(t, policy.DocPolicy, p, custodians[:2]...)}, ledger.Record{Binding: sign(t, policy.DocBinding, b, custodians[:2]...)})
		}
		return w
	}
	plain, signed, seen := first(false), first(true), map[string]int{}
	rounds := 1
	switch {
	case policytest.Brief(): // whose rounds are a fifth as long
		rounds = 3
	case os.Getenv("MINTWARDEN_LONG") == "1":
		rounds = 20
	}
	for range rounds {
		policytest.Check(t, func(rt *rapid.T) {
			w := plain
			if rapid.IntRange(0, 3).Draw(rt, "signed requests") == 3 {
				w = signed
			}
			r := &modelled{world: &world{t: t, fold: w.again(), root: w.root, author: w.author, term: w.term, now: w.now}, rt: rt, seen: seen}
			r.m = r.begin(groups, w == signed)
			r.pass(time.Duration(pick(r, "days", 0, 180, 187, 335)) * 24 * time.Hour) // about when clocks change
			r.often = some(r, "often", 2, ruleTypes...)
			for _, n := range some(r, "policies", 3, 1, 2, 3, 4) {
				r.propose(n)
			}
			for range rapid.IntRange(10, 30).Draw(rt, "steps") {
				r.step()
				for _, i := range r.open() {
					r.compare(i)
				}
			}
		}, func() bool { return seen["authorized"] > 0 && seen["DENY day"] > 0 && seen["WAIT delay"] > 0 })
	}
	t.Log(seen)
}

// scopes are the policies', by number.
var scopes = map[int]policy.Scope{1: {All: true}, 2: {TokenID: id("token", 2)}, 3: {VaultAccountID: id("vault", 1)}, 4: {VaultAccountID: id("vault", 2)}}

// begin is the model of a ledger that just began.
func (r *modelled) begin(groups map[string][]string, signedRequests bool) *model {
	m := &model{epoch: 1, signedRequests: signedRequests, defaultMaxFee: policy.AmountOf(1e16), maxOutstanding: 3,
		keys:      map[string]string{"ann": "ann", "bob": "bob", "cat": "cat", "dan": "dan"},
		suspended: map[string]bool{}, frozen: map[string]bool{},
		vaults:  map[tx.Address]string{wallet(1).Address: id("vault", 1), wallet(2).Address: id("vault", 2)},
		tokens:  map[string]string{id("token", 1): id("pol", 1), id("token", 2): id("pol", 2)},
		inForce: map[string]*policy.Policy{}, versions: map[policy.Digest]*policy.Policy{}, operations: map[string]*modelOperation{}}
	for n := 1; n <= 2; n++ {
		p, _ := r.fold.Policy(id("pol", n))
		m.inForce[p.Policy.ID], m.versions[p.Digest] = p.Policy, p.Policy
	}
	m.amend(groups, r.now)
	return m
}

// open are the newest operations that can still be authorized, or could until just now.
func (r *modelled) open() (out []*policy.Intent) {
	for _, i := range r.asked {
		if r.isOpen(i) {
			out = append(out, i)
		}
	}
	return out[max(0, len(out)-3):]
}

// isOpen is not true any more when the ledger may forget the operation.
func (r *modelled) isOpen(i *policy.Intent) bool {
	o := r.m.operation(i)
	return !o.authorized && !o.cancelled && i.Epoch+1 >= r.m.epoch && r.now.Before(i.ExpiresAt.Add(time.Hour)) && r.now.Before(i.NotBefore.Add(24*time.Hour))
}

// takes holds what the ledger does with a record, as its author, against whether the model would have it taken.
func (r *modelled) takes(may bool, record ledger.Record) {
	s := r.fold.Stage(r.now, r.author)
	err := s.Add(record)
	if may != (err == nil) {
		r.rt.Fatalf("%s: the model would take it: %t; the ledger: %v", record.Type(), may, err)
	}
	if err == nil {
		b := r.signed(s.Batch(r.term))
		value := r.encode(b)
		require.NoError(r.rt, r.fold.Take(s, b, value))
		r.values = append(r.values, value)
	}
}

// step is something that happens.
func (r *modelled) step() {
	what := rapid.IntRange(0, 21).Draw(r.rt, "step")
	if len(r.open()) == 0 || what > 18 {
		r.ask()
		return
	}
	i := pick(r, "operation", r.open()...)
	o := r.m.operation(i)
	switch what {
	case 6, 7:
		r.pass(pick(r, "until", r.moments(i)...).Sub(r.now))
	case 8:
		r.pass(pick(r, "passes", time.Second, time.Minute, 59*time.Minute, 5*time.Hour, 13*time.Hour))
	case 9, 10:
		r.propose(pick(r, "policy", 1, 1, 2, 2, 3, 4))
	case 11:
		r.cancel(pick(r, "cancelled", append(r.waiting(), i, i)...))
	case 12, 18:
		r.govern(o)
	case 13:
		r.freeze(o)
	case 14, 16, 17:
		r.settle(pick(r, "settled", append(r.waiting(), i)...))
	case 15:
		if r.onceIn(6, "recovers") {
			r.recover()
		} else {
			r.fold = r.restored()
		}
	default:
		people := rapid.Permutation([]string{"ann", "bob", "cat", "dan"}).Draw(r.rt, "persons")
		for _, person := range people[:pick(r, "how many", 2, 3, 4, 1)] {
			r.pass(pick(r, "until he decides", time.Second, time.Second, time.Minute, 20*time.Minute))
			r.decide(*i, o, person)
			r.compare(i)
		}
	}
}

// waiting are the operations that are authorized and not settled.
func (r *modelled) waiting() (out []*policy.Intent) {
	for _, i := range r.asked {
		if o := r.m.operation(i); o.authorized && !o.settled {
			out = append(out, i)
		}
	}
	return out
}

func (r *modelled) settle(i *policy.Intent) {
	o := r.m.operation(i)
	r.takes(o.authorized && !o.settled, ledger.Record{Settle: &ledger.Settle{OperationID: i.OperationID, TxHash: tx.Hash{1}}})
	o.settled = o.authorized
}

func (r *modelled) cancel(i *policy.Intent) {
	o := r.m.operation(i)
	r.takes(!o.authorized && !o.cancelled, ledger.Record{Cancel: &ledger.Cancel{OperationID: i.OperationID, Reason: "CANCELLED: by oscar"}})
	o.cancelled = !o.authorized
}

// ask makes an operation. It names the policies in scope, as the API does, or, should that lie, not all of them.
func (r *modelled) ask() {
	mostly := slices.Repeat([]policy.OperationType{policy.OpMint, policy.OpMint, policy.OpBurn, policy.OpTransfer}, 8)
	op := pick(r, "type", slices.Concat(mostly, asHardAsMint, policy.OperationTypes())...)
	requesters := []string{"oscar", "oscar", "oscar", "oscar", "ann", "bob", "dan", "oscar"}
	if r.m.signedRequests { // oscar has no key
		requesters = []string{"ann", "cat", "dan", "bob", "oscar", "dan"}
	}
	address := func(name string) *tx.Address {
		return ptr(pick(r, name, account("alice"), account("alice"), account("bert"), wallet(1).Address, wallet(2).Address))
	}
	i := r.mint(r.op(), func(i *policy.Intent) {
		w, token := wallet(rapid.IntRange(1, 2).Draw(r.rt, "wallet")), pick(r, "token", 1, 1, 2, 1)
		i.OperationType, i.Requester, i.Performer = op, pick(r, "requester", requesters...), policy.Performer{WalletID: w.WalletID, Address: w.Address}
		i.Token.ID, i.Token.ContractAddress, i.Policies = id("token", token), ptr(contractOf(token)), nil
		i.FeeCap = policy.AmountOf(pick(r, "fee cap", append(slices.Repeat([]uint64{5e15}, 12), 5e15+1, 1e16, 1e16+1, 5e15)...))
		i.ExpiresAt = r.now.Add(pick(r, "lives", time.Hour, 6*time.Hour, 24*time.Hour, 24*time.Hour))
		amount := ptr(pick(r, "amount", r.amounts(i)...))
		switch op {
		case policy.OpMint:
			i.Params = policy.Params{Amount: amount, Recipient: address("recipient")}
		case policy.OpBurn:
			i.Params = policy.Params{Amount: amount, Source: address("source")}
		case policy.OpTransfer:
			i.Params = policy.Params{Amount: amount, Source: address("source"), Recipient: address("recipient")}
		case policy.OpGrantRole, policy.OpRevokeRole:
			i.Params = policy.Params{Role: "MINTER", Subject: address("subject")}
		case policy.OpPause, policy.OpUnpause:
			i.Params = policy.Params{}
		case policy.OpDeployToken:
			deployOf(id("token", 3), pick(r, "supply", uint64(0), 3, 4, 8, 9))(i)
		case policy.OpCancel:
			cancelling("0")(i)
		default:
			i.Params = policy.Params{Subject: address("subject")}
		}
	})
	for n := 1; n <= 4; n++ {
		if p, ok := r.fold.Policy(id("pol", n)); ok && !p.Policy.Retired && r.m.covers(p.Policy.Scope, i) && (i.Policies == nil || !r.onceIn(8, "left out")) {
			i.Policies = append(i.Policies, p.Ref())
		}
	}
	if i.Policies == nil {
		return
	}
	r.asked = append(r.asked, i)
	if key := r.m.keys[i.Requester]; r.m.signedRequests && key != "" && !r.m.suspended[i.Requester] && !r.onceIn(4, "unsigned") {
		r.takes(true, r.request(i, key))
		o := r.m.operation(i)
		o.requests = append(o.requests, modelDecision{person: i.Requester, key: key, intent: r.digestOf(i)})
	}
}

// decide is a person's decision, now and then about other bytes than those that are judged.
func (r *modelled) decide(i policy.Intent, o *modelOperation, person string) {
	d := modelDecision{person: person, key: r.m.keys[person], verb: policy.Approve, at: r.now}
	what := rapid.IntRange(0, 40).Draw(r.rt, "decides")
	if what > 38 {
		d.verb = policy.Reject
	}
	if what == 38 || what == 39 { // other bytes
		i.FeeCap = policy.AmountOf(7)
	}
	d.intent = r.digestOf(&i)
	fits := i.Epoch == r.m.epoch && r.now.Before(i.ExpiresAt) || d.verb == policy.Reject // whatever bytes it holds
	may := !o.authorized && !o.cancelled && !o.rejected && !r.m.suspended[d.person] && fits
	for _, before := range o.decisions {
		may = may && (before.person != d.person || before.key != d.key || before.verb == policy.Approve && d.verb == policy.Reject)
	}
	if r.takes(may, r.decideWith(d.verb, &i, d.person, d.key)); may {
		o.decisions = append(o.decisions, d)
		o.rejected = d.verb == policy.Reject && r.m.member(d.person, slices.Collect(maps.Keys(r.m.groups))...)
	}
}

// somebody is anybody, or rather one who decided.
func (r *modelled) somebody(o *modelOperation) string {
	people := []string{"ann", "bob", "cat", "dan"}
	for _, d := range o.decisions {
		people = append(people, d.person, d.person)
	}
	return pick(r, "whom", people...)
}

// govern is another charter: somebody comes into a group or leaves it, or has another key.
func (r *modelled) govern(o *modelOperation) {
	group, who := pick(r, "group", "", "approvers", "traders", "compliance"), r.somebody(o)
	next := r.next(func(c *policy.Charter) {
		c.Persons, c.Groups = slices.Clone(c.Persons), maps.Clone(c.Groups)
		if group != "" {
			is := func(p string) bool { return p == who }
			if members := c.Groups[group]; !slices.Contains(members, who) {
				c.Groups[group] = append(slices.Clone(members), who)
			} else if len(members) > 1 {
				c.Groups[group] = slices.DeleteFunc(slices.Clone(members), is)
			}
			return
		}
		r.keys++
		key := fmt.Sprint(who, "'s key ", r.keys)
		n := slices.IndexFunc(c.Persons, func(p policy.Person) bool { return p.Name == who })
		c.Persons[n].Keys, r.m.keys[who] = keys(key), key
	})
	r.takes(true, ledger.Record{Charter: sign(r.t, policy.DocCharter, next, custodians[:2]...)})
	r.m.amend(next.Groups, r.now)
}

// freeze suspends a person or freezes a token, or ends that.
func (r *modelled) freeze(o *modelOperation) {
	r.pass(time.Second)
	f := &policy.Freeze{Format: policy.Format, Instance: "dev-1", CreatedAt: r.now}
	is, who := r.m.suspended, r.somebody(o)
	if f.Subject.Person = who; r.onceIn(6, "a token") {
		is, who = r.m.frozen, id("token", 2)
		f.Subject = policy.Subject{TokenID: who}
	}
	is[who] = !is[who]
	f.Frozen = is[who]
	r.takes(true, ledger.Record{Freeze: sign(r.t, policy.DocFreeze, f, custodians[:2]...)})
}

func (r *modelled) recover() {
	value := r.encode(r.recovered(r.recovering(func(d *ledger.Recover) {
		for n := range d.Lanes {
			d.Lanes[n].Nonce = r.fold.NextNonce(d.Lanes[n].WalletID)
		}
	})))
	_, err := r.fold.Apply(value)
	require.NoError(r.rt, err)
	r.values = append(r.values, value)
	r.m.epoch++
	r.m.charges = append(r.m.charges, modelCharge{at: r.now})
}

// propose is the next version of a policy, or its end.
func (r *modelled) propose(n int) {
	p := &policy.Policy{Format: policy.Format, Instance: "dev-1", ID: id("pol", n), Version: 1, Name: "drawn", CreatedAt: r.now, Scope: scopes[n]}
	in, ok := r.fold.Policy(p.ID)
	if ok && in.Policy.Retired {
		return
	} else if ok {
		p.Version, p.Replaces = in.Policy.Version+1, &in.Digest
		p.Retired = n > 1 && r.onceIn(5, "retires")
	}
	if p.Rules = r.rules(); ok && r.onceIn(2, "just one rule") { // one more, or in the place of another
		at := len(in.Policy.Rules) - rapid.IntRange(0, len(in.Policy.Rules)).Draw(r.rt, "from behind")
		p.Rules = slices.Concat(in.Policy.Rules[:at], r.rule(), in.Policy.Rules[min(at+1, len(in.Policy.Rules)):])
	}
	e := sign(r.t, policy.DocPolicy, p, custodians[:2]...)
	may := p.Retired || r.m.mayStand(p, r.now)
	if r.takes(may, ledger.Record{Policy: e}); may {
		r.m.inForce[p.ID], r.m.versions[e.PayloadDigest()] = p, p
	}
}

// compare holds the verdict on an operation against the model's, and authorizes what both allow.
func (r *modelled) compare(i *policy.Intent) {
	if !r.isOpen(i) {
		return
	}
	o, digest := r.m.operation(i), r.digestOf(i)
	moments := r.moments(i)
	for range 2 {
		r.same(i, digest, pick(r, "later", moments...))
	}
	if r.same(i, digest, r.now) != policy.Allow || r.onceIn(6, "waits") {
		return
	}
	if slices.Contains(anAmount[:3], i.OperationType) {
		may := r.m.mayBeAuthorized(i, r.now)
		r.takes(may, r.authorize(i, func(a *ledger.Authorize) { a.GasLimit = 32_000 }))
		if o.authorized = may; may {
			r.m.charges = append(r.m.charges, modelCharge{*i.Token.ContractAddress, i.OperationType, i.Params.Amount.Big(), r.now})
			r.seen["authorized"]++
		}
	} else {
		r.cancel(i) // there is no more to see of it
	}
}

var reasons = map[policy.RuleType]because{policy.ReasonIntent: ofMisfit, policy.ReasonPolicy: ofMisfit, policy.RuleMaxAmount: ofMaxAmount,
	policy.RuleTokenMintLimit: ofMaxAmount, policy.RuleTokenBurnLimit: ofMaxAmount, policy.RuleBlacklistAddress: ofBlacklist, policy.RuleWhitelistAddress: ofWhitelist,
	policy.RuleDailyLimit: ofDailyLimit, policy.RuleTimeWindow: ofTimeWindow, policy.RuleMaxFee: ofMaxFee, policy.ReasonRequest: ofApprovals,
	policy.RuleRequireApproval: ofApprovals, policy.RuleTokenRoleChange: ofApprovals, policy.RuleDelay: ofDelay}

// same asks both for the outcome of every policy's rules, and for what is reported.
func (r *modelled) same(i *policy.Intent, digest policy.Digest, now time.Time) policy.Outcome {
	why := func(o policy.RuleOutcome) because {
		if reason := reasons[o.Rule]; reason != ofMaxAmount || o.Used == "" {
			return reason
		}
		return ofDailyLimit // of a mint limit or a burn limit
	}
	want, v, have := r.m.judge(i, digest, now), r.fold.Judge(i, digest, now), unmet{}
	for _, o := range v.Rules {
		have.must(&policy.Policy{ID: o.PolicyID, Version: o.PolicyVersion}, why(o), o.Outcome == policy.Allow, o.Outcome)
	}
	outcome, because := want.verdict()
	r.seen[fmt.Sprint(outcome, " ", because)]++
	if !maps.Equal(have, want) || v.Outcome != outcome || (v.Reported != nil) != (outcome != policy.Allow) || v.Reported != nil && why(*v.Reported) != because {
		for _, o := range v.Rules {
			r.rt.Logf("%s v%d %s %s: %s", o.PolicyID, o.PolicyVersion, o.Rule, o.Outcome, o.Message)
		}
		r.rt.Fatalf("at %s the model says %v %v, the engine %v %v, of %+v\nby %+v", now, outcome, want, v.Outcome, have, i, r.m.operation(i))
	}
	return outcome
}
