package api_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/policy"
)

// TestTokenCalls: every privileged call on a token is accepted, carried to the
// chain and seen there, and refused with a code of its own where the chain would
// refuse it.
func TestTokenCalls(t *testing.T) {
	s := newHouse(t).serve()
	vault, wallet := s.vault("treasury")
	_, stranger := s.vault("elsewhere")
	token := s.deployed(vault, map[string]any{"templateId": "tpl_qrc20_regulated_v1"})
	path := "/v1/tokens/" + token
	address := is[api.Wallet](s.as("viewer", "GET", "/v1/wallets/"+wallet, ""), 200).Address
	own := fmt.Sprintf(`{"type":"walletId","walletId":%q}`, wallet)
	n := 0
	call := func(method, sub, body string) answer {
		n++
		return s.as("operator", method, path+sub, body, key(fmt.Sprint("call-", n)))
	}
	done := func(a answer) {
		t.Helper()
		require.Equal(t, 202, a.status, "%s", a.body)
		var v struct {
			OperationID string `json:"operationId"`
		}
		a.read(&v)
		s.approved(v.OperationID)
	}
	subject := func(a string) string { return `{"subject":` + toAddress(a) + `}` }
	amount := func(n int, more string) string { return fmt.Sprintf(`{"amount":"%d",%s}`, n, more) }
	balance := func(of string) string {
		return is[api.TokenBalance](s.as("viewer", "GET", path+"/balances/"+of, ""), 200).Balance
	}
	from, to := `"from":`+own, `"to":`+toAddress(somebody)

	call("POST", "/mint", amount(1, `"recipient":`+toAddress(somebody))).fails(422, 1714)
	require.Equal(t, "COMPLETED", *is[api.Deployment](s.as("viewer", "GET", path+"/deployment", ""), 200).Status)
	listed := call("POST", "/allowlist", `{"address":"`+somebody+`","identityRef":"kyc_subject_001"}`)
	require.Equal(t, somebody, is[api.AccountChangeAccepted](listed, 202).SubjectAddress)
	opID := is[api.AccountChangeAccepted](listed, 202).OperationID
	require.Equal(t, "kyc_subject_001", *is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+opID, ""), 200).Reason)
	done(listed)
	call("POST", "/allowlist", subject(somebody)).fails(422, 1714)
	done(call("POST", "/mint", amount(1000, `"recipient":`+own)))
	done(call("POST", "/transfers", amount(300, from+","+to)))
	require.Equal(t, "300", balance(somebody))
	done(call("POST", "/burn", amount(100, from)))
	require.Equal(t, "600", balance(address))

	done(call("POST", "/freeze", subject(somebody)))
	call("POST", "/transfers", amount(1, from+","+to)).fails(422, 1714)
	done(call("POST", "/unfreeze", subject(somebody)))
	done(call("DELETE", "/allowlist/"+somebody, ""))
	call("POST", "/transfers", amount(1, from+","+to)).fails(422, 1714)
	done(call("POST", "/pause", ""))
	require.Equal(t, api.TokenStatusPAUSED, is[api.TokenDetail](s.as("viewer", "GET", path, ""), 200).Status)
	call("POST", "/burn", amount(1, from)).fails(422, 1714)
	done(call("POST", "/unpause", "{}"))

	role := `{"role":"MINTER","subject":` + toAddress(somebody) + `}`
	call("POST", "/roles/revoke", role).fails(409, 1708)
	done(call("POST", "/roles/grant", role))
	roles := is[api.TokenRoles](s.as("viewer", "GET", path+"/roles", ""), 200)
	require.Contains(t, roles.Roles[1].Holders, somebody)
	done(call("POST", "/roles/revoke", role))

	by := fmt.Sprintf(`"performedBy":{"type":"walletId","walletId":%q}`, stranger)
	call("POST", "/mint", amount(1, `"recipient":`+own+","+by)).fails(403, 1706)
	call("POST", "/burn", amount(1, from+","+by)).fails(403, 1707)
	call("POST", "/pause", "{"+by+"}").fails(403, 1708)
	call("POST", "/mint", amount(1, `"recipient":`+toAddress("0x0000000000000000000000000000000000000000"))).fails(400, 1712)
	call("POST", "/mint", amount(0, `"recipient":`+own)).fails(400, 1713)
	call("POST", "/mint", amount(2000000, `"recipient":`+own)).fails(422, 1705)
	call("POST", "/burn", amount(2000, from)).fails(422, 1713)
	call("POST", "/deploy", "{}").fails(409, 1702)
	s.as("operator", "POST", "/v1/tokens/import", fmt.Sprintf(`{"network":%q,"contractAddress":%q,"templateId":"tpl_nope","admin":{"vaultAccountId":%q,"approvalPolicyId":%q}}`,
		network, somebody, vault, s.policyID)).fails(404, 1701)
	for where, code := range map[string]int{`"vaultAccountId":"vault_nope"`: 1400, `"tokenId":"token_nope"`: 1112} {
		s.as("operator", "POST", "/v1/policies", `{"name":"limit",`+where+`,"rules":[{"type":"MAX_AMOUNT","amount":"5"}]}`).fails(404, code)
	}
	s.inForce(token, `{"type":"MAX_AMOUNT","amount":"5"}`)
	denied := call("POST", "/mint", amount(6, `"recipient":`+own))
	require.Contains(t, denied.fails(422, 1200), "MAX_AMOUNT")
	s.receiptOf(denied)

	s.room.set(func() { s.room.poor = true })
	_, empty := s.vault("empty")
	call("POST", "/pause", fmt.Sprintf(`{"performedBy":{"type":"walletId","walletId":%q}}`, empty)).fails(422, 1304)

	is[api.Reconciliation](s.as("viewer", "GET", path+"/reconciliation", ""), 200)
	draft := s.token(vault)
	s.as("viewer", "GET", "/v1/tokens/"+draft+"/reconciliation", "").fails(409, 1703)
	is[api.Token](call("POST", "/retire", `{"reason":"redeemed"}`), 200)
	call("POST", "/unpause", "").fails(422, 1704)
}

