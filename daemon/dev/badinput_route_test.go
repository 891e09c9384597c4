package dev_test

import (
	"fmt"
	"strings"
	"testing"
)

// testRoutes: unknown paths are 404, unknown methods 405, both 1112.
func (e *edge) testRoutes(t *testing.T) {
	for _, r := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/", 404},
		{"GET", "/v1", 404},
		{"GET", "/v1/nothing", 404},
		{"GET", "/v2/tokens", 404},
		{"GET", "/v1/tokens/", 404},
		{"GET", "/V1/tokens", 404},
		{"GET", "/v1//tokens", 404},
		{"GET", "/v1/x/../tokens", 404},
		{"POST", "/v1/tokens/" + e.tokenID + "/melt", 404},
		{"GET", "/v1/tokens/" + e.tokenID + "/mint", 405},
		{"PUT", "/v1/tokens/" + e.tokenID + "/mint", 405},
		{"DELETE", "/v1/tokens/" + e.tokenID, 405},
		{"PUT", "/v1/tokens", 405},
		{"DELETE", "/v1/token-operations/" + e.operation, 405},
		{"GET", "/v1/token-operations/" + e.operation + "/approve", 405},
		{"POST", "/v1/audit", 405},
		{"PATCH", "/v1/vault/accounts", 405},
		{"POST", "/v1/openapi.json", 405},
		{"BREW", "/v1/tokens", 405},
	} {
		t.Run(r.method+" "+r.path, func(t *testing.T) {
			says := r.path
			if r.status == 405 {
				says = r.method
			}
			e.refused(t, call{method: r.method, path: r.path}, want{r.status, 1112, says})
		})
	}
	t.Run("the caller's own request id", func(t *testing.T) {
		for sent, kept := range map[string]bool{"mine-1": true, strings.Repeat("x", 128): true, strings.Repeat("x", 129): false, "with space": false, "bj\xf6rn": false} {
			p := e.refused(t, call{method: "GET", path: "/v1/nothing", header: map[string][]string{"Request-Id": {sent}}}, want{404, 1112, ""})
			if kept && p.RequestID != sent || !kept && !strings.HasPrefix(p.RequestID, "req_") {
				t.Errorf("Request-Id %q became %q", sent, p.RequestID)
			}
		}
	})
}

// testUnknownIDs: each kind of resource has its own code; ids that can be none are answered alike.
func (e *edge) testUnknownIDs(t *testing.T) {
	const ulid = "01JS0Z4M9GQ3V1T7T2B5C8D0EF"
	envelope := `{"envelope":{"payloadType":"application/vnd.mintwarden.decision+json","payload":"e30=","signatures":[{"keyid":"sha256:00","sig":"AA=="}]}}`
	rules := `{"name":"p","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`
	for _, kind := range []struct {
		prefix string
		status int
		code   int
		calls  []call // %s is the id
	}{
		{"tpl_", 404, 1701, []call{{method: "GET", path: "/v1/token-templates/%s"}}},
		{"token_", 404, 1112, []call{
			{method: "GET", path: "/v1/tokens/%s"},
			{method: "GET", path: "/v1/tokens/%s/deployment"},
			{method: "GET", path: "/v1/tokens/%s/roles"},
			{method: "GET", path: "/v1/tokens/%s/balances/" + e.stranger},
			{method: "PATCH", path: "/v1/tokens/%s", body: `{"description":"x"}`},
			{method: "POST", path: "/v1/tokens/%s/deploy", key: draw(), body: `{}`},
			{method: "POST", path: "/v1/tokens/%s/mint", key: draw(), body: `{"amount":"1","recipient":` + addressParty(e.stranger) + `}`},
			{method: "POST", path: "/v1/tokens/%s/burn", key: draw(), body: `{"amount":"1","from":` + addressParty(e.stranger) + `}`},
			{method: "POST", path: "/v1/tokens/%s/roles/grant", key: draw(), body: `{"role":"MINTER","subject":` + addressParty(e.stranger) + `}`},
			{method: "POST", path: "/v1/tokens/%s/roles/revoke", key: draw(), body: `{"role":"MINTER","subject":` + addressParty(e.stranger) + `}`},
		}},
		{"op_", 404, 1300, []call{
			{method: "GET", path: "/v1/token-operations/%s"},
			{method: "POST", path: "/v1/token-operations/%s/approve", as: "approver-1", body: envelope},
			{method: "POST", path: "/v1/token-operations/%s/reject", as: "approver-1", body: envelope},
			{method: "POST", path: "/v1/token-operations/%s/cancel", body: `{}`},
		}},
		{"vault_", 404, 1400, []call{
			{method: "GET", path: "/v1/vault/accounts/%s"},
			{method: "GET", path: "/v1/vault/accounts/%s/wallets"},
			{method: "POST", path: "/v1/vault/accounts/%s/wallets", body: `{"network":"quantum-chain-devnet"}`},
		}},
		{"wallet_", 404, 1400, []call{
			{method: "GET", path: "/v1/wallets/%s"},
			{method: "GET", path: "/v1/wallets/%s/balance"},
		}},
		{"pol_", 404, 1300, []call{
			{method: "GET", path: "/v1/policies/%s"},
			{method: "PUT", path: "/v1/policies/%s", body: rules},
			{method: "DELETE", path: "/v1/policies/%s"},
			{method: "POST", path: "/v1/policies/%s/sign", as: "custodian-1", body: envelope},
		}},
		{"user_", 404, 1112, []call{{method: "GET", path: "/v1/users/%s", as: "admin"}}},
		{"cred_", 404, 1112, []call{{method: "DELETE", path: "/v1/credentials/%s", as: "admin"}}},
	} {
		for _, c := range kind.calls {
			for _, id := range []string{kind.prefix + ulid, kind.prefix + "x", "nonsense", strings.ToUpper(kind.prefix) + ulid, "%2e%2e%2fsecret"} {
				t.Run(c.method+" "+fmt.Sprintf(c.path, id), func(t *testing.T) {
					c := c
					c.path = fmt.Sprintf(c.path, id)
					says := id
					if strings.Contains(id, "%") {
						says = "../secret"
					}
					e.refused(t, c, want{kind.status, kind.code, says})
				})
			}
		}
	}
	t.Run("in bodies", func(t *testing.T) { e.testUnknownInBodies(t, ulid) })
}

