package ledger_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// Spec policy.md, “Custodians: stopping is easy, widening is not”, a sentence a test.

// ruled is a log whose policy has a rule of every kind that one custodian may tighten.
func ruled(t *testing.T) *world {
	w := begun(t)
	w.commit(w.version([]string{"custodian-1", "custodian-2"}, func(p *policy.Policy) {
		p.Rules = []policy.Rule{
			{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"},
			{Type: policy.RuleMaxAmount, Amount: ptr(policy.AmountOf(5000))},
			{Type: policy.RuleDailyLimit, Amount: ptr(policy.AmountOf(9000))},
			{Type: policy.RuleWhitelistAddress, Addresses: []tx.Address{account("alice"), account("bert")}},
			{Type: policy.RuleBlacklistAddress, Addresses: []tx.Address{account("mallory")}},
		}
	}))
	return w
}

// version is the next one of policy 1, changed.
func (w *world) version(by []string, change func(*policy.Policy)) ledger.Record {
	w.t.Helper()
	in, ok := w.fold.Policy(id("pol", 1))
	require.True(w.t, ok)
	p := *in.Policy
	p.Version, p.Replaces, p.CreatedAt = p.Version+1, ptr(in.Digest), w.now
	p.Rules = append([]policy.Rule{}, p.Rules...)
	change(&p)
	return ledger.Record{Policy: sign(w.t, policy.DocPolicy, &p, by...)}
}

// tightening are the steps that one custodian may take alone.
var tightening = map[string]func(*policy.Policy){
	"lowers a number with all else equal":      func(p *policy.Policy) { p.Rules[1].Amount = ptr(policy.AmountOf(4999)) },
	"lowers the daily limit":                   func(p *policy.Policy) { p.Rules[2].Amount = ptr(policy.AmountOf(1)) },
	"adds a rule":                              func(p *policy.Policy) { p.Rules = append(p.Rules, policy.Rule{Type: policy.RuleDelay, Seconds: 60}) },
	"takes an address off a whitelist":         func(p *policy.Policy) { p.Rules[3].Addresses = p.Rules[3].Addresses[:1] },
	"puts an address on a blacklist":           func(p *policy.Policy) { p.Rules[4].Addresses = append(p.Rules[4].Addresses[:1:1], account("eve")) },
	"raises minApprovers within the group":     func(p *policy.Policy) { p.Rules[0].MinApprovers = 3 },
	"takes several of these steps in one step": func(p *policy.Policy) { p.Rules[0].MinApprovers = 3; p.Rules[1].Amount = ptr(policy.AmountOf(7)) },
}

// widening is everything else.
var widening = map[string]func(*policy.Policy){
	"raises a number":                func(p *policy.Policy) { p.Rules[1].Amount = ptr(policy.AmountOf(5001)) },
	"drops a rule":                   func(p *policy.Policy) { p.Rules = p.Rules[:4] },
	"puts an address on a whitelist": func(p *policy.Policy) { p.Rules[3].Addresses = append(p.Rules[3].Addresses[:2:2], account("eve")) },
	"takes an address off a blacklist": func(p *policy.Policy) {
		p.Rules = append(p.Rules[:4:4], policy.Rule{Type: policy.RuleBlacklistAddress, Addresses: []tx.Address{account("eve")}})
	},
	"lowers minApprovers": func(p *policy.Policy) { p.Rules[0].MinApprovers = 1 },
	"changes nothing":     func(*policy.Policy) {},
	"changes the name":    func(p *policy.Policy) { p.Name = "other"; p.Rules[1].Amount = ptr(policy.AmountOf(1)) },
	"changes the scope": func(p *policy.Policy) {
		p.Scope = policy.Scope{TokenID: id("token", 1)}
		p.Rules[1].Amount = ptr(policy.AmountOf(1))
	},
	"retires it": func(p *policy.Policy) { p.Retired = true },
	"lowers one number and raises another one": func(p *policy.Policy) {
		p.Rules[1].Amount, p.Rules[2].Amount = ptr(policy.AmountOf(1)), ptr(policy.AmountOf(9001))
	},
}

func TestOneCustodianMayTightenAPolicy(t *testing.T) {
	for name, change := range tightening {
		t.Run(name, func(t *testing.T) {
			w := ruled(t)
			w.refused(ledger.ReasonEnvelope, "not known here", w.version([]string{"ann"}, change))
			next := w.version([]string{"custodian-3"}, change)
			w.commit(next)
			in, _ := w.fold.Policy(id("pol", 1))
			require.Equal(t, uint64(3), in.Policy.Version)
			w.refused(ledger.ReasonDuplicate, "recorded already", next)
			w.restored()
			require.Equal(t, ledger.State(w.fold), ledger.State(w.again()))
		})
	}
}

func TestWhatWidensAPolicyNeedsTheThreshold(t *testing.T) {
	for name, change := range widening {
		t.Run(name, func(t *testing.T) {
			w := ruled(t)
			w.refused(ledger.ReasonEnvelope, "signed by 1 custodians, the threshold is 2", w.version([]string{"custodian-3"}, change))
			w.refused(ledger.ReasonEnvelope, "signed by 1 custodians, the threshold is 2", w.version([]string{"custodian-2", "custodian-2's other"}, change))
			w.refused(ledger.ReasonEnvelope, "not known here", w.version([]string{"custodian-1", "ann"}, change))
			w.commit(w.version([]string{"custodian-3", "custodian-1"}, change))
		})
	}
}

func TestOneCustodianMayNotRaiseMinApproversBeyondTheGroup(t *testing.T) {
	w := ruled(t)
	w.refused(ledger.ReasonDocument, "", w.version([]string{"custodian-3"}, func(p *policy.Policy) { p.Rules[0].MinApprovers = 4 }))
}

// TestOneCustodianMayNotUndoATightening: the version in force is what a change is held against, not
// the one that the threshold signed.
func TestOneCustodianMayNotUndoATightening(t *testing.T) {
	w := ruled(t)
	w.commit(w.version([]string{"custodian-3"}, tightening["lowers a number with all else equal"]))
	w.refused(ledger.ReasonEnvelope, "the threshold is 2", w.version([]string{"custodian-1"}, func(p *policy.Policy) { p.Rules[1].Amount = ptr(policy.AmountOf(5000)) }))
	w.commit(w.version([]string{"custodian-1", "custodian-2"}, func(p *policy.Policy) { p.Rules[1].Amount = ptr(policy.AmountOf(5000)) }))
}

// TestOneCustodianMayNotBeginAPolicy: a first version tightens nothing.
func TestOneCustodianMayNotBeginAPolicy(t *testing.T) {
	w := begun(t)
	p := w.policy()
	p.ID = id("pol", 2)
	w.refused(ledger.ReasonEnvelope, "the threshold is 2", ledger.Record{Policy: sign(t, policy.DocPolicy, p, "custodian-1")})
}

// TestATighteningNamesTheVersionInForce: of two made at once, the second is told which was first.
func TestATighteningNamesTheVersionInForce(t *testing.T) {
	w := ruled(t)
	first := w.version([]string{"custodian-1"}, tightening["lowers a number with all else equal"])
	second := w.version([]string{"custodian-2"}, tightening["adds a rule"])
	w.commit(first)
	w.refused(ledger.ReasonConflict, "version 3 is "+string(first.Policy.PayloadDigest()), second)
	widened := w.version([]string{"custodian-1", "custodian-3"}, widening["raises a number"])
	w.commit(widened)
	w.refused(ledger.ReasonConflict, "version 3 is "+string(first.Policy.PayloadDigest()), second)
}

// TestATighteningIsKeptAsLongAsItsSignaturesAreAskedFor: the versions on which the one in force rests
// stay, long after no intent names them, and go once the threshold signed again.
func TestATighteningIsKeptAsLongAsItsSignaturesAreAskedFor(t *testing.T) {
	w := ruled(t)
	w.commit(w.version([]string{"custodian-3"}, tightening["adds a rule"]))
	w.pass(100 * time.Hour)
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	_, _, versions, _ := ledger.Held(w.fold)
	require.Equal(t, 2, versions)
	w.restored()
	w.commit(w.version([]string{"custodian-3", "custodian-2"}, func(p *policy.Policy) { p.Rules = p.Rules[:5] }))
	w.pass(100 * time.Hour)
	w.commit(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "expired"}})
	_, _, versions, _ = ledger.Held(w.fold)
	require.Equal(t, 1, versions)
	w.restored()
}

