package operation_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/devnet/geth"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	networkName = "quantum-chain-devnet"
	tenant      = "acme"
	pin         = "unit-1234"
)

// sealBinary is the real mintwarden-seal, built once.
var sealBinary string

// atOnce is how many tests run side by side: each has an appliance and a chain of its own, and waits for blocks most
// of the time.
const atOnce = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", strconv.Itoa(atOnce)); err != nil {
		panic(err)
	}
	dir, err := os.MkdirTemp("", "operation")
	if err != nil {
		panic(err)
	}
	sealBinary = filepath.Join(dir, "mintwarden-seal")
	build := exec.Command("go", "build", "-o", sealBinary, "github.com/mintwarden/mintwarden/cmd/mintwarden-seal")
	if out, err := build.CombinedOutput(); err != nil {
		panic(fmt.Sprintf("%v: %s", err, out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// house is an appliance without its HTTP face: a real etcd, SoftHSM2, seal and devnet.
type house struct {
	t             testing.TB
	etcd          *storetest.Server
	store         *store.Store
	kind          tx.Kind
	scheme        tx.Scheme
	chainID       uint64
	confirmations uint64
	timeout       time.Duration
	pace          time.Duration
	clock         func() time.Time
	archive       operation.Archive
	urls          []string
	node          *devnet.Node // of kind quantum
	geth          *geth.Node   // of kind evm
	process       *gethProcess // of kind evm, in place of it
	chain         *chain.Client
	socket        string
	sealConfig    string
	stopSeal      func()
	hsm           hsm.Config // of the seal's token, for a thief
	hsmConf       string     // and where SoftHSM2 finds it

	charter1   policy.Digest
	instance   string
	people     map[string]*policy.Signer // approvers and custodians by name
	users      map[string]string         // user ids by name
	policyID   string
	policies   uint64
	policyHead policy.Digest // of the policy version in force
	vault      string
	vault2     string
	rules      []policy.Rule
	stopDaemon func()
	between    func(operation.Sealer) operation.Sealer // stands between operations and the seal from the next start on; nil: nothing

	seal       *seal.Client
	registry   *registry.Service
	operations *operation.Service
}

// options of a house.
type options struct {
	kind           tx.Kind                   // of the network; default quantum
	nodes          func(own string) []string // RPC URLs in place of the node's own
	process        bool                      // a real geth process, of kind evm
	timeout        time.Duration             // of one question to a node; default patience
	period         time.Duration             // of the node's blocks; default 100 ms, of kind evm 1 s
	pace           time.Duration             // of blocks, as the configuration has it; default 100 ms
	maxOutstanding uint64
	clock          func() time.Time // of operations; default the system's
	rules          []policy.Rule    // default: 2 of approvers for everything
}

func approvals(n uint32) policy.Rule {
	return policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: n, ApproverGroup: "approvers"}
}

func amountRule(t policy.RuleType, n string) policy.Rule {
	a, err := policy.ParseAmount(n)
	if err != nil {
		panic(err)
	}
	return policy.Rule{Type: t, Amount: &a}
}

// behind has the daemon ask the house's own node through a proxy, which node is from the start on.
func behind(t testing.TB, node **chaintest.Proxy) func(own string) []string {
	return func(own string) []string {
		*node = chaintest.New(own)
		t.Cleanup((*node).Close)
		return []string{(*node).URL()}
	}
}

func newHouse(t testing.TB, o options) *house {
	t.Helper()
	if o.kind == "" {
		o.kind = tx.KindQuantum
	}
	if o.period == 0 && o.kind == tx.KindQuantum {
		o.period = 100 * time.Millisecond
	}
	if o.rules == nil {
		o.rules = []policy.Rule{approvals(2)}
	}
	if o.pace == 0 {
		o.pace = 100 * time.Millisecond
	}
	h := &house{t: t, pace: o.pace, clock: o.clock, people: map[string]*policy.Signer{}, users: map[string]string{}, rules: o.rules, confirmations: 2}
	h.etcd = storetest.Start(t)
	h.startNode(o)
	h.startSeal(o)
	h.startDaemon()
	t.Cleanup(func() { h.stopDaemon() })
	h.addVaults()
	h.applyPolicy(o.rules...)
	return h
}

// startNode starts the chain.
func (h *house) startNode(o options) {
	var err error
	dir := filepath.Join(h.t.TempDir(), "chain")
	h.kind, h.timeout = o.kind, o.timeout
	if o.process {
		h.scheme, h.chainID = tx.Secp256k1, geth.ChainID
		h.process = startGethProcess(h.t)
		h.urls = []string{h.process.url}
	} else if o.kind == tx.KindEVM {
		h.scheme, h.chainID = tx.Secp256k1, geth.ChainID
		h.geth, err = geth.Start(context.Background(), geth.Config{Dir: dir, Addr: "127.0.0.1:0", Period: o.period})
		require.NoError(h.t, err)
		h.t.Cleanup(func() { _ = h.geth.Close() })
		h.urls = []string{h.geth.URL()}
	} else {
		h.scheme, h.chainID = tx.Dilithium3, devnet.DefaultChainID
		h.node, err = devnet.Start(context.Background(), devnet.Config{Dir: dir, Period: o.period})
		require.NoError(h.t, err)
		h.t.Cleanup(func() { _ = h.node.Close() })
		h.urls = []string{h.node.URL()}
	}
	if o.nodes != nil {
		h.urls = o.nodes(h.urls[0])
	}
}

// fund gives a wallet coins.
func (h *house) fund(ctx context.Context, who tx.Address) error {
	var err error
	if h.process != nil {
		return h.process.fund(ctx, who)
	} else if h.geth != nil {
		_, err = h.geth.Fund(ctx, common.Address(who))
	} else {
		_, err = h.node.Fund(common.Address(who))
	}
	return err
}

// mine makes blocks at once.
func (h *house) mine(count uint64) {
	h.t.Helper()
	var err error
	if h.geth != nil {
		_, err = h.geth.Mine(count)
	} else {
		_, err = h.node.Mine(count)
	}
	require.NoError(h.t, err)
}

// startSeal makes a token, starts the seal, and takes it through the first start.
func (h *house) startSeal(o options) {
	t := h.t
	dir, err := os.MkdirTemp("", "mw") // short: the socket's path is bounded
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	token, err := softhsm.Create(t.Context(), filepath.Join(dir, "hsm"), "unit", []byte("so-pin-1"), []byte(pin))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "pin"), []byte(pin), 0o600))
	h.socket = filepath.Join(dir, "seal.sock")
	h.hsm, h.hsmConf = token.Config(), token.ConfPath
	client := h.etcd.ClientConfig(store.UserSeal)
	config := func(charter1 policy.Digest) {
		text := fmt.Sprintf("appliance = \"appliance-1\"\nstate = %q\nsocket = %q\nparent_pipe = true\n", filepath.Join(dir, "state"), h.socket)
		if charter1 != "" {
			text = fmt.Sprintf("charter1 = %q\n", charter1) + text
		}
		text += fmt.Sprintf("[hsm]\nmodule = %q\ntoken = \"unit\"\nsessions = 8\n[pin]\nfile = %q\n", token.ModulePath, filepath.Join(dir, "pin"))
		text += fmt.Sprintf("[store]\nendpoints = [%q]\nca = %q\ncert = %q\nkey = %q\nserver_name = \"127.0.0.1\"\n",
			client.Endpoints[0], client.CAFile, client.CertFile, client.KeyFile)
		require.NoError(t, os.WriteFile(filepath.Join(dir, "seal.toml"), []byte(text), 0o600))
	}
	config("")
	h.sealConfig = filepath.Join(dir, "seal.toml")
	h.runSeal()
	door, err := seal.Dial(t.Context(), h.socket)
	require.NoError(t, err)
	t.Cleanup(func() { _ = door.Close() })
	h.until("the seal answers", func() bool { s, err := door.Status(t.Context()); return err == nil && !s.Sealed })
	keys, err := door.Init(t.Context())
	require.NoError(t, err)
	charter := h.charter(keys, o)
	body, err := charter.Encode()
	require.NoError(t, err)
	e := h.sign(policy.DocCharter, body, "custodian-1", "custodian-2")
	h.charter1, h.instance = e.PayloadDigest(), charter.Instance
	config(h.charter1)
	_, err = door.CharterApply(t.Context(), e)
	require.NoError(t, err)
}

