package callback_test

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/callback"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	networkName = "quantum-chain-devnet"
	tenant      = "acme"
	pin         = "unit-1234"
	apiKey      = "key-id:the-secret"
	// patience is after what time a test gives up; nothing is measured by it.
	patience = 2 * time.Minute
)

// sealBinary is the real mintwarden-seal, built once a test run that needs it.
var sealBinary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "callback")
	if err != nil {
		return "", err
	}
	binary := filepath.Join(dir, "mintwarden-seal")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/mintwarden/mintwarden/cmd/mintwarden-seal").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if houses.Load() > 0 { // or nobody built it
		if binary, err := sealBinary(); err == nil {
			_ = os.RemoveAll(filepath.Dir(binary))
		}
	}
	os.Exit(code)
}

// houses counts those that were built.
var houses atomic.Int32

// house is an appliance without its HTTP face that signs for a Qustody of the test's: a real etcd, SoftHSM2,
// seal and chain, and a deployed token.
type house struct {
	t        *testing.T
	etcd     *storetest.Server
	node     *devnet.Node
	socket   string
	charter1 policy.Digest
	people   map[string]*policy.Signer
	users    map[string]string
	policyID string
	vault    string
	wallet   *registry.Wallet
	other    *registry.Wallet // of ours, too, but it does not sign for Qustody
	token    *registry.Token
	qustody  *qustody

	broadcast bool
	logs      *logs

	store      *store.Store
	seal       *seal.Client
	chain      *chain.Client
	registry   *registry.Service
	operations *operation.Service
	metrics    *prometheus.Registry
	stop       func() // the daemon, as abruptly as a process that is killed, save that its connections are closed
}

func newHouse(t *testing.T, rules ...policy.Rule) *house {
	t.Helper()
	h := furnishedHouse(t, rules...)
	h.restart() // with the wallet in the config
	return h
}

// furnishedHouse is one that begins to sign for Qustody with its next start.
func furnishedHouse(t *testing.T, rules ...policy.Rule) *house {
	t.Helper()
	t.Parallel() // a house waits more than it works
	houses.Add(1)
	h := &house{t: t, people: map[string]*policy.Signer{}, users: map[string]string{}, policyID: store.NewID("pol_"), etcd: storetest.Start(t), logs: &logs{}}
	var err error
	h.node, err = devnet.Start(context.Background(), devnet.Config{Dir: filepath.Join(t.TempDir(), "chain"), Period: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = h.node.Close() })
	t.Cleanup(func() {
		if t.Failed() {
			text := h.logs.String()
			t.Log(text[max(0, len(text)-4<<10):])
		}
	})
	h.startSeal()
	h.qustody = newQustody(t, h.node.URL())
	h.start()
	t.Cleanup(func() { h.stop() })
	h.furnish(append([]policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}}, rules...))
	return h
}

// startSeal makes a token, starts the seal, and takes it through the first start.
func (h *house) startSeal() {
	t := h.t
	dir, err := os.MkdirTemp("", "mw") // short: the socket's path is bounded
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	token, err := softhsm.Create(t.Context(), filepath.Join(dir, "hsm"), "unit", []byte("so-pin-1"), []byte(pin))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pin"), []byte(pin), 0o600))
	h.socket = filepath.Join(dir, "seal.sock")
	client := h.etcd.ClientConfig(store.UserSeal)
	config := func(charter1 policy.Digest) {
		text := ""
		if charter1 != "" {
			text = fmt.Sprintf("charter1 = %q\n", charter1)
		}
		text += fmt.Sprintf("appliance = \"appliance-1\"\nstate = %q\nsocket = %q\nparent_pipe = true\n[hsm]\nmodule = %q\ntoken = \"unit\"\nsessions = 4\n[pin]\nfile = %q\n",
			filepath.Join(dir, "state"), h.socket, token.ModulePath, filepath.Join(dir, "pin"))
		text += fmt.Sprintf("[store]\nendpoints = [%q]\nca = %q\ncert = %q\nkey = %q\nserver_name = \"127.0.0.1\"\n",
			client.Endpoints[0], client.CAFile, client.CertFile, client.KeyFile)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "seal.toml"), []byte(text), 0o600))
	}
	config("")
	program, err := sealBinary()
	require.NoError(t, err)
	cmd := exec.Command(program, "--config", filepath.Join(dir, "seal.toml"))
	cmd.Env = append(os.Environ(), softhsm.EnvConf+"="+token.ConfPath)
	alive, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = alive.Close()
		_ = cmd.Wait()
	})
	door := h.door()
	h.until("the seal answers", func() bool { s, err := door.Status(t.Context()); return err == nil && !s.Sealed })
	keys, err := door.Init(t.Context())
	require.NoError(t, err)
	body, err := h.charter(keys).Encode()
	require.NoError(t, err)
	e := h.sign(policy.DocCharter, body, "custodian-1", "custodian-2")
	h.charter1 = e.PayloadDigest()
	config(h.charter1)
	_, err = door.CharterApply(t.Context(), e)
	require.NoError(t, err)
}

