package policy_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// document is any of them.
type document interface{ Encode() ([]byte, error) }

// documents gives a well-formed one of each kind and the parser of that kind.
func documents(t testing.TB) map[string]struct {
	doc   document
	parse func([]byte) (document, error)
} {
	type entry = struct {
		doc   document
		parse func([]byte) (document, error)
	}
	i, err := mint(t).Encode()
	require.NoError(t, err)
	replaces := DigestOf([]byte("before"))
	second := charter(t)
	second.Version, second.Replaces = 2, &replaces
	return map[string]entry{
		"intent": {mint(t), func(b []byte) (document, error) { return ParseIntent(b) }},
		"decision": {&Decision{Format: Format, Decision: Approve, Intent: i, Approver: "ann", Reason: "as agreed – süß", DecidedAt: noon},
			func(b []byte) (document, error) { return ParseDecision(b) }},
		"request": {&Request{Format: Format, Intent: i, Requester: "oscar", RequestedAt: noon},
			func(b []byte) (document, error) { return ParseRequest(b) }},
		"policy":  {policyOf(twoOf("approvers")), func(b []byte) (document, error) { return ParsePolicy(b) }},
		"charter": {second, func(b []byte) (document, error) { return ParseCharter(b) }},
		"binding": {binding(t), func(b []byte) (document, error) { return ParseBinding(b) }},
		"freeze": {&Freeze{Format: Format, Instance: "dev-1", Subject: Subject{Person: "ann"}, Frozen: true, CreatedAt: noon},
			func(b []byte) (document, error) { return ParseFreeze(b) }},
		"seal": {&Seal{Format: Format, Instance: "dev-1", ApplianceID: "appliance-1", Reason: "an alarm", CreatedAt: noon},
			func(b []byte) (document, error) { return ParseSeal(b) }},
		"unseal": {&Unseal{Format: Format, Instance: "dev-1", ApplianceID: "appliance-1", Nonce: make([]byte, 32), Share: []byte{1}, CreatedAt: noon},
			func(b []byte) (document, error) { return ParseUnseal(b) }},
		"rotate": {&Rotate{Format: Format, Instance: "dev-1", ApplianceID: "appliance-1", Charter: replaces, WrappingKey: "mintwarden-wrapping-2", CreatedAt: noon},
			func(b []byte) (document, error) { return ParseRotate(b) }},
		"renew": {&Renew{Format: Format, Instance: "dev-1", ApplianceID: "appliance-1", Nonce: make([]byte, 32), Charter: replaces,
			ReceiveKey: make([]byte, 1216), CreatedAt: noon}, func(b []byte) (document, error) { return ParseRenew(b) }},
	}
}

func TestDocumentsParseToThemselves(t *testing.T) {
	for name, d := range documents(t) {
		t.Run(name, func(t *testing.T) {
			b, err := d.doc.Encode()
			require.NoError(t, err)
			again, err := d.parse(b)
			require.NoError(t, err)
			require.Equal(t, d.doc, again)
			b2, err := again.Encode()
			require.NoError(t, err)
			require.Equal(t, string(b), string(b2))
			spaced := strings.ReplaceAll(string(b), `,"`, ",\n  \"")
			_, err = d.parse([]byte(spaced))
			require.NoError(t, err, "white space is free")
		})
	}
}

// members lists the path of every member of a decoded document.
func members(at string, v any, visit func(path string, in map[string]any, name string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			visit(at+"/"+name, v, name)
			members(at+"/"+name, value, visit)
		}
	case []any:
		for _, value := range v {
			members(at, value, visit)
		}
	}
}

func TestAnUnknownFieldInAnythingSignedIsRefused(t *testing.T) {
	for name, d := range documents(t) {
		b, err := d.doc.Encode()
		require.NoError(t, err)
		var tree any
		require.NoError(t, json.Unmarshal(b, &tree))
		objects := map[string]map[string]any{}
		members("", tree, func(path string, in map[string]any, _ string) { objects[path[:strings.LastIndex(path, "/")]] = in })
		for path, in := range objects {
			if path == "/groups" || strings.HasSuffix(path, "/checkValues") {
				continue // those are maps of names
			}
			in["extra"] = "x"
			changed, err := json.Marshal(tree)
			require.NoError(t, err)
			_, err = d.parse(changed)
			require.ErrorIs(t, err, ErrDocument, "%s: extra member in %q", name, path)
			delete(in, "extra")
		}
	}
}

