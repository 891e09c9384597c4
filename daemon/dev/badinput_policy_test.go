package dev_test

import (
	"encoding/base64"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"testing"

	"github.com/mintwarden/mintwarden/policy"
)

// testPolicies: what spec/policy.md refuses is refused when it is proposed.
func (e *edge) testPolicies(t *testing.T) {
	const ask = `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers"}`
	const limit = `{"type":"DAILY_LIMIT","amount":"1000","operations":["MINT"]}`
	for _, c := range []struct {
		name, rules string
		want        want
	}{
		{"no rules", ``, want{400, 1100, "rules"}},
		{"unknown rule", `{"type":"ASK_NOBODY"}`, want{400, 1100, "ASK_NOBODY"}},
		{"rule without type", `{"amount":"1"}`, want{400, 1101, "type"}},
		{"unknown field", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","unless":"urgent"}`, want{400, 1100, "unless"}},
		{"field of another rule", `{"type":"MAX_AMOUNT","amount":"1","seconds":5}`, want{400, 1100, "seconds"}},
		{"quorum 0", `{"type":"REQUIRE_APPROVAL","minApprovers":0,"approverGroup":"approvers"}`, want{400, 1100, "minApprovers"}},
		{"quorum -1", `{"type":"REQUIRE_APPROVAL","minApprovers":-1,"approverGroup":"approvers"}`, want{400, 1100, "minApprovers"}},
		{"quorum 1.5", `{"type":"REQUIRE_APPROVAL","minApprovers":1.5,"approverGroup":"approvers"}`, want{400, 1100, "minApprovers"}},
		{"quorum as text", `{"type":"REQUIRE_APPROVAL","minApprovers":"2","approverGroup":"approvers"}`, want{400, 1100, "minApprovers"}},
		{"quorum 2^32 + 1", `{"type":"REQUIRE_APPROVAL","minApprovers":4294967297,"approverGroup":"approvers"}`, want{400, 1100, "minApprovers"}},
		{"no quorum", `{"type":"REQUIRE_APPROVAL","approverGroup":"approvers"}`, want{400, 1100, "minApprovers"}},
		{"no group", `{"type":"REQUIRE_APPROVAL","minApprovers":2}`, want{400, 1100, "approverGroup"}},
		{"empty group name", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":""}`, want{400, 1100, "approverGroup"}},
		{"unknown group", `{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"nobody"}`, want{400, 1100, "nobody"}},
		{"group of another case", `{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"Approvers"}`, want{400, 1100, "Approvers"}},
		{"more than the group has", `{"type":"REQUIRE_APPROVAL","minApprovers":4,"approverGroup":"approvers"}`, want{400, 1100, "approvers"}},
		{"tree of 0", `{"type":"REQUIRE_APPROVAL","quorum":{"group":"approvers","min":0}}`, want{400, 1100, "min"}},
		{"tree without min", `{"type":"REQUIRE_APPROVAL","quorum":{"group":"approvers"}}`, want{400, 1100, ""}},
		{"empty tree", `{"type":"REQUIRE_APPROVAL","quorum":{}}`, want{400, 1100, ""}},
		{"empty any", `{"type":"REQUIRE_APPROVAL","quorum":{"any":[]}}`, want{400, 1100, ""}},
		{"empty all", `{"type":"REQUIRE_APPROVAL","quorum":{"all":[]}}`, want{400, 1100, ""}},
		{"0 of", `{"type":"REQUIRE_APPROVAL","quorum":{"kOf":{"k":0,"of":[{"group":"approvers","min":1}]}}}`, want{400, 1100, "k"}},
		{"2 of 1", `{"type":"REQUIRE_APPROVAL","quorum":{"kOf":{"k":2,"of":[{"group":"approvers","min":1}]}}}`, want{400, 1100, ""}},
		{"four seats for three", `{"type":"REQUIRE_APPROVAL","quorum":{"all":[{"group":"approvers","min":2},{"group":"approvers","min":2}]}}`, want{400, 1100, ""}},
		{"an any branch out of reach", `{"type":"REQUIRE_APPROVAL","quorum":{"any":[{"group":"approvers","min":2},{"group":"approvers","min":4}]}}`, want{400, 1100, ""}},
		{"five deep", `{"type":"REQUIRE_APPROVAL","quorum":{"all":[{"all":[{"all":[{"all":[{"group":"approvers","min":1}]}]}]}]}}`, want{400, 1100, ""}},
		{"leaf and branch", `{"type":"REQUIRE_APPROVAL","quorum":{"group":"approvers","min":1,"all":[{"group":"approvers","min":1}]}}`, want{400, 1100, ""}},
		{"quorum and minApprovers", `{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers","quorum":{"group":"approvers","min":1}}`, want{400, 1100, "quorum"}},
		{"aboveAmount without a limit", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","aboveAmount":"100"}`, want{400, 1100, "aboveAmount"}},
		{"aboveAmount with a limit on others", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","aboveAmount":"100","operations":["MINT","BURN"]},` + limit, want{400, 1100, "aboveAmount"}},
		{"aboveAmount with another rule's limit", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","aboveAmount":"100","operations":["MINT"]},{"type":"MAX_AMOUNT","amount":"100"}`, want{400, 1100, "aboveAmount"}},
		{"a role change easier than a mint", ask + `,{"type":"TOKEN_ROLE_CHANGE","minApprovers":1,"approverGroup":"approvers"},{"type":"REQUIRE_APPROVAL","minApprovers":3,"approverGroup":"approvers","operations":["MINT"]}`, want{400, 1100, "MINT needs 3"}},
		{"a grant easier than a mint", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","operations":["MINT"]},{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers","operations":["GRANT_ROLE"]}`, want{400, 1100, "GRANT_ROLE"}},
		{"a deployment easier than a mint", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","operations":["MINT"]},{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers","operations":["DEPLOY_TOKEN"]}`, want{400, 1100, "DEPLOY_TOKEN"}},
		{"UNPAUSE easier than a mint", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","operations":["MINT"]},{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"approvers","operations":["UNPAUSE"]}`, want{400, 1100, "UNPAUSE"}},
		{"unknown operation", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","operations":["MELT"]}`, want{400, 1100, "MELT"}},
		{"no operations", `{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers","operations":[]}`, want{400, 1100, "operations"}},
		{"an amount rule on a role change", ask + `,{"type":"MAX_AMOUNT","amount":"1","operations":["GRANT_ROLE"]}`, want{400, 1100, "GRANT_ROLE"}},
		{"a daily limit on a role change", ask + `,{"type":"DAILY_LIMIT","amount":"1","operations":["PAUSE"]}`, want{400, 1100, "PAUSE"}},
		{"a limit without an amount", `{"type":"MAX_AMOUNT"}`, want{400, 1100, "amount"}},
		{"half a mint limit", `{"type":"TOKEN_MINT_LIMIT","perOperation":"1"}`, want{400, 1100, "perDay"}},
		{"unknown zone", `{"type":"DAILY_LIMIT","amount":"1","timezone":"Mars/Olympus"}`, want{400, 1100, "Mars/Olympus"}},
		{"the machine's zone", `{"type":"DAILY_LIMIT","amount":"1","timezone":"Local"}`, want{400, 1100, "Local"}},
		{"an empty window", `{"type":"TIME_WINDOW","days":["MON"],"start":"09:00","end":"09:00"}`, want{400, 1100, "09:00"}},
		{"25 o'clock", `{"type":"TIME_WINDOW","days":["MON"],"start":"09:00","end":"25:00"}`, want{400, 1100, "25:00"}},
		{"start at 24:00", `{"type":"TIME_WINDOW","days":["MON"],"start":"24:00","end":"09:00"}`, want{400, 1100, "24:00"}},
		{"no days", `{"type":"TIME_WINDOW","days":[],"start":"09:00","end":"10:00"}`, want{400, 1100, "days"}},
		{"unknown day", `{"type":"TIME_WINDOW","days":["FUNDAY"],"start":"09:00","end":"10:00"}`, want{400, 1100, "FUNDAY"}},
		{"an empty whitelist", `{"type":"WHITELIST_ADDRESS","addresses":[]}`, want{400, 1100, "addresses"}},
		{"no delay", `{"type":"DELAY","seconds":0}`, want{400, 1100, "seconds"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := fmt.Sprintf(`{"name":"p","rules":[%s]}`, c.rules)
			e.refused(t, call{method: "POST", path: "/v1/policies", body: body}, c.want)
			e.refused(t, call{method: "PUT", path: "/v1/policies/" + e.policyID, body: body}, c.want)
		})
	}
	t.Run("both scopes", func(t *testing.T) {
		e.refused(t, call{method: "POST", path: "/v1/policies", body: fmt.Sprintf(`{"name":"p","tokenId":%q,"vaultAccountId":%q,"rules":[%s]}`, e.tokenID, e.vault, ask)}, want{400, 1100, "tokenId"})
	})
	var active struct {
		Version   int              `json:"version"`
		Proposals []map[string]any `json:"proposals"`
	}
	e.accepted(t, call{method: "GET", path: "/v1/policies/" + e.policyID}, http.StatusOK, &active)
	if active.Version != 1 || len(active.Proposals) != 0 {
		t.Errorf("after refused proposals the policy has version %d and %d proposals", active.Version, len(active.Proposals))
	}
}

// testPolicySignatures: a proposal takes custodians' signatures over its exact bytes and no others.
func (e *edge) testPolicySignatures(t *testing.T) {
	var proposal struct {
		ID       string   `json:"id"`
		Document []byte   `json:"document"`
		SignedBy []string `json:"signedBy"`
	}
	propose := call{method: "POST", path: "/v1/policies", body: fmt.Sprintf(`{"name":"narrow","tokenId":%q,"rules":[{"type":"MAX_AMOUNT","amount":"5"}]}`, e.draftID)}
	e.accepted(t, propose, http.StatusAccepted, &proposal)
	path := "/v1/policies/" + proposal.ID
	sign := func(who, envelope string) call {
		return call{method: "POST", path: path + "/sign", as: who, body: `{"envelope":` + envelope + `}`}
	}
	good := e.envelope(t, "custodian-1", "policy", proposal.Document)
	e.draftPolicyFlips(t, sign, good)
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"no envelope", call{method: "POST", path: path + "/sign", as: "custodian-1", body: `{}`}, want{400, 1101, "envelope"}},
		{"an approver's signature", sign("custodian-1", e.envelope(t, "approver-1", "policy", proposal.Document)), want{422, 1202, ""}},
		{"another custodian's", sign("custodian-2", good), want{422, 1202, "custodian-1"}},
		{"as a decision", sign("custodian-1", e.envelope(t, "custodian-1", "decision", proposal.Document)), want{422, 1202, ""}},
		{"of other bytes", sign("custodian-1", e.envelope(t, "custodian-1", "policy", append([]byte(" "), proposal.Document...))), want{422, 1202, ""}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
	e.accepted(t, call{method: "GET", path: path}, http.StatusOK, &proposal)
	if len(proposal.SignedBy) != 0 {
		t.Errorf("refused signatures are kept: %v", proposal.SignedBy)
	}
	e.accepted(t, call{method: "DELETE", path: path}, http.StatusAccepted, nil)
	t.Run("withdrawn", func(t *testing.T) { e.refused(t, sign("custodian-1", good), want{409, 1301, proposal.ID}) })
	t.Run("withdrawn twice", func(t *testing.T) { e.refused(t, call{method: "DELETE", path: path}, want{409, 1301, proposal.ID}) })
}

// draftPolicyFlips: no bit of a custodian's signature may be another.
func (e *edge) draftPolicyFlips(t *testing.T, sign func(who, envelope string) call, good string) {
	t.Helper()
	var parsed policy.Envelope
	if err := json.Unmarshal([]byte(good), &parsed); err != nil {
		t.Fatal(err)
	}
	sig := parsed.Signatures[0].Sig
	for bit := range 8 * len(sig) {
		flipped := append([]byte{}, sig...)
		flipped[bit/8] ^= 1 << (bit % 8)
		parsed.Signatures[0].Sig = flipped
		a := e.send(t, sign("custodian-1", string(parsed.Encode())))
		if a.status != http.StatusUnprocessableEntity {
			t.Fatalf("with bit %d of %s flipped: %d %s", bit, base64.StdEncoding.EncodeToString(sig), a.status, a.body)
		}
	}
}
