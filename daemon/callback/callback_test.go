package callback_test

import (
	"fmt"
	"math/big"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

func mint(amount int64) qrc20.Call {
	return qrc20.Call{Method: qrc20.Mint, Amount: big.NewInt(amount), Account: qrc20.Address{1, 2, 3}}
}

func TestSignsForQustody(t *testing.T) {
	h := newHouse(t)
	q := h.qustody

	t.Run("a wallet is registered once, with its proof of ownership", func(t *testing.T) {
		h.until("the wallet is registered", func() bool { return len(h.registrations()) == 1 })
		require.Equal(t, 1, q.count("register"))
		h.restart()
		rounds := q.count("list")
		h.until("rounds go on", func() bool { return q.count("list") > rounds+1 })
		require.Equal(t, 1, q.count("register"))
	})

	t.Run("a mint is approved, signed, posted, sent by Qustody and followed to its end", func(t *testing.T) {
		ref := q.create(h, mint(1000))
		o := h.taken(ref)
		require.Equal(t, policy.OpMint, o.Type)
		require.Equal(t, "1000", o.Amount.String())
		require.Equal(t, tx.Address{1, 2, 3}, *o.Recipient)
		require.Equal(t, operation.PendingAuthorization, o.Status)
		require.Equal(t, "operator", o.RequestedBy)
		i, err := policy.ParseIntent(o.Intent)
		require.NoError(t, err)
		_, err = i.Foreign(q.at(ref).raw)
		require.NoError(t, err, "what people approve is what the bytes do")
		u := q.at(ref).unsigned
		require.Equal(t, new(big.Int).Mul(u.MaxFee, new(big.Int).SetUint64(u.Gas)), o.FeeCap.Big(), "the fee is what the bytes allow, and no more")
		h.decide(o, "approver-1", policy.Approve)
		require.Zero(t, q.posted(ref), "one approval signs nothing")
		h.decide(o, "approver-2", policy.Approve)
		done := h.ends(o.ID, operation.Completed)
		require.Equal(t, q.at(ref).hash, done.TransactionHash.String(), "what Qustody put together is what we hold")
		require.Equal(t, "1000", h.supply())
		require.Equal(t, 1, q.posted(ref))
		h.until("its delivery is written", func() bool { return len(h.audited("callback.delivered", o.ID)) == 1 })
		require.Equal(t, ref, h.audited("operation.submitted", o.ID)[0]["foreignTransaction"])
	})

	t.Run("what an approver rejects is not signed", func(t *testing.T) {
		ref := q.create(h, mint(5))
		o := h.taken(ref)
		h.decide(o, "approver-1", policy.Approve)
		h.decide(o, "approver-3", policy.Reject)
		h.ends(o.ID, operation.Rejected)
		require.Zero(t, q.posted(ref))
		q.change(ref, func(x *theirs) { x.status = "CANCELLED" })
		q.mu.Lock()
		q.nonce-- // Qustody gives the number to the next
		q.mu.Unlock()
	})

	t.Run("a later nonce waits for the earlier one", func(t *testing.T) {
		first, second := q.create(h, mint(1)), q.create(h, mint(2))
		a, b := h.taken(first), h.taken(second)
		h.approve(b)
		h.until("the second waits for its signature", func() bool {
			o, err := h.operations.Get(t.Context(), b.ID)
			return err == nil && o.Status == operation.PendingSignature
		})
		require.Zero(t, q.posted(second))
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
			o := h.taken(q.create(h, c))
			h.approve(o)
			h.ends(o.ID, operation.Completed)
			require.Equal(t, h.nextNonce(), uint64(5+n))
		}
		require.Equal(t, "1093", h.supply())
	})

	t.Run("what was decided stays with it over a restart", func(t *testing.T) {
		o := h.taken(q.create(h, mint(1)))
		h.decide(o, "approver-1", policy.Approve)
		h.restart()
		h.decide(o, "approver-2", policy.Approve)
		h.ends(o.ID, operation.Completed)
	})

	t.Run("it is counted", func(t *testing.T) {
		n, err := testutil.GatherAndCount(h.metrics, "mintwarden_callback_asking", "mintwarden_callback_rounds_total", "mintwarden_callback_taken_total",
			"mintwarden_callback_refused_total", "mintwarden_callback_signatures_total")
		require.NoError(t, err)
		require.Equal(t, 1+2+1+7+2, n)
	})
	require.Equal(t, h.nextNonce()-1, uint64(q.distinct()), fmt.Sprintf("each nonce was signed once: %d", h.nextNonce()))
}
