package dev_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json/v2"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/mintwarden/mintwarden/api/apitest"
	"github.com/mintwarden/mintwarden/api/client"
)

// edge is a real appliance seen from outside: requests as bytes over HTTPS,
// answers as spec/api.md promises them. Nothing of the appliance's own code
// stands between a test and the wire.
type edge struct {
	*appliance
	http    *http.Client
	bearers map[string]string

	counted int // how often the resources were counted

	vault, emptyVault  string // with a wallet; without one
	wallet, walletAddr string
	policyID           string
	draftID            string // never deployed
	tokenID, tokenAddr string // deployed, without a cap
	cappedID           string // deployed, of at most 1000
	fixedID            string // deployed, neither mintable nor burnable
	regulatedID        string // deployed, of the regulated template
	regulatedAddr      string
	stranger           string // an address that holds nothing
	otherWallet        string // of another vault account, funded, without any role
	operation          string // a mint that waits for approvals
}

// counters is among how many keys the counting of resources is shared.
const counters = 8

// errorTypes is the table of spec/api.md, "Errors", that the built routes can give.
var errorTypes = map[int]string{
	1000: "UNAUTHORIZED", 1001: "FORBIDDEN", 1002: "API_KEY_REVOKED",
	1100: "VALIDATION", 1101: "MISSING_FIELD", 1102: "INVALID_ADDRESS", 1103: "INVALID_AMOUNT", 1108: "INVALID_PAGINATION",
	1110: "STRING_TOO_LONG", 1111: "BODY_TOO_LARGE", 1112: "NOT_FOUND",
	1200: "POLICY_DENIED", 1202: "APPROVAL_INVALID", 1203: "APPROVAL_DUPLICATE",
	1300: "TX_NOT_FOUND", 1301: "TX_STATE_CONFLICT", 1304: "TX_INSUFFICIENT_FUNDS", 1400: "VAULT_NOT_FOUND",
	1500: "NODE_UNAVAILABLE", 1601: "IDEMPOTENCY_CONFLICT", 1602: "IDEMPOTENCY_IN_PROGRESS", 1603: "SEALED", 1604: "RATE_LIMITED",
	1700: "TOKEN_STANDARD_NOT_SUPPORTED", 1701: "TOKEN_TEMPLATE_NOT_FOUND", 1702: "TOKEN_ALREADY_DEPLOYED", 1703: "TOKEN_NOT_DEPLOYED",
	1704: "TOKEN_OPERATION_NOT_ALLOWED", 1705: "TOKEN_SUPPLY_EXCEEDED", 1706: "TOKEN_MINT_NOT_ALLOWED", 1707: "TOKEN_BURN_NOT_ALLOWED",
	1708: "TOKEN_ROLE_REQUIRED", 1714: "TOKEN_COMPLIANCE_RESTRICTION_FAILED", 1712: "TOKEN_INVALID_RECIPIENT", 1713: "TOKEN_INVALID_AMOUNT", 1715: "TOKEN_OPERATION_ALREADY_PROCESSED",
}

// call is one request.
type call struct {
	method, path string
	body         string
	as           string // whose bearer key; "none" sends none
	key          string // Idempotency-Key; empty sends none
	header       http.Header
}

// want is a refusal. says must be part of the message: the value that was wrong.
type want struct {
	status, code int
	says         string
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

type problem struct {
	Code      int            `json:"code"`
	Type      string         `json:"type"`
	Message   string         `json:"message"`
	RequestID string         `json:"request_id"`
	Details   map[string]any `json:"details"`
}

func newEdge(t *testing.T) *edge {
	t.Helper()
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	conf, err := client.TLSConfig(client.Config{CAFile: a.dir + "/tls/ca.crt", CertFile: a.dir + "/tls/client.crt", KeyFile: a.dir + "/tls/client.key"})
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 64}
	t.Cleanup(transport.CloseIdleConnections)
	e := &edge{appliance: a, http: &http.Client{
		Transport: &apitest.Transport{Next: transport, Report: func(err error) { t.Error(err) }}, Timeout: patience,
	}, bearers: map[string]string{}}
	for folder, names := range map[string][]string{
		"keys":       {"operator", "admin", "viewer"},
		"approvers":  {"approver-1", "approver-2", "approver-3"},
		"custodians": {"custodian-1", "custodian-2", "custodian-3"},
	} {
		for _, n := range names {
			text, err := os.ReadFile(filepath.Join(a.dir, folder, n+".apikey"))
			if err != nil {
				t.Fatal(err)
			}
			e.bearers[n] = strings.TrimSpace(string(text))
		}
	}
	return e
}

