package callback_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/callback/callbacktest"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/operation/operationtest"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

func mint(amount int64) qrc20.Call {
	return qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(amount), Account: qrc20.Address{1, 2, 3}}
}

func TestSignsForQustody(t *testing.T) { overKinds(t, signsForQustody) }

func signsForQustody(t *testing.T, kind tx.Kind) {
	h := newHouse(t, kind)
	q := h.qustody

	t.Run("a wallet is registered once, with its proof of ownership", func(t *testing.T) {
		h.until("the wallet is registered", func() bool { return len(h.registrations()) == 1 })
		require.Equal(t, 1, q.Count("register"))
		h.restart()
		rounds := q.Count("list")
		h.until("rounds go on", func() bool { return q.Count("list") > rounds+1 })
		require.Equal(t, 1, q.Count("register"))
	})

	t.Run("a mint is approved, signed, posted, sent by Qustody and followed to its end", func(t *testing.T) {
		ref := h.create(mint(1000))
		o := h.taken(ref)
		require.Equal(t, policy.OpMint, o.Type)
		require.Equal(t, "1000", o.Amount.String())
		require.Equal(t, tx.Address{1, 2, 3}, *o.Recipient)
		require.Equal(t, operation.PendingAuthorization, o.Status)
		require.Equal(t, "operator", o.RequestedBy)
		i, err := policy.ParseIntent(o.Intent)
		require.NoError(t, err)
		_, err = i.Foreign(q.At(ref).Raw)
		require.NoError(t, err, "what people approve is what the bytes do")
		u := q.At(ref).Unsigned
		require.Equal(t, new(big.Int).Mul(u.MaxFee, new(big.Int).SetUint64(u.Gas)), o.FeeCap.Big(), "the fee is what the bytes allow, and no more")
		h.decide(o, "approver-1", policy.Approve)
		require.Zero(t, q.Posted(ref), "one approval signs nothing")
		h.decide(o, "approver-2", policy.Approve)
		done := h.ends(o.ID, operation.Completed)
		require.Equal(t, q.At(ref).Hash, done.TransactionHash.String(), "what Qustody put together is what we hold")
		require.Equal(t, "1000", h.supply())
		if kind == tx.KindEVM {
			require.EqualValues(t, "hsm-native", h.wallet.Protection, "the key never leaves the token")
			require.EqualValues(t, 2, h.minedType(done), "go-ethereum has it as EIP-1559 says")
		}
		require.Equal(t, 1, q.Posted(ref))
		h.until("its delivery is written", func() bool { return len(h.audited("callback.delivered", o.ID)) == 1 })
		require.Equal(t, ref, h.audited("operation.submitted", o.ID)[0]["foreignTransaction"])

		// Its state left the store for the archive a moment ago: nothing is written beside it that would stay for good.
		left := &operation.Operation{ID: store.NewID(operation.IDPrefix), Foreign: ref}
		_, err = h.signer.Deliver(t.Context(), left, &tx.Signed{Signature: []byte{1}, PublicKey: []byte{2}})
		require.NoError(t, err)
		_, _, there, err := h.store.Get(t.Context(), store.OpDelivered(left.ID))
		require.NoError(t, err)
		require.False(t, there)
	})

	t.Run("what an approver rejects is not signed", func(t *testing.T) {
		ref := h.create(mint(5))
		o := h.taken(ref)
		h.decide(o, "approver-1", policy.Approve)
		h.decide(o, "approver-3", policy.Reject)
		h.ends(o.ID, operation.Rejected)
		require.Zero(t, q.Posted(ref))
		q.Change(ref, func(x *callbacktest.Transaction) { x.Status = "CANCELLED" })
		q.Next(q.At(ref).Unsigned.Nonce) // Qustody gives the number to the next
	})

	t.Run("a later nonce waits for the earlier one", func(t *testing.T) {
		first, second := h.create(mint(1)), h.create(mint(2))
		a, b := h.taken(first), h.taken(second)
		h.approve(b)
		h.until("the second waits for its signature", func() bool {
			o, err := h.operations.Get(t.Context(), b.ID)
			return err == nil && o.Status == operation.PendingSignature
		})
		require.Zero(t, q.Posted(second))
		h.approve(a)
		h.ends(a.ID, operation.Completed)
		h.ends(b.ID, operation.Completed)
		require.Equal(t, "1003", h.supply())
	})

	t.Run("a burn, a transfer and a role", func(t *testing.T) {
		own := qrc20.Address(h.wallet.Address)
		for n, c := range []qrc20.Call{
			{Method: qrc20.Mint, Amount: big.NewInt(100), Account: own},
			{Method: qrc20.Burn, Amount: big.NewInt(10)},
			{Method: qrc20.Transfer, Amount: big.NewInt(20), To: qrc20.Address{7}},
			{Method: qrc20.GrantRole, Role: qrc20.Minter, Account: qrc20.Address(h.other.Address)},
			{Method: qrc20.Pause},
			{Method: qrc20.Unpause},
		} {
			o := h.taken(h.create(c))
			h.approve(o)
			h.ends(o.ID, operation.Completed)
			require.Equal(t, h.nextNonce(), uint64(5+n))
		}
		require.Equal(t, "1093", h.supply())
	})

	t.Run("what was decided stays with it over a restart", func(t *testing.T) {
		o := h.taken(h.create(mint(1)))
		h.decide(o, "approver-1", policy.Approve)
		h.restart()
		h.decide(o, "approver-2", policy.Approve)
		h.ends(o.ID, operation.Completed)
	})

	t.Run("what the chain tells is what people approved", func(t *testing.T) {
		r := h.reconciled()
		require.Equal(t, reconciliation.Agrees, r.Status)
		require.Zero(t, r.UnmatchedTotal)
		require.Equal(t, "1094", r.Events.String())
		require.Equal(t, r.Events, r.Contract)
		require.Equal(t, r.Events, r.Operations)
	})

	t.Run("it is counted", func(t *testing.T) {
		n, err := testutil.GatherAndCount(h.metrics, "mintwarden_callback_asking", "mintwarden_callback_rounds_total", "mintwarden_callback_taken_total",
			"mintwarden_callback_refused_total", "mintwarden_callback_signatures_total")
		require.NoError(t, err)
		require.Equal(t, 1+2+1+7+2, n)
	})
	require.Equal(t, h.nextNonce()-1, uint64(q.Distinct()), fmt.Sprintf("each nonce was signed once: %d", h.nextNonce()))
}