// runSeal starts the seal's process; stopSeal, or the test's end, ends it.
func (h *house) runSeal() {
	t := h.t
	cmd := exec.Command(sealBinary, "--config", h.sealConfig)
	cmd.Env = append(os.Environ(), softhsm.EnvConf+"="+h.hsmConf)
	log, err := os.OpenFile(h.sealConfig+".log", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	require.NoError(t, err)
	cmd.Stderr = log
	alive, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	h.stopSeal = sync.OnceFunc(func() {
		_ = alive.Close()
		late := time.AfterFunc(patience, func() {
			t.Errorf("the seal does not end within %s", patience)
			_ = cmd.Process.Kill()
		})
		_ = cmd.Wait()
		late.Stop()
		_ = log.Close()
	})
	t.Cleanup(h.stopSeal)
	t.Cleanup(func() {
		if t.Failed() {
			out, _ := os.ReadFile(log.Name())
			t.Logf("seal:\n%s", out)
		}
	})
}

func (h *house) charter(keys *seal.InitResult, o options) *policy.Charter {
	day, err := policy.ParseAmount("1000000000000000000000")
	require.NoError(h.t, err)
	c := &policy.Charter{
		Format: policy.Format, Instance: "unit", Version: 1, Environment: policy.Dev, TenantID: tenant,
		Networks: []policy.Network{{Name: networkName, Kind: h.kind, ChainID: h.chainID, Scheme: h.scheme,
			Currency: "QC", DefaultMaxFee: policy.AmountOf(1e18), DailyFee: day}},
		Custodians: policy.Custodians{Threshold: 2}, Groups: map[string][]string{},
		Appliances: []policy.Appliance{{ID: "appliance-1", LedgerKey: keys.LedgerKey, UnsealKey: keys.UnsealKey,
			Token: policy.SecurityToken{Serial: keys.Token.Serial, CheckValues: keys.Token.CheckValues}}},
		Limits: policy.Limits{MaxOutstanding: o.maxOutstanding},
	}
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

// thieves come one at a time: SoftHSM2 reads its configuration once a process, when it is initialized.
var thieves sync.Mutex

// stolen signs with a wallet's key past the seal, as whoever has the HSM's login can.
func (h *house) stolen(w *registry.Wallet, u *tx.Unsigned) []byte {
	h.t.Helper()
	thieves.Lock()
	defer thieves.Unlock()
	require.NoError(h.t, os.Setenv(softhsm.EnvConf, h.hsmConf))
	token, err := hsm.Open(h.t.Context(), h.hsm, []byte(pin), storetest.Logger(h.t), prometheus.NewRegistry())
	require.NoError(h.t, err)
	defer func() { _ = token.Close() }()
	digest, err := u.SigningHash()
	require.NoError(h.t, err)
	signature, err := token.SignDigest(h.t.Context(), w.ID, digest)
	require.NoError(h.t, err)
	raw, err := u.Encode(w.PublicKey, signature)
	require.NoError(h.t, err)
	return raw
}

// startDaemon starts what serve runs; stopDaemon ends it as abruptly as a process that is killed, save that
// its connections are closed.
func (h *house) startDaemon() {
	t := h.t
	cfg := h.etcd.ClientConfig(store.UserServe)
	cfg.Tenant, cfg.Owner = tenant, "appliance-1"
	log := testLog()
	s, err := store.Open(context.Background(), cfg, log, nil)
	require.NoError(t, err)
	h.store = s
	h.seal, err = seal.Dial(context.Background(), h.socket)
	require.NoError(t, err)
	h.chain, err = chain.Dial(context.Background(), chain.Network{Name: networkName, Kind: h.kind, ChainID: h.chainID,
		RPCURLs: h.urls, Confirmations: h.confirmations, Scheme: h.scheme, Currency: "QC", BlockPeriod: h.pace, Timeout: cmp.Or(h.timeout, patience)}, log, nil)
	require.NoError(t, err)
	chains := map[string]*chain.Client{networkName: h.chain}
	reg := prometheus.NewRegistry()
	h.registry, err = registry.New(registry.Deps{Store: s, Seal: h.seal, Chains: chains, Charter1: h.charter1, Tenant: tenant, Log: log,
		Registerer: reg, OnWallet: func(ctx context.Context, w *registry.Wallet) error {
			if w.Label == "poor" {
				return nil
			}
			return h.fund(ctx, w.Address)
		}})
	require.NoError(t, err)
	var sealer operation.Sealer = h.seal
	if h.between != nil {
		sealer = h.between(h.seal)
	}
	h.operations, err = operation.New(operation.Deps{Store: s, Registry: h.registry, Seal: sealer, Chains: chains, Log: log, Registerer: reg, Now: h.clock, Archive: h.archive})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = h.operations.KeepArchive(ctx) })
	running.Go(func() { _ = h.registry.Follow(ctx) })
	running.Go(func() { _ = h.operations.RunWorker(ctx) })
	h.stopDaemon = func() {
		cancel()
		running.Wait()
		_ = h.seal.Close()
		h.chain.Close()
		_ = s.Close()
	}
	require.NoError(t, h.registry.WaitReady(h.patient()))
	if h.archive.Dir != "" { // of what left the store nothing is told before its disk was held to that
		_, _, _, err := h.operations.List(h.patient(), operation.Filter{}, 1, 0, "")
		require.NotErrorIs(t, err, store.ErrUnavailable)
	}
}

