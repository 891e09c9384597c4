package api_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/getkin/kin-openapi/openapi3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/api/apitest"
	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/daemon/webhook"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const network = "quantum-chain-devnet"

// house is an appliance behind its API, with everything real but the HSM: etcd,
// chain, registry, operations, TLS, and a ledger that is signed and folded as
// the seal's is.
type house struct {
	t        testing.TB
	etcd     *storetest.Server
	store    *store.Store
	hooks    *webhook.Service
	node     *devnet.Node
	chains   map[string]*chain.Client
	room     *room
	charter1 policy.Digest
	signers  map[string]*policy.Signer // custodians and approvers
	users    map[string]string         // name → id
	keys     map[string]string         // name → bearer key
	registry *registry.Service
	ops      *operation.Service
	audit    *auditlog.Log
	pki      *authority
	doc      *openapi3.T
	policyID string
	options
}

// options are what a house may be that the tests' is not.
type options struct {
	inProcess  bool          // asks the etcd in this process without a connection, as an appliance alone does
	silent     bool          // numbers no audit entries and delivers nothing
	period     time.Duration // between blocks
	quota      int64         // of etcd, in bytes; 0: the default
	maxPending int           // operations of one key that await approval; 0: the default

	storeTimeout time.Duration // of one request to etcd; 0: waitLimit
}

var people = map[string]registry.UserRole{
	"operator": registry.Operator, "admin": registry.Admin, "viewer": registry.Viewer, "root": registry.Admin,
	"approver-1": registry.Approver, "approver-2": registry.Approver, "approver-3": registry.Approver,
	"custodian-1": registry.Custodian, "custodian-2": registry.Custodian, "custodian-3": registry.Custodian,
}

func newHouse(t testing.TB) *house { return houseWith(t, options{period: poll}) }

func houseWith(t testing.TB, o options) *house {
	t.Helper()
	h := &house{options: o, t: t, etcd: storetest.Start(t, func(c *store.EmbeddedConfig) { c.QuotaBytes = o.quota }), signers: map[string]*policy.Signer{}, users: map[string]string{}, keys: map[string]string{}, pki: newAuthority(t)}
	h.store = h.open()
	h.startChain()
	h.startLedger()
	h.startServices()
	doc, err := specification()
	require.NoError(t, err)
	h.doc = doc
	return h
}

// open is the store as an appliance uses it, which is given time: on a busy machine etcd takes its own.
func (h *house) open() *store.Store {
	c := h.etcd.ClientConfig(store.UserServe)
	if h.inProcess {
		c = h.etcd.InProcess(store.UserServe)
	}
	if c.RequestTimeout = h.storeTimeout; c.RequestTimeout == 0 {
		c.RequestTimeout = waitLimit
	}
	return h.etcd.OpenConfig(c)
}

func (h *house) startChain() {
	node, err := devnet.Start(h.t.Context(), devnet.Config{Dir: h.t.TempDir(), Period: h.period})
	require.NoError(h.t, err)
	h.t.Cleanup(func() { node.Close() })
	c, err := chain.Dial(h.t.Context(), chain.Network{
		Name: network, Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, RPCURLs: []string{node.URL()}, Confirmations: 2, Scheme: tx.Dilithium3, Currency: "QC",
	}, storetest.Logger(h.t), prometheus.NewRegistry())
	require.NoError(h.t, err)
	h.t.Cleanup(c.Close)
	h.node, h.chains = node, map[string]*chain.Client{network: c}
}

func (h *house) startLedger() {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(h.t, err)
	h.room = &room{t: h.t, store: h.etcd.Open(store.UserSeal), key: key, wallets: map[string]*seal.WalletResult{}, applied: map[policy.Digest]uint64{},
		private: map[string]*mode3.PrivateKey{}, signed: map[string]*seal.AuthorizeResult{}, asked: map[string]*authorized{}}
	for name := range people {
		h.users[name] = store.NewID("user_")
	}
	charter := h.charter()
	doc, err := charter.Encode()
	require.NoError(h.t, err)
	h.charter1 = policy.DigestOf(doc)
	h.room.fold = ledger.NewFold(h.charter1)
	env, err := policy.Sign(policy.PayloadType(policy.DocCharter), doc, h.signers["custodian-1"], h.signers["custodian-2"], h.signers["custodian-3"])
	require.NoError(h.t, err)
	h.room.record(ledger.Record{Charter: env})
	p := &policy.Policy{
		Format: policy.Format, Instance: "test-1", ID: store.NewID("pol_"), Version: 1, Name: "dev-default", Scope: policy.Scope{All: true},
		Rules:     []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}},
		CreatedAt: time.Now().UTC().Truncate(time.Second),
	}
	h.policyID = p.ID
	doc, err = p.Encode()
	require.NoError(h.t, err)
	env, err = policy.Sign(policy.PayloadType(policy.DocPolicy), doc, h.signers["custodian-1"], h.signers["custodian-3"])
	require.NoError(h.t, err)
	h.room.record(ledger.Record{Policy: env})
}