func TestAMissingOrNullFieldIsRefused(t *testing.T) {
	for name, d := range documents(t) {
		b, err := d.doc.Encode()
		require.NoError(t, err)
		var tree any
		require.NoError(t, json.Unmarshal(b, &tree))
		members("", tree, func(path string, in map[string]any, field string) {
			if strings.Contains(path, "/groups/") || strings.Contains(path, "/checkValues/") {
				return
			}
			was := in[field]
			delete(in, field)
			changed, err := json.Marshal(tree)
			require.NoError(t, err)
			_, err = d.parse(changed)
			require.ErrorIs(t, err, ErrDocument, "%s without %s", name, path)
			if was != nil {
				in[field] = nil
				changed, err = json.Marshal(tree)
				require.NoError(t, err)
				_, err = d.parse(changed)
				require.ErrorIs(t, err, ErrDocument, "%s with %s null", name, path)
			}
			in[field] = was
		})
	}
}

func TestDocumentsRefuse(t *testing.T) {
	b, err := mint(t).Encode()
	require.NoError(t, err)
	good := string(b)
	change := func(old, now string) string {
		require.Equal(t, 1, strings.Count(good, old), old)
		return strings.Replace(good, old, now, 1)
	}
	for name, text := range map[string]string{
		"nothing":                 "",
		"null":                    "null",
		"an array":                "[]",
		"an empty object":         "{}",
		"trailing data":           good + "{}",
		"a cut":                   good[:len(good)-1],
		"a byte order mark":       "\xef\xbb\xbf" + good,
		"too long":                good + strings.Repeat(" ", MaxDocument),
		"a repeated member":       change(`"epoch":1`, `"epoch":1,"epoch":1`),
		"another case":            change(`"epoch"`, `"Epoch"`),
		"format 2":                change(`"format":1`, `"format":2`),
		"format as text":          change(`"format":1`, `"format":"1"`),
		"a fraction":              change(`"epoch":1`, `"epoch":1.0`),
		"an exponent":             change(`"epoch":1`, `"epoch":1e0`),
		"minus zero":              change(`"epoch":1`, `"epoch":-0`),
		"a negative number":       change(`"epoch":1`, `"epoch":-1`),
		"2^53":                    change(`"epoch":1`, `"epoch":9007199254740992`),
		"2^64":                    change(`"epoch":1`, `"epoch":18446744073709551616`),
		"an amount as number":     change(`"feeCap":"10000000000000000"`, `"feeCap":10000000000000000`),
		"an amount with a zero":   change(`"feeCap":"1`, `"feeCap":"01`),
		"an amount of 2^256":      change(`"feeCap":"10000000000000000"`, `"feeCap":"115792089237316195423570985008687907853269984665640564039457584007913129639936"`),
		"amount 0":                change(`"amount":"1000000000000000000000"`, `"amount":"0"`),
		"another domain":          change(`mintwarden/intent`, `mintwarden/other`),
		"an unknown type":         change(`"MINT"`, `"PRINT"`),
		"another type's params":   change(`"MINT"`, `"BURN"`),
		"a lower-case address":    change(account("alice").String(), strings.ToLower(account("alice").String())),
		"the zero address":        change(account("alice").String(), tx.Address{}.String()),
		"an unknown scheme":       change(`"dilithium3"`, `"rsa"`),
		"an upper-case digest":    change(string(DigestOf([]byte("charter"))), strings.ToUpper(string(DigestOf([]byte("charter"))))),
		"an id of another kind":   change(`"operationId":"op_`, `"operationId":"wallet_`),
		"a short id":              change(id("op", 1), "op_1"),
		"a lower-case id":         change(id("op", 1), "op_"+strings.Repeat("a", 26)),
		"a time with fractions":   change(`"2026-04-27T12:00:00Z"`, `"2026-04-27T12:00:00.5Z"`),
		"a time with .0":          change(`"2026-04-27T12:00:00Z"`, `"2026-04-27T12:00:00.0Z"`),
		"a time with an offset":   change(`"2026-04-27T12:00:00Z"`, `"2026-04-27T14:00:00+02:00"`),
		"a time with +00:00":      change(`"2026-04-27T12:00:00Z"`, `"2026-04-27T12:00:00+00:00"`),
		"a time in small letters": change(`"2026-04-27T12:00:00Z"`, `"2026-04-27t12:00:00z"`),
		"a day that is not":       change(`"2026-04-27T12:00:00Z"`, `"2026-02-30T12:00:00Z"`),
		"expiry before beginning": change(`"2026-04-27T13:00:00Z"`, `"2026-04-27T12:00:00Z"`),
		"an empty replaces":       change(`"requester":"oscar"`, `"requester":"oscar","replaces":""`),
		"itself as replaced":      change(`"requester":"oscar"`, `"requester":"oscar","replaces":"`+id("op", 1)+`"`),
		"an empty requester":      change(`"requester":"oscar"`, `"requester":""`),
		"a requester with spaces": change(`"requester":"oscar"`, `"requester":"os car"`),
		"a symbol with controls":  change(`"symbol":"EIT"`, `"symbol":"EI\u0007T"`),
		"a symbol that turns":     change(`"symbol":"EIT"`, `"symbol":"EI\u202eT"`),
		"half a surrogate":        change(`"symbol":"EIT"`, `"symbol":"EI\ud800T"`),
		"broken UTF-8":            change(`"symbol":"EIT"`, "\"symbol\":\"EI\xffT\""),
		"256 decimals":            change(`"decimals":18`, `"decimals":256`),
		"78 decimals":             change(`"decimals":18`, `"decimals":78`),
		"no policies":             good[:strings.Index(good, `"policies":[`)+12] + good[strings.Index(good, `],"requester"`):],
		"chain id 0":              change(`"chainId":2080377`, `"chainId":0`),
	} {
		_, err := ParseIntent([]byte(text))
		require.ErrorIs(t, err, ErrDocument, name)
	}
}

