package dev_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
)

// Every error that the built routes can give, provoked over real HTTPS on one
// real appliance: status, code, type, a message that names the value, the
// request's id, and nothing stored.
func TestBadInput(t *testing.T) {
	e := newEdge(t)
	e.furnish(t)
	for _, s := range []struct {
		name string
		test func(*edge, *testing.T)
	}{
		{"tls", (*edge).testTLS},
		{"keys", (*edge).testKeys},
		{"permissions", (*edge).testPermissions},
		{"reading", (*edge).testReading},
		{"filters", (*edge).testFilters},
		{"routes", (*edge).testRoutes},
		{"unknown ids", (*edge).testUnknownIDs},
		{"pagination", (*edge).testPagination},
		{"json", (*edge).testJSON},
		{"too large", (*edge).testTooLarge},
		{"text", (*edge).testText},
		{"amounts", (*edge).testAmounts},
		{"addresses", (*edge).testAddresses},
		{"order", (*edge).testOrder},
		{"idempotency", (*edge).testIdempotency},
		{"sixteen at once", (*edge).testSixteenAtOnce},
		{"tokens", (*edge).testTokens},
		{"states", (*edge).testStates},
		{"roles", (*edge).testRoles},
		{"supply", (*edge).testSupply},
		{"funds", (*edge).testFunds},
		{"paused", (*edge).testPaused},
		{"regulated", (*edge).testRegulated},
		{"denials", (*edge).testDenials},
		{"pending", (*edge).testPending},
		{"approvals", (*edge).testApprovals},
		{"decisions at once", (*edge).testDecisionsAtOnce},
		{"flipped bits", (*edge).testFlippedBits},
		{"approver requests", (*edge).testApproverRequests},
		{"approve and cancel", (*edge).testApproveAndCancel},
		{"policies", (*edge).testPolicies},
		{"policy signatures", (*edge).testPolicySignatures},
		{"wallets an hour", (*edge).testWalletsAnHour},
		{"no node", (*edge).testNoNode},
		{"sealed", (*edge).testSealed}, // the last: nothing can be written afterwards
	} {
		t.Run(s.name, func(t *testing.T) {
			e.t = t
			s.test(e, t)
		})
	}
	e.t = t
}

// furnish makes what the tests are refused about: tokens in each state, a vault
// account without wallet, a wallet without roles.
func (e *edge) furnish(t *testing.T) {
	t.Helper()
	vault, wallet, policyID := e.treasury()
	e.vault, e.wallet, e.walletAddr, e.policyID = vault.ID, wallet.ID, wallet.Address, policyID
	e.stranger = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"
	e.emptyVault = e.made(t, call{method: "POST", path: "/v1/vault/accounts", body: `{"name":"empty"}`}, http.StatusCreated)
	other := e.made(t, call{method: "POST", path: "/v1/vault/accounts", body: `{"name":"other"}`}, http.StatusCreated)
	e.otherWallet = e.made(t, call{method: "POST", path: "/v1/vault/accounts/" + other + "/wallets",
		body: `{"network":"quantum-chain-devnet"}`}, http.StatusCreated)
	for i := range counters {
		e.credential(t, fmt.Sprint("counter ", i), e.user(t, "viewer"), "")
	}
	e.draftID = e.token(t, `"mintable":true,"burnable":true`)
	e.tokenID = e.token(t, `"mintable":true,"burnable":true`)
	e.cappedID = e.token(t, `"mintable":true,"burnable":true,"maxSupply":"1000"`)
	e.fixedID = e.token(t, `"mintable":false,"burnable":false`)
	e.regulatedID = e.made(t, call{method: "POST", path: "/v1/tokens",
		body: strings.Replace(e.tokenBody(`"mintable":true,"burnable":true`), "tpl_qrc20_v1", "tpl_qrc20_regulated_v1", 1)}, http.StatusCreated)
	var deployments []string
	for _, id := range []string{e.tokenID, e.cappedID, e.fixedID, e.regulatedID} {
		op := e.made(t, call{method: "POST", path: "/v1/tokens/" + id + "/deploy", key: draw(), body: `{}`}, http.StatusAccepted)
		e.approve(op, "approver-1", "approver-2")
		deployments = append(deployments, op)
	}
	for _, op := range deployments {
		e.completed(op)
	}
	for id, address := range map[string]*string{e.tokenID: &e.tokenAddr, e.regulatedID: &e.regulatedAddr} {
		token, err := e.as("operator").GetToken(e.context(), id)
		if err != nil {
			t.Fatal(err)
		}
		*address = *token.ContractAddress
	}
	e.operation = e.made(t, e.mint(e.tokenID, `"1"`, walletParty(e.wallet)), http.StatusAccepted)
}

// tokenBody is a token's definition; members of the same name that more holds stand in its place.
func (e *edge) tokenBody(supply string) string {
	return fmt.Sprintf(`{"standard":"QRC-20","templateId":"tpl_qrc20_v1","name":"Example","symbol":"EIT","decimals":18,`+
		`"supplyPolicy":{%s},"admin":{"vaultAccountId":%q,"approvalPolicyId":%q},"network":"quantum-chain-devnet"}`, supply, e.vault, e.policyID)
}

func (e *edge) token(t *testing.T, supply string) string {
	t.Helper()
	return e.made(t, call{method: "POST", path: "/v1/tokens", body: e.tokenBody(supply)}, http.StatusCreated)
}

// get is an operation as it is now.
func (e *edge) get(t *testing.T, id string) *client.Operation {
	t.Helper()
	op, err := e.as("operator").GetTokenOperation(e.context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return op
}
