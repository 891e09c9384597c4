package policy_test

import (
	"encoding/json/v2"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/policytest"
)

// some amounts: small ones that meet each other, and the ends.
func drawAmount(t *rapid.T, name string) Amount {
	if rapid.IntRange(0, 9).Draw(t, name+" kind") == 0 {
		sum, _ := AmountFromBig(new(big.Int).Sub(MaxAmount().Big(), big.NewInt(int64(rapid.IntRange(0, 3).Draw(t, name)))))
		return sum
	}
	return AmountOf(rapid.Uint64Range(0, 12).Draw(t, name))
}

func drawOperations(t *rapid.T, amounts bool) []OperationType {
	if rapid.Bool().Draw(t, "all operations") {
		return nil
	}
	ops := []OperationType{OpMint, OpBurn, OpTransfer, OpDeployToken}
	if !amounts {
		ops = OperationTypes()
	}
	return rapid.SliceOfNDistinct(rapid.SampledFrom(ops), 1, 4, rapid.ID).Draw(t, "operations")
}

func drawRule(t *rapid.T) Rule {
	zones := []string{"", "Europe/Zurich", "America/New_York", "Asia/Kathmandu", "Pacific/Apia"}
	group := rapid.SampledFrom([]string{"approvers", "traders", "compliance", "nobody", "unknown"})
	switch k := rapid.IntRange(0, 11).Draw(t, "rule"); k {
	case 0, 1:
		r := Rule{Type: RuleRequireApproval, MinApprovers: rapid.Uint32Range(0, 3).Draw(t, "min"), ApproverGroup: group.Draw(t, "group"), Operations: drawOperations(t, false)}
		if rapid.IntRange(0, 2).Draw(t, "above") == 0 {
			r.AboveAmount = ptr(drawAmount(t, "aboveAmount"))
		}
		return r
	case 2:
		return Rule{Type: RuleRequireApproval, Quorum: &Quorum{Any: []*Quorum{{Group: group.Draw(t, "group"), Min: 2},
			{All: []*Quorum{{Group: "traders", Min: 1}, {Group: "compliance", Min: 1}}}}}}
	case 3:
		return Rule{Type: RuleMaxAmount, Amount: ptr(drawAmount(t, "limit")), Operations: drawOperations(t, true)}
	case 4:
		return Rule{Type: RuleDailyLimit, Amount: ptr(drawAmount(t, "limit")), Operations: drawOperations(t, true), Timezone: rapid.SampledFrom(zones).Draw(t, "zone")}
	case 5:
		return Rule{Type: RuleTimeWindow, Days: []Weekday{"MON", "TUE", "SAT"}, Start: "09:00", End: rapid.SampledFrom([]Clock{"08:00", "17:00", "24:00"}).Draw(t, "end"), Timezone: rapid.SampledFrom(zones).Draw(t, "zone")}
	case 6:
		return Rule{Type: RuleWhitelistAddress, Addresses: []tx.Address{account("alice"), account("bert"), account("treasury")}}
	case 7:
		return Rule{Type: RuleBlacklistAddress, Addresses: []tx.Address{account("mallory")}}
	case 8:
		return Rule{Type: RuleMaxFee, Amount: ptr(AmountOf(rapid.Uint64Range(0, 3).Draw(t, "fee")))}
	case 9:
		return Rule{Type: RuleDelay, Seconds: rapid.Uint64Range(0, 90).Draw(t, "seconds")}
	case 10:
		return Rule{Type: rapid.SampledFrom([]RuleType{RuleTokenMintLimit, RuleTokenBurnLimit}).Draw(t, "limit type"), PerOperation: ptr(drawAmount(t, "per operation")), PerDay: ptr(drawAmount(t, "per day"))}
	}
	return Rule{Type: RuleTokenRoleChange, MinApprovers: rapid.Uint32Range(0, 2).Draw(t, "min"), ApproverGroup: group.Draw(t, "group")}
}

