package api_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
)

// TestBodies goes through what can be wrong with a body, over HTTP.
func TestBodies(t *testing.T) {
	s := newHouse(t).serve()
	vault, _ := s.vault("treasury")
	good := s.tokenBody(vault, nil)
	token := s.token(vault)
	someone := `{"type":"address","address":"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}`
	amount := func(v string) string { return strings.Replace(good, `"initialSupply":"0"`, `"initialSupply":`+v, 1) }
	mint := func(amount, recipient string) string {
		return `{"amount":` + amount + `,"recipient":` + recipient + `}`
	}
	imported := func(contract, template string) string {
		return fmt.Sprintf(`{"network":%q,"contractAddress":%q,"templateId":%q,"admin":{"vaultAccountId":%q,"approvalPolicyId":%q}}`, network, contract, template, vault, s.policyID)
	}
	tooMuch := "115792089237316195423570985008687907853269984665640564039457584007913129639936" // 2^256
	const create, mintPath = "/v1/tokens", "/v1/tokens/{token}/mint"

	for _, c := range []struct {
		name, path, body string
		status, code     int
		says             string // in the message
	}{
		{"empty", create, "", 400, 1101, "body"},
		{"not JSON", create, "{", 400, 1100, "ends too early"},
		{"two values", create, good + good, 400, 1100, ""},
		{"trailing text", create, good + "x", 400, 1100, ""},
		{"array", create, "[]", 400, 1100, "object"},
		{"null", create, "null", 400, 1100, "object"},
		{"duplicate name", create, strings.Replace(good, `"symbol":"EIT"`, `"symbol":"EIT","symbol":"EIT"`, 1), 400, 1100, "duplicate"},
		{"bad UTF-8", create, strings.Replace(good, "EIT", "E\xffT", 1), 400, 1100, "UTF-8"},
		{"unknown field", create, strings.Replace(good, `"symbol"`, `"symbl":"x","symbol"`, 1), 400, 1100, `"symbl"`},
		{"unknown inner field", create, strings.Replace(good, `"mintable"`, `"minable":true,"mintable"`, 1), 400, 1100, `"minable" of supplyPolicy`},
		{"other case of a field", create, strings.Replace(good, `"symbol"`, `"Symbol"`, 1), 400, 1100, `"Symbol"`},
		{"missing field", create, s.tokenBody(vault, map[string]any{"symbol": nil}), 400, 1101, "symbol"},
		{"missing inner field", create, strings.Replace(good, `,"mintable":true`, "", 1), 400, 1101, "supplyPolicy.mintable"},
		{"wrong type", create, strings.Replace(good, `"symbol":"EIT"`, `"symbol":7`, 1), 400, 1100, "the number 7"},
		{"null field", create, strings.Replace(good, `"symbol":"EIT"`, `"symbol":null`, 1), 400, 1100, "null"},
		{"decimals as text", create, strings.Replace(good, `"decimals":18`, `"decimals":"18"`, 1), 400, 1100, "decimals"},
		{"half a decimal", create, strings.Replace(good, `"decimals":18`, `"decimals":1.5`, 1), 400, 1100, "decimals"},
		{"too many decimals", create, strings.Replace(good, `"decimals":18`, `"decimals":78`, 1), 400, 1100, "decimals"},
		{"empty name", create, s.tokenBody(vault, map[string]any{"name": ""}), 400, 1100, "name"},
		{"long name", create, s.tokenBody(vault, map[string]any{"name": strings.Repeat("n", 65)}), 400, 1110, "name"},
		{"control character", create, s.tokenBody(vault, map[string]any{"name": "a\u0007b"}), 400, 1100, "name"},
		{"newline", create, s.tokenBody(vault, map[string]any{"name": "a\nb"}), 400, 1100, "name"},
		{"right-to-left override", create, s.tokenBody(vault, map[string]any{"name": "a\u202eb"}), 400, 1100, "name"},
		{"isolate", create, s.tokenBody(vault, map[string]any{"description": "a\u2067b"}), 400, 1100, "description"},
		{"deep nesting", create, strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100), 400, 1100, "deep"},
		{"other standard", create, s.tokenBody(vault, map[string]any{"standard": "QRC-721"}), 422, 1700, "QRC-721"},
		{"unknown template", create, s.tokenBody(vault, map[string]any{"templateId": "tpl_nope"}), 404, 1701, "tpl_nope"},
		{"unknown network", create, s.tokenBody(vault, map[string]any{"network": "moon"}), 400, 1100, "moon"},
		{"unknown vault", create, s.tokenBody("vault_nope", nil), 404, 1400, "vault_nope"},
		{"wrong kind of id", create, s.tokenBody("wallet_nope", nil), 400, 1100, "wallet_nope"},
		{"unknown policy", create, s.tokenBody(vault, map[string]any{"admin": map[string]any{"vaultAccountId": vault, "approvalPolicyId": "pol_nope"}}), 404, 1300, "pol_nope"},
		{"supply above its cap", create, s.tokenBody(vault, map[string]any{"initialSupply": "1000001"}), 422, 1705, "1000001"},

		{"amount negative", create, amount(`"-1"`), 400, 1713, `"-1"`},
		{"amount with fraction", create, amount(`"1.5"`), 400, 1713, `"1.5"`},
		{"amount in hex", create, amount(`"0x10"`), 400, 1713, `"0x10"`},
		{"amount with exponent", create, amount(`"1e18"`), 400, 1713, `"1e18"`},
		{"amount with leading zero", create, amount(`"01"`), 400, 1713, `"01"`},
		{"amount with plus", create, amount(`"+1"`), 400, 1713, `"+1"`},
		{"amount with blank", create, amount(`" 1"`), 400, 1713, `" 1"`},
		{"amount empty", create, amount(`""`), 400, 1713, ""},
		{"amount of 2^256", create, amount(`"` + tooMuch + `"`), 400, 1713, "2^256"},
		{"amount as number", create, amount(`1`), 400, 1713, "the number 1"},
		{"amount null", create, amount(`null`), 400, 1713, "null"},
		{"amount as object", create, amount(`{}`), 400, 1713, "object"},
		{"amount in Arabic-Indic digits", create, amount(`"١"`), 400, 1713, `\u0661`},

		{"unknown template before value", create, strings.Replace(amount(`"-1"`), "tpl_qrc20_v1", "tpl_nope", 1), 404, 1701, "tpl_nope"},
		{"unknown vault before a number", create, strings.Replace(amount(`5`), vault, "vault_nope", 1), 404, 1400, "vault_nope"},
		{"import: unknown template before value", create + "/import", imported("0x12", "tpl_nope"), 404, 1701, "tpl_nope"},
		{"import: malformed address", create + "/import", imported("0x12", "tpl_qrc20_v1"), 400, 1712, "0x12"},
		{"import: zero address", create + "/import", imported("0x0000000000000000000000000000000000000000", "tpl_qrc20_v1"), 400, 1712, "zero"},

		{"mint: unknown token before value", "/v1/tokens/token_nope/mint", mint(`"-1"`, someone), 404, 1112, "token_nope"},
		{"mint: shape before token", "/v1/tokens/token_nope/mint", `{"amount":"1","recipient":` + someone + `,"x":1}`, 400, 1100, `"x"`},
		{"mint: state before value", mintPath, mint(`"-1"`, someone), 409, 1703, "DRAFT"},
		{"mint: state before a number", mintPath, mint(`5`, someone), 409, 1703, "DRAFT"},
		{"mint: no amount", mintPath, `{"recipient":` + someone + `}`, 400, 1101, "amount"},
		{"mint: no recipient", mintPath, `{"amount":"1"}`, 400, 1101, "recipient"},
		{"mint: party without type", mintPath, mint(`"1"`, `{"address":"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}`), 400, 1101, "recipient.type"},
		{"mint: party of unknown type", mintPath, mint(`"1"`, `{"type":"email","address":"x"}`), 400, 1100, "recipient.type"},
		{"mint: party without its field", mintPath, mint(`"1"`, `{"type":"walletId"}`), 400, 1101, "recipient.walletId"},
		{"mint: party with another field", mintPath, mint(`"1"`, `{"type":"walletId","walletId":"wallet_x","address":"0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"}`), 400, 1100, "recipient.address"},
		{"mint: unknown strategy", mintPath, `{"amount":"1","recipient":` + someone + `,"feeStrategy":"FAST"}`, 400, 1100, "FAST"},
		{"mint: unknown wallet", mintPath, mint(`"1"`, `{"type":"walletId","walletId":"wallet_nope"}`), 404, 1400, "wallet_nope"},
		{"grant: unknown role", "/v1/tokens/{token}/roles/grant", `{"role":"KING","subject":` + someone + `}`, 400, 1100, "KING"},
		{"deploy: unknown wallet", "/v1/tokens/{token}/deploy", `{"deployerWalletId":"wallet_nope"}`, 404, 1400, "wallet_nope"},
		{"deploy: another name", "/v1/tokens/{token}/deploy", `{"constructorArgs":{"name":"Other"}}`, 400, 1100, "Other"},

		{"policy: unknown rule", "/v1/policies", `{"name":"p","rules":[{"type":"MAGIC"}]}`, 400, 1100, "rules[0].type"},
		{"policy: no rules", "/v1/policies", `{"name":"p","rules":[]}`, 400, 1100, "rules"},
		{"policy: quorum of 0", "/v1/policies", `{"name":"p","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":0,"approverGroup":"approvers"}]}`, 400, 1100, "minApprovers"},
		{"policy: quorum above its group", "/v1/policies", `{"name":"p","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":4,"approverGroup":"approvers"}]}`, 400, 1100, "approvers"},
		{"policy: unknown group", "/v1/policies", `{"name":"p","rules":[{"type":"REQUIRE_APPROVAL","minApprovers":1,"approverGroup":"nobody"}]}`, 400, 1100, "nobody"},
		{"policy: amount outside token calls", "/v1/policies", `{"name":"p","rules":[{"type":"MAX_AMOUNT","amount":"-1"}]}`, 400, 1103, `"-1"`},
		{"policy: address outside token calls", "/v1/policies", `{"name":"p","rules":[{"type":"WHITELIST_ADDRESS","addresses":["0x12"]}]}`, 400, 1102, `"0x12"`},
		{"policy: unknown vault before value", "/v1/policies", `{"name":"p","vaultAccountId":"vault_nope","rules":[{"type":"MAX_AMOUNT","amount":-1}]}`, 404, 1400, "vault_nope"},
		{"simulation: unknown policy before value", "/v1/policies/pol_nope/simulate", `{"operationType":"MINT","amount":"-1"}`, 404, 1300, "pol_nope"},
		{"policy: bad checksum", "/v1/policies", `{"name":"p","rules":[{"type":"WHITELIST_ADDRESS","addresses":["0x5aaeb6053F3E94C9b9A09f33669435E7Ef1BeAed"]}]}`, 400, 1102, "addresses[0]"},
		{"approve: no envelope", "/v1/token-operations/op_nope/approve", `{}`, 400, 1101, "envelope"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := s.in(t)
			user := "operator"
			if strings.HasSuffix(c.path, "/approve") {
				user = "approver-1"
			}
			a := s.as(user, "POST", strings.ReplaceAll(c.path, "{token}", token), c.body, key("k-"+strings.ReplaceAll(c.name, " ", "-")))
			require.Contains(t, a.fails(c.status, c.code), c.says)
		})
	}
	t.Run("the next version of an unknown policy", func(t *testing.T) {
		s.in(t).as("operator", "PUT", "/v1/policies/pol_nope", `{"name":"p","rules":[{"type":"MAX_AMOUNT","amount":"-1"}]}`).fails(404, 1300)
	})
	t.Run("nothing was stored", func(t *testing.T) {
		s := s.in(t)
		require.Equal(t, 1, is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200).Pagination.Total)
		require.Zero(t, is[api.OperationList](s.as("viewer", "GET", "/v1/token-operations", ""), 200).Pagination.Total)
	})
	t.Run("a refused request does not burn its key", func(t *testing.T) {
		s := s.in(t)
		s.as("operator", "POST", create, amount(`"x"`), key("again")).fails(400, 1713)
		is[api.Token](s.as("operator", "POST", create, good, key("again")), 201)
	})
}