func TestDeeplyNestedDocumentsAreRefusedEarly(t *testing.T) {
	_, err := ParsePolicy([]byte(strings.Repeat("[", 60000)))
	require.ErrorIs(t, err, ErrDocument)
	require.ErrorContains(t, err, "nested")
}

func TestEveryOperationTypeHasExactlyItsParams(t *testing.T) {
	for _, op := range OperationTypes() {
		i := mint(t)
		become(t, i, op)
		b, err := i.Encode()
		require.NoError(t, err, op)
		_, err = ParseIntent(b)
		require.NoError(t, err, op)
		for _, other := range OperationTypes() {
			j := mint(t)
			become(t, j, other)
			j.OperationType, j.Token = op, i.Token
			same := fmt.Sprint(j.Params) == fmt.Sprint(i.Params) || paramsOf(t, j) == paramsOf(t, i)
			err := j.Check()
			require.Equal(t, same, err == nil, "%s with the params of %s: %v", op, other, err)
		}
	}
}

// paramsOf names the params that are there.
func paramsOf(t *testing.T, i *Intent) string {
	b, err := json.Marshal(i.Params)
	require.NoError(t, err)
	var m map[string]any
	require.NoError(t, json.Unmarshal(b, &m))
	b, err = json.Marshal(m, json.Deterministic(true))
	require.NoError(t, err)
	return string(b)
}

