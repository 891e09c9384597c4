package policy_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	. "github.com/mintwarden/mintwarden/policy"
)

// A charter with one thing wrong in it is no charter.
func TestACharterThatIsMalformedAnywhereIsRefused(t *testing.T) {
	for says, change := range map[string]func(c *Charter){
		"format 2":                             func(c *Charter) { c.Format = 2 },
		"malformed name \"dev 1\"":             func(c *Charter) { c.Instance = "dev 1" },
		"version 0":                            func(c *Charter) { c.Version = 0 },
		"version 1 replaces null":              func(c *Charter) { c.Version = 2 },
		"replaces: not a digest":               func(c *Charter) { c.Version, c.Replaces = 2, ptr(Digest("x")) },
		"environment \"test\"":                 func(c *Charter) { c.Environment = "test" },
		"malformed name \"\"":                  func(c *Charter) { c.TenantID = "" },
		"0 networks":                           func(c *Charter) { c.Networks = nil },
		"network geth-dev twice":               func(c *Charter) { c.Networks[0].Name = "geth-dev" },
		"chain id 2080377 is 0 or another":     func(c *Charter) { c.Networks[1].ChainID = 2080377 },
		"kind \"evm\" with scheme":             func(c *Charter) { c.Networks[0].Kind = tx.KindEVM },
		"no currency":                          func(c *Charter) { c.Networks[0].Currency = "" },
		"at most 2^53-1":                       func(c *Charter) { c.Networks[0].ChainID = 1 << 60 },
		"chain id 1 may be a public":           func(c *Charter) { c.Networks[0].ChainID = 1 },
		"0 custodians":                         func(c *Charter) { c.Custodians.Members = nil },
		"custodian threshold 0":                func(c *Charter) { c.Custodians.Threshold = 0 },
		"custodian threshold 4 of 3":           func(c *Charter) { c.Custodians.Threshold = 4 },
		"under a production charter":           func(c *Charter) { c.Environment, c.Custodians.Threshold = Production, 1 },
		"custodian custodian-1 twice":          func(c *Charter) { c.Custodians.Members[1].Name = "custodian-1" },
		"custodian custodian-1: 0 keys":        func(c *Charter) { c.Custodians.Members[0].Keys = nil },
		"custodian: malformed name":            func(c *Charter) { c.Custodians.Members[0].Name = "-" },
		"person: malformed name":               func(c *Charter) { c.Persons[0].Name = "a b" },
		"person bob twice":                     func(c *Charter) { c.Persons[0].Name = "bob" },
		"person ann: 9 keys":                   func(c *Charter) { c.Persons[0].Keys = keys(t, "1", "2", "3", "4", "5", "6", "7", "8", "9") },
		"person ann: malformed id":             func(c *Charter) { c.Persons[0].Users = []string{"ann"} },
		"user " + id("user", 2) + " twice":     func(c *Charter) { c.Persons[0].Users = []string{id("user", 2)} },
		"257 persons":                          func(c *Charter) { c.Persons = make([]Person, 257) },
		"group: malformed name":                func(c *Charter) { c.Groups["a b"] = nil },
		"group traders: person \"zoe\" is not": func(c *Charter) { c.Groups["traders"] = []string{"zoe"} },
		"group traders: person ann twice":      func(c *Charter) { c.Groups["traders"] = []string{"ann", "ann"} },
		"0 appliances":                         func(c *Charter) { c.Appliances = nil },
		"appliance: malformed name":            func(c *Charter) { c.Appliances[0].ID = "" },
		"appliance appliance-1 twice":          func(c *Charter) { c.Appliances = append(c.Appliances, c.Appliances[0]) },
		"ledger key \"ml-dsa-65\" is not":      func(c *Charter) { c.Appliances[0].LedgerKey = signer(t, "cat").Public() },
		"unseal key of 0 bytes":                func(c *Charter) { c.Appliances[0].UnsealKey = nil },
		"check value: malformed":               func(c *Charter) { c.Appliances[0].Token.CheckValues["a b"] = "x" },
		"appliance: malformed text":            func(c *Charter) { c.Appliances[0].Token.Serial = "\u202e" },
		"key not taken":                        func(c *Charter) { c.Persons[0].Keys = []PublicKey{{}} },
		"is ann's too":                         func(c *Charter) { c.Persons[1].Keys = keys(t, "ann") },
		"ledger key is ann's too":              func(c *Charter) { c.Persons[0].Keys = []PublicKey{c.Appliances[0].LedgerKey} },
		"the charter asks for ml-dsa-65":       func(c *Charter) { c.Flags.RequirePostQuantum = true },
		"limits: maxIntentLifetime":            func(c *Charter) { c.Limits.MaxIntentLifetime = 1 << 40 },
		"limits: maxOutstanding 5000":          func(c *Charter) { c.Limits.MaxOutstanding = 5000 },
		"custodian custodian-2: key " + signer(t, "custodian-1").Public().KeyID() + " twice": func(c *Charter) { c.Custodians.Members[1].Keys = keys(t, "custodian-1") },
	} {
		c := charter(t)
		change(c)
		err := c.Check()
		require.ErrorIs(t, err, ErrDocument, says)
		require.ErrorContains(t, err, says)
	}
	groups := charter(t)
	for n := range 65 {
		groups.Groups["g"+strings.Repeat("x", n)] = nil
	}
	require.ErrorContains(t, groups.Check(), "69 groups")
}

