package dev_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// tooMuch is 2^256.
const tooMuch = "115792089237316195423570985008687907853269984665640564039457584007913129639936"

// notAmounts are JSON values that no amount of a token call is.
var notAmounts = []struct {
	name, json string
	says       string
}{
	{"negative", `"-1"`, "-1"},
	{"fraction", `"1.5"`, "1.5"},
	{"hexadecimal", `"0x10"`, "0x10"},
	{"exponent", `"1e18"`, "1e18"},
	{"leading zero", `"01"`, "01"},
	{"plus sign", `"+1"`, "+1"},
	{"2^256", `"` + tooMuch + `"`, tooMuch},
	{"79 digits", `"1` + strings.Repeat("0", 78) + `"`, ""},
	{"four thousand digits", `"` + strings.Repeat("9", 4000) + `"`, ""},
	{"a number", `1000`, "1000"},
	{"a fractional number", `1.5`, "1.5"},
	{"a number beyond float64", `1e400`, ""},
	{"Arabic-Indic digit", `"\u0661"`, "١"},
	{"full-width digit", `"\uff11"`, "１"},
	{"thousands", `"1,000"`, "1,000"},
	{"underscore", `"1_000"`, "1_000"},
	{"blank", `""`, ""},
	{"space before", `" 1"`, ""},
	{"line feed after", `"1\n"`, ""},
	{"null", `null`, "null"},
	{"true", `true`, "true"},
	{"an array", `["1"]`, ""},
	{"an object", `{"value":"1"}`, ""},
	{"not a number", `"NaN"`, "NaN"},
}

// testAmounts: 1713 on token calls, 1103 elsewhere; the key is not burnt.
func (e *edge) testAmounts(t *testing.T) {
	key := draw()
	routes := []struct {
		name string
		call func(amount string) call
		code int
	}{
		{"mint", func(a string) call {
			c := e.mint(e.tokenID, a, addressParty(e.stranger))
			c.key = key
			return c
		}, 1713},
		{"burn", func(a string) call { return e.burn(e.tokenID, a, walletParty(e.wallet)) }, 1713},
		{"transfer", func(a string) call { return e.transfer(e.tokenID, a, walletParty(e.wallet), addressParty(e.stranger)) }, 1713},
		{"max supply", func(a string) call {
			return call{method: "POST", path: "/v1/tokens", body: e.tokenBody(`"mintable":true,"burnable":true,"maxSupply":` + a)}
		}, 1713},
		{"policy", func(a string) call {
			return call{method: "POST", path: "/v1/policies", body: `{"name":"p","rules":[{"type":"MAX_AMOUNT","amount":` + a + `}]}`}
		}, 1103},
	}
	for _, r := range routes {
		for _, a := range notAmounts {
			t.Run(r.name+" "+a.name, func(t *testing.T) {
				e.refused(t, r.call(a.json), want{400, r.code, a.says})
			})
		}
	}
	for _, r := range routes[:3] {
		t.Run(r.name+" zero", func(t *testing.T) { e.refused(t, r.call(`"0"`), want{400, 1713, "0"}) })
	}
	t.Run("initial supply above the maximum", func(t *testing.T) {
		body := strings.Replace(e.tokenBody(`"mintable":true,"burnable":true,"maxSupply":"10"`), `{`, `{"initialSupply":"11",`, 1)
		e.refused(t, call{method: "POST", path: "/v1/tokens", body: body}, want{422, 1705, "11"})
	})
	t.Run("the key is not burnt", func(t *testing.T) {
		c := routes[0].call(`"1"`)
		a := e.accepted(t, c, http.StatusAccepted, nil)
		if a.header.Get("Idempotency-Replayed") != "" {
			t.Error("the first effect of the key is called a replay")
		}
	})
}