func TestChartersRefuse(t *testing.T) {
	for name, change := range map[string]func(*Charter){
		"no networks":                           func(c *Charter) { c.Networks = nil },
		"a chain id twice":                      func(c *Charter) { c.Networks[1].ChainID = c.Networks[0].ChainID },
		"a network twice":                       func(c *Charter) { c.Networks[1].Name = c.Networks[0].Name },
		"a public chain under dev":              func(c *Charter) { c.Networks[0].ChainID = 20803 },
		"Ethereum under dev":                    func(c *Charter) { c.Networks[1].ChainID = 1 },
		"a scheme of another kind":              func(c *Charter) { c.Networks[0].Scheme = tx.Secp256k1 },
		"no environment":                        func(c *Charter) { c.Environment = "" },
		"threshold 0":                           func(c *Charter) { c.Custodians.Threshold = 0 },
		"threshold 4 of 3":                      func(c *Charter) { c.Custodians.Threshold = 4 },
		"threshold 1 in production":             func(c *Charter) { c.Environment, c.Custodians.Threshold = Production, 1 },
		"no custodians":                         func(c *Charter) { c.Custodians.Members = nil },
		"a custodian twice":                     func(c *Charter) { c.Custodians.Members[1].Name = "custodian-1" },
		"a custodian without a key":             func(c *Charter) { c.Custodians.Members[1].Keys = nil },
		"one key for two custodians":            func(c *Charter) { c.Custodians.Members[1].Keys = c.Custodians.Members[0].Keys },
		"one key for two persons":               func(c *Charter) { c.Persons[1].Keys = c.Persons[0].Keys },
		"a key twice":                           func(c *Charter) { c.Persons[1].Keys = append(c.Persons[1].Keys, c.Persons[1].Keys...) },
		"a person's key as custodian's":         func(c *Charter) { c.Custodians.Members[0].Keys = c.Persons[0].Keys },
		"a person twice":                        func(c *Charter) { c.Persons[1].Name = "ann" },
		"a user twice":                          func(c *Charter) { c.Persons[1].Users = c.Persons[0].Users },
		"a stranger in a group":                 func(c *Charter) { c.Groups["approvers"] = []string{"ann", "zoe"} },
		"a member twice":                        func(c *Charter) { c.Groups["approvers"] = []string{"ann", "ann"} },
		"no appliance":                          func(c *Charter) { c.Appliances = nil },
		"a ledger key that is no Ed25519":       func(c *Charter) { c.Appliances[0].LedgerKey = c.Persons[2].Keys[0] },
		"a person's key as ledger key":          func(c *Charter) { c.Appliances[0].LedgerKey = c.Persons[1].Keys[0] },
		"no unseal key":                         func(c *Charter) { c.Appliances[0].UnsealKey = nil },
		"classical keys, post-quantum required": func(c *Charter) { c.Flags.RequirePostQuantum = true },
		"version 1 that replaces":               func(c *Charter) { d := DigestOf(nil); c.Replaces = &d },
		"version 2 that replaces nothing":       func(c *Charter) { c.Version = 2 },
		"intents that live for ever":            func(c *Charter) { c.Limits.MaxIntentLifetime = 1 << 40 },
	} {
		c := charter(t)
		change(c)
		_, err := c.Encode()
		require.ErrorIs(t, err, ErrDocument, name)
	}
}

// A dev charter takes devnets and nothing else: what is not known to be one may be anybody's chain.
func TestAttack_ADevCharterNamesAChainThatNoBlocklistHas(t *testing.T) {
	for _, id := range []uint64{1, 2, 1338, 20803, 208037, 2080376, 2080378, 7_777_778, 11155111, 1<<53 - 1} {
		require.True(t, PublicChain(id), id)
		c := charter(t)
		c.Networks[1].ChainID = id
		require.ErrorContains(t, c.Check(), "public chain", id)
		c.Environment = Production
		require.NoError(t, c.Check(), id)
	}
	for _, id := range []uint64{1337, 31337, 2080377} {
		require.False(t, PublicChain(id), id)
		c := charter(t)
		c.Networks = c.Networks[1:]
		c.Networks[0].ChainID = id
		require.NoError(t, c.Check(), id)
	}
}

func TestACharterMayAskForSignedRequestsFromTheFirstOrLater(t *testing.T) {
	all := []string{"custodian-1", "custodian-2", "custodian-3"}
	first := charter(t)
	first.Flags.SignedRequests = true
	c, err := CheckFirstCharter(sign(t, DocCharter, mustEncode(t, first), all...))
	require.NoError(t, err)
	require.True(t, c.Flags.SignedRequests)

	first.Flags.SignedRequests = false
	e := sign(t, DocCharter, mustEncode(t, first), all...)
	old, err := CheckFirstCharter(e)
	require.NoError(t, err)
	next := charter(t)
	next.Version, next.Replaces, next.Flags.SignedRequests = 2, ptr(e.PayloadDigest()), true
	c, err = CheckCharter(old, e.PayloadDigest(), sign(t, DocCharter, mustEncode(t, next), "custodian-1", "custodian-2"))
	require.NoError(t, err)
	require.True(t, c.Flags.SignedRequests)
}

func TestCharterFindsPeople(t *testing.T) {
	c := charter(t)
	p, ok := c.PersonByUser(id("user", 2))
	require.True(t, ok)
	require.Equal(t, "bob", p.Name)
	_, ok = c.PersonByUser(id("user", 8))
	require.False(t, ok)
	p, key, ok := c.PersonByKey(signer(t, "ann's other").Public().KeyID())
	require.True(t, ok)
	require.Equal(t, "ann", p.Name)
	require.Equal(t, signer(t, "ann's other").Public(), key)
	_, _, ok = c.PersonByKey(signer(t, "custodian-1").Public().KeyID())
	require.False(t, ok, "a custodian's key is no person's")
	require.Equal(t, 24*time.Hour, c.MaxIntentLifetime())
	require.Equal(t, 16, c.MaxOutstanding())
	require.Equal(t, 30*time.Second, c.MaxClockSkew())
}

