package api_test

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/policy"
)

var update = flag.Bool("update", false, "write the golden files anew")

// What is different at every run, and what stands for it in a golden file.
var masks = []struct {
	what *regexp.Regexp
	by   string
}{
	{regexp.MustCompile(`"([a-z]+)_[0-9A-HJKMNP-TV-Z]{26}"`), `"${1}_…"`},
	{regexp.MustCompile(`\b(pol|token|op|wallet|vault|cred|user)_[0-9A-HJKMNP-TV-Z]{26}\b`), `${1}_…`},
	{regexp.MustCompile(`"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z"`), `"<time>"`},
	{regexp.MustCompile(`\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z\b`), `<time>`},
	{regexp.MustCompile(`"sha256:[0-9a-f]{64}"`), `"<digest>"`},
	{regexp.MustCompile(`\bsha256:[0-9a-f]{64}\b`), `<digest>`},
	{regexp.MustCompile(`"0x[0-9a-fA-F]{40}"`), `"<address>"`},
	{regexp.MustCompile(`,\n *"Written at: <time> becomes <time>\."`), ``}, // said only if a second passed
	{regexp.MustCompile(`"[A-Za-z0-9+/]{200,}=*"`), `"<base64>"`},
	{regexp.MustCompile(`"qcs_test_[A-Za-z0-9_-]+"`), `"<key>"`},
}