// inForce puts a rule on a token into force.
func (s *server) inForce(token, rule string) {
	s.t.Helper()
	p := is[api.Policy](s.as("operator", "POST", "/v1/policies", fmt.Sprintf(`{"name":"limit","tokenId":%q,"rules":[%s]}`, token, rule)), 202)
	for _, who := range []string{"custodian-1", "custodian-2"} {
		is[api.Policy](s.as(who, "POST", "/v1/policies/"+p.ID+"/sign", s.signedBy(policy.DocPolicy, p.Document, who)), 200)
	}
}

// receiptOf asks for the receipt of a denial, of which no checkpoint tells yet.
func (s *server) receiptOf(denied answer) {
	s.t.Helper()
	var e api.ErrorEnvelope
	denied.read(&e)
	s.as("viewer", "GET", fmt.Sprintf("/v1/audit/%s/receipt", e.Error.Details["auditId"]), "").fails(409, 1301)
}

// TestOtherDecisions: a rejection, and a requester's own signature, by the
// operation's own routes.
func TestOtherDecisions(t *testing.T) {
	s := newHouse(t).serve()
	vault, _ := s.vault("treasury")
	token := s.token(vault)
	op := s.asked("/v1/tokens/"+token+"/deploy", "", "deploy")
	s.as("viewer", "GET", "/v1/token-operations/"+op+"/receipt", "").fails(409, 1301)
	shown := is[api.Operation](s.as("approver-1", "POST", "/v1/token-operations/"+op+"/reject", s.decision("approver-1", policy.Reject, op)), 200)
	require.Equal(t, api.OperationStatusREJECTED, shown.Status)

	// A person of the charter who asks for an operation can sign what he asked for.
	is[api.User](s.as("admin", "PATCH", "/v1/users/"+s.users["approver-3"], `{"role":"operator"}`), 200)
	s.draw("approver-3", s.users["approver-3"]) // a role that adds permissions ends the keys of before
	asked := is[api.DeployAccepted](s.as("approver-3", "POST", "/v1/tokens/"+token+"/deploy", "", key("again")), 202)
	intent := is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+asked.OperationID, ""), 200).Intent
	doc, err := (&policy.Request{Format: policy.Format, Intent: intent, Requester: "approver-3", RequestedAt: time.Now().UTC().Truncate(time.Second)}).Encode()
	require.NoError(t, err)
	is[api.Operation](s.as("approver-3", "POST", "/v1/token-operations/"+asked.OperationID+"/request", s.signedBy(policy.DocRequest, doc, "approver-3")), 200)
}

// TestWebhookCalls: a webhook from its making to its end, as a client sees it.
func TestWebhookCalls(t *testing.T) {
	s := newHouse(t).serve()
	create := func(url string) answer {
		return s.as("admin", "POST", "/v1/webhooks", fmt.Sprintf(`{"url":%q,"events":["token.*"]}`, url))
	}
	for _, url := range []string{"ftp://example.com/", "https://", "https://169.254.169.254/", "not a url"} {
		a := create(url)
		require.Equal(t, 400, a.status, "%s: %s", url, a.body)
	}
	create("https://169.254.169.254/").fails(400, 1107)
	made := is[api.WebhookCreated](create("https://127.0.0.1:1/hook"), 201)
	require.True(t, strings.HasPrefix(*made.Secret, "whsec_"))
	path := "/v1/webhooks/" + made.ID
	require.Equal(t, 1, is[api.WebhookList](s.as("viewer", "GET", "/v1/webhooks", ""), 200).Pagination.Total)
	d := is[api.WebhookDelivery](s.as("admin", "POST", path+"/test", ""), 202)
	require.Equal(t, d.ID, is[api.WebhookDeliveryList](s.as("viewer", "GET", path+"/deliveries", ""), 200).Data[0].ID)
	is[api.WebhookDelivery](s.as("admin", "POST", path+"/replay/"+d.ID, ""), 202)
	require.NotEqual(t, *made.Secret, *is[api.WebhookCreated](s.as("admin", "POST", path+"/rotate", `{"graceSeconds":60}`), 200).Secret)
	is[api.Webhook](s.as("admin", "DELETE", path, ""), 200)
	s.as("admin", "DELETE", path, "").fails(404, 1112)
}