func TestInScope(t *testing.T) {
	const all, token, vault, retired = 0, 1, 2, 3
	p := []*Policy{{Scope: Scope{All: true}}, {Scope: Scope{TokenID: id("token", 1)}}, {Scope: Scope{VaultAccountID: id("vault", 1)}}, {Scope: Scope{All: true}, Retired: true}}
	for _, c := range []struct {
		policy                    int
		token, performing, source string
		want                      bool
	}{
		{all, "", "", "", true}, {retired, id("token", 1), id("vault", 1), "", false},
		{token, id("token", 1), "", "", true}, {token, id("token", 2), "", "", false}, {token, "", "", "", false},
		{vault, "", id("vault", 1), "", true}, {vault, "", "", id("vault", 1), true}, {vault, "", id("vault", 2), id("vault", 3), false}, {vault, "", "", "", false},
	} {
		require.Equal(t, c.want, InScope(p[c.policy], c.token, c.performing, c.source), "%+v", c)
	}
}

func TestDeployBinding(t *testing.T) {
	i := mint(t)
	_, err := i.DeployBinding(account("contract"), []string{id("wallet", 1)}, nil, "", noon)
	require.ErrorIs(t, err, ErrDocument)
	become(t, i, OpDeployToken)
	b, err := i.DeployBinding(account("contract"), []string{id("wallet", 2), id("wallet", 1), id("wallet", 2)}, nil, "", noon.Add(time.Millisecond))
	require.NoError(t, err)
	require.Equal(t, binding(t), b)
	again, err := i.DeployBinding(account("other-contract"), []string{id("wallet", 1)}, b, DigestOf([]byte("b")), noon)
	require.NoError(t, err)
	require.Equal(t, uint64(2), again.Version)
	require.Equal(t, DigestOf([]byte("b")), *again.Replaces)
}

// Each parser either refuses, or gives a document that encodes to the same reading again.
func fuzzDocument(f *testing.F, name string) {
	d := documents(f)[name]
	b, err := d.doc.Encode()
	require.NoError(f, err)
	f.Add(b)
	f.Add(bytes.ReplaceAll(b, []byte(":1"), []byte(":2")))
	f.Add([]byte(base64.StdEncoding.EncodeToString(b)))
	f.Fuzz(func(t *testing.T, b []byte) {
		doc, err := d.parse(b)
		if err != nil {
			require.ErrorIs(t, err, ErrDocument)
			return
		}
		once, err := doc.Encode()
		require.NoError(t, err)
		again, err := d.parse(once)
		require.NoError(t, err)
		twice, err := again.Encode()
		require.NoError(t, err)
		require.Equal(t, string(once), string(twice))
	})
}

func FuzzParseIntent(f *testing.F)   { fuzzDocument(f, "intent") }
func FuzzParseDecision(f *testing.F) { fuzzDocument(f, "decision") }
func FuzzParseRequest(f *testing.F)  { fuzzDocument(f, "request") }
func FuzzParsePolicy(f *testing.F)   { fuzzDocument(f, "policy") }
func FuzzParseCharter(f *testing.F)  { fuzzDocument(f, "charter") }
func FuzzParseBinding(f *testing.F)  { fuzzDocument(f, "binding") }
func FuzzParseFreeze(f *testing.F)   { fuzzDocument(f, "freeze") }
func FuzzParseSeal(f *testing.F)     { fuzzDocument(f, "seal") }
func FuzzParseUnseal(f *testing.F)   { fuzzDocument(f, "unseal") }
func FuzzParseRotate(f *testing.F)   { fuzzDocument(f, "rotate") }
func FuzzParseRenew(f *testing.F)    { fuzzDocument(f, "renew") }

func FuzzParseRules(f *testing.F) {
	f.Add([]byte(`[{"type":"REQUIRE_APPROVAL","quorum":{"all":[{"group":"a","min":1},{"kOf":{"k":1,"of":[{"group":"b","min":2}]}}]}}]`))
	f.Add([]byte(`[{"type":"TIME_WINDOW","days":["MON"],"start":"09:00","end":"24:00","timezone":"Europe/Zurich"},{"type":"DELAY","seconds":1}]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		rules, err := ParseRules(b)
		if err != nil {
			require.ErrorIs(t, err, ErrDocument)
			return
		}
		for _, r := range rules {
			require.NotEmpty(t, r.Words("EIT", 18))
		}
		in := approved(t, rules...)
		require.NotEmpty(t, Judge(in).Outcome)
	})
}
