package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// appliance speaks the API over real mTLS and lies as a test tells it to: a
// hostile one cannot be had otherwise. It records decisions in its world's
// ledger as a seal would.
type appliance struct {
	t testing.TB
	w *world

	mu         sync.Mutex
	values     [][]byte // served as the ledger
	head       *client.LedgerHead
	operations map[string]*client.Operation
	policies   map[string]*client.Policy
	charters   []client.Charter // proposed
	seal       *client.Seal
	audit      []*audit.Entry // oldest first
	sealed     bool
	shifts     int                // by how many decimals it lies of a token
	lie        string             // what it says in place of an id, an address, a line of an export; a vault's name, too
	denial     *client.ErrorBody  // answers a burn
	received   []*policy.Envelope // what people signed
	requests   []request          // what people asked for
	dir        string             // of the client's files
}

// request is a privileged call as it came.
type request struct{ path, key, body string }

// serve starts an appliance and points the environment at it.
func serve(t *testing.T, w *world) *appliance {
	a := newAppliance(t, w)
	for name, value := range a.start() {
		t.Setenv(name, value)
	}
	t.Setenv("XDG_STATE_HOME", filepath.Join(a.dir, "state"))
	return a
}

func newAppliance(t testing.TB, w *world) *appliance {
	return &appliance{t: t, w: w, values: w.values, operations: map[string]*client.Operation{}, policies: map[string]*client.Policy{}, dir: t.TempDir()}
}

