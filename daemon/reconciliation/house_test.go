package reconciliation_test

import (
	"context"
	"encoding/binary"
	"encoding/json/v2"
	"fmt"
	"log/slog"
	"math/big"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	networkName   = "net"
	confirmations = 3
	// patience is after what time a test gives up; nothing is measured by it.
	patience = 4 * time.Minute
)

// house is one token, its chain, its operations and the service over a real etcd. The registry and the seal are
// doubles: what they say is what a test is about.
type house struct {
	t        testing.TB
	etcd     *storetest.Server
	store    *store.Store
	node     *ledgerNode
	urls     []string
	timeout  time.Duration // of a question to a node; 0: the client's own
	token    *registry.Token
	contract common.Address
	external []tx.Address
	others   []*registry.Token // beside the token
	nodes    []*ledgerNode     // where they differ
	metrics  prometheus.Registerer

	mu      sync.Mutex
	ids     []string // of operations, ascending
	freezes []seal.FreezeRequest
	frozen  bool
	archive map[string]*operation.Operation // what is in no store any more, by id
	// carry is the follower's work that is asked to be waited for; nil: none was left.
	carry func()
	// dying ends the service right after a freeze was recorded.
	dying context.CancelFunc
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, etcd: storetest.Start(t), node: newNode(), contract: common.Address{0xc0}}
	h.store = h.etcd.OpenConfig(h.etcd.InProcess(store.UserServe))
	h.urls = []string{h.node.serve(t)}
	address := tx.Address(h.contract)
	h.token = &registry.Token{ID: store.NewID("token_"), TemplateID: "tpl_qrc20_v1", Network: networkName, Status: registry.TokenDeployed,
		ContractAddress: &address, BlockNumber: 1, DeployOperationID: store.NewID("op_")}
	return h
}

func (h *house) Ready() error { return nil }

func (h *house) WaitLog(context.Context) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.carry != nil {
		h.carry()
	}
	h.carry = nil
	return nil
}

func (h *house) Token(_ context.Context, id string) (*registry.Token, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if id != h.token.ID {
		return nil, registry.Refuse(registry.NotFound, "there is no token %q", id)
	}
	return h.token, nil
}

// becomes has the token be another way from now on.
func (h *house) becomes(edit func(*registry.Token)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	token := *h.token
	edit(&token)
	h.token = &token
}

func (h *house) Tokens(context.Context, registry.TokenFilter, int, int) ([]*registry.Token, int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append([]*registry.Token{h.token}, h.others...), 1 + len(h.others), nil
}

func (h *house) TokenFrozen(string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.frozen
}

func (h *house) ExternalHolders(string) []tx.Address { return h.external }

func (h *house) Freeze(_ context.Context, q seal.FreezeRequest) (*seal.Recorded, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.freezes = append(h.freezes, q)
	h.frozen = true
	if h.dying != nil {
		h.dying()
	}
	return &seal.Recorded{Sequence: uint64(len(h.freezes))}, nil
}

// archived takes every operation out of the store, as the archive does: no key of it is left.
func (h *house) archived() {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.archive = map[string]*operation.Operation{}
	for _, id := range h.ids {
		value, _, ok, err := h.store.Get(h.t.Context(), store.OpState(id))
		require.NoError(h.t, err)
		require.True(h.t, ok)
		var o operation.Operation
		require.NoError(h.t, json.Unmarshal(value, &o))
		t := h.store.Tx()
		t.Delete(store.OpState(id))
		t.Delete(store.TxOperation(*o.TransactionHash))
		_, err = t.Commit(h.t.Context())
		require.NoError(h.t, err)
		h.archive[id] = &o
	}
}

func (h *house) OfTransactions(ctx context.Context, hashes []tx.Hash) ([]string, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	ids := make([]string, len(hashes))
	for i, hash := range hashes {
		value, _, _, err := h.store.Get(ctx, store.TxOperation(hash))
		if err != nil {
			return nil, err
		}
		ids[i] = string(value)
		for id, o := range h.archive {
			if *o.TransactionHash == hash {
				ids[i] = id
			}
		}
	}
	return ids, nil
}

func (h *house) States(ctx context.Context, ids []string) ([]*operation.Operation, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = store.OpState(id)
	}
	kvs, _, err := h.store.GetMany(ctx, keys...)
	if err != nil {
		return nil, err
	}
	ops := make([]*operation.Operation, len(ids))
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, kv := range kvs {
		ops[i] = h.archive[ids[i]]
		if kv.ModRevision != 0 {
			ops[i] = new(operation.Operation)
			if err := json.Unmarshal(kv.Value, ops[i]); err != nil {
				return nil, err
			}
		}
	}
	return ops, nil
}

// Get and List read operations as the operations' service does.
func (h *house) Get(ctx context.Context, id string) (*operation.Operation, error) {
	value, _, ok, err := h.store.Get(ctx, store.OpState(id))
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, registry.Refuse(registry.TxNotFound, "there is no operation %q", id)
	}
	var o operation.Operation
	return &o, json.Unmarshal(value, &o)
}

func (h *house) List(ctx context.Context, f operation.Filter, limit, _ int, cursor string) (ops []*operation.Operation, total int, next string, err error) {
	h.mu.Lock()
	all := slices.Clone(h.ids)
	h.mu.Unlock()
	var ids []string
	for _, id := range slices.Backward(all) {
		if cursor != "" && id >= cursor || store.IDTime(id).Before(f.From) {
			continue
		}
		if len(ids) == limit {
			next = ids[limit-1]
			break
		}
		ids = append(ids, id)
	}
	for chunk := range slices.Chunk(ids, store.MaxTxOps) {
		some, err := h.States(ctx, chunk)
		if err != nil {
			return nil, 0, "", err
		}
		ops = append(ops, some...)
	}
	return ops, len(all), next, nil
}