func (e *edge) testUnknownInBodies(t *testing.T, ulid string) {
	token := func(from, to string) call {
		return call{method: "POST", path: "/v1/tokens", body: strings.Replace(e.tokenBody(`"mintable":true,"burnable":true`), from, to, 1)}
	}
	with := func(c call, more string) call { c.body = strings.TrimSuffix(c.body, "}") + "," + more + "}"; return c }
	mint := e.mint(e.tokenID, `"1"`, addressParty(e.stranger))
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"recipient wallet", e.mint(e.tokenID, `"1"`, walletParty("wallet_"+ulid)), want{404, 1400, "wallet_" + ulid}},
		{"recipient vault account", e.mint(e.tokenID, `"1"`, vaultParty("vault_"+ulid)), want{404, 1400, "vault_" + ulid}},
		{"recipient without a wallet", e.mint(e.tokenID, `"1"`, vaultParty(e.emptyVault)), want{404, 1400, e.emptyVault}},
		{"performing wallet", with(mint, `"performedBy":`+walletParty("wallet_"+ulid)), want{404, 1400, "wallet_" + ulid}},
		{"performing vault account without a wallet", with(mint, `"performedBy":`+vaultParty(e.emptyVault)), want{404, 1400, e.emptyVault}},
		{"replaced operation", with(mint, `"replaces":"op_`+ulid+`"`), want{404, 1300, "op_" + ulid}},
		{"deploying wallet", call{method: "POST", path: "/v1/tokens/" + e.draftID + "/deploy", key: draw(), body: `{"deployerWalletId":"wallet_` + ulid + `"}`}, want{404, 1400, "wallet_" + ulid}},
		{"template", token(`"tpl_qrc20_v1"`, `"tpl_none_v1"`), want{404, 1701, "tpl_none_v1"}},
		{"standard", token(`"QRC-20"`, `"QRC-721"`), want{422, 1700, "QRC-721"}},
		{"vault account of a token", token(e.vault, "vault_"+ulid), want{404, 1400, "vault_" + ulid}},
		{"policy of a token", token(e.policyID, "pol_"+ulid), want{404, 1300, "pol_" + ulid}},
		{"network of a token", token("quantum-chain-devnet", "quantum-chain-none"), want{400, 1100, "quantum-chain-none"}},
		{"network of a wallet", call{method: "POST", path: "/v1/vault/accounts/" + e.vault + "/wallets", body: `{"network":"none"}`}, want{400, 1100, "none"}},
		{"scheme of a wallet", call{method: "POST", path: "/v1/vault/accounts/" + e.vault + "/wallets", body: `{"network":"quantum-chain-devnet","scheme":"rot13"}`}, want{400, 1100, "rot13"}},
		{"token of a policy", call{method: "POST", path: "/v1/policies", body: `{"name":"p","tokenId":"token_` + ulid + `","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`}, want{404, 1112, "token_" + ulid}},
		{"vault account of a policy", call{method: "POST", path: "/v1/policies", body: `{"name":"p","vaultAccountId":"vault_` + ulid + `","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`}, want{404, 1400, "vault_" + ulid}},
		{"user of a credential", call{method: "POST", path: "/v1/credentials", as: "admin", body: `{"userId":"user_` + ulid + `"}`}, want{404, 1112, "user_" + ulid}},
		{"role of a user", call{method: "POST", path: "/v1/users", as: "admin", body: `{"name":"new","role":"king"}`}, want{400, 1100, "king"}},
		{"name of another user", call{method: "POST", path: "/v1/users", as: "admin", body: `{"name":"approver-1","role":"operator"}`}, want{400, 1100, "approver-1"}},
		{"permission of a credential", call{method: "POST", path: "/v1/credentials", as: "admin", body: fmt.Sprintf(`{"userId":%q,"permissions":["tokens:steal"]}`, e.user(t, "viewer"))}, want{400, 1100, "tokens:steal"}},
		{"network of a credential", call{method: "POST", path: "/v1/credentials", as: "admin", body: fmt.Sprintf(`{"userId":%q,"cidrs":["10.0.0.300/8"]}`, e.user(t, "viewer"))}, want{400, 1100, "10.0.0.300/8"}},
		{"address for a network", call{method: "POST", path: "/v1/credentials", as: "admin", body: fmt.Sprintf(`{"userId":%q,"cidrs":["10.0.0.1/8"]}`, e.user(t, "viewer"))}, want{400, 1100, "10.0.0.1/8"}},
		{"certificate of a credential", call{method: "POST", path: "/v1/credentials", as: "admin", body: fmt.Sprintf(`{"userId":%q,"certificateFingerprints":["ab"]}`, e.user(t, "viewer"))}, want{400, 1100, "ab"}},
		{"operation that did not fail", with(mint, `"replaces":"`+e.operation+`"`), want{409, 1301, e.operation}},
		{"permission beyond the role", call{method: "POST", path: "/v1/credentials", as: "admin", body: fmt.Sprintf(`{"userId":%q,"permissions":["tokens:mint"]}`, e.user(t, "viewer"))}, want{400, 1100, "tokens:mint"}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
}