// drawInput is an operation in some state, judged by policies that nobody checked.
func drawInput(t *rapid.T, tt testing.TB, base *Charter) Input {
	i := mint(tt)
	become(tt, i, rapid.SampledFrom(OperationTypes()).Draw(t, "operation"))
	if i.Params.Amount != nil {
		i.Params.Amount = ptr(drawAmount(t, "amount"))
	}
	if i.Params.Recipient != nil && rapid.Bool().Draw(t, "to mallory") {
		i.Params.Recipient = ptr(account("mallory"))
	}
	i.FeeCap = AmountOf(rapid.Uint64Range(0, 3).Draw(t, "fee cap"))
	i.Requester = rapid.SampledFrom([]string{"oscar", "ann", "dan"}).Draw(t, "requester")
	in := Input{Intent: i, IntentDigest: DigestOf([]byte("intent")), Charter: base, CharterKnown: true, Epoch: 1, Now: noon.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "seconds")) * time.Second)}
	if rapid.IntRange(0, 3).Draw(t, "signed requests") == 0 {
		asks := *base
		asks.Flags.SignedRequests = true
		in.Charter = &asks
		for range rapid.IntRange(0, 2).Draw(t, "requests") {
			in.Requests = append(in.Requests, drawRequest(t, in))
		}
	}
	used := drawAmount(t, "used")
	in.Usage = usage(func(OperationType, time.Time) Amount { return used })
	i.Policies = nil
	for n := range rapid.IntRange(1, 3).Draw(t, "policies") {
		p := policyOf(rapid.SliceOfN(rapid.Custom(drawRule), 1, 3).Draw(t, "rules")...)
		// Left to chance alone nearly everything would be denied, and say little.
		switch rapid.IntRange(0, 3).Draw(t, "lenient") {
		case 0:
			p.Rules = append(p.Rules, Rule{Type: RuleRequireApproval, MinApprovers: 1, ApproverGroup: "approvers"})
		case 1, 2:
			p.Rules = []Rule{{Type: RuleRequireApproval, MinApprovers: 1, ApproverGroup: "approvers"}}
		}
		p.ID = id("pol", n+1)
		f := &InForce{Policy: p, Digest: DigestOf([]byte(fmt.Sprint(n)))}
		in.Policies = append(in.Policies, f)
		i.Policies = append(i.Policies, f.Ref())
	}
	if i.OperationType != OpDeployToken && i.OperationType != OpCancel {
		in.Binding = binding(tt)
	}
	for n := range rapid.IntRange(0, 5).Draw(t, "decisions") {
		d := RecordedDecision{Person: rapid.SampledFrom([]string{"ann", "bob", "cat", "dan", "eve"}).Draw(t, "person"), Verb: Approve, Intent: in.IntentDigest,
			At: noon.Add(time.Duration(n) * time.Second), Sequence: uint64(n)}
		d.Keys = keysOf(base, d.Person)
		if rapid.IntRange(0, 11).Draw(t, "stolen key") == 0 {
			d.Keys = []string{signer(tt, "ann's old").Public().KeyID()}
		}
		if rapid.IntRange(0, 11).Draw(t, "reject") == 0 {
			d.Verb = Reject
		}
		if rapid.IntRange(0, 5).Draw(t, "other intent") == 0 {
			d.Intent = DigestOf([]byte("another"))
		}
		in.Decisions = append(in.Decisions, d)
	}
	return in
}

// drawRequest is somebody's signature over a request.
func drawRequest(t *rapid.T, in Input) RecordedRequest {
	r := RecordedRequest{Person: rapid.SampledFrom([]string{in.Intent.Requester, "ann", "bob"}).Draw(t, "who signs"), Intent: in.IntentDigest, At: noon, Sequence: 1}
	r.Keys = keysOf(in.Charter, r.Person)
	if rapid.IntRange(0, 3).Draw(t, "over other bytes") == 0 {
		r.Intent = DigestOf([]byte("another"))
	}
	return r
}

// strictness orders outcomes.
func strictness(o Outcome) int { return slices.Index([]Outcome{Allow, Wait, Deny}, o) }