// golden holds a body, masked, against testdata.
func golden(t *testing.T, name string, a answer, status int) {
	t.Helper()
	require.Equal(t, status, a.status, "%s", a.body)
	v := jsontext.Value(bytes.Clone(a.body))
	require.NoError(t, v.Indent(jsontext.WithIndent("  ")))
	got := string(v) + "\n"
	for _, m := range masks {
		got = m.what.ReplaceAllString(got, m.by)
	}
	path := filepath.Join("testdata", name+".json")
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

// TestResources goes once through everything that needs no signature of the
// HSM, and holds each body against a file that a reviewer can read.
func TestResources(t *testing.T) {
	s := newHouse(t).serve()
	id := func(a answer) string {
		var v struct {
			ID          string `json:"id"`
			OperationID string `json:"operationId"`
		}
		require.NoError(t, json.Unmarshal(a.body, &v))
		return v.ID + v.OperationID
	}

	made := s.as("operator", "POST", "/v1/vault/accounts", `{"name":"treasury"}`)
	golden(t, "vault", made, 201)
	vault := id(made)
	golden(t, "vault", s.as("viewer", "GET", "/v1/vault/accounts/"+vault, ""), 200)
	made = s.as("operator", "POST", "/v1/vault/accounts/"+vault+"/wallets", `{"network":"`+network+`","label":"minting"}`)
	golden(t, "wallet", made, 201)
	wallet := id(made)
	golden(t, "wallet", s.as("viewer", "GET", "/v1/wallets/"+wallet, ""), 200)
	golden(t, "wallets", s.as("viewer", "GET", "/v1/vault/accounts/"+vault+"/wallets", ""), 200)
	golden(t, "wallet-balance", s.as("viewer", "GET", "/v1/wallets/"+wallet+"/balance", ""), 200)

	golden(t, "templates", s.as("viewer", "GET", "/v1/token-templates", ""), 200)
	require.Equal(t, 2, is[api.TokenTemplateList](s.as("viewer", "GET", "/v1/token-templates?standard=QRC-20", ""), 200).Pagination.Total)
	s.as("viewer", "GET", "/v1/token-templates?standard=QRC-721", "").fails(422, 1700)
	require.NotEmpty(t, is[api.TokenTemplateDetail](s.as("viewer", "GET", "/v1/token-templates/tpl_qrc20_v1", ""), 200).Abi)

	made = s.as("operator", "POST", "/v1/tokens", s.tokenBody(vault, nil))
	golden(t, "token", made, 201)
	token := id(made)
	golden(t, "token-detail", s.as("viewer", "GET", "/v1/tokens/"+token, ""), 200)
	golden(t, "tokens", s.as("viewer", "GET", "/v1/tokens?status=DRAFT&network="+network+"&standard=QRC-20&adminVaultAccountId="+vault, ""), 200)
	require.Empty(t, is[api.TokenList](s.as("viewer", "GET", "/v1/tokens?status=DEPLOYED", ""), 200).Data)
	golden(t, "token-updated", s.as("operator", "PATCH", "/v1/tokens/"+token, `{"description":"the bank's own money","tags":["own"],"supplyPolicy":{"mintable":true,"burnable":false,"maxSupply":"0"}}`), 200)
	s.as("operator", "PATCH", "/v1/tokens/"+token, `{}`).fails(400, 1100)
	s.as("operator", "PATCH", "/v1/tokens/token_nope", `{"initialSupply":"-1"}`).fails(404, 1112)
	s.as("operator", "PATCH", "/v1/tokens/"+token, `{"initialSupply":"-1"}`).fails(400, 1713)
	golden(t, "deployment-draft", s.as("viewer", "GET", "/v1/tokens/"+token+"/deployment", ""), 200)
	s.as("viewer", "GET", "/v1/tokens/"+token+"/roles", "").fails(409, 1703)
	s.as("viewer", "GET", "/v1/tokens/"+token+"/balances/0x1", "").fails(409, 1703)

	made = s.as("operator", "POST", "/v1/policies", `{"name":"mint-conservative","tokenId":"`+token+`","rules":[
		{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers"},
		{"type":"MAX_AMOUNT","amount":"1000","operations":["MINT"]},
		{"type":"TIME_WINDOW","days":["MON","TUE"],"start":"09:00","end":"24:00","timezone":"Europe/Zurich"},
		{"type":"WHITELIST_ADDRESS","addresses":["0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed"]},
		{"type":"REQUIRE_APPROVAL","quorum":{"any":[{"group":"approvers","min":3},{"kOf":{"k":1,"of":[{"group":"approvers","min":2}]}}]}}]}`)
	golden(t, "policy-proposed", made, 202)
	proposal := is[api.Policy](made, 202)
	sign := func(who string) answer {
		env, err := policy.Sign(policy.PayloadType(policy.DocPolicy), proposal.Document, s.signers[who])
		require.NoError(t, err)
		return s.as(who, "POST", "/v1/policies/"+proposal.ID+"/sign", `{"envelope":`+string(env.Encode())+`}`)
	}
	require.Equal(t, []string{"custodian-1"}, is[api.Policy](sign("custodian-1"), 200).SignedBy)
	require.Equal(t, api.PolicyStatusACTIVE, is[api.Policy](sign("custodian-2"), 200).Status)
	require.Equal(t, api.PolicyStatusACTIVE, is[api.Policy](sign("custodian-2"), 200).Status, "the same envelope again")
	golden(t, "policy", s.as("viewer", "GET", "/v1/policies/"+proposal.ID, ""), 200)
	require.Empty(t, *is[api.Policy](s.as("viewer", "GET", "/v1/policies/"+proposal.ID, ""), 200).Proposals, "a list, even of none")
	golden(t, "policy-retiring", s.as("operator", "DELETE", "/v1/policies/"+proposal.ID, ""), 202)
	require.Len(t, *is[api.Policy](s.as("viewer", "GET", "/v1/policies/"+proposal.ID, ""), 200).Proposals, 1)
	require.Equal(t, 2, is[api.PolicyList](s.as("viewer", "GET", "/v1/policies", ""), 200).Pagination.Total)

	golden(t, "charter", s.as("viewer", "GET", "/v1/charter", ""), 200)
	golden(t, "seal", s.as("viewer", "GET", "/v1/seal", ""), 200)
	page := is[api.LedgerPage](s.as("viewer", "GET", "/v1/ledger?from=2&limit=2", ""), 200)
	require.Len(t, page.Data, 2)
	require.EqualValues(t, 4, page.Head.Sequence)
	require.Contains(t, string(page.Data[0]), `"sequence":2`)

	made = s.as("admin", "POST", "/v1/users", `{"name":"auditor-1","role":"viewer"}`)
	golden(t, "user", made, 201)
	golden(t, "user", s.as("admin", "GET", "/v1/users/"+id(made), ""), 200)
	s.as("admin", "POST", "/v1/users", `{"name":"auditor-1","role":"viewer"}`).fails(400, 1100)
	require.Len(t, is[api.UserList](s.as("admin", "GET", "/v1/users", ""), 200).Data, len(people)+1)
	made = s.as("admin", "POST", "/v1/credentials", `{"userId":"`+id(made)+`","label":"laptop","permissions":["tokens:read"],"cidrs":["10.0.0.0/8"]}`)
	golden(t, "credential-created", made, 201)
	golden(t, "credential-revoked", s.as("admin", "DELETE", "/v1/credentials/"+id(made), ""), 200)
	s.as("admin", "POST", "/v1/credentials", `{"userId":"user_nope"}`).fails(404, 1112)
	s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["viewer"]+`","cidrs":["10.0.0.1/8"]}`).fails(400, 1100)

	t.Run("audit", func(t *testing.T) {
		s := s.in(t)
		var entries api.AuditEntryList
		require.Eventually(t, func() bool {
			entries = is[api.AuditEntryList](s.as("viewer", "GET", "/v1/audit?resource_type=token&actor=operator&action=token.created", ""), 200)
			return entries.Pagination.Total == 1
		}, patience, poll)
		require.Equal(t, token, entries.Data[0].ResourceID)
		require.NotEmpty(t, entries.Data[0].RequestID)
		require.Equal(t, "127.0.0.1", entries.Data[0].IP)
		require.Equal(t, "Go-http-client/2.0", entries.Data[0].UserAgent)
		first := is[api.AuditEntryList](s.as("viewer", "GET", "/v1/audit?limit=1", ""), 200)
		require.NotNil(t, first.Pagination.NextCursor)
		next := is[api.AuditEntryList](s.as("viewer", "GET", "/v1/audit?limit=1&cursor="+*first.Pagination.NextCursor, ""), 200)
		require.Equal(t, first.Data[0].Seq-1, next.Data[0].Seq)
		v := is[api.AuditVerification](s.as("viewer", "GET", "/v1/audit/verify", ""), 200)
		require.True(t, v.Valid)
		require.Nil(t, v.BrokenAt)
	})
	t.Run("the document", func(t *testing.T) {
		s := s.in(t)
		a := s.as("", "GET", "/v1/openapi.json", "")
		require.Equal(t, 200, a.status)
		var served struct {
			OpenAPI string                    `json:"openapi"`
			Paths   map[string]jsontext.Value `json:"paths"`
		}
		require.NoError(t, json.Unmarshal(a.body, &served))
		require.Equal(t, "3.0.3", served.OpenAPI)
		require.Len(t, served.Paths, s.doc.Paths.Len())
	})
}