func number(n uint64) common.Hash {
	var h common.Hash
	binary.BigEndian.PutUint64(h[24:], n)
	return h
}

func account(n uint64) tx.Address {
	var a tx.Address
	a[0] = 0xaa
	binary.BigEndian.PutUint64(a[12:], n)
	return a
}

func word(a tx.Address) common.Hash { return common.BytesToHash(a[:]) }

func hashOf(n uint64) common.Hash {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], n)
	return crypto.Keccak256Hash([]byte("tx"), b[:])
}

// mint writes a mint's event into a block.
func (h *house) mint(block, n uint64, to tx.Address, amount uint64) {
	h.node.write(block, h.contract, hashOf(n), []common.Hash{transferTopic, zeroWord, word(to)}, number(amount).Bytes())
}

// planted are operations that were completed, a hundred in one transaction.
type planted struct {
	h     *house
	batch *store.Tx
}

// mintOperation is an authorized mint that the transaction n is of.
func (p *planted) mintOperation(block, n uint64, to tx.Address, amount uint64) string {
	value := policy.AmountOf(amount)
	hash := tx.Hash(hashOf(n))
	o := &operation.Operation{ID: store.NewID("op_"), Type: policy.OpMint, Status: operation.Completed, TokenID: p.h.token.ID, Network: networkName,
		Amount: &value, Recipient: &to, Authorized: true, TransactionHash: &hash, BlockNumber: block, History: []operation.Step{{Status: operation.Completed, At: time.Now()}}}
	p.plant(o)
	return o.ID
}

func (p *planted) plant(o *operation.Operation) {
	p.h.t.Helper()
	b, err := json.Marshal(o)
	require.NoError(p.h.t, err)
	if p.batch == nil {
		p.batch = p.h.store.Tx()
	}
	p.batch.Put(store.OpState(o.ID), b)
	if o.TransactionHash != nil {
		p.batch.Put(store.TxOperation(*o.TransactionHash), []byte(o.ID))
	}
	p.h.mu.Lock()
	p.h.ids = append(p.h.ids, o.ID)
	p.h.mu.Unlock()
	if p.batch.Len() > store.MaxTxOps-4 {
		p.flush()
	}
}

func (p *planted) flush() {
	p.h.t.Helper()
	if p.batch == nil {
		return
	}
	_, err := p.batch.Commit(p.h.t.Context())
	require.NoError(p.h.t, err)
	p.batch = nil
}

// service is a new process on the same etcd; nil if it dies with ctx before it has begun.
func (h *house) service(ctx context.Context) (*reconciliation.Service, *store.Store) {
	h.t.Helper()
	st, err := store.Open(ctx, h.etcd.InProcess(store.UserServe), storetest.Logger(h.t), nil)
	if err != nil && ctx.Err() != nil {
		return nil, nil
	}
	require.NoError(h.t, err)
	c, err := chain.Dial(h.t.Context(), chain.Network{Name: networkName, Kind: tx.KindQuantum, ChainID: chainID, RPCURLs: h.urls, Confirmations: confirmations,
		Scheme: tx.Dilithium3, Currency: "QC", BlockPeriod: 10 * time.Millisecond, Timeout: h.timeout}, nil, nil)
	require.NoError(h.t, err)
	h.t.Cleanup(c.Close)
	s, err := reconciliation.New(reconciliation.Deps{Store: st, Registry: h, Operations: h, Seal: h, Chains: map[string]*chain.Client{networkName: c},
		Log: slog.New(slog.DiscardHandler), Registerer: h.metrics, Now: func() time.Time { return time.Now().Add(time.Hour) }}) // what was asked for is long over
	require.NoError(h.t, err)
	return s, st
}

// run reconciles until the report is as wanted, or ctx ends.
func (h *house) run(ctx context.Context, wanted func(*reconciliation.Report) bool) *reconciliation.Report {
	h.t.Helper()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, st := h.service(ctx)
	if s == nil {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	defer func() {
		cancel()
		require.NoError(h.t, <-done)
		require.NoError(h.t, st.Close())
	}()
	var last *reconciliation.Report
	for ctx.Err() == nil {
		r, err := s.Report(ctx, h.token.ID)
		if err == nil {
			if last = r; wanted(r) {
				return r
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Millisecond):
		}
	}
	return last
}

func (h *house) until(wanted func(*reconciliation.Report) bool) *reconciliation.Report {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	r := h.run(ctx, wanted)
	if r == nil || !wanted(r) {
		h.t.Fatalf("the report stays %+v", r)
	}
	return r
}

// told counts the events in the outbox.
func (h *house) told() int {
	h.t.Helper()
	n, err := h.store.Count(h.t.Context(), store.Outbox)
	require.NoError(h.t, err)
	return int(n)
}

func (h *house) count(prefix string) int {
	h.t.Helper()
	n, err := h.store.Count(h.t.Context(), fmt.Sprintf("/mw/reconciliation/%s/%s/", h.token.ID, prefix))
	require.NoError(h.t, err)
	return int(n)
}

func settled(block uint64) func(*reconciliation.Report) bool {
	return func(r *reconciliation.Report) bool {
		return r.BlockNumber >= block && r.Status != reconciliation.CatchingUp
	}
}

func sameSupply(t testing.TB, r *reconciliation.Report, want int64) {
	t.Helper()
	n := big.NewInt(want)
	require.Zero(t, r.Events.Cmp(n), "events %s", r.Events)
	require.Zero(t, r.Contract.Cmp(n), "contract %s", r.Contract)
	require.Zero(t, r.Operations.Cmp(n), "operations %s", r.Operations)
}