// asksSomebody is the exception of the package comment: without an approval rule everything is
// denied, so the first one can allow.
func asksSomebody(v Verdict) bool {
	return !slices.ContainsFunc(v.Rules, func(o RuleOutcome) bool { return o.PolicyID == "" && o.Rule == RuleRequireApproval })
}

func TestAddingARuleNeverAllowsMore(t *testing.T) {
	base := charter(t)
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt, t, base)
		before := Judge(in)
		r := drawRule(rt)
		n := rapid.IntRange(0, len(in.Policies)-1).Draw(rt, "to policy")
		p := in.Policies[n].Policy
		p.Rules = append(p.Rules, r)
		after := Judge(in)
		if asksSomebody(before) && !feeLimitOfItsOwn(before, r) {
			require.GreaterOrEqual(rt, strictness(after.Outcome), strictness(before.Outcome))
		}
	})
}

// feeLimitOfItsOwn is the other exception, the charter's own: a MAX_FEE takes the place of the
// network's default.
func feeLimitOfItsOwn(before Verdict, r Rule) bool {
	return r.Type == RuleMaxFee && slices.ContainsFunc(before.Rules, func(o RuleOutcome) bool {
		return o.PolicyID == "" && o.Rule == RuleMaxFee && o.Outcome != Allow
	})
}

func TestAddingAPolicyNeverAllowsMore(t *testing.T) {
	base := charter(t)
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt, t, base)
		before := Judge(in)
		p := policyOf(rapid.SliceOfN(rapid.Custom(drawRule), 1, 3).Draw(rt, "more rules")...)
		p.ID = id("pol", 9)
		f := &InForce{Policy: p, Digest: DigestOf([]byte("more"))}
		in.Policies = append(in.Policies, f)
		if rapid.Bool().Draw(rt, "named by the intent") {
			in.Intent.Policies = append(in.Intent.Policies, f.Ref())
		}
		after := Judge(in)
		if asksSomebody(before) && !slices.ContainsFunc(p.Rules, func(r Rule) bool { return feeLimitOfItsOwn(before, r) }) {
			require.GreaterOrEqual(rt, strictness(after.Outcome), strictness(before.Outcome))
		}
	})
}

func TestOrderDoesNotMatter(t *testing.T) {
	base := charter(t)
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt, t, base)
		before := shown(t, Judge(in))
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		for _, p := range in.Policies {
			shuffle.Shuffle(len(p.Policy.Rules), func(a, b int) { p.Policy.Rules[a], p.Policy.Rules[b] = p.Policy.Rules[b], p.Policy.Rules[a] })
		}
		shuffle.Shuffle(len(in.Policies), func(a, b int) { in.Policies[a], in.Policies[b] = in.Policies[b], in.Policies[a] })
		shuffle.Shuffle(len(in.Intent.Policies), func(a, b int) {
			in.Intent.Policies[a], in.Intent.Policies[b] = in.Intent.Policies[b], in.Intent.Policies[a]
		})
		shuffle.Shuffle(len(in.Requests), func(a, b int) { in.Requests[a], in.Requests[b] = in.Requests[b], in.Requests[a] })
		shuffle.Shuffle(len(in.Decisions), func(a, b int) { in.Decisions[a], in.Decisions[b] = in.Decisions[b], in.Decisions[a] })
		require.Equal(rt, before, shown(t, Judge(in)))
	})
}

// shown is what a verdict shows.
func shown(t testing.TB, v Verdict) string {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}

// Another approval never makes a verdict stricter, a rejection never laxer.
func TestDecisionsCountOneWay(t *testing.T) {
	base := charter(t)
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt, t, base)
		before := Judge(in)
		d := RecordedDecision{Person: rapid.SampledFrom([]string{"ann", "bob", "cat", "dan", "eve", "zoe"}).Draw(rt, "person"), Verb: Approve, Intent: in.IntentDigest, At: noon, Sequence: 99}
		d.Keys = keysOf(base, d.Person)
		in.Decisions = append(in.Decisions, d)
		require.LessOrEqual(rt, strictness(Judge(in).Outcome), strictness(before.Outcome))
		in.Decisions[len(in.Decisions)-1].Verb = Reject
		require.GreaterOrEqual(rt, strictness(Judge(in).Outcome), strictness(before.Outcome))
	})
	rapid.Check(t, func(rt *rapid.T) {
		in := drawInput(rt, t, base)
		before := Judge(in)
		in.Requests = append(in.Requests, drawRequest(rt, in))
		require.LessOrEqual(rt, strictness(Judge(in).Outcome), strictness(before.Outcome))
		in.Requests = nil
		require.GreaterOrEqual(rt, strictness(Judge(in).Outcome), strictness(before.Outcome))
	})
}