func TestAProductionCharterTakesPublicChainsAndATwoOfThree(t *testing.T) {
	c := charter(t)
	c.Environment, c.Networks[0].ChainID = Production, 1
	require.NoError(t, c.Check())
	next := charter(t)
	next.Version, next.Replaces, next.Environment = 2, ptr(DigestOf(mustEncode(t, c))), Dev
	_, err := CheckCharter(c, DigestOf(mustEncode(t, c)), sign(t, DocCharter, mustEncode(t, next), "custodian-1", "custodian-2"))
	require.ErrorContains(t, err, "cannot change", "what production promises does not end by a signature")
}

func TestWhatACharterDoesNotSayHasADefault(t *testing.T) {
	c := charter(t)
	require.Equal(t, 24*time.Hour, c.MaxIntentLifetime())
	require.Equal(t, 30*time.Second, c.MaxClockSkew())
	require.Equal(t, []int{16, 20, 1000}, []int{c.MaxOutstanding(), c.WalletsPerHour(), c.WalletsTotal()})
	c.Limits = Limits{60, 1, 2, 3, 4}
	require.Equal(t, time.Minute, c.MaxIntentLifetime())
	require.Equal(t, 2*time.Second, c.MaxClockSkew())
	require.Equal(t, []int{1, 3, 4}, []int{c.MaxOutstanding(), c.WalletsPerHour(), c.WalletsTotal()})

	m, ok := c.Custodian("custodian-2")
	require.True(t, ok)
	require.Len(t, m.Keys, 2)
	_, ok = c.Custodian("nobody")
	require.False(t, ok)
	require.Len(t, c.CustodianKeys(), 4)
	a, ok := c.Appliance("appliance-1")
	require.True(t, ok)
	require.Equal(t, Ed25519, a.LedgerKey.Algorithm())
	_, ok = c.Appliance("appliance-2")
	require.False(t, ok)
}

