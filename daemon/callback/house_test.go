package callback_test

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/callback"
	"github.com/mintwarden/mintwarden/daemon/callback/callbacktest"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/operation/operationtest"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// blockPeriod is how often there is a block.
	blockPeriod = 50 * time.Millisecond
	// patience is after what time a test gives up; nothing is measured by it.
	patience = 2 * time.Minute
)

func TestMain(m *testing.M) { operationtest.Main(m) }

// house is an appliance without its HTTP face that signs for a Qustody of the test's: a real etcd, SoftHSM2,
// seal and chain, and a deployed token.
type house struct {
	t        *testing.T
	etcd     *storetest.Server
	node     *operationtest.Chain
	sealed   *operationtest.Seal
	people   *operationtest.People
	policyID string
	vault    string
	wallet   *registry.Wallet
	other    *registry.Wallet // of ours, too, but it does not sign for Qustody
	token    *registry.Token
	qustody  *callbacktest.Qustody

	broadcast bool
	logs      *logs

	store      *store.Store
	seal       *seal.Client
	chain      *chain.Client
	registry   *registry.Service
	operations *operation.Service
	signer     *callback.Service
	metrics    *prometheus.Registry
	stop       func() // the daemon, as abruptly as a process that is killed, save that its connections are closed
}

// overKinds runs a test on both kinds of network: Quantum Chain's devnet, and go-ethereum unmodified.
func overKinds(t *testing.T, f func(t *testing.T, kind tx.Kind)) {
	for _, kind := range operationtest.Kinds() {
		t.Run(string(kind), func(t *testing.T) { f(t, kind) })
	}
}

func newHouse(t *testing.T, kind tx.Kind, rules ...policy.Rule) *house {
	t.Helper()
	h := furnishedHouse(t, kind, rules...)
	h.restart() // with the wallet in the config
	return h
}

// furnishedHouse is one that begins to sign for Qustody with its next start.
func furnishedHouse(t *testing.T, kind tx.Kind, rules ...policy.Rule) *house {
	t.Helper()
	t.Parallel() // a house waits more than it works
	h := &house{t: t, people: operationtest.NewPeople(t), policyID: store.NewID("pol_"), etcd: storetest.Start(t), logs: &logs{}}
	h.node = operationtest.StartChain(t, kind, blockPeriod)
	t.Cleanup(func() {
		if t.Failed() {
			text := h.logs.String()
			t.Log(text[max(0, len(text)-4<<10):])
		}
	})
	h.sealed = operationtest.StartSeal(t, h.etcd, h.people, h.node)
	h.qustody = callbacktest.New(t, callbacktest.Network{Kind: h.node.Kind, Scheme: h.node.Scheme, ChainID: h.node.ID, RPC: h.node.URL()})
	h.start()
	t.Cleanup(func() { h.stop() })
	h.furnish(append([]policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}}, rules...))
	return h
}

func (h *house) sign(document string, body []byte, who ...string) *policy.Envelope {
	h.t.Helper()
	return h.people.Sign(h.t, document, body, who...)
}