// TestAttack_TimesThatCannotBeShown: a time that no answer could hold is refused where it comes in, and is no fault of
// ours that somebody is called for.
func TestAttack_TimesThatCannotBeShown(t *testing.T) {
	s := newHouse(t).serve()
	expiring := func(at string) answer {
		return s.as("admin", "POST", "/v1/credentials", fmt.Sprintf(`{"userId":%q,"expiresAt":%q}`, s.users["viewer"], at))
	}
	for _, at := range []string{"9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00+00:01", "2026-02-30T00:00:00Z", "2026-02-03T24:00:00Z", "2026-02-03T04:05:06"} {
		require.Contains(t, expiring(at).fails(400, 1100), at)
		require.Contains(t, s.as("viewer", "POST", "/v1/policies/"+s.policyID+"/simulate", fmt.Sprintf(`{"operationType":"DEPLOY_TOKEN","at":%q}`, at)).fails(400, 1100), at)
		for _, list := range []string{"audit", "transactions"} {
			require.Contains(t, []int{200, 400}, s.as("viewer", "GET", "/v1/"+list+"?from="+url.QueryEscape(at), "").status)
		}
	}
	last := "9999-12-31T23:59:59Z"
	require.Equal(t, last, is[api.CredentialCreated](expiring(last), 201).ExpiresAt.Format(time.RFC3339))
	require.Zero(t, s.sum("mintwarden_api_panics_total"))
}

