package policy_test

import (
	"encoding/json/v2"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// fullPolicy has every member and a rule of every type.
func fullPolicy(t testing.TB) *Policy {
	p := policyOf(
		Rule{Type: RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers", Operations: []OperationType{OpMint, OpBurn}, AboveAmount: ptr(AmountOf(10))},
		Rule{Type: RuleRequireApproval, Quorum: &Quorum{All: []*Quorum{{Group: "traders", Min: 1}, {Any: []*Quorum{{Group: "compliance", Min: 1}, {Group: "approvers", Min: 2}}},
			{KOf: &KOf{K: 1, Of: []*Quorum{{Group: "traders", Min: 1}, {Group: "approvers", Min: 1}}}}}}},
		Rule{Type: RuleMaxAmount, Amount: ptr(AmountOf(1000)), Operations: []OperationType{OpMint}},
		Rule{Type: RuleDailyLimit, Amount: ptr(AmountOf(5000)), Operations: []OperationType{OpMint, OpBurn}, Timezone: "Europe/Zurich"},
		Rule{Type: RuleTimeWindow, Days: []Weekday{"MON", "TUE"}, Start: "09:00", End: "17:00", Timezone: "Asia/Tokyo"},
		Rule{Type: RuleWhitelistAddress, Addresses: []tx.Address{account("alice"), account("bert")}},
		Rule{Type: RuleBlacklistAddress, Addresses: []tx.Address{account("mallory")}},
		Rule{Type: RuleMaxFee, Amount: ptr(AmountOf(1e15))},
		Rule{Type: RuleTokenMintLimit, PerOperation: ptr(AmountOf(7)), PerDay: ptr(AmountOf(70))},
		Rule{Type: RuleTokenBurnLimit, PerOperation: ptr(AmountOf(8)), PerDay: ptr(AmountOf(80))},
		Rule{Type: RuleTokenRoleChange, MinApprovers: 3, ApproverGroup: "approvers"},
		Rule{Type: RuleDelay, Seconds: 60, Operations: []OperationType{OpGrantRole}},
	)
	p.Version, p.Replaces = 2, ptr(DigestOf([]byte("version 1")))
	return p
}

// again is a deep copy.
func again[T any](t testing.TB, v *T) *T {
	b, err := json.Marshal(v)
	require.NoError(t, err)
	var c T
	require.NoError(t, json.Unmarshal(b, &c))
	return &c
}

// mutations changes one leaf of the document after the other, and each list's length and order, and
// calls f with the name of what is changed while it is so.
func mutations(t testing.TB, v reflect.Value, name string, f func(name string)) {
	with := func(what string, to reflect.Value) {
		was := reflect.New(v.Type()).Elem()
		was.Set(v)
		v.Set(to)
		f(name + what)
		v.Set(was)
	}
	if v.Type() == reflect.TypeFor[PublicKey]() || v.Type() == reflect.TypeFor[Amount]() || v.Type() == reflect.TypeFor[time.Time]() {
		with("", other(t, v))
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			to := reflect.New(v.Type().Elem())
			if v.Type() == reflect.TypeFor[*Quorum]() {
				to = reflect.ValueOf(&Quorum{Group: "nobody", Min: 1})
			}
			with(" there", to)
			return
		}
		with(" gone", reflect.Zero(v.Type()))
		mutations(t, v.Elem(), name, f)
	case reflect.Struct:
		for n := range v.NumField() {
			mutations(t, v.Field(n), name+"."+v.Type().Field(n).Name, f)
		}
	case reflect.Slice:
		if v.Len() == 0 {
			with(" longer", reflect.Append(v, other(t, reflect.New(v.Type().Elem()).Elem())))
			return
		}
		with(" shorter", v.Slice(0, v.Len()-1))
		if v.Len() > 1 && !reflect.DeepEqual(v.Index(0).Interface(), v.Index(v.Len()-1).Interface()) {
			to := reflect.MakeSlice(v.Type(), 0, v.Len())
			for n := v.Len() - 1; n >= 0; n-- {
				to = reflect.Append(to, v.Index(n))
			}
			with(" reversed", to)
		}
		for n := range v.Len() {
			mutations(t, v.Index(n), fmt.Sprintf("%s[%d]", name, n), f)
		}
	case reflect.Array:
		with("", other(t, v))
	case reflect.Map:
		for _, k := range v.MapKeys() {
			to := reflect.MakeMap(v.Type())
			for _, l := range v.MapKeys() {
				if l.String() != k.String() {
					to.SetMapIndex(l, v.MapIndex(l))
				}
			}
			with(" without "+k.String(), to)
			item := reflect.New(v.Type().Elem()).Elem()
			item.Set(v.MapIndex(k))
			mutations(t, item, name+"["+k.String()+"]", func(name string) {
				to := reflect.MakeMap(v.Type())
				for _, l := range v.MapKeys() {
					to.SetMapIndex(l, v.MapIndex(l))
				}
				to.SetMapIndex(k, item)
				was := reflect.ValueOf(v.Interface())
				v.Set(to)
				f(name)
				v.Set(was)
			})
		}
	default:
		with("", other(t, v))
	}
}

// other is another value of the same type.
func other(t testing.TB, v reflect.Value) reflect.Value {
	to := reflect.New(v.Type()).Elem()
	switch v.Type() {
	case reflect.TypeFor[PublicKey]():
		return reflect.ValueOf(signer(t, "another key").Public())
	case reflect.TypeFor[Amount]():
		sum, _ := v.Interface().(Amount).Add(AmountOf(1))
		return reflect.ValueOf(sum)
	case reflect.TypeFor[time.Time]():
		return reflect.ValueOf(v.Interface().(time.Time).Add(time.Second))
	}
	to.Set(v)
	switch v.Kind() {
	case reflect.Bool:
		to.SetBool(!v.Bool())
	case reflect.Int:
		to.SetInt(v.Int() + 1)
	case reflect.Uint8, reflect.Uint32, reflect.Uint64:
		to.SetUint(v.Uint() + 1)
	case reflect.String:
		to.SetString(v.String() + "x")
	case reflect.Array:
		to.Index(0).SetUint(v.Index(0).Uint() ^ 1)
	}
	return to
}

const otherwise = "written in another way"

func TestEveryChangeOfAPolicyIsSaid(t *testing.T) {
	old, n := fullPolicy(t), 0
	require.Empty(t, PolicyDifference(old, again(t, old)))
	next := again(t, old)
	mutations(t, reflect.ValueOf(next).Elem(), "policy", func(name string) {
		n++
		d := PolicyDifference(old, next)
		require.NotEmpty(t, d, name)
		require.NotContains(t, strings.Join(d, " "), otherwise, name)
		requireShown(t, d)
	})
	require.Equal(t, old, next)
	require.Greater(t, n, 100)
}

func TestEveryChangeOfACharterIsSaid(t *testing.T) {
	old, n := charter(t), 0
	old.Version, old.Replaces = 2, ptr(DigestOf([]byte("version 1")))
	old.Limits = Limits{3600, 4, 60, 5, 50}
	require.Empty(t, CharterDifference(old, again(t, old)))
	next := again(t, old)
	mutations(t, reflect.ValueOf(next).Elem(), "charter", func(name string) {
		n++
		d := CharterDifference(old, next)
		require.NotEmpty(t, d, name)
		require.NotContains(t, strings.Join(d, " "), otherwise, name)
		requireShown(t, d)
	})
	require.Greater(t, n, 100)
}

func TestEveryChangeOfABindingIsSaid(t *testing.T) {
	old, n := binding(t), 0
	old.Version, old.Replaces = 2, ptr(DigestOf([]byte("version 1")))
	old.External = []tx.Address{account("alice"), account("bert")}
	require.Empty(t, BindingDifference(old, again(t, old)))
	next := again(t, old)
	mutations(t, reflect.ValueOf(next).Elem(), "binding", func(name string) {
		n++
		d := BindingDifference(old, next)
		require.NotEmpty(t, d, name)
		require.NotContains(t, strings.Join(d, " "), otherwise, name)
		requireShown(t, d)
	})
	require.Greater(t, n, 15)
	require.Contains(t, BindingDifference(nil, old), "Decimals: 18.")
}

// requireShown is true of lines that show as what they are.
func requireShown(t testing.TB, lines []string) {
	t.Helper()
	for _, l := range lines {
		for _, r := range l {
			require.True(t, unicode.IsPrint(r), "%q", l)
		}
	}
}

func TestADifferenceIsReadByPeople(t *testing.T) {
	old := fullPolicy(t)
	next := again(t, old)
	digest := DigestOf([]byte("version 2"))
	next.Version, next.Replaces, next.Name = 3, &digest, "dev\u202edefault"
	next.Scope = Scope{TokenID: id("token", 1)}
	next.Rules[2].Amount = ptr(AmountOf(2_500_000))
	next.Rules[5].Addresses = []tx.Address{account("alice"), account("mallory")}
	next.Rules = append(next.Rules[:6:6], next.Rules[7:]...)
	next.Rules = append(next.Rules, Rule{Type: RuleDelay, Seconds: 3600})
	require.Equal(t, []string{
		"Version: 2 becomes 3.",
		"It replaces: " + string(*old.Replaces) + " becomes " + string(digest) + ".",
		`Name: "dev-default" becomes "dev\u202edefault".`,
		"It covers: every token and vault account becomes token " + id("token", 1) + ".",
		"Rule changed: MAX_AMOUNT, at most 1,000 base units an operation (MINT) becomes MAX_AMOUNT, at most 2,500,000 base units an operation (MINT).",
		"Rule WHITELIST_ADDRESS: " + account("bert").String() + " is taken off.",
		"Rule WHITELIST_ADDRESS: " + account("mallory").String() + " is added.",
		"Rule gone: BLACKLIST_ADDRESS, never with " + account("mallory").String() + ".",
		"New rule: DELAY, not before 3600 seconds after the approvals are complete.",
	}, PolicyDifference(old, next))

	first := PolicyDifference(nil, policyOf(twoOf("approvers")))
	require.Equal(t, "A new policy.", first[0])
	require.Contains(t, first, "Rule: REQUIRE_APPROVAL, 2 of approvers.")

	was := charter(t)
	is := again(t, was)
	is.Version, is.Replaces = 2, &digest
	is.Custodians.Threshold = 3
	is.Persons = is.Persons[1:]
	is.Persons[0].Keys = keys(t, "bob's next")
	is.Groups = map[string][]string{"approvers": {"bob", "cat", "dan"}, "traders": {"bob"}, "compliance": {"dan", "bob"}}
	is.Limits.MaxOutstanding = 32
	is.Flags.SignedRequests = true
	require.Equal(t, []string{
		"Version: 1 becomes 2.",
		"It replaces: nothing becomes " + string(digest) + ".",
		"Custodians who must sign: 2 becomes 3.",
		"Person ann is gone.",
		"Person bob: ed25519 key " + signer(t, "bob").Public().KeyID() + " is taken off.",
		"Person bob: ed25519 key " + signer(t, "bob's next").Public().KeyID() + " is added.",
		"Group nobody is gone.",
		"Group approvers: ann is taken off.",
		"Group approvers: dan is added.",
		"Group compliance: they stand in another order.",
		"Group traders: ann is taken off.",
		"Limit, authorizations of a wallet that may wait for a confirmation: 16 (not said) becomes 32.",
		"Requesters sign what they ask for: no becomes yes.",
	}, CharterDifference(was, is))
	require.Contains(t, CharterDifference(nil, was), "Person ann is new.")
	require.Nil(t, CharterDifference(was, nil))
	require.Nil(t, PolicyDifference(nil, nil))
}

func TestTwoSpellingsOfOneRuleAreTold(t *testing.T) {
	for _, p := range [][2]Rule{
		{{Type: RuleDailyLimit, Amount: ptr(AmountOf(1))}, {Type: RuleDailyLimit, Amount: ptr(AmountOf(1)), Timezone: "UTC"}},
		{twoOf("approvers"), {Type: RuleRequireApproval, Quorum: &Quorum{Group: "approvers", Min: 2}}},
	} {
		d := PolicyDifference(policyOf(p[0]), policyOf(p[1]))
		require.Len(t, d, 1)
		require.Contains(t, d[0], `{"type":`)
	}
}