func TestOneCustodianMaySuspendAPersonAndHisRejectsStay(t *testing.T) {
	w := begun(t)
	i, j := w.mint(w.op()), w.mint(w.op())
	w.commit(w.decide(policy.Reject, i, "ann"), w.approve(j, "ann"))
	ann := policy.Subject{Person: "ann"}
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, freezeOf(ann, true, w.now), "custodian-2")})
	require.True(t, w.fold.Frozen(ann))
	w.refused(ledger.ReasonConflict, "was rejected", w.authorize(i))
	w.refused(ledger.ReasonFrozen, "ann is suspended", w.decide(policy.Reject, w.mint(w.op()), "ann"))
	w.pass(time.Second)
	lift := freezeOf(ann, false, w.now)
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Freeze: sign(t, policy.DocFreeze, lift, "custodian-2")})
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, lift, "custodian-2", "custodian-3")})
	w.commit(w.approve(w.mint(w.op()), "ann"))
}

func TestOneCustodianMaySuspendAnAppliance(t *testing.T) {
	w := begun(t)
	appliance := policy.Subject{ApplianceID: "appliance-1"}
	i := w.mint(w.op())
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"))
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, freezeOf(appliance, true, w.now), "custodian-1")})
	w.refused(ledger.ReasonAuthor, "appliance-1 is suspended", w.authorize(i))
	w.pass(time.Second)
	lift := freezeOf(appliance, false, w.now)
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Freeze: sign(t, policy.DocFreeze, lift, "custodian-1")})
	w.commit(ledger.Record{Freeze: sign(t, policy.DocFreeze, lift, "custodian-1", "custodian-3")})
	w.commit(w.authorize(i))
}