func TestHeadersAndPaths(t *testing.T) {
	s := sharedHouse(t).serve()
	body := `{"name":"treasury"}`
	post := func(changes ...with) answer { return s.as("operator", "POST", "/v1/vault/accounts", body, changes...) }

	post(header("Content-Type", "text/plain")).fails(400, 1100)
	post(header("Content-Type", "application/json; charset=latin1")).fails(400, 1100)
	post(header("Content-Type", "application/x-www-form-urlencoded")).fails(400, 1100)
	post(header("Content-Encoding", "gzip")).fails(400, 1100)
	is[api.VaultAccount](post(header("Content-Type", "application/json; charset=UTF-8")), 201)
	is[api.VaultAccount](post(header("Content-Type")), 201)

	t.Run("request id", func(t *testing.T) {
		require.Equal(t, "my-own", post(header("Request-Id", "my-own")).header.Get("Request-Id"))
		require.Regexp(t, `^req_[0-9A-HJKMNP-TV-Z]{26}$`, post(header("Request-Id", "with space")).header.Get("Request-Id"))
		require.Regexp(t, `^req_`, post(header("Request-Id", strings.Repeat("x", 129))).header.Get("Request-Id"))
	})
	t.Run("paths", func(t *testing.T) {
		s := s.in(t)
		for _, path := range []string{
			"/", "/v1", "/v1/", "/v2/tokens", "/v1/Tokens", "/v1/tokens/", "//v1/tokens", "/v1//tokens", "/v1/./tokens", "/v1/tokens/../tokens",
			"/v1/%74okens", "/v1/tokens%2Fx", "/v1/token-templates/tpl_qrc20_v1/x", "/v1/tokens/token_x/mint/y", "/v1/wallets",
		} {
			s.as("viewer", "GET", path, "").fails(404, 1112)
		}
		require.Contains(t, s.as("viewer", "GET", "/v1/tokens/token_nope", "").fails(404, 1112), "token_nope")
		s.as("viewer", "GET", "/v1/tokens/"+strings.Repeat("x", 300), "").fails(404, 1112)
		s.as("viewer", "GET", "/v1/tokens/token_a%2Fb", "").fails(404, 1112)
		s.as("viewer", "GET", "/v1/tokens/token_nope/balances/0x1", "").fails(404, 1112)
		s.as("viewer", "GET", "/v1/token-operations/op_nope", "").fails(404, 1300)
		s.as("viewer", "GET", "/v1/token-operations/token_nope", "").fails(404, 1300)
		s.as("viewer", "GET", "/v1/policies/pol_nope", "").fails(404, 1300)
		s.as("viewer", "GET", "/v1/vault/accounts/vault_nope", "").fails(404, 1400)
		s.as("viewer", "GET", "/v1/vault/accounts/vault_nope/wallets", "").fails(404, 1400)
		s.as("viewer", "GET", "/v1/wallets/wallet_nope", "").fails(404, 1400)
		s.as("viewer", "GET", "/v1/wallets/wallet_nope/balance", "").fails(404, 1400)
		s.as("viewer", "GET", "/v1/token-templates/tpl_nope", "").fails(404, 1701)
		s.as("viewer", "GET", "/v1/users/user_nope", "").fails(404, 1112)
		s.as("admin", "DELETE", "/v1/credentials/cred_nope", "").fails(404, 1112)
	})
	t.Run("methods", func(t *testing.T) {
		s := s.in(t)
		a := s.as("viewer", "PATCH", "/v1/tokens", "{}")
		a.fails(405, 1112)
		require.Contains(t, a.header.Get("Allow"), "POST")
		s.as("viewer", "DELETE", "/v1/tokens/token_x", "").fails(405, 1112)
		s.as("viewer", "PROPFIND", "/v1/tokens", "").fails(405, 1112)
	})
	t.Run("a body where none is taken", func(t *testing.T) {
		s := s.in(t)
		s.as("operator", "DELETE", "/v1/policies/pol_nope", `{"x":1}`).fails(400, 1100)
	})
}