// testAddresses: malformed, bad checksum, zero, the contract itself: 1712 on token calls, 1102 elsewhere.
func (e *edge) testAddresses(t *testing.T) {
	const zero = "0x0000000000000000000000000000000000000000"
	bad := []struct {
		name, json string
		says       string
	}{
		{"bad checksum", `"0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"`, "0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"},
		{"one character too few", `"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe"`, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe"},
		{"one character too many", `"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed0"`, "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed0"},
		{"no 0x", `"5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"`, "5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"},
		{"0X", `"0X5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"`, "0X5a"},
		{"not hex", `"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeg"`, "BeAeg"},
		{"blank", `""`, ""},
		{"a name", `"treasury"`, "treasury"},
		{"a number", `1`, "1"},
		{"null", `null`, "null"},
		{"space after", `"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed "`, ""},
	}
	party := func(a string) string { return fmt.Sprintf(`{"type":"address","address":%s}`, a) }
	routes := []struct {
		name string
		call func(address string) call
	}{
		{"mint", func(a string) call { return e.mint(e.tokenID, `"1"`, party(a)) }},
		{"burn", func(a string) call { return e.burn(e.tokenID, `"1"`, party(a)) }},
		{"grant", func(a string) call { return e.change("grant", e.tokenID, "MINTER", party(a)) }},
		{"revoke", func(a string) call { return e.change("revoke", e.tokenID, "MINTER", party(a)) }},
		{"transfer from", func(a string) call { return e.transfer(e.tokenID, `"1"`, party(a), walletParty(e.wallet)) }},
		{"transfer to", func(a string) call { return e.transfer(e.tokenID, `"1"`, walletParty(e.wallet), party(a)) }},
		{"freeze", func(a string) call { return e.list("freeze", e.regulatedID, party(a)) }},
		{"unfreeze", func(a string) call { return e.list("unfreeze", e.regulatedID, party(a)) }},
		{"allow", func(a string) call { return e.list("allowlist", e.regulatedID, party(a)) }},
	}
	for _, r := range routes {
		own := e.tokenAddr
		if strings.Contains(r.call(`""`).path, e.regulatedID) {
			own = e.regulatedAddr
		}
		for _, a := range bad {
			t.Run(r.name+" "+a.name, func(t *testing.T) { e.refused(t, r.call(a.json), want{400, 1712, a.says}) })
		}
		t.Run(r.name+" zero address", func(t *testing.T) { e.refused(t, r.call(`"`+zero+`"`), want{400, 1712, "zero"}) })
		t.Run(r.name+" the contract itself", func(t *testing.T) {
			e.refused(t, r.call(`"`+own+`"`), want{400, 1712, own})
			e.refused(t, r.call(`"`+strings.ToLower(own)+`"`), want{400, 1712, own})
		})
	}
	for _, a := range []string{"0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "treasury", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe", zero, e.regulatedAddr} {
		t.Run("disallow "+a, func(t *testing.T) { e.refused(t, e.disallow(e.regulatedID, a), want{400, 1712, ""}) })
	}
	for _, a := range bad {
		t.Run("policy "+a.name, func(t *testing.T) {
			e.refused(t, call{method: "POST", path: "/v1/policies", body: `{"name":"p","rules":[{"type":"WHITELIST_ADDRESS","addresses":[` + a.json + `]}]}`},
				want{400, 1102, a.says})
		})
	}
	for _, a := range []string{"0x5AAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "treasury", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAe"} {
		t.Run("balance of "+a, func(t *testing.T) {
			e.refused(t, call{method: "GET", path: "/v1/tokens/" + e.tokenID + "/balances/" + a}, want{400, 1712, a})
		})
	}
	t.Run("any one case is an address", func(t *testing.T) {
		for _, a := range []string{strings.ToLower(e.stranger), "0x" + strings.ToUpper(e.stranger[2:])} {
			e.accepted(t, call{method: "GET", path: "/v1/tokens/" + e.tokenID + "/balances/" + a}, http.StatusOK, nil)
		}
	})
}

// testOrder: of two things that are wrong, the one that spec/api.md checks first is answered.
func (e *edge) testOrder(t *testing.T) {
	unknown := "token_01JS0Z4M9GQ3V1T7T2B5C8D0EF"
	mint := func(token, amount string) call { return e.mint(token, amount, addressParty(e.stranger)) }
	as := func(c call, who string) call { c.as = who; return c }
	keyless := func(c call) call { c.key = ""; return c }
	broken := call{method: "POST", path: "/v1/tokens/" + e.tokenID + "/mint", body: `{`}
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"key before shape", as(broken, "none"), want{401, 1000, ""}},
		{"permission before shape", as(broken, "viewer"), want{403, 1001, "tokens:mint"}},
		{"shape before the idempotency key", broken, want{400, 1100, ""}},
		{"shape before the token", call{method: "POST", path: "/v1/tokens/" + unknown + "/mint", key: draw(), body: `{"amount":"1"}`}, want{400, 1101, "recipient"}},
		{"the token before its values", mint(unknown, `"0"`), want{404, 1112, unknown}},
		{"the token before a number for an amount", mint(unknown, `1`), want{404, 1112, unknown}},
		{"state before values", mint(e.draftID, `"-1"`), want{409, 1703, e.draftID}},
		{"state before the recipient", e.mint(e.draftID, `"1"`, addressParty("0x00")), want{409, 1703, e.draftID}},
		{"template before values", mint(e.fixedID, `"0"`), want{422, 1704, ""}},
		{"template before the subject", e.change("grant", e.tokenID, "FREEZER", addressParty("0x00")), want{422, 1704, "FREEZER"}},
		{"state before the template", e.change("grant", e.draftID, "FREEZER", addressParty(e.stranger)), want{409, 1703, e.draftID}},
		{"values before the chain", e.burn(e.tokenID, `"0"`, walletParty(e.otherWallet)), want{400, 1713, "0"}},
		{"the chain before policy", mint(e.cappedID, `"9000000000000000000000000"`), want{422, 1705, "9000000000000000000000000"}},
		{"the idempotency key before the token", keyless(mint(unknown, `"1"`)), want{400, 1101, "Idempotency-Key"}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
}