func TestOneCustodianMayFreezeAToken(t *testing.T) {
	w := begun(t)
	token := policy.Subject{TokenID: id("token", 1)}
	i := w.mint(w.op())
	w.commit(w.approve(i, "ann"), w.approve(i, "bob"), ledger.Record{Freeze: sign(t, policy.DocFreeze, freezeOf(token, true, w.now), "custodian-3")})
	w.refused(ledger.ReasonFrozen, "is frozen", w.authorize(i))
	w.pass(time.Second)
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Freeze: sign(t, policy.DocFreeze, freezeOf(token, false, w.now), "custodian-3")})
}

// TestEverythingElseNeedsTheThreshold: a charter, a binding, a join and a recover, whatever they say.
func TestEverythingElseNeedsTheThreshold(t *testing.T) {
	w := begun(t)
	stricter := w.next(func(c *policy.Charter) { c.Custodians.Threshold = 3; c.Limits.MaxOutstanding = 1 })
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Charter: sign(t, policy.DocCharter, stricter, "custodian-1")})
	_, digest, _, _ := w.fold.BindingDocument(id("token", 1))
	b := w.binding()
	b.Version, b.Replaces, b.Verified = 2, &digest, false
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Binding: sign(t, policy.DocBinding, b, "custodian-1")})
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Recover: sign(t, policy.DocRecover, w.recovering(), "custodian-1")})
}

// Charter transitions.

