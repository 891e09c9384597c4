package dev_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
)

// testTokens: what a definition must have, and what may change when.
func (e *edge) testTokens(t *testing.T) {
	good := e.tokenBody(`"mintable":true,"burnable":true`)
	without := func(member string) string { return strings.Replace(good, member, "", 1) }
	create := func(body string) call { return call{method: "POST", path: "/v1/tokens", body: body} }
	patch := func(id, body string) call { return call{method: "PATCH", path: "/v1/tokens/" + id, body: body} }
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"no name", create(without(`"name":"Example",`)), want{400, 1101, "name"}},
		{"no symbol", create(without(`"symbol":"EIT",`)), want{400, 1101, "symbol"}},
		{"no decimals", create(without(`"decimals":18,`)), want{400, 1101, "decimals"}},
		{"no network", create(without(`,"network":"quantum-chain-devnet"`)), want{400, 1101, "network"}},
		{"empty name", create(strings.Replace(good, `"Example"`, `""`, 1)), want{400, 1100, "name"}},
		{"decimals as text", create(strings.Replace(good, `18`, `"18"`, 1)), want{400, 1100, "decimals"}},
		{"negative decimals", create(strings.Replace(good, `18`, `-1`, 1)), want{400, 1100, "decimals"}},
		{"256 decimals", create(strings.Replace(good, `18`, `256`, 1)), want{400, 1100, "decimals"}},
		{"half a decimal", create(strings.Replace(good, `18`, `1.5`, 1)), want{400, 1100, "decimals"}},
		{"mintable as text", create(strings.Replace(good, `"mintable":true`, `"mintable":"yes"`, 1)), want{400, 1100, "mintable"}},
		{"nothing to change", patch(e.draftID, `{}`), want{400, 1100, ""}},
		{"decimals after deployment", patch(e.tokenID, `{"decimals":6}`), want{409, 1702, e.tokenID}},
		{"symbol after deployment", patch(e.tokenID, `{"symbol":"NEW"}`), want{409, 1702, e.tokenID}},
		{"supply policy after deployment", patch(e.tokenID, `{"supplyPolicy":{"mintable":true,"burnable":true,"maxSupply":"5"}}`), want{409, 1702, e.tokenID}},
		{"admin after deployment", patch(e.tokenID, fmt.Sprintf(`{"admin":{"vaultAccountId":%q,"approvalPolicyId":%q}}`, e.vault, e.policyID)), want{409, 1702, e.tokenID}},
		{"state before a bad amount", patch(e.tokenID, `{"initialSupply":"-1"}`), want{409, 1702, e.tokenID}},
		{"bad amount in a draft", patch(e.draftID, `{"initialSupply":"-1"}`), want{400, 1713, "-1"}},
		{"another standard", patch(e.draftID, `{"standard":"QRC-1155"}`), want{422, 1700, "QRC-1155"}},
		{"another constructor", call{method: "POST", path: "/v1/tokens/" + e.draftID + "/deploy", key: draw(), body: `{"constructorArgs":{"symbol":"OTHER"}}`}, want{400, 1100, "OTHER"}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
}