func testLog() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level()}))
}

func level() slog.Level {
	if os.Getenv("MINTWARDEN_TEST_LOG") != "" {
		return slog.LevelDebug
	}
	return slog.LevelError
}

func (h *house) restart() {
	h.stopDaemon()
	h.startDaemon()
}

func (h *house) addVaults() {
	for i, v := range []*string{&h.vault, &h.vault2} {
		a, err := h.registry.CreateVault(h.patient(), operator, registry.VaultSpec{Name: fmt.Sprintf("vault %d", i)}, nil)
		require.NoError(h.t, err)
		_, err = h.registry.CreateWallet(h.patient(), operator, a.ID, registry.WalletSpec{Network: networkName}, nil)
		require.NoError(h.t, err)
		*v = a.ID
	}
}

// applyPolicy puts the next version of the policy for everything in force.
func (h *house) applyPolicy(rules ...policy.Rule) {
	t := h.t
	if h.policyID == "" {
		h.policyID = store.NewID("pol_")
	}
	h.policies++
	p := policy.Policy{Format: policy.Format, Instance: h.instance, ID: h.policyID, Version: h.policies, Name: "unit",
		Scope: policy.Scope{All: true}, Rules: rules, CreatedAt: policy.Seconds(time.Now())}
	if h.policyHead != "" {
		replaces := h.policyHead
		p.Replaces = &replaces
	}
	body, err := p.Encode()
	require.NoError(t, err)
	h.policyHead = policy.DigestOf(body)
	r, err := h.seal.PolicyApply(h.patient(), h.sign(policy.DocPolicy, body, "custodian-1", "custodian-2"))
	require.NoError(t, err)
	require.NoError(t, h.registry.WaitCarried(h.patient(), r.Sequence))
}