func TestCharterTransitions(t *testing.T) {
	w := begun(t)
	both := func(change func(*policy.Charter)) ledger.Record {
		w.t.Helper()
		return ledger.Record{Charter: sign(t, policy.DocCharter, w.next(change), "custodian-1", "custodian-2")}
	}
	eve := policy.Person{Name: "eve", Keys: keys("eve"), Users: []string{id("user", 9)}}

	// A person is added, and decides.
	w.commit(both(func(c *policy.Charter) {
		c.Persons = append(c.Persons[:len(c.Persons):len(c.Persons)], eve)
		c.Groups = map[string][]string{"approvers": {"ann", "bob", "cat", "eve"}}
	}))
	i := w.mint(w.op())
	w.commit(w.approve(i, "eve"))

	// Her key is replaced: what the old one signed is no decision of hers any more.
	w.commit(both(func(c *policy.Charter) {
		c.Persons = append(c.Persons[:len(c.Persons)-1:len(c.Persons)-1], policy.Person{Name: "eve", Keys: keys("eve's new"), Users: eve.Users})
	}))
	w.refused(ledger.ReasonEnvelope, "not known here", w.approve(w.mint(w.op()), "eve"))
	signed := sign(t, policy.DocDecision, decisionOf(w, policy.Approve, i, "eve"), "eve's new")
	w.pass(time.Second)
	w.refused(ledger.ReasonDuplicate, "is recorded in batch", ledger.Record{Decision: signed})
	w.commit(ledger.Record{Decision: sign(t, policy.DocDecision, decisionOf(w, policy.Approve, i, "eve"), "eve's new")})

	// The key that was replaced is never admitted again, not hers, not another's, not as a custodian's
	// and not as an appliance's.
	for _, again := range []func(*policy.Charter){
		func(c *policy.Charter) {
			c.Persons = append(c.Persons[:len(c.Persons)-1:len(c.Persons)-1], policy.Person{Name: "eve", Keys: keys("eve's new", "eve"), Users: eve.Users})
		},
		func(c *policy.Charter) {
			c.Persons = append(c.Persons[:len(c.Persons):len(c.Persons)], policy.Person{Name: "fay", Keys: keys("eve"), Users: []string{id("user", 10)}})
		},
		func(c *policy.Charter) {
			c.Custodians.Members = append(c.Custodians.Members[:3:3], policy.Custodian{Name: "custodian-4", Keys: keys("eve")})
		},
		func(c *policy.Charter) {
			a := c.Appliances[1]
			a.ID, a.LedgerKey = "appliance-3", keys("eve")[0]
			c.Appliances = append(c.Appliances[:2:2], a)
		},
	} {
		w.refused(ledger.ReasonDocument, "is not admitted again", both(again))
	}

	// She is removed, and with her what she may decide.
	w.commit(both(func(c *policy.Charter) {
		c.Persons, c.Groups = c.Persons[:len(c.Persons)-1], map[string][]string{"approvers": {"ann", "bob", "cat"}}
	}))
	w.refused(ledger.ReasonEnvelope, "not known here", ledger.Record{Decision: sign(t, policy.DocDecision, decisionOf(w, policy.Reject, i, "eve"), "eve's new")})

	// An appliance is added and writes; its key is replaced; it is removed, and its key with it.
	w.commit(both(func(c *policy.Charter) {
		a := c.Appliances[1]
		a.ID, a.LedgerKey, a.UnsealKey = "appliance-3", keys("appliance-3")[0], []byte("unseal key of appliance-3")
		c.Appliances = append(c.Appliances[:2:2], a)
	}))
	w.author, w.term = "appliance-3", 2
	w.commit(both(func(c *policy.Charter) {
		c.Appliances = append([]policy.Appliance{}, c.Appliances...)
		c.Appliances[0].LedgerKey = keys("appliance-1's new")[0]
	}))
	w.author, w.term = "appliance-1", 3
	_, err := w.fold.Apply(w.encode(w.batch(ledger.Record{Cancel: &ledger.Cancel{OperationID: w.op(), Reason: "with the key of before"}})))
	w.isRefusal(err, ledger.ReasonAuthor, "does not hold")
	w.author, w.term = "appliance-2", 4
	w.commit(both(func(c *policy.Charter) { c.Appliances = c.Appliances[:2] }))
	w.refused(ledger.ReasonDocument, "appliance appliance-3 was removed", both(func(c *policy.Charter) {
		a := c.Appliances[1]
		a.ID, a.LedgerKey, a.UnsealKey = "appliance-3", keys("appliance-3")[0], []byte("another")
		c.Appliances = append(c.Appliances[:2:2], a)
	}))
	w.restored()
}

func decisionOf(w *world, verb policy.Verb, i *policy.Intent, person string) *policy.Decision {
	w.t.Helper()
	b, err := i.Encode()
	require.NoError(w.t, err)
	return &policy.Decision{Format: policy.Format, Decision: verb, Intent: b, Approver: person, DecidedAt: w.now}
}

// TestOfTwoChartersTheFirstOneHolds: siblings replace the same charter; the second is told which one
// did, then and later.
func TestOfTwoChartersTheFirstOneHolds(t *testing.T) {
	w := begun(t)
	_, root := w.fold.Charter()
	sibling := func(change func(*policy.Charter)) *policy.Envelope {
		return sign(t, policy.DocCharter, w.next(change), "custodian-1", "custodian-3")
	}
	first := sibling(func(c *policy.Charter) { c.Limits.MaxOutstanding = 3 })
	second := sibling(func(c *policy.Charter) { c.Limits.MaxOutstanding = 4 })
	unsigned := sign(t, policy.DocCharter, w.next(func(c *policy.Charter) { c.Limits.MaxOutstanding = 5 }), "custodian-1")
	w.commit(ledger.Record{Charter: first})
	says := "charter " + string(root) + " was replaced by " + string(first.PayloadDigest()) + ", recorded in batch 4"
	w.refused(ledger.ReasonConflict, says, ledger.Record{Charter: second})
	w.refused(ledger.ReasonEnvelope, "threshold is 2", ledger.Record{Charter: unsigned})
	w.commit(ledger.Record{Charter: sibling(func(c *policy.Charter) { c.Limits.MaxOutstanding = 6 })})
	w.refused(ledger.ReasonConflict, says, ledger.Record{Charter: second})
}
