package sealed

import (
	"context"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	testAppliance = "appliance-1"
	testNetwork   = "quantum-chain-devnet"
	testChain     = 2080377
)

// people are the custodians and approvers of a test's instance.
type people struct {
	custodians, approvers []*policy.Signer
}

var algorithms = []policy.Algorithm{policy.ECDSAP256, policy.Ed25519, policy.MLDSA65}

func newPeople(t *testing.T) *people {
	t.Helper()
	p := &people{}
	for _, alg := range algorithms {
		p.custodians = append(p.custodians, newSigner(t, alg))
		p.approvers = append(p.approvers, newSigner(t, alg))
	}
	return p
}

func newSigner(t *testing.T, alg policy.Algorithm) *policy.Signer {
	t.Helper()
	private, _, err := policy.GenerateKeyPEM(alg)
	require.NoError(t, err)
	s, err := policy.LoadSignerPEM(private)
	require.NoError(t, err)
	return s
}

func sign(t *testing.T, document string, payload []byte, err error, by ...*policy.Signer) *policy.Envelope {
	t.Helper()
	require.NoError(t, err)
	e, err := policy.Sign(policy.PayloadType(document), payload, by...)
	require.NoError(t, err)
	return e
}

var names = []string{"1", "2", "3"}

// charter is charter 1 of an instance whose only appliance is what init says.
func (p *people) charter(me *seal.InitResult, change func(*policy.Charter)) *policy.Charter {
	c := &policy.Charter{Format: 1, Instance: "test", Version: 1, Environment: policy.Dev, TenantID: "tenant",
		Networks: []policy.Network{{Name: testNetwork, Kind: tx.KindQuantum, ChainID: testChain, Scheme: tx.Dilithium3, Currency: "QC",
			DefaultMaxFee: amount("1000000000000000000"), DailyFee: amount("100000000000000000000")}},
		Custodians: policy.Custodians{Threshold: 2},
		Groups:     map[string][]string{"approvers": {}},
		Appliances: []policy.Appliance{{ID: testAppliance, LedgerKey: me.LedgerKey, UnsealKey: me.UnsealKey,
			Token: policy.SecurityToken{Serial: me.Token.Serial, CheckValues: me.Token.CheckValues}}},
		Limits: policy.Limits{MaxOutstanding: 1000},
	}
	for i, n := range names {
		c.Custodians.Members = append(c.Custodians.Members, policy.Custodian{Name: "custodian-" + n, Keys: []policy.PublicKey{p.custodians[i].Public()}})
		c.Persons = append(c.Persons, policy.Person{Name: "approver-" + n, Keys: []policy.PublicKey{p.approvers[i].Public()}, Users: []string{newID("user")}})
		c.Groups["approvers"] = append(c.Groups["approvers"], "approver-"+n)
	}
	if change != nil {
		change(c)
	}
	return c
}

func amount(s string) policy.Amount {
	a, err := policy.ParseAmount(s)
	if err != nil {
		panic(err)
	}
	return a
}

func amountPtr(s string) *policy.Amount { a := amount(s); return &a }

// door is a seal as its callers see it: in process, or over a socket.
type door interface {
	Status(context.Context) (*seal.Status, error)
	Init(context.Context) (*seal.InitResult, error)
	CharterApply(context.Context, *policy.Envelope) (*seal.Recorded, error)
	PolicyApply(context.Context, *policy.Envelope) (*seal.Recorded, error)
	WalletCreate(context.Context, seal.WalletCreateRequest) (*seal.WalletResult, error)
	Decide(context.Context, *policy.Envelope) (*seal.Recorded, error)
	Cancel(context.Context, seal.CancelRequest) (*seal.Recorded, error)
	WalletProve(context.Context, seal.WalletProveRequest) (*seal.WalletProof, error)
	Authorize(context.Context, seal.AuthorizeRequest) (*seal.AuthorizeResult, error)
	Settle(context.Context, seal.SettleRequest) (*seal.Recorded, error)
}

// instance is a seal with charter, wallet, policy and, once deployed, a token.
type instance struct {
	t       *testing.T
	door    door
	people  *people
	charter *policy.Charter
	digest  policy.Digest
	first   *policy.Envelope // charter 1
	wallet  *seal.WalletResult
	policy  policy.PolicyRef
	token   policy.Token
}