// start serves until the test ends and gives the client's environment.
func (a *appliance) start() map[string]string {
	ca, err := pki.NewCA("test", pki.ECDSAP256)
	require.NoError(a.t, err)
	server, err := ca.IssueServer("appliance", []string{"127.0.0.1"}, pki.ECDSAP256)
	require.NoError(a.t, err)
	user, err := ca.IssueClient("user", pki.ECDSAP256)
	require.NoError(a.t, err)
	pair, err := tls.X509KeyPair(server.Certificate, server.Key)
	require.NoError(a.t, err)
	roots := x509.NewCertPool()
	require.True(a.t, roots.AppendCertsFromPEM(ca.Pair().Certificate))

	mux := http.NewServeMux()
	mux.HandleFunc("GET /v1/ledger", a.getLedger)
	mux.HandleFunc("GET /v1/token-operations/{id}", a.getOperation)
	mux.HandleFunc("POST /v1/token-operations/{id}/{verb}", a.decide)
	mux.HandleFunc("GET /v1/policies", a.listPolicies)
	mux.HandleFunc("GET /v1/policies/{id}", a.getPolicy)
	mux.HandleFunc("POST /v1/policies/{id}/sign", a.signPolicy)
	mux.HandleFunc("GET /v1/audit", a.listAudit)
	mux.HandleFunc("GET /v1/charter", a.getCharter)
	mux.HandleFunc("PUT /v1/charter", a.putCharter)
	mux.HandleFunc("POST /v1/charter/sign", a.signCharter)
	mux.HandleFunc("POST /v1/policies/{id}/simulate", a.ask(simulated))
	mux.HandleFunc("GET /v1/seal", a.getSeal)
	mux.HandleFunc("POST /v1/seal/{verb}", a.sealing)
	mux.HandleFunc("GET /v1/wallets/{id}", func(w http.ResponseWriter, r *http.Request) {
		a.answer(w, client.Wallet{ID: r.PathValue("id"), VaultAccountID: id("vault", 1), Network: network, Address: account("mallory").String()})
	})
	mux.HandleFunc("GET /v1/vault/accounts/{id}/wallets", func(w http.ResponseWriter, r *http.Request) {
		n := strings.TrimLeft(strings.TrimPrefix(r.PathValue("id"), "vault_"), "0")
		l := client.WalletList{Data: []client.Wallet{{ID: strings.Replace(r.PathValue("id"), "vault", "wallet", 1), Label: "hot " + n}}}
		l.Pagination.Total = len(l.Data)
		a.answer(w, l)
	})
	mux.HandleFunc("GET /v1/users", func(w http.ResponseWriter, _ *http.Request) {
		l := client.UserList{Data: []client.User{{ID: id("user", 9), Name: "oscar", Role: "operator", Status: "ACTIVE"}}}
		l.Pagination.Total = len(l.Data)
		a.answer(w, l)
	})
	mux.HandleFunc("GET /v1/credentials", func(w http.ResponseWriter, _ *http.Request) {
		l := client.CredentialList{Data: []client.Credential{{ID: id("cred", 1), UserID: id("user", 9)}, {ID: id("cred", 2), UserID: id("user", 1), Permissions: []string{"tokens:read"}}}}
		l.Pagination.Total = len(l.Data)
		a.answer(w, l)
	})
	mux.HandleFunc("GET /v1/roles", func(w http.ResponseWriter, _ *http.Request) {
		l := client.RoleDefinitionList{Data: []client.RoleDefinition{{Name: "viewer", Permissions: []string{"tokens:read"}, BuiltIn: true}}}
		l.Pagination.Total = len(l.Data)
		a.answer(w, l)
	})
	mux.HandleFunc("GET /v1/tokens", func(w http.ResponseWriter, _ *http.Request) {
		l := client.TokenList{Data: []client.Token{{ID: id("token", 1), Symbol: "EIT", Status: client.TokenStatusDEPLOYED}}}
		l.Pagination.Total = len(l.Data)
		a.answer(w, l)
	})
	mux.HandleFunc("GET /v1/webhooks", func(w http.ResponseWriter, _ *http.Request) {
		l := client.WebhookList{Data: []client.Webhook{{ID: id("wh", 1), URL: "https://hooks.example.com/mint"}}}
		l.Pagination.Total = len(l.Data)
		a.answer(w, l)
	})
	mux.HandleFunc("GET /v1/transactions", func(w http.ResponseWriter, _ *http.Request) {
		a.answer(w, client.TransactionList{Data: []client.TransactionSummary{{ID: id("txreq", 1), OperationType: "MINT", Status: client.OperationStatusCOMPLETED}}})
	})
	mux.HandleFunc("GET /v1/token-operations", a.listOperations)
	mux.HandleFunc("GET /v1/tokens/{id}/balances/{address}", func(w http.ResponseWriter, r *http.Request) {
		a.answer(w, client.TokenBalance{TokenID: r.PathValue("id"), Address: r.PathValue("address"), Balance: "1500000000000000000"})
	})
	mux.HandleFunc("DELETE /v1/policies/{id}", a.withdrawPolicy)
	mux.HandleFunc("GET /v1/vault/accounts", func(w http.ResponseWriter, _ *http.Request) {
		l := client.VaultAccountList{Data: []client.VaultAccount{{ID: id("vault", 1), Name: "treasury"}, {ID: id("vault", 2), Name: "twins"}, {ID: id("vault", 3), Name: "twins"}}}
		if a.lie != "" {
			l.Data = append(l.Data, client.VaultAccount{ID: id("vault", 4), Name: a.lie})
		}
		l.Pagination.Total = len(l.Data)
		a.answer(w, l)
	})
	mux.HandleFunc("GET /v1/tokens/{id}", func(w http.ResponseWriter, r *http.Request) {
		decimals := map[string]int{id("token", 6): 6}[r.PathValue("id")]
		if decimals == 0 {
			decimals = 18 + a.shifts
		}
		a.answer(w, client.TokenDetail{ID: r.PathValue("id"), Network: network, Symbol: "EIT", Decimals: decimals})
	})
	mux.HandleFunc("POST /v1/tokens", func(w http.ResponseWriter, r *http.Request) {
		a.ask(client.Token{ID: cmp.Or(a.lie, id("token", 1)), Decimals: 18})(w, r)
	})
	mux.HandleFunc("POST /v1/tokens/{id}/burn", func(w http.ResponseWriter, r *http.Request) {
		if a.denial != nil {
			w.WriteHeader(http.StatusUnprocessableEntity)
			a.answer(w, client.ErrorEnvelope{Error: *a.denial})
			return
		}
		a.ask(client.BurnAccepted{OperationID: id("op", 1)})(w, r)
	})
	mux.HandleFunc("POST /v1/tokens/{id}/", func(w http.ResponseWriter, r *http.Request) {
		a.ask(client.MintAccepted{OperationID: cmp.Or(a.lie, id("op", 1))})(w, r) // all answers of this kind hold it
	})
	mux.HandleFunc("GET /v1/transactions/export", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, map[string]string{"csv": a.lie, "json": "[]"}[r.URL.Query().Get("format")])
	})
	mux.HandleFunc("DELETE /v1/tokens/{id}/allowlist/{address}", a.ask(client.AccountChangeAccepted{OperationID: id("op", 1)}))
	mux.HandleFunc("POST /v1/tokens/{id}/retire", a.ask(client.Token{ID: id("token", 1), Status: client.TokenStatusRETIRED, Decimals: 18}))
	mux.HandleFunc("POST /v1/tokens/{id}/deployment/estimate", func(w http.ResponseWriter, r *http.Request) {
		a.ask(client.DeploymentEstimate{Network: network, Currency: "QC", GasLimit: 2_000_000,
			PredictedContractAddress: cmp.Or(a.lie, account("alice").String()), Warnings: []string{"wallet_01 has 0 wei"},
			Strategies: []client.StrategyFee{{FeeStrategy: client.FeeStrategyLOW, MaxFee: "4200000000000000", MaxFeePerGas: "2100000000"}}})(w, r)
	})
	mux.HandleFunc("POST /v1/credentials", a.ask(client.CredentialCreated{ID: id("cred", 1), Key: ptr("qcs_test_secret")}))
	s := httptest.NewUnstartedServer(mux)
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert}
	s.StartTLS()
	a.t.Cleanup(s.Close)

	env := map[string]string{client.EnvURL: s.URL, envDir: a.dir}
	for name, file := range map[string][]byte{client.EnvCA: ca.Pair().Certificate, client.EnvCert: user.Certificate, client.EnvKey: user.Key,
		client.EnvAPIKeyFile: []byte("qcs_test_key\n"), charter1File: []byte(a.w.root + "\n")} {
		path := filepath.Join(a.dir, strings.ToLower(name))
		require.NoError(a.t, os.WriteFile(path, file, 0o600))
		if name != charter1File {
			env[name] = path
		}
	}
	return env
}