var operator = registry.Actor{UserID: "user_01J00000000000000000000000", Name: "operator", CredentialID: "cred_1", RequestID: "req_1", IP: "127.0.0.1"}

// patience is far more than anything here takes on a busy machine.
const patience = 2 * time.Minute

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
		time.Sleep(5 * time.Millisecond)
	}
}

func (h *house) token(max string, edit ...func(*registry.TokenSpec)) *registry.Token {
	h.t.Helper()
	cap, err := policy.ParseAmount(max)
	require.NoError(h.t, err)
	spec := registry.TokenSpec{Standard: "QRC-20", TemplateID: "tpl_qrc20_v1", Name: "Example Institutional Token", Symbol: "EIT", Decimals: 18,
		SupplyPolicy:        registry.SupplyPolicy{Mintable: true, Burnable: true, MaxSupply: cap},
		AdminVaultAccountID: h.vault, ApprovalPolicyID: h.policyID, Network: networkName}
	for _, f := range edit {
		f(&spec)
	}
	token, err := h.registry.CreateToken(h.t.Context(), operator, spec, nil)
	require.NoError(h.t, err)
	return token
}

func (h *house) submit(r operation.Request) *operation.Operation {
	h.t.Helper()
	o, err := h.operations.Submit(h.patient(), operator, r, nil)
	require.NoError(h.t, err)
	return o
}