// roomOptions are what tests change of a room.
type roomOptions struct {
	state     string // directory; empty: a fresh one
	store     *logStore
	clock     clockSource
	appliance string // empty: testAppliance
	ledger    LedgerConfig
	source    pinSource // where the PIN is said to come from
}

func newTestRoom(t *testing.T, charter1 policy.Digest, o roomOptions) *room {
	t.Helper()
	if o.state == "" {
		o.state = t.TempDir()
	}
	if o.store == nil {
		o.store = openLog(t, house.store)
	}
	if o.clock == nil {
		o.clock = systemClock
	}
	if o.appliance == "" {
		o.appliance = testAppliance
	}
	j, err := openJournal(o.state)
	require.NoError(t, err)
	r, err := newRoom(roomConfig{appliance: o.appliance, charter1: charter1, unsealKey: []byte("unseal"), tokenLabel: "unit",
		custody: custody{state: o.state, source: o.source}, token: house.hsm, store: o.store, journal: j, clock: o.clock,
		log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry(), ledger: o.ledger, state: o.state})
	require.NoError(t, err)
	return r
}

// start runs a room until the test ends, or stop is called, which returns what
// run did.
func start(t *testing.T, r *room) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		defer close(ended) // where a test's own function failed in it, too
		ended <- r.run(ctx)
	}()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return soon(t, ended, "the room's end")
	}
	t.Cleanup(func() { _ = stop(); _ = r.journal.close() })
	return stop
}

// inProcess is an instance in a fresh ledger whose seal runs in this process.
func inProcess(t *testing.T, o roomOptions, change func(*policy.Charter)) (*instance, *room, func() error) {
	t.Helper()
	emptyLog(t)
	p := newPeople(t)
	before := newTestRoom(t, "", o) // init comes before charter 1 is known
	me, err := before.Init(t.Context())
	require.NoError(t, err)
	require.NoError(t, before.journal.close())
	c := p.charter(me, change)
	payload, err := c.Encode()
	e := sign(t, policy.DocCharter, payload, err, p.custodians...)
	r := newTestRoom(t, e.PayloadDigest(), o)
	stop := start(t, r)
	i := &instance{t: t, door: r, people: p, charter: c, digest: e.PayloadDigest(), first: e}
	_, err = r.CharterApply(t.Context(), e)
	require.NoError(t, err)
	return i, r, stop
}

// furnish makes a wallet and a policy for all: 2 of approvers, and more rules.
func (i *instance) furnish(rules ...policy.Rule) {
	i.t.Helper()
	ctx := i.t.Context()
	w, err := i.door.WalletCreate(ctx, seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"),
		Network: testNetwork, Scheme: tx.Dilithium3, Label: "treasury"})
	require.NoError(i.t, err)
	i.wallet = w
	pol := &policy.Policy{Format: 1, Instance: i.charter.Instance, ID: newID("pol"), Version: 1, Name: "dev-default",
		Scope: policy.Scope{All: true}, CreatedAt: policy.Seconds(time.Now()),
		Rules: append([]policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}}, rules...)}
	payload, err := pol.Encode()
	e := sign(i.t, policy.DocPolicy, payload, err, i.people.custodians[:2]...)
	_, err = i.door.PolicyApply(ctx, e)
	require.NoError(i.t, err)
	i.policy = policy.PolicyRef{ID: pol.ID, Version: 1, Digest: e.PayloadDigest()}
}

func (i *instance) intent(op policy.OperationType, params policy.Params) *policy.Intent {
	now := policy.Seconds(time.Now())
	return &policy.Intent{Format: 1, Domain: policy.IntentDomain, Instance: i.charter.Instance, Epoch: 1, Charter: i.digest,
		OperationID: newID("op"), OperationType: op, Network: testNetwork, ChainID: testChain, Scheme: i.wallet.Scheme, Token: i.token,
		Performer: policy.Performer{WalletID: i.wallet.WalletID, Address: i.wallet.Address}, Params: params,
		FeeCap: amount("100000000000000000"), Policies: []policy.PolicyRef{i.policy}, Requester: "operator",
		NotBefore: now.Add(-time.Minute), ExpiresAt: now.Add(time.Hour)}
}

func (i *instance) deployIntent() *policy.Intent { return i.deployIntentOf(true) }