// door is a connection of the test's own to the seal.
func (h *house) door() *seal.Client {
	h.t.Helper()
	door, err := seal.Dial(h.t.Context(), h.socket)
	require.NoError(h.t, err)
	h.t.Cleanup(func() { _ = door.Close() })
	return door
}

func (h *house) charter(keys *seal.InitResult) *policy.Charter {
	day, err := policy.ParseAmount("1000000000000000000000")
	require.NoError(h.t, err)
	c := &policy.Charter{Format: policy.Format, Instance: "unit", Version: 1, Environment: policy.Dev, TenantID: tenant,
		Networks: []policy.Network{{Name: networkName, Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, Scheme: tx.Dilithium3,
			Currency: "QC", DefaultMaxFee: policy.AmountOf(1e18), DailyFee: day}},
		Custodians: policy.Custodians{Threshold: 2}, Groups: map[string][]string{},
		Appliances: []policy.Appliance{{ID: "appliance-1", LedgerKey: keys.LedgerKey, UnsealKey: keys.UnsealKey,
			Token: policy.SecurityToken{Serial: keys.Token.Serial, CheckValues: keys.Token.CheckValues}}}}
	for _, name := range []string{"custodian-1", "custodian-2"} {
		c.Custodians.Members = append(c.Custodians.Members, policy.Custodian{Name: name, Keys: []policy.PublicKey{h.person(name)}})
	}
	for _, name := range []string{"approver-1", "approver-2", "approver-3"} {
		h.users[name] = store.NewID("user_")
		c.Persons = append(c.Persons, policy.Person{Name: name, Keys: []policy.PublicKey{h.person(name)}, Users: []string{h.users[name]}})
		c.Groups["approvers"] = append(c.Groups["approvers"], name)
	}
	return c
}

func (h *house) person(name string) policy.PublicKey {
	key, _, err := policy.GenerateKeyPEM(policy.Ed25519)
	require.NoError(h.t, err)
	h.people[name], err = policy.LoadSignerPEM(key)
	require.NoError(h.t, err)
	return h.people[name].Public()
}

func (h *house) sign(document string, body []byte, who ...string) *policy.Envelope {
	var signers []*policy.Signer
	for _, name := range who {
		signers = append(signers, h.people[name])
	}
	e, err := policy.Sign(policy.PayloadType(document), body, signers...)
	require.NoError(h.t, err)
	return e
}