// Below, at and above each limit, up to 2^256-1.
func TestLimitsHoldAtTheirEdges(t *testing.T) {
	one := AmountOf(1)
	for _, limit := range []Amount{AmountOf(1), AmountOf(1000), amount(t, "1000000000000000000000000"), MaxAmount()} {
		below, err := AmountFromBig(new(big.Int).Sub(limit.Big(), big.NewInt(1)))
		require.NoError(t, err)
		above, fits := limit.Add(one)
		for _, r := range []Rule{{Type: RuleMaxAmount, Amount: &limit}, {Type: RuleDailyLimit, Amount: &limit}, {Type: RuleTokenMintLimit, PerOperation: ptr(MaxAmount()), PerDay: &limit}} {
			outcome := func(a, used Amount) Outcome {
				in := approved(t, twoOf("approvers"), r)
				in.Intent.Params.Amount = &a
				in.Usage = usage(func(op OperationType, _ time.Time) Amount {
					if op == OpMint {
						return used
					}
					return Amount{}
				})
				return Judge(in).Outcome
			}
			require.Equal(t, Allow, outcome(limit, Amount{}), "%s at %s", r.Type, limit)
			if !below.Is0() {
				require.Equal(t, Allow, outcome(below, Amount{}), "%s below %s", r.Type, limit)
			}
			if fits {
				require.Equal(t, Deny, outcome(above, Amount{}), "%s above %s", r.Type, limit)
			}
			if r.Type != RuleMaxAmount {
				require.Equal(t, Allow, outcome(one, below), "%s: the last one of %s", r.Type, limit)
				require.Equal(t, Deny, outcome(one, limit), "%s: one more than %s", r.Type, limit)
				require.Equal(t, Deny, outcome(MaxAmount(), one), "%s: a sum above 2^256-1", r.Type)
			}
		}
	}
}

// requests are judged one after the other, each charged if it is allowed, as the seal does it.
func total(in Input, amounts []uint64, ops []OperationType) (charged uint64, refused []uint64) {
	used := map[OperationType]uint64{}
	in.Usage = usage(func(op OperationType, _ time.Time) Amount { return AmountOf(used[op]) })
	for n, a := range amounts {
		i := *in.Intent
		i.OperationType, i.Params.Amount = ops[n], ptr(AmountOf(a))
		if ops[n] == OpBurn {
			i.Params.Source, i.Params.Recipient = i.Params.Recipient, nil
		}
		one := in
		one.Intent = &i
		if Judge(one).Outcome == Allow {
			used[ops[n]] += a
			charged += a
		} else {
			refused = append(refused, a)
		}
	}
	return charged, refused
}

// Whatever order requests come in: the day's sum never passes its limit, nothing is refused that had
// room at the end, and equal requests come to the same sum.
func TestTheOrderOfRequestsNeverChangesWhatIsAllowedInTotal(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.Uint64Range(0, 40).Draw(rt, "limit")
		in := approved(t, twoOf("approvers"), Rule{Type: RuleDailyLimit, Amount: ptr(AmountOf(limit)), Operations: []OperationType{OpMint, OpBurn}})
		equal := rapid.Bool().Draw(rt, "equal")
		amounts := rapid.SliceOfN(rapid.Uint64Range(1, 12), 1, 12).Draw(rt, "amounts")
		ops := make([]OperationType, len(amounts))
		for n := range amounts {
			ops[n] = rapid.SampledFrom([]OperationType{OpMint, OpBurn}).Draw(rt, "operation")
			if equal {
				amounts[n] = amounts[0]
			}
		}
		first, refused := total(in, amounts, ops)
		require.LessOrEqual(rt, first, limit)
		for _, a := range refused {
			require.Greater(rt, first+a, limit)
		}
		shuffle := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 1))
		shuffle.Shuffle(len(amounts), func(a, b int) { amounts[a], amounts[b], ops[a], ops[b] = amounts[b], amounts[a], ops[b], ops[a] })
		second, _ := total(in, amounts, ops)
		require.LessOrEqual(rt, second, limit)
		if equal {
			require.Equal(rt, first, second)
		}
	})
}