// testPagination: bad values are 1108 on every list.
func (e *edge) testPagination(t *testing.T) {
	plain := []string{"limit=0", "limit=-1", "limit=201", "limit=x", "limit=1.5", "limit=", "limit=1&limit=2", "limit=99999999999999999999", "limit=%20" + "1", "limit=0x1",
		"offset=-1", "offset=x", "offset=10001", "offset=", "offset=1&offset=1", "offset=1e3"}
	cursors := []string{"cursor=", "cursor=%00", "cursor=nonsense", "cursor=op_01JS0Z4M9GQ3V1T7T2B5C8D0E", "cursor=" + strings.Repeat("A", 600), "cursor=op_01JS0Z4M9GQ3V1T7T2B5C8D0EF&offset=1"}
	for _, path := range []string{"/v1/token-templates", "/v1/tokens", "/v1/token-operations", "/v1/vault/accounts", "/v1/vault/accounts/" + e.vault + "/wallets",
		"/v1/policies", "/v1/users", "/v1/credentials", "/v1/audit"} {
		queries := plain
		if path == "/v1/token-operations" || path == "/v1/audit" {
			queries = append(append([]string{}, plain...), cursors...)
		}
		for _, q := range queries {
			t.Run(path+"?"+q[:min(len(q), 40)], func(t *testing.T) {
				name, _, _ := strings.Cut(q, "=")
				e.refused(t, call{method: "GET", path: path + "?" + q, as: "admin"}, want{400, 1108, name})
			})
		}
	}
	for _, q := range []string{"limit=1&offset=10000", "limit=200"} {
		e.accepted(t, call{method: "GET", path: "/v1/tokens?" + q}, 200, nil)
	}
}

// testFilters: a filter that can match nothing is refused, not answered with nothing.
func (e *edge) testFilters(t *testing.T) {
	for _, c := range []struct {
		query string
		says  string
	}{
		{"/v1/tokens?status=FLYING", "FLYING"},
		{"/v1/tokens?status=deployed", "deployed"},
		{"/v1/tokens?colour=red", "colour"},
		{"/v1/token-operations?status=DONE", "DONE"},
		{"/v1/token-operations?operationType=MELT", "MELT"},
		{"/v1/token-operations?status=COMPLETED&status=FAILED", "status"},
		{"/v1/token-operations?requestedBy=a%00b", "requestedBy"},
		{"/v1/audit?from=yesterday", "yesterday"},
		{"/v1/audit?to=2026-04-27", "2026-04-27"},
		{"/v1/audit?actor=a%E2%80%AEb", "actor"},
		{"/v1/audit?action=", "action"},
	} {
		t.Run(c.query, func(t *testing.T) {
			e.refused(t, call{method: "GET", path: c.query, as: "admin"}, want{400, 1100, c.says})
		})
	}
}
