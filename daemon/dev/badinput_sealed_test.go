package dev_test

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// testSealed: while the seal is sealed every write is 1603 and every read answers.
func (e *edge) testSealed(t *testing.T) {
	id := e.made(t, e.mint(e.tokenID, `"2"`, addressParty(e.stranger)), http.StatusAccepted)
	approval := e.envelope(t, "approver-1", "decision", e.decision(t, "approver-1", policy.Approve, id, ""))
	socket, err := filepath.EvalSymlinks(filepath.Join(e.dir, "run", "seal.sock"))
	if err != nil {
		t.Fatal(err)
	}
	door, err := seal.Dial(e.context(), socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = door.Close() }()
	if _, err := door.Seal(e.context(), nil); err != nil {
		t.Fatalf("seal: %v", err)
	}
	t.Run("at once", func(t *testing.T) {
		e.refused(t, call{method: "POST", path: "/v1/vault/accounts", body: `{"name":"x"}`}, want{503, 1603, "seal"})
	})
	e.until(t, func() bool {
		s, err := e.as("operator").GetSeal(e.context())
		return err == nil && s.Sealed && s.Reachable
	})
	token := "/v1/tokens/" + e.tokenID
	rules := `{"name":"p","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers"}]}`
	writes := []call{
		{method: "POST", path: "/v1/tokens", body: e.tokenBody(`"mintable":true,"burnable":true`)},
		{method: "PATCH", path: token, body: `{"description":"x"}`},
		{method: "POST", path: "/v1/tokens/" + e.draftID + "/deploy", key: draw(), body: `{}`},
		e.mint(e.tokenID, `"1"`, addressParty(e.stranger)),
		e.burn(e.tokenID, `"1"`, addressParty(e.stranger)),
		e.change("grant", e.tokenID, "MINTER", addressParty(e.stranger)),
		e.change("revoke", e.tokenID, "MINTER", addressParty(e.stranger)),
		decide("approver-1", "approve", id, approval),
		decide("approver-1", "reject", id, approval),
		{method: "POST", path: "/v1/token-operations/" + id + "/cancel", body: `{}`},
		{method: "POST", path: "/v1/vault/accounts", body: `{"name":"x"}`},
		{method: "POST", path: "/v1/vault/accounts/" + e.vault + "/wallets", body: `{"network":"quantum-chain-devnet"}`},
		{method: "POST", path: "/v1/policies", body: rules},
		{method: "PUT", path: "/v1/policies/" + e.policyID, body: rules},
		{method: "DELETE", path: "/v1/policies/" + e.policyID},
		{method: "POST", path: "/v1/policies/" + e.policyID + "/sign", as: "custodian-1", body: `{"envelope":` + approval + `}`},
		{method: "POST", path: "/v1/users", as: "admin", body: `{"name":"x","role":"viewer"}`},
		{method: "POST", path: "/v1/credentials", as: "admin", body: `{"userId":"` + e.user(t, "viewer") + `"}`},
		{method: "DELETE", path: "/v1/credentials/cred_01JS0Z4M9GQ3V1T7T2B5C8D0EF", as: "admin"},
	}
	for _, c := range writes {
		t.Run(c.method+" "+c.path, func(t *testing.T) { e.refused(t, c, want{503, 1603, "seal"}) })
	}
	t.Run("who may not is told so all the same", func(t *testing.T) {
		e.refused(t, call{method: "POST", path: "/v1/vault/accounts", as: "viewer", body: `{"name":"x"}`}, want{403, 1001, "vaults:create"})
	})
	for _, path := range []string{"/v1/token-templates", "/v1/token-templates/tpl_qrc20_v1", "/v1/tokens", token, token + "/deployment", token + "/roles",
		token + "/balances/" + e.stranger, "/v1/token-operations", "/v1/token-operations/" + id, "/v1/vault/accounts", "/v1/vault/accounts/" + e.vault,
		"/v1/vault/accounts/" + e.vault + "/wallets", "/v1/wallets/" + e.wallet, "/v1/wallets/" + e.wallet + "/balance", "/v1/policies", "/v1/policies/" + e.policyID,
		"/v1/charter", "/v1/ledger", "/v1/seal", "/v1/users", "/v1/credentials", "/v1/audit", "/v1/audit/verify", "/v1/openapi.json"} {
		t.Run("GET "+path, func(t *testing.T) { e.accepted(t, call{method: "GET", path: path, as: "admin"}, http.StatusOK, nil) })
	}
	if got := e.get(t, id); got.Status != "PENDING_AUTHORIZATION" || len(got.Approvals) != 0 {
		t.Errorf("the operation is %s with %v", got.Status, got.Approvals)
	}
}