// envelope is a person's decision on the operation's intent.
func (h *house) envelope(o *operation.Operation, who string, verb policy.Verb, reason string) []byte {
	h.t.Helper()
	d := policy.Decision{Format: policy.Format, Decision: verb, Intent: o.Intent, Approver: who, Reason: reason, DecidedAt: policy.Seconds(time.Now())}
	body, err := d.Encode()
	require.NoError(h.t, err)
	return h.sign(policy.DocDecision, body, who).Encode()
}

func (h *house) actor(who string) registry.Actor {
	return registry.Actor{UserID: h.users[who], Name: who, CredentialID: "cred_" + who, RequestID: "req_" + who}
}

func (h *house) decide(o *operation.Operation, who string, verb policy.Verb) *operation.Operation {
	h.t.Helper()
	after, err := h.operations.Decide(h.patient(), h.actor(who), o.ID, verb, h.envelope(o, who, verb, ""))
	require.NoError(h.t, err)
	return after
}

// approve decides for as many persons as the operation needs.
func (h *house) approve(o *operation.Operation) {
	h.t.Helper()
	for i := range o.RequiredApprovals {
		h.decide(o, fmt.Sprintf("approver-%d", i+1), policy.Approve)
	}
}

// ends waits until the operation is terminal and holds it to the expected state.
func (h *house) ends(o *operation.Operation, want operation.Status) *operation.Operation {
	h.t.Helper()
	var last *operation.Operation
	h.until(o.ID+" ends", func() bool {
		var err error
		last, err = h.operations.Get(h.t.Context(), o.ID)
		return err == nil && last.Status.Terminal()
	})
	require.Equal(h.t, want, last.Status, "%s", last.FailureReason)
	return last
}

// deployed makes and deploys a token.
func (h *house) deployed(max string) *registry.Token {
	h.t.Helper()
	token := h.token(max)
	o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
	h.approve(o)
	h.ends(o, operation.Completed)
	token, err := h.registry.Token(h.t.Context(), token.ID)
	require.NoError(h.t, err)
	return token
}

func (h *house) mint(token *registry.Token, amount string) *operation.Operation {
	h.t.Helper()
	return h.submit(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, Recipient: &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}})
}

func (h *house) supply(token *registry.Token) string {
	h.t.Helper()
	var n policy.Amount
	h.answered(func() (err error) {
		n, err = h.registry.TotalSupply(h.t.Context(), token)
		return err
	})
	return n.String()
}

// answered asks again while no node answers in time, as a caller does: on a busy machine one may take its own.
func (h *house) answered(ask func() error) {
	h.t.Helper()
	h.until("a node answers", func() bool {
		err := ask()
		if errors.Is(err, chain.ErrUnavailable) {
			return false
		}
		require.NoError(h.t, err)
		return true
	})
}

// statuses is an operation's history in short.
func statuses(o *operation.Operation) string {
	var out []string
	for _, s := range o.History {
		out = append(out, string(s.Status))
	}
	return strings.Join(out, " ")
}

// wallet is the id of a vault account's wallet.
func (h *house) wallet(vault string) string {
	h.t.Helper()
	w, err := h.registry.OldestWallet(h.t.Context(), vault, networkName)
	require.NoError(h.t, err)
	return w.ID
}

// pendingAudit is the ids of all audit entries: no sequencer runs here.
func (h *house) pendingAudit() []any {
	h.t.Helper()
	var ids []any
	for kv, err := range h.store.All(h.t.Context(), store.AuditPending, nil) {
		require.NoError(h.t, err)
		p, err := audit.ParsePending(kv.Value)
		require.NoError(h.t, err)
		ids = append(ids, p.ID)
	}
	return ids
}