// testStates: what is not deployed, what is deployed, what its template or supply policy lacks, what has ended.
func (e *edge) testStates(t *testing.T) {
	to := addressParty(e.stranger)
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"mint on a draft", e.mint(e.draftID, `"1"`, to), want{409, 1703, e.draftID}},
		{"burn on a draft", e.burn(e.draftID, `"1"`, to), want{409, 1703, e.draftID}},
		{"grant on a draft", e.change("grant", e.draftID, "MINTER", to), want{409, 1703, e.draftID}},
		{"revoke on a draft", e.change("revoke", e.draftID, "MINTER", to), want{409, 1703, e.draftID}},
		{"roles of a draft", call{method: "GET", path: "/v1/tokens/" + e.draftID + "/roles"}, want{409, 1703, e.draftID}},
		{"balance on a draft", call{method: "GET", path: "/v1/tokens/" + e.draftID + "/balances/" + e.stranger}, want{409, 1703, e.draftID}},
		{"deploy again", call{method: "POST", path: "/v1/tokens/" + e.tokenID + "/deploy", key: draw(), body: `{}`}, want{409, 1702, e.tokenID}},
		{"not mintable", e.mint(e.fixedID, `"1"`, to), want{422, 1704, "mintable"}},
		{"not burnable", e.burn(e.fixedID, `"1"`, to), want{422, 1704, "burnable"}},
		{"role that the template lacks", e.change("grant", e.tokenID, "FREEZER", to), want{422, 1704, "FREEZER"}},
		{"role that the template lacks, revoked", e.change("revoke", e.tokenID, "COMPLIANCE_OPERATOR", to), want{422, 1704, "COMPLIANCE_OPERATOR"}},
		{"transfer of a draft", e.transfer(e.draftID, `"1"`, to, to), want{409, 1703, e.draftID}},
		{"pause of a draft", e.stop("pause", e.draftID), want{409, 1703, e.draftID}},
		{"freeze on a draft", e.list("freeze", e.draftID, to), want{409, 1703, e.draftID}},
		{"disallow on a draft", e.disallow(e.draftID, e.stranger), want{409, 1703, e.draftID}},
		{"estimate of what is deployed", call{method: "POST", path: "/v1/tokens/" + e.tokenID + "/deployment/estimate"}, want{409, 1702, e.tokenID}},
		{"freeze that the template lacks", e.list("freeze", e.tokenID, to), want{422, 1704, "freeze"}},
		{"unfreeze that the template lacks", e.list("unfreeze", e.tokenID, to), want{422, 1704, "unfreeze"}},
		{"allowlist that the template lacks", e.list("allowlist", e.tokenID, to), want{422, 1704, "allow"}},
		{"allowlist that the template lacks, taken off", e.disallow(e.tokenID, e.stranger), want{422, 1704, "disallow"}},
		{"role that nobody has", e.change("grant", e.tokenID, "KING", to), want{400, 1100, "KING"}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
	t.Run("two deployments at once", func(t *testing.T) {
		id := e.token(t, `"mintable":true,"burnable":true`)
		before := e.total(t, "/v1/token-operations")
		answers := make([]answer, 8)
		var last sync.WaitGroup
		for i := range answers {
			last.Go(func() {
				a, err := e.try(t.Context(), call{method: "POST", path: "/v1/tokens/" + id + "/deploy", key: draw(), body: `{}`})
				if err != nil {
					t.Error(err)
				}
				answers[i] = a
			})
		}
		last.Wait()
		taken := 0
		for _, a := range answers {
			if a.status == http.StatusAccepted {
				taken++
				continue
			}
			a.problem(t, want{409, 1702, id})
		}
		if got := e.total(t, "/v1/token-operations"); taken != 1 || got != before+1 {
			t.Errorf("%d deployments of one token were accepted, %d stored", taken, got-before)
		}
	})
}

// testRoles: who performs must hold the role, whom it is taken from too, and one ADMIN stays.
func (e *edge) testRoles(t *testing.T) {
	by := func(c call) call {
		c.body = strings.TrimSuffix(c.body, "}") + `,"performedBy":` + walletParty(e.otherWallet) + "}"
		return c
	}
	to := addressParty(e.stranger)
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"mint without MINTER", by(e.mint(e.tokenID, `"1"`, to)), want{403, 1706, e.otherWallet}},
		{"burn without BURNER", by(e.burn(e.tokenID, `"1"`, walletParty(e.otherWallet))), want{403, 1707, e.otherWallet}},
		{"grant without ADMIN", by(e.change("grant", e.tokenID, "MINTER", to)), want{403, 1708, e.otherWallet}},
		{"revoke without ADMIN", by(e.change("revoke", e.tokenID, "MINTER", walletParty(e.wallet))), want{403, 1708, e.otherWallet}},
		{"revoke from one who does not hold it", e.change("revoke", e.tokenID, "MINTER", to), want{409, 1708, e.stranger}},
		{"revoke ADMIN from one who does not hold it", e.change("revoke", e.tokenID, "ADMIN", to), want{409, 1708, e.stranger}},
		{"revoke the last ADMIN", e.change("revoke", e.tokenID, "ADMIN", walletParty(e.wallet)), want{422, 1200, ""}},
		{"revoke the last ADMIN by its address", e.change("revoke", e.tokenID, "ADMIN", addressParty(e.walletAddr)), want{422, 1200, ""}},
		{"pause without PAUSER", call{method: "POST", path: "/v1/tokens/" + e.tokenID + "/pause", key: draw(), body: `{"performedBy":` + walletParty(e.otherWallet) + `}`}, want{403, 1708, "PAUSER"}},
		{"freeze without FREEZER", by(e.list("freeze", e.regulatedID, to)), want{403, 1708, "FREEZER"}},
		{"allow without COMPLIANCE_OPERATOR", by(e.list("allowlist", e.regulatedID, to)), want{403, 1708, "COMPLIANCE_OPERATOR"}},
		{"transfer above the balance", e.transfer(e.tokenID, `"1"`, walletParty(e.wallet), to), want{422, 1713, "1"}},
		{"transfer without an allowance", e.transfer(e.tokenID, `"1"`, to, walletParty(e.wallet)), want{422, 1713, e.stranger}},
		{"burn above the balance", e.burn(e.tokenID, `"1"`, walletParty(e.wallet)), want{422, 1713, "1"}},
		{"burn of a stranger's", e.burn(e.tokenID, `"1"`, to), want{422, 1713, e.stranger}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
}

