package registry_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const network = "quantum-chain-devnet"

var operator = registry.Actor{Name: "operator", RequestID: "req_1", IP: "127.0.0.1"}

// room is a seal without a socket and without an HSM: it decides nothing, but
// what it records is a real ledger, signed and folded as the seal's is.
type room struct {
	t     testing.TB
	store *store.Store // with the seal's rights
	key   ed25519.PrivateKey

	mu       sync.Mutex
	fold     *ledger.Fold
	refusal  error                         // what every call answers, if not nil
	recorded map[string]*seal.WalletResult // wallets by id
	applied  map[policy.Digest]uint64
}

// house is an appliance's registry with everything that it stands on.
type house struct {
	t          testing.TB
	etcd       *storetest.Server
	store      *store.Store
	room       *room
	charter1   policy.Digest
	custodians map[string]*policy.Signer
	chains     map[string]*chain.Client
	node       *devnet.Node
}

func signer(t testing.TB, a policy.Algorithm) *policy.Signer {
	pem, _, err := policy.GenerateKeyPEM(a)
	require.NoError(t, err)
	s, err := policy.LoadSignerPEM(pem)
	require.NoError(t, err)
	return s
}

func newHouse(t testing.TB) *house {
	h := &house{t: t, etcd: storetest.Start(t), custodians: map[string]*policy.Signer{}}
	h.store = h.etcd.Open(store.UserServe)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	h.room = &room{t: t, store: h.etcd.Open(store.UserSeal), key: key, recorded: map[string]*seal.WalletResult{}, applied: map[policy.Digest]uint64{}}
	h.startChain()
	charter := h.charter()
	doc, err := charter.Encode()
	require.NoError(t, err)
	h.charter1 = policy.DigestOf(doc)
	h.room.fold = ledger.NewFold(h.charter1)
	env, err := policy.Sign(policy.PayloadType(policy.DocCharter), doc, h.custodians["custodian-1"], h.custodians["custodian-2"], h.custodians["custodian-3"])
	require.NoError(t, err)
	h.room.record(ledger.Record{Charter: env})
	return h
}

func (h *house) charter() *policy.Charter {
	ledgerKey, err := policy.NewPublicKey(h.room.key.Public())
	require.NoError(h.t, err)
	c := &policy.Charter{
		Format: policy.Format, Instance: "test-1", Version: 1, Environment: policy.Dev, TenantID: "test",
		Networks: []policy.Network{{
			Name: network, Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, Scheme: tx.Dilithium3, Currency: "QC",
			DefaultMaxFee: policy.AmountOf(1e16), DailyFee: policy.AmountOf(1e18),
		}},
		Custodians: policy.Custodians{Threshold: 2},
		Groups:     map[string][]string{"approvers": {}},
		Appliances: []policy.Appliance{{
			ID: "appliance-1", LedgerKey: ledgerKey, UnsealKey: []byte{1},
			Token: policy.SecurityToken{Serial: "0123", CheckValues: map[string]string{"canary": "00"}},
		}},
	}
	for i, a := range []policy.Algorithm{policy.ECDSAP256, policy.Ed25519, policy.MLDSA65} {
		name := fmt.Sprintf("custodian-%d", i+1)
		h.custodians[name] = signer(h.t, a)
		c.Custodians.Members = append(c.Custodians.Members, policy.Custodian{Name: name, Keys: []policy.PublicKey{h.custodians[name].Public()}})
		person := fmt.Sprintf("approver-%d", i+1)
		c.Persons = append(c.Persons, policy.Person{Name: person, Keys: []policy.PublicKey{signer(h.t, a).Public()}, Users: []string{store.NewID("user_")}})
		c.Groups["approvers"] = append(c.Groups["approvers"], person)
	}
	return c
}

func (h *house) startChain() {
	node, err := devnet.Start(h.t.Context(), devnet.Config{Dir: h.t.TempDir()})
	require.NoError(h.t, err)
	h.t.Cleanup(func() { node.Close() })
	c, err := chain.Dial(h.t.Context(), chain.Network{
		Name: network, Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, RPCURLs: []string{node.URL()}, Confirmations: 2, Scheme: tx.Dilithium3, Currency: "QC",
		Timeout: 10 * time.Second,
	}, storetest.Logger(h.t), prometheus.NewRegistry())
	require.NoError(h.t, err)
	h.t.Cleanup(c.Close)
	h.node, h.chains = node, map[string]*chain.Client{network: c}
}

// soon ends what a test waits for, well before the test's own end.
func soon(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), waitLimit)
	t.Cleanup(cancel)
	return ctx
}

// serve starts a registry and follows until the test, or stop, ends it.
func (h *house) serve() (s *registry.Service, stop func()) {
	s, stop = h.open(nil)
	require.NoError(h.t, s.WaitReady(soon(h.t)))
	return s, stop
}

func (h *house) open(change func(*registry.Deps)) (s *registry.Service, stop func()) {
	h.t.Helper()
	d := registry.Deps{
		Store: h.store, Seal: h.room, Chains: h.chains, Charter1: h.charter1, Tenant: "test",
		Log: storetest.Logger(h.t), Registerer: prometheus.NewRegistry(),
	}
	if change != nil {
		change(&d)
	}
	s, err := registry.New(d)
	require.NoError(h.t, err)
	ctx, cancel := context.WithCancel(h.t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Follow(ctx) }()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	h.t.Cleanup(stop)
	return s, stop
}

// record writes the next batch of the ledger.
func (r *room) record(records ...ledger.Record) uint64 {
	r.t.Helper()
	value, sequence := r.batch(records...)
	_, err := r.fold.Apply(value)
	require.NoError(r.t, err)
	r.write(sequence, value)
	return sequence
}