// The window and the beginning of the day agree, minute by minute over ten zones, with what the
// standard library's zone data say of each minute's wall clock.
func TestWindowsAndDaysMinuteByMinute(t *testing.T) {
	names := []string{"UTC", "Europe/Zurich", "America/New_York", "America/St_Johns", "America/Havana", "Africa/Cairo", "Asia/Kathmandu",
		"Australia/Lord_Howe", "Pacific/Apia", "America/Sao_Paulo"}
	spans := [][2]string{{"2026-03-28", "2026-03-30"}, {"2026-10-24", "2026-10-26"}, {"2026-03-07", "2026-03-09"}, {"2026-10-31", "2026-11-02"}, {"2026-04-23", "2026-04-25"},
		{"2028-02-28", "2028-03-02"}, {"2026-12-31", "2027-01-02"}, {"2011-12-29", "2012-01-01"}, {"2017-10-14", "2017-10-16"}, {"2006-10-28", "2006-10-30"}}
	in := approved(t, twoOf("approvers"), Rule{Type: RuleTimeWindow, Days: []Weekday{"MON"}, Start: "22:00", End: "01:30"}, Rule{Type: RuleDailyLimit, Amount: ptr(MaxAmount())})
	rules := in.Policies[0].Policy.Rules
	var since time.Time
	in.Usage = usage(func(_ OperationType, s time.Time) Amount { since = s; return Amount{} })
	days := []Weekday{"SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"}
	for _, name := range names {
		zone, err := time.LoadLocation(name)
		require.NoError(t, err)
		for _, span := range spans {
			from, err := time.Parse(time.DateOnly, span[0])
			require.NoError(t, err)
			to, err := time.Parse(time.DateOnly, span[1])
			require.NoError(t, err)
			starts := map[string]time.Time{} // of each local date, the first minute that was seen
			for now := from.Add(-36 * time.Hour); now.Before(to.Add(12 * time.Hour)); now = now.Add(time.Minute) {
				local := now.In(zone)
				date := local.Format(time.DateOnly)
				if _, ok := starts[date]; !ok {
					starts[date] = now
				}
				if quarter := local.Minute() % 15; now.Before(from) || policytest.Brief() && quarter > 1 && quarter < 14 {
					continue // briefly, what lies on both sides of every quarter: no window, day or zone changes elsewhere
				}
				in.Intent.NotBefore, in.Intent.ExpiresAt, in.Now = now, now.Add(time.Hour), now
				rules[1].Timezone, rules[2].Timezone = name, name
				today, yesterday := int(local.Weekday()), int(local.Weekday()+6)%7
				// A window that is only today's: what lies after midnight is yesterday's tail.
				rules[1].Days = days[today : today+1]
				if inside := local.Hour() >= 22; inside != (Judge(in).Outcome == Allow) {
					t.Fatalf("%s %s: the window of today", name, local)
				}
				// And one that is only yesterday's: just that tail is inside.
				rules[1].Days = days[yesterday : yesterday+1]
				if inside := local.Hour()*60+local.Minute() < 90; inside != (Judge(in).Outcome == Allow) {
					t.Fatalf("%s %s: the window of yesterday", name, local)
				}
				if !starts[date].Equal(since) {
					t.Fatalf("%s: the day of %s begins at %s, not %s", name, local, starts[date], since)
				}
			}
		}
	}
}