func (a *appliance) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.MarshalWrite(w, v); err != nil {
		a.t.Error(err)
	}
}

func (a *appliance) refuse(w http.ResponseWriter, status, code int, kind string) {
	w.WriteHeader(status)
	a.answer(w, client.ErrorEnvelope{Error: client.ErrorBody{Code: code, Type: kind, Message: "said the appliance", RequestID: "req_1"}})
}

// ask keeps a request and gives the answer.
func (a *appliance) ask(answer any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			a.t.Error(err)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.sealed {
			a.refuse(w, http.StatusServiceUnavailable, client.CodeSealed, "SEALED")
			return
		}
		a.requests = append(a.requests, request{r.URL.Path, r.Header.Get("Idempotency-Key"), string(body)})
		a.answer(w, answer)
	}
}

func (a *appliance) getLedger(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	from, limit := 1, 50
	if s := r.URL.Query().Get("from"); s != "" {
		from, _ = strconv.Atoi(s)
	}
	if s := r.URL.Query().Get("limit"); s != "" {
		limit, _ = strconv.Atoi(s)
	}
	page := client.LedgerPage{Data: [][]byte{}}
	for n := from - 1; n < len(a.values) && len(page.Data) < limit; n++ {
		page.Data = append(page.Data, a.values[n])
	}
	if len(a.values) > 0 {
		page.Head = client.LedgerHead{Sequence: int64(len(a.values)), Hash: string(policy.DigestOf(a.values[len(a.values)-1]))}
	}
	if a.head != nil {
		page.Head = *a.head
	}
	a.answer(w, page)
}

// offer serves the intent as an operation that waits for approvals.
func (a *appliance) offer(i *policy.Intent) *client.Operation {
	b, err := i.Encode()
	require.NoError(a.t, err)
	return a.offerBytes(i.OperationID, b)
}

func (a *appliance) offerBytes(id string, intent []byte) *client.Operation {
	a.mu.Lock()
	defer a.mu.Unlock()
	op := &client.Operation{OperationID: id, OperationType: "MINT", Status: client.OperationStatusPENDINGAUTHORIZATION, Intent: intent,
		IntentDigest: string(policy.DigestOf(intent)), RequestedBy: "oscar", RequiredApprovals: 2, ApprovalGroup: ptr("approvers"),
		Approvals: []client.Approval{}, ApprovedBy: []string{}, History: []client.StatusChange{}}
	a.operations[id] = op
	return op
}