func (h *house) charter() *policy.Charter {
	ledgerKey, err := policy.NewPublicKey(h.room.key.Public())
	require.NoError(h.t, err)
	c := &policy.Charter{
		Format: policy.Format, Instance: "test-1", Version: 1, Environment: policy.Dev, TenantID: "test",
		Networks: []policy.Network{{
			Name: network, Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, Scheme: tx.Dilithium3, Currency: "QC",
			DefaultMaxFee: policy.AmountOf(1e18), DailyFee: policy.AmountOf(9e18),
		}},
		Custodians: policy.Custodians{Threshold: 2},
		Groups:     map[string][]string{"approvers": {}},
		Appliances: []policy.Appliance{{
			ID: "appliance-1", LedgerKey: ledgerKey, UnsealKey: []byte{1},
			Token: policy.SecurityToken{Serial: "0123", CheckValues: map[string]string{"canary": "00"}},
		}},
	}
	for i, a := range []policy.Algorithm{policy.ECDSAP256, policy.Ed25519, policy.MLDSA65} {
		custodian, person := fmt.Sprintf("custodian-%d", i+1), fmt.Sprintf("approver-%d", i+1)
		h.signers[custodian], h.signers[person] = signer(h.t, a), signer(h.t, a)
		c.Custodians.Members = append(c.Custodians.Members, policy.Custodian{Name: custodian, Keys: []policy.PublicKey{h.signers[custodian].Public()}})
		c.Persons = append(c.Persons, policy.Person{Name: person, Keys: []policy.PublicKey{h.signers[person].Public()}, Users: []string{h.users[person]}})
		c.Groups["approvers"] = append(c.Groups["approvers"], person)
	}
	return c
}

func signer(t testing.TB, a policy.Algorithm) *policy.Signer {
	pem, _, err := policy.GenerateKeyPEM(a)
	require.NoError(t, err)
	s, err := policy.LoadSignerPEM(pem)
	require.NoError(t, err)
	return s
}

func (h *house) startServices() {
	var err error
	log := storetest.Logger(h.t)
	h.registry, err = registry.New(registry.Deps{
		Store: h.store, Seal: h.room, Chains: h.chains, Charter1: h.charter1, Tenant: "test", Log: log, Registerer: prometheus.NewRegistry(),
		OnWallet: func(_ context.Context, w *registry.Wallet) error { return h.fund(w.Address) },
	})
	require.NoError(h.t, err)
	h.ops, err = operation.New(operation.Deps{
		Store: h.store, Registry: h.registry, Seal: h.room, Chains: h.chains, Log: log, Registerer: prometheus.NewRegistry(), MaxPending: h.maxPending,
	})
	require.NoError(h.t, err)
	h.audit, err = auditlog.New(h.store, log, prometheus.NewRegistry())
	require.NoError(h.t, err)
	h.hooks, err = webhook.New(webhook.Deps{Store: h.store, Log: log, Key: make([]byte, webhook.KeySize), Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		Plain: func() bool { return true }})
	require.NoError(h.t, err)
	h.bootstrap()
	h.run(h.registry.Follow)
	h.run(h.ops.RunWorker)
	if !h.silent {
		h.run(h.hooks.Run)
		h.run(h.audit.Run)
	}
	require.NoError(h.t, h.registry.WaitReady(h.t.Context()))
}

func (h *house) run(f func(context.Context) error) {
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	h.t.Cleanup(func() { cancel(); <-done })
}

func (h *house) bootstrap() {
	first := registry.FirstUsers{Format: 1}
	for name, role := range people {
		b := registry.NewBearer(false)
		h.keys[name] = b.Key
		first.Users = append(first.Users, registry.FirstUser{
			ID: h.users[name], Name: name, Role: role, Credential: registry.FirstCredential{ID: b.CredentialID, Hash: b.Hash, Label: name},
		})
	}
	raw, err := json.Marshal(first)
	require.NoError(h.t, err)
	path := filepath.Join(h.t.TempDir(), "bootstrap.json")
	require.NoError(h.t, os.WriteFile(path, raw, 0o600))
	err = h.registry.Bootstrap(h.t.Context(), path)
	require.NoError(h.t, err)
}