// TestOperations takes a deployment through people's hands: everything up to the
// signature.
func TestOperations(t *testing.T) {
	s := newHouse(t).serve()
	vault, _ := s.vault("treasury")
	token := s.token(vault)

	accepted := s.as("operator", "POST", "/v1/tokens/"+token+"/deploy", `{"feeStrategy":"HIGH"}`, key("deploy-1"))
	golden(t, "deploy-accepted", accepted, 202)
	opID := is[api.DeployAccepted](accepted, 202).OperationID
	require.Equal(t, accepted.body, s.as("operator", "POST", "/v1/tokens/"+token+"/deploy", `{"feeStrategy":"HIGH"}`, key("deploy-1")).body)
	s.as("operator", "POST", "/v1/tokens/"+token+"/deploy", `{}`, key("deploy-2")).fails(409, 1702)
	golden(t, "operation", s.as("viewer", "GET", "/v1/token-operations/"+opID, ""), 200)
	golden(t, "operations", s.as("viewer", "GET", "/v1/token-operations?tokenId="+token+"&operationType=DEPLOY_TOKEN&status=PENDING_AUTHORIZATION&requestedBy=operator&awaitingApprovalBy=approver-1", ""), 200)

	op := is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+opID, ""), 200)
	decide := func(who string, verb policy.Verb, path string, change func(*policy.Decision, *policy.Envelope)) answer {
		d := &policy.Decision{Format: policy.Format, Decision: verb, Intent: op.Intent, Approver: who, Reason: "as agreed", DecidedAt: time.Now().UTC().Truncate(time.Second)}
		if change != nil {
			change(d, nil)
		}
		doc, err := d.Encode()
		require.NoError(t, err)
		env, err := policy.Sign(policy.PayloadType(policy.DocDecision), doc, s.signers[who])
		require.NoError(t, err)
		if change != nil {
			change(nil, env)
		}
		return s.as(who, "POST", "/v1/token-operations/"+path, `{"envelope":`+string(env.Encode())+`}`)
	}
	onEnvelope := func(f func(*policy.Envelope)) func(*policy.Decision, *policy.Envelope) {
		return func(_ *policy.Decision, e *policy.Envelope) {
			if e != nil {
				f(e)
			}
		}
	}

	t.Run("refused", func(t *testing.T) {
		decide("approver-1", policy.Approve, "op_nope/approve", nil).fails(404, 1300)
		decide("approver-1", policy.Reject, opID+"/approve", nil).fails(422, 1202)
		for name, f := range map[string]func(*policy.Envelope){
			"bit of the signature": func(e *policy.Envelope) { e.Signatures[0].Sig[9] ^= 1 },
			"bit of the payload":   func(e *policy.Envelope) { e.Payload[len(e.Payload)-3] ^= 1 },
			"no key id":            func(e *policy.Envelope) { e.Signatures[0].KeyID = "" },
			"unknown key id":       func(e *policy.Envelope) { e.Signatures[0].KeyID = "sha256:00" },
			"signature twice":      func(e *policy.Envelope) { e.Signatures = append(e.Signatures, e.Signatures[0]) },
			"no signature":         func(e *policy.Envelope) { e.Signatures = []policy.Signature{} },
			"another type":         func(e *policy.Envelope) { e.PayloadType = policy.PayloadType(policy.DocPolicy) },
		} {
			t.Run(name, func(t *testing.T) {
				decide("approver-1", policy.Approve, opID+"/approve", onEnvelope(f)).fails(422, 1202)
			})
		}
		env, err := policy.Sign(policy.PayloadType(policy.DocDecision), []byte("{}"), s.signers["approver-1"])
		require.NoError(t, err)
		s.as("approver-2", "POST", "/v1/token-operations/"+opID+"/approve", `{"envelope":`+string(env.Encode())+`}`).fails(422, 1202)
		s.as("approver-1", "POST", "/v1/token-operations/"+opID+"/approve", `{"envelope":{"payloadType":"x","payload":"%%%","signatures":[{"keyid":"a","sig":"b"}]}}`).fails(422, 1202)
	})
	t.Run("approved once, cancelled once", func(t *testing.T) {
		first := decide("approver-1", policy.Approve, opID+"/approve", nil)
		golden(t, "operation-approved", first, 200)
		decide("approver-1", policy.Approve, opID+"/approve", func(d *policy.Decision, _ *policy.Envelope) {
			if d != nil {
				d.Reason = "otherwise"
			}
		}).fails(409, 1203)
		golden(t, "operation-cancelled", s.as("operator", "POST", "/v1/token-operations/"+opID+"/cancel", `{"reason":"wrong name"}`, key("cancel")), 200)
		require.Equal(t, "true", s.as("operator", "POST", "/v1/token-operations/"+opID+"/cancel", `{"reason":"wrong name"}`, key("cancel")).header.Get("Idempotency-Replayed"))
		s.as("operator", "POST", "/v1/token-operations/"+opID+"/cancel", "").fails(409, 1715)
		decide("approver-2", policy.Approve, opID+"/approve", nil).fails(409, 1715)
	})
	t.Run("lists by cursor", func(t *testing.T) {
		s := s.in(t)
		ids := map[string]bool{opID: true}
		for n := range 3 {
			other := s.token(vault)
			a := is[api.DeployAccepted](s.as("operator", "POST", "/v1/tokens/"+other+"/deploy", "", key(fmt.Sprint("more-", n))), 202)
			ids[a.OperationID] = true
		}
		cursor := ""
		for range 10 {
			p := is[api.OperationList](s.as("viewer", "GET", "/v1/token-operations?limit=2"+cursor, ""), 200)
			require.Equal(t, 4, p.Pagination.Total)
			for _, o := range p.Data {
				require.True(t, ids[o.OperationID])
				delete(ids, o.OperationID)
			}
			if p.Pagination.NextCursor == nil {
				break
			}
			cursor = "&cursor=" + *p.Pagination.NextCursor
		}
		require.Empty(t, ids)
	})
}