func (a *appliance) getOperation(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	op, ok := a.operations[r.PathValue("id")]
	if !ok {
		a.refuse(w, http.StatusNotFound, client.CodeTxNotFound, "TX_NOT_FOUND")
		return
	}
	a.answer(w, op)
}

func (a *appliance) listOperations(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := client.OperationList{Data: []client.OperationSummary{}}
	for _, op := range a.operations {
		l.Data = append(l.Data, client.OperationSummary{OperationID: op.OperationID, OperationType: op.OperationType, Status: op.Status, Amount: op.Amount,
			TokenID: op.TokenID, RequestedBy: op.RequestedBy, ApprovedBy: op.ApprovedBy, RequiredApprovals: op.RequiredApprovals})
	}
	l.Pagination.Total = len(l.Data)
	a.answer(w, l)
}

// envelope reads the envelope of a request's body.
func (a *appliance) envelope(r *http.Request) *policy.Envelope {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		a.t.Error(err)
	}
	var raw struct {
		Envelope policy.Envelope `json:"envelope"`
	}
	if err := json.Unmarshal(body, &raw); err != nil {
		a.t.Error(err)
	}
	return &raw.Envelope
}

func (a *appliance) decide(w http.ResponseWriter, r *http.Request) {
	e := a.envelope(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sealed {
		a.refuse(w, http.StatusServiceUnavailable, client.CodeSealed, "SEALED")
		return
	}
	a.received = append(a.received, e)
	record := ledger.Record{Decision: e}
	if r.PathValue("verb") == "request" {
		record = ledger.Record{Request: e}
	}
	a.w.commit(record)
	a.values = a.w.values
	if r.PathValue("verb") == "request" {
		a.answer(w, a.operations[r.PathValue("id")])
		return
	}
	d, err := policy.ParseDecision(e.Payload)
	if err != nil {
		a.t.Error(err)
	}
	op := a.operations[r.PathValue("id")]
	if d.Decision == policy.Reject {
		op.Status = client.OperationStatusREJECTED
	} else if op.ApprovedBy = append(op.ApprovedBy, d.Approver); len(op.ApprovedBy) == op.RequiredApprovals {
		op.Status = client.OperationStatusAPPROVED
	}
	a.answer(w, op)
}

func (a *appliance) getCharter(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	charter, digest := a.w.fold.Charter()
	document, err := charter.Encode()
	if err != nil {
		a.t.Error(err)
	}
	a.answer(w, client.Charter{Document: document, DocumentDigest: string(digest), Status: client.CharterStatusACTIVE, Version: int64(charter.Version),
		RequiredSignatures: 2, SignedBy: []string{}, Proposals: &a.charters})
}

func (a *appliance) putCharter(w http.ResponseWriter, r *http.Request) {
	var body client.CharterWrite
	if err := json.UnmarshalRead(r.Body, &body); err != nil {
		a.t.Error(err)
	}
	a.answer(w, a.proposeCharter(body.Document))
}

// proposeCharter serves a document as a proposed charter.
func (a *appliance) proposeCharter(document []byte) *client.Charter {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.charters = append(a.charters, client.Charter{Document: document, DocumentDigest: string(policy.DigestOf(document)),
		Status: client.CharterStatusPENDINGAUTHORIZATION, Version: 2, RequiredSignatures: 2, SignedBy: []string{}})
	return &a.charters[len(a.charters)-1]
}

func (a *appliance) signCharter(w http.ResponseWriter, r *http.Request) {
	e := a.envelope(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received = append(a.received, e)
	charter, _ := a.w.fold.Charter()
	for n := range a.charters {
		if p := &a.charters[n]; p.DocumentDigest == string(e.PayloadDigest()) {
			by, err := charter.VerifyCustodians(policy.DocCharter, e)
			if err != nil {
				a.t.Error(err)
			}
			p.SignedBy = append(p.SignedBy, by...)
			a.answer(w, p)
			return
		}
	}
	a.refuse(w, http.StatusNotFound, 1112, "NOT_FOUND")
}

func (a *appliance) getSeal(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer(w, a.seal)
}

// sealing keeps what custodians sign about the seal and about freezes.
func (a *appliance) sealing(w http.ResponseWriter, r *http.Request) {
	e := a.envelope(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received = append(a.received, e)
	switch r.PathValue("verb") {
	case "freeze":
		d, err := policy.ParseFreeze(e.Payload)
		if err != nil {
			a.t.Error(err)
		}
		a.w.now = policy.Seconds(time.Now())
		a.w.commit(ledger.Record{Freeze: e})
		a.values = a.w.values
		a.answer(w, client.Frozen{Frozen: d.Frozen, Sequence: int64(len(a.values))})
	case "seal":
		a.seal.Sealed = true
		a.answer(w, a.seal)
	case "unseal":
		charter, _ := a.w.fold.Charter()
		by, err := charter.VerifyCustodians(policy.DocUnseal, e)
		if err != nil {
			a.t.Error(err)
		}
		u := a.seal.Unsealing
		if u.Shares = append(u.Shares, by...); len(u.Shares) == u.Need {
			a.seal.Sealed, a.seal.Unsealing = false, nil
		}
		a.answer(w, a.seal)
	}
}

// propose serves a document as a proposal of the policy.
func (a *appliance) propose(id string, document []byte) *client.Policy {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := client.Policy{ID: id, Name: "dev-default", Version: 2, Status: client.PolicyStatusPENDINGAUTHORIZATION, Document: document,
		DocumentDigest: string(policy.DigestOf(document)), RequiredSignatures: 2, SignedBy: []string{}, Rules: []client.PolicyRule{}, CreatedAt: time.Now()}
	a.policies[id] = &p
	return &p
}

func (a *appliance) listPolicies(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := client.PolicyList{Data: []client.Policy{}}
	for _, p := range a.policies {
		l.Data = append(l.Data, *p)
	}
	l.Pagination.Total = len(l.Data)
	a.answer(w, l)
}

func (a *appliance) getPolicy(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p, ok := a.policies[r.PathValue("id")]
	if !ok {
		a.refuse(w, http.StatusNotFound, client.CodeTxNotFound, "TX_NOT_FOUND")
		return
	}
	a.answer(w, p)
}

// withdrawPolicy withdraws a proposal, or else proposes the policy's retirement.
func (a *appliance) withdrawPolicy(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.policies[r.PathValue("id")]
	if p.Status == client.PolicyStatusPENDINGAUTHORIZATION {
		p.Status = client.PolicyStatusREJECTED
		a.answer(w, p)
		return
	}
	in, _ := a.w.fold.Policy(p.ID)
	retired := a.w.policy(2, &in.Digest)
	retired.Retired = true
	document, err := retired.Encode()
	if err != nil {
		a.t.Error(err)
	}
	next := *p
	next.Status, next.Document, next.DocumentDigest = client.PolicyStatusPENDINGAUTHORIZATION, document, string(policy.DigestOf(document))
	next.SignedBy = []string{}
	p.Status, p.Proposals = client.PolicyStatusACTIVE, &[]client.Policy{next}
	a.answer(w, p)
}

func (a *appliance) signPolicy(w http.ResponseWriter, r *http.Request) {
	e := a.envelope(r)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.received = append(a.received, e)
	p := a.policies[r.PathValue("id")]
	charter, _ := a.w.fold.Charter()
	if by, err := charter.VerifyCustodians(policy.DocPolicy, e); err == nil {
		p.SignedBy = append(p.SignedBy, by...)
	}
	a.answer(w, p)
}

func (a *appliance) listAudit(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := client.AuditEntryList{Data: []client.AuditEntry{}}
	for n := len(a.audit) - 1; n >= 0; n-- {
		b, err := a.audit[n].Encode()
		if err != nil {
			a.t.Error(err)
		}
		var e client.AuditEntry
		if err := json.Unmarshal(b, &e); err != nil {
			a.t.Error(err)
		}
		l.Data = append(l.Data, e)
	}
	l.Pagination.Total = len(l.Data)
	a.answer(w, l)
}

// sent is what people sent so far.
func (a *appliance) sent() []*policy.Envelope {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.received
}

// result is what a command left behind.
type result struct {
	code     int
	out, err string
}

// mintwarden runs the program.
func mintwarden(t testing.TB, args ...string) result {
	var out, err bytes.Buffer
	code := run(context.Background(), append(args, "--patience", "0s"), strings.NewReader(""), &out, &err)
	return result{code, out.String(), err.String()}
}

// closedPort is an address where nobody listens.
func closedPort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}