// testSupply: mints that are authorized and not mined count, whoever asked; so do the caller's own.
func (e *edge) testSupply(t *testing.T) {
	e.member(t, "operator-2", "operator")
	as := func(c call, who string) call { c.as = who; return c }
	to := addressParty(e.stranger)
	e.refused(t, e.mint(e.cappedID, `"1001"`, to), want{422, 1705, "1001"})
	e.refused(t, e.mint(e.cappedID, fmt.Sprintf("%q", strings.Repeat("9", 77)), to), want{422, 1705, "1000"})

	own := e.made(t, as(e.mint(e.cappedID, `"600"`, to), "operator-2"), http.StatusAccepted)
	p := e.refused(t, as(e.mint(e.cappedID, `"401"`, to), "operator-2"), want{422, 1705, "401"})
	for name, value := range map[string]string{"maxSupply": "1000", "pending": "600", "requested": "401"} {
		if p.Details[name] != value {
			t.Errorf("details.%s is %v, want %s", name, p.Details[name], value)
		}
	}
	e.rpcCall("devnet_delay", `["0x8"]`)
	e.approve(own, "approver-1", "approver-3")
	e.reached(own, client.OperationStatusBROADCASTING)
	e.rpcCall("devnet_delay", `["0x0"]`)
	unmined := e.mint(e.cappedID, `"401"`, to)
	e.refused(t, unmined, want{422, 1705, "401"})
	e.refused(t, call{method: "POST", path: "/v1/token-operations/" + own + "/cancel", as: "operator-2", body: `{}`}, want{409, 1301, own})
	e.completed(own)
	e.refused(t, unmined, want{422, 1705, "401"})
	if got := e.supply(e.cappedID); got != "600" {
		t.Errorf("supply is %s, want 600", got)
	}
	e.withdraw(t, e.made(t, e.mint(e.cappedID, `"400"`, to), http.StatusAccepted))
}

// testDenials: what policy denies is 1200 with the rule and an audit entry, and no operation.
func (e *edge) testDenials(t *testing.T) {
	const above = "1000000000000000000000001"
	audits := e.total(t, "/v1/audit?action=operation.denied&limit=1")
	p := e.refused(t, e.mint(e.tokenID, `"`+above+`"`, addressParty(e.stranger)), want{422, 1200, above})
	for name, value := range map[string]string{"rule": "MAX_AMOUNT", "limit": "1000000000000000000000000", "requested": above} {
		if fmt.Sprint(p.Details[name]) != value {
			t.Errorf("details.%s is %v, want %s", name, p.Details[name], value)
		}
	}
	if _, ok := p.Details["used"]; !ok {
		t.Error("details.used is missing")
	}
	if id := fmt.Sprint(p.Details["auditId"]); !strings.HasPrefix(id, "aud_") {
		t.Errorf("details.auditId is %q", id)
	}
	if got := e.total(t, "/v1/audit?action=operation.denied&limit=1"); got != audits+1 {
		t.Errorf("%d audit entries of a denial became %d", audits, got)
	}
}

// testPending: at most 64 operations of one key await approval.
func (e *edge) testPending(t *testing.T) {
	e.member(t, "flood", "operator")
	as := func(c call) call { c.as = "flood"; return c }
	var last sync.WaitGroup
	for range 8 {
		last.Go(func() {
			for range 8 {
				a, err := e.try(t.Context(), as(e.mint(e.tokenID, `"1"`, addressParty(e.stranger))))
				if err != nil || a.status != http.StatusAccepted {
					t.Errorf("%d %s %v", a.status, a.body, err)
				}
			}
		})
	}
	last.Wait()
	refused := as(e.mint(e.tokenID, `"1"`, addressParty(e.stranger)))
	e.refused(t, refused, want{429, 1604, "64"})
	e.credential(t, "flood again", e.user(t, "flood"), "")
	other := e.mint(e.tokenID, `"1"`, addressParty(e.stranger))
	other.as = "flood again"
	e.withdraw(t, e.made(t, other, http.StatusAccepted)) // another key has its own
	var page struct {
		Data []struct {
			OperationID string `json:"operationId"`
		} `json:"data"`
	}
	e.accepted(t, call{method: "GET", path: "/v1/token-operations?requestedBy=flood&status=PENDING_AUTHORIZATION&limit=1"}, http.StatusOK, &page)
	e.withdraw(t, page.Data[0].OperationID)
	e.withdraw(t, e.made(t, refused, http.StatusAccepted)) // one less waits, and the key was not burnt
}