// minedType is the type that the node says a mined transaction has.
func (h *house) minedType(o *operation.Operation) uint64 {
	h.t.Helper()
	node, err := rpc.Dial(h.node.URL())
	require.NoError(h.t, err)
	defer node.Close()
	var mined struct {
		Type hexutil.Uint64
		From string
	}
	require.NoError(h.t, node.Call(&mined, "eth_getTransactionByHash", o.TransactionHash.String()))
	require.True(h.t, strings.EqualFold(h.wallet.Address.String(), mined.From), mined.From)
	return uint64(mined.Type)
}

// reconciled is the token's reconciliation once chain and operations were compared.
func (h *house) reconciled() *reconciliation.Report {
	h.t.Helper()
	s, err := reconciliation.New(reconciliation.Deps{Store: h.store, Registry: h.registry, Operations: h.operations, Seal: h.seal,
		Chains: map[string]*chain.Client{operationtest.Network: h.chain}, Log: slog.New(slog.NewTextHandler(h.logs, nil))})
	require.NoError(h.t, err)
	ctx, cancel := context.WithCancel(h.t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	defer func() { cancel(); running.Wait() }()
	var r *reconciliation.Report
	h.until("the chain and the operations were compared", func() bool {
		r, err = s.Report(ctx, h.token.ID)
		return err == nil && r.Status != reconciliation.CatchingUp && r.Events.String() == h.supply()
	})
	return r
}