func TestADocumentThatIsMalformedAnywhereIsRefused(t *testing.T) {
	refusedWith := func(says string, d document) {
		t.Helper()
		_, err := d.Encode()
		require.ErrorIs(t, err, ErrDocument, says)
		require.ErrorContains(t, err, says)
	}
	for says, change := range map[string]func(b *Binding){
		"chain id 0":        func(b *Binding) { b.ChainID = 0 },
		"zero address":      func(b *Binding) { b.ContractAddress = tx.Address{} },
		"template id":       func(b *Binding) { b.TemplateID = "erc20" },
		"symbol: empty":     func(b *Binding) { b.Symbol = "" },
		"78 decimals":       func(b *Binding) { b.Decimals = 78 },
		"0 performers":      func(b *Binding) { b.Performers = nil },
		"not sorted":        func(b *Binding) { b.Performers = []string{id("wallet", 2), id("wallet", 1)} },
		"one stands twice":  func(b *Binding) { b.Performers = []string{id("wallet", 1), id("wallet", 1)} },
		"performers: malf":  func(b *Binding) { b.Performers = []string{"wallet"} },
		"want whole second": func(b *Binding) { b.CreatedAt = noon.Add(time.Millisecond) },
	} {
		b := binding(t)
		change(b)
		refusedWith(says, b)
	}
	for says, change := range map[string]func(i *Intent){
		"domain":                 func(i *Intent) { i.Domain = "mintwarden/other" },
		"operation type":         func(i *Intent) { i.OperationType = "PRINT" },
		"chain id 0":             func(i *Intent) { i.ChainID = 0 },
		"scheme":                 func(i *Intent) { i.Scheme = "rsa" },
		"which has no contract":  func(i *Intent) { i.Token.ContractAddress = nil },
		"0 policies":             func(i *Intent) { i.Policies = nil },
		"twice":                  func(i *Intent) { i.Policies = append(i.Policies, i.Policies[0]) },
		"policy: not a digest":   func(i *Intent) { i.Policies[0].Digest = "x" },
		"replaces itself":        func(i *Intent) { i.Replaces = i.OperationID },
		"replaces: malformed id": func(i *Intent) { i.Replaces = "op_1" },
		"is not after notBefore": func(i *Intent) { i.ExpiresAt = i.NotBefore },
		"amount 0":               func(i *Intent) { i.Params.Amount = &Amount{} },
		"is about a nonce":       func(i *Intent) { i.OperationType, i.Params = OpCancel, Params{Nonce: ptr("1")} },
		"which has contract":     func(i *Intent) { become(t, i, OpDeployToken); i.Token.ContractAddress = ptr(account("contract")) },
		"is deployed as":         func(i *Intent) { become(t, i, OpDeployToken); i.Token.Decimals = 6 },
		"above the cap": func(i *Intent) {
			become(t, i, OpDeployToken)
			i.Params.InitialSupply, i.Params.Cap = ptr(AmountOf(2)), ptr(AmountOf(1))
		},
		"nonce \"x\"": func(i *Intent) { become(t, i, OpCancel); i.Params.Nonce = ptr("x") },
	} {
		i := mint(t)
		change(i)
		refusedWith(says, i)
	}
	intent := mustEncode(t, mint(t))
	refusedWith("decision \"MAYBE\"", &Decision{Format: Format, Decision: "MAYBE", Intent: intent, Approver: "ann", DecidedAt: noon})
	refusedWith("decision", &Decision{Format: Format, Decision: Approve, Intent: []byte("{}"), Approver: "ann", DecidedAt: noon})
	refusedWith("malformed name", &Decision{Format: Format, Decision: Approve, Intent: intent, Approver: "", DecidedAt: noon})
	refusedWith("the intent says oscar", &Request{Format: Format, Intent: intent, Requester: "ann", RequestedAt: noon})
	refusedWith("format 0", &Request{Intent: intent, Requester: "oscar", RequestedAt: noon})
	refusedWith("request", &Request{Format: Format, Intent: []byte("{}"), Requester: "oscar", RequestedAt: noon})
	refusedWith("want exactly one", &Freeze{Format: Format, Instance: "dev-1", Subject: Subject{TokenID: id("token", 1), Person: "ann"}, CreatedAt: noon})
	refusedWith("want exactly one of all", &Policy{Format: Format, Instance: "dev-1", ID: id("pol", 1), Version: 1, Name: "x", Scope: Scope{All: true, TokenID: id("token", 1)}, CreatedAt: noon})
	refusedWith("name: empty", &Policy{Format: Format, Instance: "dev-1", ID: id("pol", 1), Version: 1, Scope: Scope{All: true}, CreatedAt: noon})
}