func (r *room) batch(records ...ledger.Record) ([]byte, uint64) {
	r.t.Helper()
	head, previous := r.fold.Head()
	b := &ledger.Batch{
		Format: ledger.Format, Instance: "test-1", Epoch: ledger.FirstEpoch, Term: 1, Sequence: head + 1, Previous: previous,
		Author: "appliance-1", Time: time.Now().UTC().Truncate(time.Second), Records: records,
	}
	if head == 0 {
		b.Previous = ledger.NoDigest
	}
	input, err := b.SigningInput()
	require.NoError(r.t, err)
	b.Signature = ed25519.Sign(r.key, input)
	value, err := b.Encode()
	require.NoError(r.t, err)
	return value, b.Sequence
}

func (r *room) write(sequence uint64, value []byte) {
	t := r.store.Tx()
	t.Put(ledger.Key(sequence), value)
	_, err := t.Commit(context.Background())
	require.NoError(r.t, err)
}

// refuse makes every call answer err; nil ends that.
func (r *room) refuse(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refusal = err
}

func (r *room) WalletCreate(_ context.Context, q seal.WalletCreateRequest) (*seal.WalletResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	if made, ok := r.recorded[q.WalletID]; ok {
		return made, nil
	}
	public, _, err := mode3.GenerateKey(rand.Reader)
	require.NoError(r.t, err)
	address, err := tx.Sender(tx.KindQuantum, public.Bytes())
	require.NoError(r.t, err)
	made := &seal.WalletResult{
		WalletID: q.WalletID, VaultAccountID: q.VaultAccountID, Network: q.Network, Scheme: q.Scheme,
		PublicKey: public.Bytes(), Address: address, Protection: "hsm-wrapped",
	}
	made.Sequence = r.record(ledger.Record{Wallet: &ledger.Wallet{
		WalletID: q.WalletID, VaultAccountID: q.VaultAccountID, Network: q.Network, Scheme: q.Scheme, PublicKey: made.PublicKey, Address: address,
	}})
	r.recorded[q.WalletID] = made
	return made, nil
}

func (r *room) PolicyApply(_ context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return r.once(e, ledger.Record{Policy: e})
}

func (r *room) CharterApply(_ context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return r.once(e, ledger.Record{Charter: e})
}

func (r *room) Freeze(_ context.Context, q seal.FreezeRequest) (*seal.Recorded, error) {
	return r.once(q.Envelope, ledger.Record{Freeze: q.Envelope})
}

// Unseal and Seal are the door's own; the API's tests have them.
func (r *room) Unseal(context.Context, *policy.Envelope) (*seal.Status, error) {
	return nil, seal.Errorf(seal.KindInvalid, "this room is never sealed")
}

func (r *room) Seal(context.Context, *policy.Envelope) (*seal.Status, error) {
	return nil, seal.Errorf(seal.KindInvalid, "this room is never sealed")
}

func (r *room) once(e *policy.Envelope, record ledger.Record) (*seal.Recorded, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refusal != nil {
		return nil, r.refusal
	}
	if at, ok := r.applied[e.PayloadDigest()]; ok {
		return &seal.Recorded{Sequence: at}, nil
	}
	value, sequence := r.batch(record)
	if _, err := r.fold.Apply(value); err != nil {
		return nil, seal.Errorf(seal.KindConflict, "%v", err)
	}
	r.write(sequence, value)
	r.applied[e.PayloadDigest()] = sequence
	return &seal.Recorded{Sequence: sequence}, nil
}

// apply puts a policy in force as the first start does: past the API.
func (h *house) apply(p *policy.Policy) {
	h.t.Helper()
	h.room.record(signed(h, p))
}

func twoOfApprovers() []policy.Rule {
	return []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}}
}

func devDefault() *policy.Policy {
	return &policy.Policy{
		Format: policy.Format, Instance: "test-1", ID: store.NewID("pol_"), Version: 1, Name: "dev-default",
		Scope: policy.Scope{All: true}, Rules: twoOfApprovers(), CreatedAt: time.Now().UTC().Truncate(time.Second),
	}
}

// audits counts the entries of one action that wait for the sequencer.
func (h *house) audits(action string) int {
	h.t.Helper()
	n := 0
	for kv, err := range h.store.All(h.t.Context(), store.AuditPending, nil) {
		require.NoError(h.t, err)
		if strings.Contains(string(kv.Value), `"action":"`+action+`"`) {
			n++
		}
	}
	return n
}

// refused asserts that err is a refusal of that type and returns its message.
func refused(t testing.TB, err error, kind string) string {
	t.Helper()
	var r *registry.Refusal
	require.Truef(t, errors.As(err, &r), "want a refusal of type %s, got %v", kind, err)
	require.Equalf(t, kind, r.Type, "%s", r.Message)
	return r.Message
}

func policyRecord(h *house) ledger.Record { return signed(h, devDefault()) }

// signed is the ledger's record of a policy that the threshold signed.
func signed(h *house, p *policy.Policy) ledger.Record {
	doc, err := p.Encode()
	require.NoError(h.t, err)
	env, err := policy.Sign(policy.PayloadType(policy.DocPolicy), doc, h.custodians["custodian-1"], h.custodians["custodian-3"])
	require.NoError(h.t, err)
	return ledger.Record{Policy: env}
}

func newKey(t testing.TB) ed25519.PrivateKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	return key
}

func discard() *slog.Logger             { return slog.New(slog.DiscardHandler) }
func registerer() prometheus.Registerer { return prometheus.NewRegistry() }
