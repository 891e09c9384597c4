package policy_test

import (
	"encoding/json/v2"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// engine is what a file's commands work on.
type engine struct {
	t        *testing.T
	charter  *Charter
	policies map[string]*InForce // by name, in force
	old      map[string]*InForce // by name and version: no longer in force
	names    map[string]string   // what a verdict shows: the name for it
	charges  []charge
}

type charge struct {
	op     OperationType
	amount Amount
	at     time.Time
	chain  uint64
	to     tx.Address
}

func (e *engine) Charged(chain uint64, contract tx.Address, op OperationType, since time.Time) Amount {
	var sum Amount
	for _, c := range e.charges {
		if c.op == op && !c.at.Before(since) && c.chain == chain && c.to == contract {
			sum, _ = sum.Add(c.amount)
		}
	}
	return sum
}

func newEngine(t *testing.T) *engine {
	e := &engine{t: t, charter: charter(t), policies: map[string]*InForce{}, old: map[string]*InForce{}, names: map[string]string{}}
	for _, name := range []string{"alice", "bert", "mallory", "treasury", "contract", "other-contract"} {
		e.names[account(name).String()] = name
	}
	return e
}

func (e *engine) run(c testCase) string {
	verb, rest, _ := strings.Cut(c.command, " ")
	switch verb {
	case "policy":
		return e.policy(rest, c.input)
	case "retire":
		old := e.policies[rest]
		next := *old.Policy
		next.Version, next.Replaces, next.Retired = next.Version+1, ptr(old.Digest), true
		e.policies[rest] = inForce(e.t, &next)
		e.old[fmt.Sprintf("%s/%d", rest, old.Policy.Version)] = old
		return "retired\n"
	case "group":
		name, members, _ := strings.Cut(rest, " ")
		e.charter.Groups[name] = strings.Fields(members)
		return fmt.Sprintf("%s: %d persons\n", name, len(e.charter.Groups[name]))
	case "flag":
		e.charter.Flags.SignedRequests = rest == "signedRequests"
		return rest + "\n"
	case "charge":
		return e.charge(rest)
	case "reset":
		*e = *newEngine(e.t)
		return "empty\n"
	case "judge":
		in, why := e.input(rest)
		if why != "" {
			return why
		}
		return e.show(Judge(in))
	case "words":
		in, why := e.input(rest)
		if why != "" {
			return why
		}
		return e.named(in.Intent.Words(Glossary{Currency: "QC", Policies: in.Policies})) + "\n"
	}
	return "unknown command " + verb + "\n"
}

// policy NAME [token] [vault]: input lines are rules, one JSON object each.
func (e *engine) policy(args, input string) string {
	fields := strings.Fields(args)
	name := fields[0]
	p := &Policy{Format: Format, Instance: "dev-1", ID: id("pol", int(name[0])), Version: 1, Name: name, Scope: Scope{All: true}, CreatedAt: noon}
	if slices.Contains(fields, "token") {
		p.Scope = Scope{TokenID: id("token", 1)}
	}
	if slices.Contains(fields, "other-token") {
		p.Scope = Scope{TokenID: id("token", 2)}
	}
	old := e.policies[name]
	if old != nil {
		p.Version, p.Replaces = old.Policy.Version+1, ptr(old.Digest)
	}
	e.names[p.ID] = name
	for long, short := range e.names {
		input = strings.ReplaceAll(input, `"$`+short+`"`, `"`+long+`"`)
	}
	text := "[" + strings.ReplaceAll(strings.TrimSuffix(input, "\n"), "\n", ",") + "]"
	if slices.Contains(fields, "unchecked") {
		require.NoError(e.t, json.Unmarshal([]byte(text), &p.Rules))
	} else if rules, err := ParseRules([]byte(text)); err != nil {
		return "refused: " + e.named(err.Error()) + "\n"
	} else {
		p.Rules = rules
	}
	// "unchecked" is what no proposal could be: the engine has to deny on its own.
	if !slices.Contains(fields, "unchecked") {
		if err := CheckPolicy(p, e.charter); err != nil {
			return "refused: " + e.named(err.Error()) + "\n"
		}
	}
	f := &InForce{Policy: p, Digest: DigestOf([]byte(args + input + strconv.Itoa(int(p.Version))))}
	if old != nil {
		e.old[fmt.Sprintf("%s/%d", name, old.Policy.Version)] = old
	}
	e.policies[name] = f
	return fmt.Sprintf("%s v%d in force\n", name, p.Version)
}

// charge OP AMOUNT TIME [other-contract|other-chain]
func (e *engine) charge(args string) string {
	f := strings.Fields(args)
	at, err := time.Parse(time.RFC3339, f[2])
	require.NoError(e.t, err)
	c := charge{OperationType(f[0]), amount(e.t, f[1]), at, 2080377, account("contract")}
	if slices.Contains(f, "other-contract") {
		c.to = account("other-contract")
	}
	if slices.Contains(f, "other-chain") {
		c.chain = 1337
	}
	e.charges = append(e.charges, c)
	return "charged\n"
}

// input is what OP key=value… says.
func (e *engine) input(args string) (in Input, refused string) {
	op, rest, _ := strings.Cut(args, " ")
	i := mint(e.t)
	become(e.t, i, OperationType(op))
	in = Input{Intent: i, Charter: e.charter, CharterKnown: true, Epoch: 1, Usage: e, Now: noon}
	if i.OperationType != OpDeployToken && i.OperationType != OpCancel {
		in.Binding = binding(e.t)
	}
	for _, name := range slices.Sorted(func(yield func(string) bool) {
		for n := range e.policies {
			if !yield(n) {
				return
			}
		}
	}) {
		in.Policies = append(in.Policies, e.policies[name])
	}
	i.Policies = nil
	for _, p := range in.Policies {
		if !p.Policy.Retired {
			i.Policies = append(i.Policies, p.Ref())
			if in.Binding != nil {
				in.Binding.PolicyID = i.Policies[0].ID
			}
		}
	}
	var later []func()
	for _, field := range strings.Fields(rest) {
		key, value, _ := strings.Cut(field, "=")
		if f := e.option(&in, key, value); f != nil {
			later = append(later, f)
		}
	}
	b, err := i.Encode()
	if err != nil {
		return in, "no intent: " + e.named(err.Error()) + "\n"
	}
	in.IntentDigest = DigestOf(b)
	for _, f := range later {
		f()
	}
	return in, ""
}

// option changes the input; what it gives back is done when the intent's digest is known.
func (e *engine) option(in *Input, key, value string) func() {
	i := in.Intent
	when := func(s string) time.Time {
		at, err := time.Parse(time.RFC3339, s)
		require.NoError(e.t, err)
		return at
	}
	decide := func(verb Verb, other bool) func() {
		return func() {
			for n, who := range strings.Split(value, ",") {
				name, at, timed := strings.Cut(who, "@")
				d := RecordedDecision{Person: name, Verb: verb, Intent: in.IntentDigest, Keys: keysOf(e.charter, name), At: in.Now.Add(-time.Minute), Sequence: uint64(n + 1)}
				if timed {
					d.At = when(at)
				}
				if other {
					d.Intent = DigestOf([]byte("another intent"))
				}
				in.Decisions = append(in.Decisions, d)
			}
		}
	}
	request := func(other bool) func() {
		return func() {
			for n, name := range strings.Split(value, ",") {
				r := RecordedRequest{Person: name, Intent: in.IntentDigest, Keys: keysOf(e.charter, name), At: in.Now.Add(-time.Minute), Sequence: uint64(n + 1)}
				if other {
					r.Intent = DigestOf([]byte("another intent"))
				}
				in.Requests = append(in.Requests, r)
			}
		}
	}
	switch key {
	case "rekeyed": // after what was signed before it in the line
		return func() {
			n := slices.IndexFunc(e.charter.Persons, func(p Person) bool { return p.Name == value })
			e.charter.Persons[n].Keys = keys(e.t, value+"'s next")
		}
	case "amount":
		a := amount(e.t, value)
		if i.OperationType == OpDeployToken {
			i.Params.InitialSupply = &a
		} else {
			i.Params.Amount = &a
		}
	case "to":
		i.Params.Recipient = ptr(account(value))
	case "from":
		i.Params.Source = ptr(account(value))
	case "subject":
		i.Params.Subject = ptr(account(value))
	case "admin":
		i.Params.Admin = ptr(account(value))
	case "role":
		i.Params.Role = qrc20.Role(value)
	case "wallet":
		n, _ := strconv.Atoi(value)
		i.Performer.WalletID = id("wallet", n)
	case "feecap":
		i.FeeCap = amount(e.t, value)
	case "requester":
		i.Requester = value
	case "now":
		in.Now = when(value)
		i.NotBefore, i.ExpiresAt = Seconds(in.Now), Seconds(in.Now).Add(time.Hour)
	case "lasts":
		d, err := time.ParseDuration(value)
		require.NoError(e.t, err)
		i.ExpiresAt = i.NotBefore.Add(d)
	case "later":
		d, err := time.ParseDuration(value)
		require.NoError(e.t, err)
		in.Now = in.Now.Add(d)
	case "chain":
		n, _ := strconv.ParseUint(value, 10, 64)
		i.ChainID = n
	case "network":
		i.Network = value
	case "instance":
		i.Instance = value
	case "epoch":
		n, _ := strconv.ParseUint(value, 10, 64)
		i.Epoch = n
	case "token":
		n, _ := strconv.Atoi(value)
		i.Token.ID = id("token", n)
	case "contract":
		i.Token.ContractAddress = ptr(account(value))
	case "decimals":
		n, _ := strconv.Atoi(value)
		i.Token.Decimals = uint8(n)
	case "binding":
		in.Binding = nil
	case "charter":
		in.CharterKnown = value == "known"
	case "usage":
		in.Usage = nil
	case "replaces":
		i.Replaces = id("op", 7)
	case "name":
		i.Params.Name = ptr(strings.ReplaceAll(value, "_", " "))
	case "symbol":
		if symbol, err := strconv.Unquote(value); err == nil {
			value = symbol
		}
		i.Token.Symbol, in.Binding.Symbol = value, value
	case "cap":
		i.Params.Cap = ptr(amount(e.t, value))
	case "frozen":
		in.Frozen = true
	case "signed":
		return request(false)
	case "signed-other":
		return request(true)
	case "suspended":
		in.Suspended = strings.Split(value, ",")
	case "token-policy":
		in.Binding.PolicyID = id("pol", int(value[0]))
	case "policies": // that the intent names: name/version,…
		i.Policies = nil
		for ref := range strings.SplitSeq(value, ",") {
			name, version, _ := strings.Cut(ref, "/")
			v, _ := strconv.ParseUint(version, 10, 64)
			if p := e.old[ref]; p != nil {
				in.Submitted = append(in.Submitted, p)
				i.Policies = append(i.Policies, p.Ref())
			} else if p := e.policies[name]; p != nil && p.Policy.Version == v {
				i.Policies = append(i.Policies, p.Ref())
			} else {
				i.Policies = append(i.Policies, PolicyRef{id("pol", int(name[0])), v, DigestOf([]byte(ref))})
			}
		}
	case "approve":
		return decide(Approve, false)
	case "approve-other":
		return decide(Approve, true)
	case "reject":
		return decide(Reject, false)
	case "reject-other":
		return decide(Reject, true)
	default:
		e.t.Errorf("unknown option %s", key)
	}
	return nil
}

// named puts names in the place of addresses and policy ids.
func (e *engine) named(s string) string {
	for long, short := range e.names {
		s = strings.ReplaceAll(s, long, short)
	}
	return s
}

func (e *engine) show(v Verdict) string {
	var b strings.Builder
	b.WriteString(string(v.Outcome))
	if v.Reported != nil {
		fmt.Fprintf(&b, " by %s", v.Reported.Rule)
	}
	if !v.ApprovalsComplete() {
		b.WriteString(", approvals missing")
	}
	b.WriteString("\n")
	for _, o := range v.Rules {
		b.WriteString("  ")
		if o.PolicyID != "" {
			fmt.Fprintf(&b, "%s v%d ", o.PolicyID, o.PolicyVersion)
		}
		fmt.Fprintf(&b, "%s %s", o.Rule, o.Outcome)
		for _, f := range []struct{ name, value string }{{"limit", o.Limit}, {"used", o.Used}, {"requested", o.Requested}, {"group", o.Group}} {
			if f.value != "" {
				fmt.Fprintf(&b, " %s=%s", f.name, f.value)
			}
		}
		if o.Need > 0 {
			fmt.Fprintf(&b, " %d/%d", o.Have, o.Need)
		}
		fmt.Fprintf(&b, ": %s\n", o.Message)
	}
	return e.named(b.String())
}