func (h *house) fund(a tx.Address) error {
	poor := false
	if h.room.set(func() { poor = h.room.poor }); poor {
		return nil
	}
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"devnet_fund","params":[%q]}`, a)
	resp, err := http.Post(h.node.URL(), "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && bytes.Contains(b, []byte(`"error"`)) {
		err = errors.New(string(b))
	}
	return err
}

// server is one API server on a port of its own.
type server struct {
	*house
	url     string
	metrics *prometheus.Registry
	tls     *api.TLS
	client  *http.Client
	cert    tls.Certificate // the client's
}

func (h *house) deps() api.Deps {
	reconciler, err := reconciliation.New(reconciliation.Deps{Store: h.store, Registry: h.registry, Operations: h.ops, Seal: h.room, Chains: h.chains,
		Log: storetest.Logger(h.t)})
	require.NoError(h.t, err)
	return api.Deps{
		Reconciliation: reconciler,
		Registry:       h.registry, Operations: h.ops, Audit: h.audit, Webhooks: h.hooks, Store: h.store, Seal: h.room, Log: storetest.Logger(h.t), Registerer: prometheus.NewRegistry(),
		NodeDown: func(err error) bool { return errors.Is(err, chain.ErrUnavailable) },
	}
}

func (h *house) serve(change ...func(*api.Deps)) *server {
	h.t.Helper()
	d := h.deps()
	reg := prometheus.NewRegistry()
	d.Registerer = reg
	for _, f := range change {
		f(&d)
	}
	pq, err := h.pki.pq.IssueServer("mintwarden", []string{"127.0.0.1"}, pki.MLDSA65)
	classic, err2 := h.pki.ecdsa.IssueServer("mintwarden", []string{"127.0.0.1"}, pki.ECDSAP256)
	d.TLS, err = api.NewTLS(api.Trust{
		Certificates: []tls.Certificate{keyPair(h.t, pq, err), keyPair(h.t, classic, err2)}, Roots: h.pki.trusted,
	}, reg)
	require.NoError(h.t, err)
	handler, err := api.New(d)
	require.NoError(h.t, err)
	h.run(handler.Watch)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(h.t, err)
	srv := handler.HTTPServer()
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.ServeTLS(l, "", "") }()
	h.t.Cleanup(func() { srv.Close(); <-done })
	p, err := h.pki.ecdsa.IssueClient("test", pki.ECDSAP256)
	s := &server{house: h, url: "https://" + l.Addr().String(), metrics: reg, tls: d.TLS, cert: keyPair(h.t, p, err)}
	s.client = s.clientWith(&tls.Config{RootCAs: h.pki.roots, Certificates: []tls.Certificate{s.cert}})
	return s
}

func (s *server) clientWith(conf *tls.Config) *http.Client {
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: true}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 30 * time.Second}
}

// in is the server for a subtest.
func (s *server) in(t testing.TB) *server {
	h := *s.house
	h.t = t
	c := *s
	c.house = &h
	return &c
}

// answer is what came back, read whole.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   []byte
}

// with changes a request before it is sent.
type with func(*http.Request)

func header(name string, values ...string) with {
	return func(r *http.Request) { r.Header[http.CanonicalHeaderKey(name)] = values }
}

func key(k string) with { return header("Idempotency-Key", k) }

// as sends a request with a user's key, and holds the answer against the
// document.
func (s *server) as(user, method, path, body string, changes ...with) answer {
	s.t.Helper()
	var reader io.Reader
	if body != "" {
		reader = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, reader)
	require.NoError(s.t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if user != "" {
		req.Header.Set("Authorization", "Bearer "+s.keys[user])
	}
	for _, f := range changes {
		f(req)
	}
	return s.do(req)
}

// patiently is as, and again while the store does not answer in time, as a caller does: a busy machine takes its own.
func (s *server) patiently(user, method, path, body string, changes ...with) answer {
	s.t.Helper()
	for over := time.Now().Add(patience); ; {
		a := s.as(user, method, path, body, changes...)
		if a.status != http.StatusServiceUnavailable || !bytes.Contains(a.body, []byte(`"STORE_UNAVAILABLE"`)) || time.Now().After(over) {
			return a
		}
	}
}

func (s *server) do(req *http.Request) answer {
	s.t.Helper()
	resp, err := s.client.Do(req)
	require.NoError(s.t, err)
	defer resp.Body.Close()
	a := answer{t: s.t, status: resp.StatusCode, header: resp.Header}
	a.body, err = io.ReadAll(resp.Body)
	require.NoError(s.t, err)
	require.NotEmpty(s.t, a.header.Get("Request-Id"))
	require.NotEmpty(s.t, a.header.Get("RateLimit"), "%s %s", req.Method, req.URL)
	require.NotEmpty(s.t, a.header.Get("RateLimit-Policy"))
	s.conforms(req, a)
	return a
}

// conforms holds an answer against what the document says of its route.
func (s *server) conforms(req *http.Request, a answer) {
	s.t.Helper()
	operation, err := apitest.Check(req, a.status, a.header, a.body)
	require.NoError(s.t, err)
	a.got(operation)
}

// is asserts the status and reads the body into a T.
func is[T any](a answer, status int) T {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	var v T
	require.NoError(a.t, json.Unmarshal(a.body, &v, json.RejectUnknownMembers(true)))
	return v
}

// fails asserts an error's status and code, and returns its message.
func (a answer) fails(status, code int) string {
	a.t.Helper()
	require.Equal(a.t, status, a.status, "%s", a.body)
	var env api.ErrorEnvelope
	require.NoError(a.t, json.Unmarshal(a.body, &env, json.RejectUnknownMembers(true)), "%s", a.body)
	require.Equal(a.t, code, env.Error.Code, "%s", a.body)
	require.Equal(a.t, a.header.Get("Request-Id"), env.Error.RequestID)
	return env.Error.Message
}

// vault makes a vault account with a wallet.
func (s *server) vault(name string) (vaultID, walletID string) {
	s.t.Helper()
	v := is[api.VaultAccount](s.as("operator", "POST", "/v1/vault/accounts", fmt.Sprintf(`{"name":%q}`, name)), 201)
	w := is[api.Wallet](s.as("operator", "POST", "/v1/vault/accounts/"+v.ID+"/wallets", fmt.Sprintf(`{"network":%q}`, network)), 201)
	return v.ID, w.ID
}

// tokenBody is a token's definition; change edits it as JSON members.
func (s *server) tokenBody(vaultID string, change map[string]any) string {
	s.t.Helper()
	b := map[string]any{
		"standard": "QRC-20", "templateId": "tpl_qrc20_v1", "name": "Example Institutional Token", "symbol": "EIT", "decimals": 18,
		"initialSupply": "0", "supplyPolicy": map[string]any{"mintable": true, "burnable": true, "maxSupply": "1000000"},
		"admin": map[string]any{"vaultAccountId": vaultID, "approvalPolicyId": s.policyID}, "network": network, "tags": []string{},
	}
	for k, v := range change {
		if v == nil {
			delete(b, k)
			continue
		}
		b[k] = v
	}
	raw, err := json.Marshal(b, json.Deterministic(true))
	require.NoError(s.t, err)
	return string(raw)
}

func (s *server) token(vaultID string) string {
	s.t.Helper()
	return is[api.Token](s.as("operator", "POST", "/v1/tokens", s.tokenBody(vaultID, nil)), 201).ID
}

// How long tests wait for something that happens in the background, and how
// often they look.
const (
	patience = 120 * time.Second
	poll     = 50 * time.Millisecond
)

// soon is what comes through a channel, or its zero value once that is closed.
func soon[T any](t testing.TB, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Fatalf("after %s: %s", patience, what)
	}
	return v
}

// read reads what it can of the body into v.
func (a answer) read(v any) {
	a.t.Helper()
	require.NoError(a.t, json.Unmarshal(a.body, v))
}

// userWith makes a user of a role, and has a key for him, unless there is one.
func (s *server) userWith(name, role string) string {
	s.t.Helper()
	if s.keys[name] != "" {
		return name
	}
	u := is[api.User](s.as("admin", "POST", "/v1/users", fmt.Sprintf(`{"name":%q,"role":%q}`, name, role)), 201)
	s.draw(name, u.ID)
	return name
}

// draw makes a key for a user, by which the tests are him from now on.
func (s *server) draw(name, userID string) {
	s.t.Helper()
	c := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", fmt.Sprintf(`{"userId":%q,"label":"tests"}`, userID)), 201)
	s.keys[name] = *c.Key
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	raw, err := json.Marshal(v, json.Deterministic(true))
	require.NoError(t, err)
	return string(raw)
}