// draw is an idempotency key that nobody used.
func draw() string { return "test-" + rand.Text() }

// send makes the request. Without an identity it is the operator's.
func (e *edge) send(t *testing.T, c call) answer {
	t.Helper()
	a, err := e.try(t.Context(), c)
	if err != nil {
		t.Fatalf("%s %s: %v", c.method, c.path, err)
	}
	return a
}

func (e *edge) try(ctx context.Context, c call) (answer, error) {
	var body io.Reader
	if c.body != "" {
		body = bytes.NewReader([]byte(c.body))
	}
	r, err := http.NewRequestWithContext(ctx, c.method, e.url+c.path, body)
	if err != nil {
		return answer{}, err
	}
	if c.body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.as == "" {
		c.as = "operator"
	}
	if c.as != "none" {
		bearer, ok := e.bearers[c.as]
		if !ok {
			return answer{}, fmt.Errorf("no identity %q", c.as)
		}
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	if c.key != "" {
		r.Header.Set("Idempotency-Key", c.key)
	}
	for name, values := range c.header {
		r.Header[name] = values
	}
	resp, err := e.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, resp.Header, text}, err
}

// refused sends c, which must be answered as w says, and store nothing.
func (e *edge) refused(t *testing.T, c call, w want) problem {
	t.Helper()
	before := e.totals(t)
	p := e.send(t, c).problem(t, w)
	if after := e.totals(t); after != before {
		t.Errorf("%s %s was refused, yet %s became %s", c.method, c.path, before, after)
	}
	return p
}

// problem holds an answer against what spec/api.md says of every error.
func (a answer) problem(t *testing.T, w want) problem {
	t.Helper()
	var envelope struct {
		Error problem `json:"error"`
	}
	if err := json.Unmarshal(a.body, &envelope, json.RejectUnknownMembers(true)); err != nil {
		t.Errorf("answered %d %.300s, want %d/%d: %v", a.status, a.body, w.status, w.code, err)
		return problem{}
	}
	p := envelope.Error
	if a.status != w.status || p.Code != w.code {
		t.Errorf("answered %d/%d %s: %s; want %d/%d %s", a.status, p.Code, p.Type, p.Message, w.status, w.code, errorTypes[w.code])
		return p
	}
	if p.Type != errorTypes[w.code] {
		t.Errorf("code %d has type %q, want %q", p.Code, p.Type, errorTypes[w.code])
	}
	if shown := strings.Trim(strconv.QuoteToASCII(w.says), `"`); p.Message == "" || !strings.Contains(p.Message, w.says) && !strings.Contains(p.Message, shown) {
		t.Errorf("message %q does not say %q", p.Message, w.says)
	}
	if strings.ContainsFunc(p.Message, func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }) {
		t.Errorf("message %+q holds characters that do not show", p.Message)
	}
	if p.RequestID == "" || p.RequestID != a.header.Get("Request-Id") {
		t.Errorf("request_id is %q, header Request-Id %q", p.RequestID, a.header.Get("Request-Id"))
	}
	if p.Details == nil {
		t.Errorf("details are missing: %s", a.body)
	}
	if got := a.header.Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type is %q", got)
	}
	if a.header.Get("RateLimit") == "" || a.header.Get("RateLimit-Policy") == "" {
		t.Errorf("RateLimit headers are missing: %v", a.header)
	}
	if retry := a.header.Get("Retry-After"); retry == "" && (w.code == 1602 || w.code == 1604) {
		t.Errorf("Retry-After is missing on %d", w.code)
	}
	return p
}

// accepted sends c, which must be answered with status, and reads the answer into to.
func (e *edge) accepted(t *testing.T, c call, status int, to any) answer {
	t.Helper()
	a := e.send(t, c)
	if a.status != status {
		t.Fatalf("%s %s: %d %s, want %d", c.method, c.path, a.status, a.body, status)
	}
	if to != nil {
		if err := json.Unmarshal(a.body, to); err != nil {
			t.Fatalf("%s %s: %v: %s", c.method, c.path, err, a.body)
		}
	}
	return a
}

// made is the id in the answer to a request that makes something.
func (e *edge) made(t *testing.T, c call, status int) string {
	t.Helper()
	var to struct {
		ID          string `json:"id"`
		OperationID string `json:"operationId"`
	}
	e.accepted(t, c, status, &to)
	if to.OperationID != "" {
		return to.OperationID
	}
	return to.ID
}