// deployIntentOf is of a token that may be minted and burned, or neither.
func (i *instance) deployIntentOf(supply bool) *policy.Intent {
	i.t.Helper()
	template := qrc20.Templates()[0]
	name, symbol, decimals := "Example Token", "EIT", uint8(18)
	code, err := template.InitCode(qrc20.DeployArgs{Name: name, Symbol: symbol, Decimals: decimals, Cap: new(big.Int), InitialSupply: new(big.Int),
		Mintable: supply, Burnable: supply, Admin: i.wallet.Address})
	require.NoError(i.t, err)
	keccak := tx.HashOf(code)
	zero := policy.Amount{}
	i.token = policy.Token{ID: newID("token"), TemplateID: template.ID, Symbol: symbol, Decimals: decimals}
	return i.intent(policy.OpDeployToken, policy.Params{Name: &name, Symbol: &symbol, Decimals: &decimals, Cap: &zero, Mintable: &supply,
		Burnable: &supply, InitialSupply: &zero, Admin: &i.wallet.Address, InitcodeKeccak: &keccak})
}

// deploy takes the token through its deployment.
func (i *instance) deploy() {
	i.t.Helper()
	i.deployed(i.deployIntent())
}

func (i *instance) deployed(in *policy.Intent) {
	i.t.Helper()
	i.approve(in, 0, 1)
	q := i.request(in)
	q.GasLimit, _ = qrc20.Templates()[0].DeployGasBounds()
	out, err := i.door.Authorize(i.t.Context(), q)
	require.NoError(i.t, err)
	signed := i.verified(out)
	contract := tx.CreateAddress(signed.Sender, signed.Nonce)
	i.token.ContractAddress = &contract
	_, err = i.door.Settle(i.t.Context(), seal.SettleRequest{OperationID: in.OperationID, TxHash: out.TxHash})
	require.NoError(i.t, err)
}

func (i *instance) mint(units string) *policy.Intent {
	to := tx.Address{1, 2, 3}
	return i.intent(policy.OpMint, policy.Params{Amount: amountPtr(units), Recipient: &to})
}

func (i *instance) decision(in *policy.Intent, verb policy.Verb, person int, reason string) *policy.Envelope {
	i.t.Helper()
	text, err := in.Encode()
	require.NoError(i.t, err)
	d := &policy.Decision{Format: 1, Decision: verb, Intent: text, Approver: "approver-" + names[person], Reason: reason,
		DecidedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	return sign(i.t, policy.DocDecision, payload, err, i.people.approvers[person])
}

func (i *instance) approve(in *policy.Intent, persons ...int) {
	i.t.Helper()
	for _, p := range persons {
		_, err := i.door.Decide(i.t.Context(), i.decision(in, policy.Approve, p, ""))
		require.NoError(i.t, err)
	}
}

// approveAll approves all of them by two persons, at once.
func (i *instance) approveAll(intents []*policy.Intent) {
	i.t.Helper()
	var decisions []*policy.Envelope
	for _, in := range intents {
		decisions = append(decisions, i.decision(in, policy.Approve, 0, ""), i.decision(in, policy.Approve, 1, ""))
	}
	var all sync.WaitGroup
	for part := range slices.Chunk(decisions, maxWaiting/4) {
		for _, e := range part {
			all.Go(func() {
				if _, err := i.door.Decide(context.Background(), e); err != nil {
					i.t.Error(err)
				}
			})
		}
		all.Wait()
	}
}

func (i *instance) request(in *policy.Intent) seal.AuthorizeRequest {
	i.t.Helper()
	text, err := in.Encode()
	require.NoError(i.t, err)
	_, gas := qrc20.GasBounds(qrc20.Mint)
	return seal.AuthorizeRequest{OperationID: in.OperationID, Intent: text, GasLimit: gas, MaxFee: amount("1000000000"), Tip: amount("1000000")}
}

// verified decodes what the seal signed and checks the signature as a node does.
func (i *instance) verified(out *seal.AuthorizeResult) *tx.Signed {
	i.t.Helper()
	s, err := tx.Decode(tx.KindQuantum, out.RawTx)
	require.NoError(i.t, err)
	require.True(i.t, s.Verify(i.wallet.Scheme), "a node takes the signature")
	require.Equal(i.t, i.wallet.Address, s.Sender)
	require.Equal(i.t, out.TxHash, s.Hash)
	require.Equal(i.t, uint64(testChain), s.ChainID)
	require.Zero(i.t, s.Value.Sign())
	return s
}

func requireKind(t *testing.T, kind seal.Kind, err error) {
	t.Helper()
	require.Error(t, err)
	got, ok := seal.KindOf(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, kind, got, "%v", err)
}