func TestPagination(t *testing.T) {
	s := newHouse(t).serve()
	for n := range 5 {
		is[api.VaultAccount](s.as("operator", "POST", "/v1/vault/accounts", fmt.Sprintf(`{"name":"desk %d"}`, n)), 201)
	}
	for _, q := range []string{
		"limit=0", "limit=201", "limit=-1", "limit=x", "limit=1.5", "limit=", "limit=5&limit=6", "offset=-1", "offset=10001", "offset=x",
		"offset=99999999999999999999",
	} {
		s.as("viewer", "GET", "/v1/vault/accounts?"+q, "").fails(400, 1108)
	}
	for _, q := range []string{"cursor=!", "cursor=x&offset=1", "cursor=op_nope", "cursor=" + strings.Repeat("a", 600)} {
		s.as("viewer", "GET", "/v1/token-operations?"+q, "").fails(400, 1108)
	}
	s.as("viewer", "GET", "/v1/audit?cursor=x", "").fails(400, 1108)
	s.as("viewer", "GET", "/v1/vault/accounts?colour=red", "").fails(400, 1100)
	s.as("viewer", "GET", "/v1/tokens?status=LOST", "").fails(400, 1100)
	s.as("viewer", "GET", "/v1/audit?from=yesterday", "").fails(400, 1100)
	s.as("viewer", "GET", "/v1/ledger?from=0", "").fails(400, 1100)

	first := is[api.VaultAccountList](s.as("viewer", "GET", "/v1/vault/accounts?limit=2", ""), 200)
	require.Equal(t, api.Pagination{Total: 5, Limit: 2, Offset: 0}, first.Pagination)
	require.Equal(t, "desk 4", first.Data[0].Name, "newest first")
	last := is[api.VaultAccountList](s.as("viewer", "GET", "/v1/vault/accounts?limit=2&offset=4", ""), 200)
	require.Len(t, last.Data, 1)
	require.Equal(t, "desk 0", last.Data[0].Name)
	require.Empty(t, is[api.VaultAccountList](s.as("viewer", "GET", "/v1/vault/accounts?offset=9999", ""), 200).Data)
}