// totals is how many of each resource there are.
func (e *edge) totals(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	e.counted++
	counter := fmt.Sprint("counter ", e.counted%counters) // the limit of requests holds for a key
	for _, path := range []string{"/v1/token-operations", "/v1/tokens", "/v1/policies", "/v1/vault/accounts", "/v1/users", "/v1/credentials"} {
		fmt.Fprintf(&b, "%s=%d ", path[len("/v1/"):], e.totalAs(t, counter, path+"?limit=1"))
	}
	return strings.TrimSpace(b.String())
}

// total is how many items a list has.
func (e *edge) total(t *testing.T, path string) int { return e.totalAs(t, "admin", path) }

func (e *edge) totalAs(t *testing.T, who, path string) int {
	t.Helper()
	var to struct {
		Pagination struct {
			Total int `json:"total"`
		} `json:"pagination"`
	}
	e.accepted(t, call{method: "GET", path: path, as: who}, http.StatusOK, &to)
	return to.Pagination.Total
}

// mint is the request for a mint with this amount and recipient, both as JSON.
func (e *edge) mint(token, amount, recipient string) call {
	return call{method: "POST", path: "/v1/tokens/" + token + "/mint", key: draw(),
		body: fmt.Sprintf(`{"amount":%s,"recipient":%s}`, amount, recipient)}
}

func (e *edge) burn(token, amount, from string) call {
	return call{method: "POST", path: "/v1/tokens/" + token + "/burn", key: draw(),
		body: fmt.Sprintf(`{"amount":%s,"from":%s}`, amount, from)}
}

// change is a grant or a revocation of a role.
func (e *edge) change(verb, token, role, subject string) call {
	return call{method: "POST", path: "/v1/tokens/" + token + "/roles/" + verb, key: draw(),
		body: fmt.Sprintf(`{"role":%q,"subject":%s}`, role, subject)}
}

func (e *edge) transfer(token, amount, from, to string) call {
	return call{method: "POST", path: "/v1/tokens/" + token + "/transfers", key: draw(),
		body: fmt.Sprintf(`{"amount":%s,"from":%s,"to":%s}`, amount, from, to)}
}

// list is the request for freeze, unfreeze or allowlist.
func (e *edge) list(verb, token, subject string) call {
	return call{method: "POST", path: "/v1/tokens/" + token + "/" + verb, key: draw(), body: fmt.Sprintf(`{"subject":%s}`, subject)}
}

func (e *edge) disallow(token, address string) call {
	return call{method: "DELETE", path: "/v1/tokens/" + token + "/allowlist/" + address, key: draw()}
}

// stop is the request for pause or unpause.
func (e *edge) stop(verb, token string) call {
	return call{method: "POST", path: "/v1/tokens/" + token + "/" + verb, key: draw()}
}

func addressParty(a string) string { return fmt.Sprintf(`{"type":"address","address":%q}`, a) }
func walletParty(id string) string { return fmt.Sprintf(`{"type":"walletId","walletId":%q}`, id) }
func vaultParty(id string) string {
	return fmt.Sprintf(`{"type":"vaultAccountId","vaultAccountId":%q}`, id)
}

// member makes a user of a role with a key of its own, known as name afterwards.
func (e *edge) member(t *testing.T, name, role string) (user string) {
	t.Helper()
	user = e.made(t, call{method: "POST", path: "/v1/users", as: "admin", body: fmt.Sprintf(`{"name":%q,"role":%q}`, name, role)}, http.StatusCreated)
	e.credential(t, name, user, "")
	return user
}

// credential makes a key of a user, known as name afterwards; more are further members of the request.
func (e *edge) credential(t *testing.T, name, user, more string) (id string) {
	t.Helper()
	var to map[string]any
	e.accepted(t, call{method: "POST", path: "/v1/credentials", as: "admin", body: fmt.Sprintf(`{"userId":%q%s}`, user, more)}, http.StatusCreated, &to)
	id, _ = to["id"].(string)
	for _, v := range to {
		if s, _ := v.(string); strings.HasPrefix(s, "qcs_") {
			e.bearers[name] = s
		}
	}
	if e.bearers[name] == "" || id == "" {
		t.Fatalf("the answer to a new credential holds no key: %d members", len(to))
	}
	return id
}

// user is the id of a user by name.
func (e *edge) user(t *testing.T, name string) string {
	t.Helper()
	var to struct {
		Data []struct {
			ID   string `json:"id"`
			Name string `json:"name"`
		} `json:"data"`
	}
	e.accepted(t, call{method: "GET", path: "/v1/users?limit=200", as: "admin"}, http.StatusOK, &to)
	for _, u := range to.Data {
		if u.Name == name {
			return u.ID
		}
	}
	t.Fatalf("there is no user %s", name)
	return ""
}