// start starts what serve runs.
func (h *house) start() {
	t := h.t
	cfg := h.etcd.ClientConfig(store.UserServe)
	cfg.Tenant, cfg.Owner = tenant, "appliance-1"
	log := slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	var err error
	h.store, err = store.Open(context.Background(), cfg, log, nil)
	require.NoError(t, err)
	h.seal, err = seal.Dial(context.Background(), h.socket)
	require.NoError(t, err)
	h.chain, err = chain.Dial(context.Background(), chain.Network{Name: networkName, Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID,
		RPCURLs: []string{h.node.URL()}, Confirmations: 2, Scheme: tx.Dilithium3, Currency: "QC", BlockPeriod: 100 * time.Millisecond}, log, nil)
	require.NoError(t, err)
	chains := map[string]*chain.Client{networkName: h.chain}
	h.metrics = prometheus.NewRegistry()
	h.registry, err = registry.New(registry.Deps{Store: h.store, Seal: h.seal, Chains: chains, Charter1: h.charter1, Tenant: tenant, Log: log,
		Registerer: h.metrics, OnWallet: func(_ context.Context, w *registry.Wallet) error {
			_, err := h.node.Fund(common.Address(w.Address))
			return err
		}})
	require.NoError(t, err)
	h.operations, err = operation.New(operation.Deps{Store: h.store, Registry: h.registry, Seal: h.seal, Chains: chains, Log: log, Registerer: h.metrics})
	require.NoError(t, err)
	var signer *callback.Service
	if h.wallet != nil {
		signer, err = callback.New(callback.Deps{Store: h.store, Registry: h.registry, Operations: h.operations, Seal: h.seal, Log: log, Registerer: h.metrics,
			URL: h.qustody.url, Key: apiKey + "\n", Roots: h.qustody.roots, Requester: "operator", Broadcast: h.broadcast, Poll: 10 * time.Millisecond,
			Wallets: []callback.Wallet{{ID: h.wallet.ID, VaultID: "vault-at-qustody", AssetID: "asset-at-qustody", Label: "treasury"}}})
		require.NoError(t, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.registry.Follow(ctx) })
	running.Go(func() { _ = h.operations.RunWorker(ctx) })
	if signer != nil {
		running.Go(func() { _ = signer.Run(ctx) })
	}
	h.stop = func() {
		cancel()
		running.Wait()
		_ = h.seal.Close()
		h.chain.Close()
		_ = h.store.Close()
	}
	h.qustody.dying(cancel)
	if err := h.registry.WaitReady(ctx); ctx.Err() == nil { // or it has died already, as a test wants it
		require.NoError(t, err)
	}
}

// logs is what was logged. Safe for concurrent use.
type logs struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (h *house) restart() {
	h.stop()
	h.start()
}

var operator = registry.Actor{UserID: "user_01J00000000000000000000000", Name: "operator", CredentialID: "cred_1", RequestID: "req_1", IP: "127.0.0.1"}

// furnish makes vaults, wallets, the policy and the token.
func (h *house) furnish(rules []policy.Rule) {
	t := h.t
	p := policy.Policy{Format: policy.Format, Instance: "unit", ID: h.policyID, Version: 1, Name: "unit", Scope: policy.Scope{All: true}, Rules: rules,
		CreatedAt: policy.Seconds(time.Now())}
	body, err := p.Encode()
	require.NoError(t, err)
	r, err := h.seal.PolicyApply(t.Context(), h.sign(policy.DocPolicy, body, "custodian-1", "custodian-2"))
	require.NoError(t, err)
	require.NoError(t, h.registry.WaitCarried(t.Context(), r.Sequence))
	wallets := make([]*registry.Wallet, 2)
	for i := range wallets {
		v, err := h.registry.CreateVault(t.Context(), operator, registry.VaultSpec{Name: fmt.Sprintf("vault %d", i)}, nil)
		require.NoError(t, err)
		wallets[i], err = h.registry.CreateWallet(t.Context(), operator, v.ID, registry.WalletSpec{Network: networkName}, nil)
		require.NoError(t, err)
		if i == 0 {
			h.vault = v.ID
		}
	}
	token, err := h.registry.CreateToken(t.Context(), operator, registry.TokenSpec{Standard: "QRC-20", TemplateID: "tpl_qrc20_v1", Name: "Example", Symbol: "EIT",
		Decimals: 18, SupplyPolicy: registry.SupplyPolicy{Mintable: true, Burnable: true}, AdminVaultAccountID: h.vault, ApprovalPolicyID: h.policyID, Network: networkName}, nil)
	require.NoError(t, err)
	o, err := h.operations.Submit(t.Context(), operator, operation.Request{Type: policy.OpDeployToken, TokenID: token.ID}, nil)
	require.NoError(t, err)
	h.approve(o)
	h.ends(o.ID, operation.Completed)
	h.token, err = h.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	h.wallet, h.other = wallets[0], wallets[1]
	h.qustody.nonce = 1 // the chain's count of the wallet, which deployed
}