// start starts what serve runs.
func (h *house) start() {
	t := h.t
	cfg := h.etcd.ClientConfig(store.UserServe)
	cfg.Tenant, cfg.Owner = operationtest.Tenant, operationtest.Appliance
	log := slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelInfo}))
	var err error
	h.store, err = store.Open(context.Background(), cfg, log, nil)
	require.NoError(t, err)
	h.seal, err = seal.Dial(context.Background(), h.sealed.Socket)
	require.NoError(t, err)
	h.chain, err = chain.Dial(context.Background(), chain.Network{Name: operationtest.Network, Kind: h.node.Kind, ChainID: h.node.ID,
		RPCURLs: []string{h.node.URL()}, Confirmations: 2, Scheme: h.node.Scheme, Currency: "QC", BlockPeriod: 100 * time.Millisecond, Timeout: patience}, log, nil)
	require.NoError(t, err)
	chains := map[string]*chain.Client{operationtest.Network: h.chain}
	h.metrics = prometheus.NewRegistry()
	h.registry, err = registry.New(registry.Deps{Store: h.store, Seal: h.seal, Chains: chains, Charter1: h.sealed.Charter1, Tenant: operationtest.Tenant, Log: log,
		Registerer: h.metrics, OnWallet: func(ctx context.Context, w *registry.Wallet) error { return h.node.Fund(ctx, w.Address) }})
	require.NoError(t, err)
	h.operations, err = operation.New(operation.Deps{Store: h.store, Registry: h.registry, Seal: h.seal, Chains: chains, Log: log, Registerer: h.metrics})
	require.NoError(t, err)
	var signer *callback.Service
	if h.wallet != nil {
		signer, err = callback.New(callback.Deps{Store: h.store, Registry: h.registry, Operations: h.operations, Seal: h.seal, Log: log, Registerer: h.metrics,
			URL: h.qustody.URL, Key: callbacktest.Key + "\n", Roots: h.qustody.Roots, Requester: "operator", Broadcast: h.broadcast, Poll: 10 * time.Millisecond,
			Wallets: []callback.Wallet{{ID: h.wallet.ID, VaultID: "vault-at-qustody", AssetID: "asset-at-qustody", Label: "treasury"}}})
		require.NoError(t, err)
	}
	h.signer = signer
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
	h.qustody.OnDeath(cancel)
	patient, cancelWait := context.WithTimeout(ctx, patience)
	defer cancelWait()
	if err := h.registry.WaitReady(patient); ctx.Err() == nil { // or it has died already, as a test wants it
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
	p := policy.Policy{Format: policy.Format, Instance: operationtest.Instance, ID: h.policyID, Version: 1, Name: "unit", Scope: policy.Scope{All: true}, Rules: rules,
		CreatedAt: policy.Seconds(time.Now())}
	body, err := p.Encode()
	require.NoError(t, err)
	r, err := h.seal.PolicyApply(h.patient(), h.sign(policy.DocPolicy, body, operationtest.Custodians...))
	require.NoError(t, err)
	require.NoError(t, h.registry.WaitCarried(h.patient(), r.Sequence))
	wallets := make([]*registry.Wallet, 2)
	for i := range wallets {
		v, err := h.registry.CreateVault(t.Context(), operator, registry.VaultSpec{Name: fmt.Sprintf("vault %d", i)}, nil)
		require.NoError(t, err)
		wallets[i], err = h.registry.CreateWallet(h.patient(), operator, v.ID, registry.WalletSpec{Network: operationtest.Network}, nil)
		require.NoError(t, err)
		if i == 0 {
			h.vault = v.ID
		}
	}
	token, err := h.registry.CreateToken(t.Context(), operator, registry.TokenSpec{Standard: "QRC-20", TemplateID: "tpl_qrc20_v1", Name: "Example", Symbol: "EIT",
		Decimals: 18, SupplyPolicy: registry.SupplyPolicy{Mintable: true, Burnable: true}, AdminVaultAccountID: h.vault, ApprovalPolicyID: h.policyID, Network: operationtest.Network}, nil)
	require.NoError(t, err)
	o, err := h.operations.Submit(t.Context(), operator, operation.Request{Type: policy.OpDeployToken, TokenID: token.ID}, nil)
	require.NoError(t, err)
	h.approve(o)
	h.ends(o.ID, operation.Completed)
	h.token, err = h.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	h.wallet, h.other = wallets[0], wallets[1]
	h.qustody.Next(1) // the chain's count of the wallet, which deployed
}

// patient is for what waits for the appliance: a test that hangs says where.
func (h *house) patient() context.Context {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	h.t.Cleanup(cancel)
	return ctx
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

// create has Qustody make a transaction of the wallet's that calls the token.
func (h *house) create(call qrc20.Call, changes ...func(*tx.Unsigned)) string {
	h.t.Helper()
	return h.qustody.Create(h.t, h.wallet.Address, *h.token.ContractAddress, call, changes...)
}

func (h *house) decide(o *operation.Operation, who string, verb policy.Verb) {
	h.t.Helper()
	require.NoError(h.t, h.tryDecide(h.patient(), o, who, verb))
}

func (h *house) tryDecide(ctx context.Context, o *operation.Operation, who string, verb policy.Verb) error {
	h.t.Helper()
	d := policy.Decision{Format: policy.Format, Decision: verb, Intent: o.Intent, Approver: who, DecidedAt: policy.Seconds(time.Now())}
	body, err := d.Encode()
	require.NoError(h.t, err)
	_, err = h.operations.Decide(ctx, registry.Actor{UserID: h.people.User(who), Name: who, CredentialID: "cred_" + who}, o.ID, verb,
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