// until waits until f holds.
func (h *house) until(what string, f func() bool) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); !f(); {
		if time.Now().After(deadline) {
			h.t.Fatalf("%s: not within %s", what, patience)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (h *house) decide(o *operation.Operation, who string, verb policy.Verb) {
	h.t.Helper()
	require.NoError(h.t, h.tryDecide(o, who, verb))
}

func (h *house) tryDecide(o *operation.Operation, who string, verb policy.Verb) error {
	h.t.Helper()
	d := policy.Decision{Format: policy.Format, Decision: verb, Intent: o.Intent, Approver: who, DecidedAt: policy.Seconds(time.Now())}
	body, err := d.Encode()
	require.NoError(h.t, err)
	_, err = h.operations.Decide(h.t.Context(), registry.Actor{UserID: h.users[who], Name: who, CredentialID: "cred_" + who}, o.ID, verb,
		h.sign(policy.DocDecision, body, who).Encode())
	return err
}

func (h *house) registrations() []map[string]any {
	h.t.Helper()
	return h.audited("callback.wallet_registered", h.wallet.ID)
}

func (h *house) approve(o *operation.Operation) {
	h.t.Helper()
	for _, who := range []string{"approver-1", "approver-2"} {
		h.decide(o, who, policy.Approve)
	}
}

// ends waits until the operation is terminal and holds it to the expected state.
func (h *house) ends(id string, want operation.Status) *operation.Operation {
	h.t.Helper()
	var last *operation.Operation
	h.until(id+" ends", func() bool {
		var err error
		last, err = h.operations.Get(h.t.Context(), id)
		return err == nil && last.Status.Terminal()
	})
	require.Equal(h.t, want, last.Status, "%s", last.FailureReason)
	return last
}

// taken waits until a transaction of Qustody's is an operation.
func (h *house) taken(ref string) *operation.Operation {
	h.t.Helper()
	var id string
	h.until("transaction "+ref+" is an operation", func() bool {
		var ok bool
		var err error
		id, ok, err = h.operations.OfForeign(h.t.Context(), ref)
		return ok && err == nil
	})
	o, err := h.operations.Get(h.t.Context(), id)
	require.NoError(h.t, err)
	return o
}

func (h *house) supply() string {
	h.t.Helper()
	n, err := h.registry.TotalSupply(h.t.Context(), h.token)
	require.NoError(h.t, err)
	return n.String()
}

func (h *house) nextNonce() uint64 { return h.registry.Fold().NextNonce(h.wallet.ID) }

// audited is what the audit log says of a resource, by action: no sequencer runs here.
func (h *house) audited(action, resource string) []map[string]any {
	h.t.Helper()
	var found []map[string]any
	for kv, err := range h.store.All(h.t.Context(), store.AuditPending, nil) {
		require.NoError(h.t, err)
		p, err := audit.ParsePending(kv.Value)
		require.NoError(h.t, err)
		if p.Action == action && p.ResourceID == resource {
			var m map[string]any
			require.NoError(h.t, json.Unmarshal(p.Metadata, &m))
			found = append(found, m)
		}
	}
	return found
}

// refused waits until a transaction was refused, and gives the reason and the message.
func (h *house) refused(ref string) (reason, message string) {
	h.t.Helper()
	var entries []map[string]any
	h.until("transaction "+ref+" is refused", func() bool {
		entries = h.audited("callback.refused", ref)
		return len(entries) > 0
	})
	require.Len(h.t, entries, 1)
	return fmt.Sprint(entries[0]["reason"]), fmt.Sprint(entries[0]["message"])
}
