package operation_test

import (
	"context"
	"errors"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// hold keeps what is sent from now on out of blocks.
func (h *house) hold() {
	h.t.Helper()
	if h.geth != nil {
		require.NoError(h.t, h.geth.MinTip(new(big.Int).Lsh(big.NewInt(1), 100)))
		return
	}
	h.node.Delay(100_000)
}

// slow is how many blocks a transaction waits behind delay: more than mineUntil makes within its patience, so that
// nothing is mined before the worker did what is waited for, however slow the machine is.
const slow = 1000

// delay keeps what is sent from now on out of the next slow blocks.
func (h *house) delay() { h.node.Delay(slow) }

// release lets what is sent from now on into blocks; on go-ethereum, what pays more than a tip.
func (h *house) release(above *big.Int) {
	h.t.Helper()
	if h.geth != nil {
		require.NoError(h.t, h.geth.MinTip(new(big.Int).Add(above, big.NewInt(1))))
		return
	}
	h.node.Delay(0)
}

// mineUntil makes a block now and then until f holds: as blocks come on a chain, so that each is seen.
func (h *house) mineUntil(what string, f func() bool) {
	h.t.Helper()
	last := time.Time{}
	h.until(what, func() bool {
		ahead := h.geth != nil && time.Until(time.Unix(int64(h.geth.Head().Time), 0)) > aheadOfClock
		if time.Since(last) > 150*time.Millisecond && !ahead {
			h.mine(1)
			last = time.Now()
		}
		return f()
	})
}

func (h *house) versions(o *operation.Operation) []operation.Version {
	h.t.Helper()
	v, err := h.operations.Versions(h.t.Context(), h.now(o.ID))
	require.NoError(h.t, err)
	return v
}

// sentMint is a mint whose bytes are in the node's pool.
func (h *house) sentMint(tokenID string) *operation.Operation {
	h.t.Helper()
	token, err := h.registry.Token(h.t.Context(), tokenID)
	require.NoError(h.t, err)
	o := h.mint(token, "5")
	h.approve(o)
	return h.pooled(o.ID)
}

// TestBump: what no block takes is offered again, dearer each time, and whichever is mined counts.
func TestBump(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		h := newHouse(t, options{kind: kind, period: manual})
		stop := h.mineAlways()
		token := h.deployed("0")
		stop()
		h.hold()
		o := h.sentMint(token.ID)
		first := h.versions(o)[0]
		h.release(first.Tip)
		h.mineUntil("it is offered again", func() bool { return h.now(o.ID).Version > 1 })
		h.mineUntil("it is mined", func() bool { return h.now(o.ID).Status.Terminal() })
		o = h.ends(o, operation.Completed)
		all := h.versions(o)
		require.GreaterOrEqual(t, len(all), 2)
		for i, v := range all[1:] {
			for _, fee := range [][2]*big.Int{{all[i].MaxFee, v.MaxFee}, {all[i].Tip, v.Tip}} {
				eighth := new(big.Int).Mul(fee[0], big.NewInt(9))
				require.GreaterOrEqual(t, new(big.Int).Lsh(fee[1], 3).Cmp(eighth), 0, "12.5 % more at least")
			}
			require.Equal(t, all[0].Nonce, v.Nonce)
			total := new(big.Int).Mul(v.MaxFee, new(big.Int).SetUint64(v.Gas))
			require.LessOrEqual(t, total.Cmp(o.FeeCap.Big()), 0, "within the cap")
		}
		require.Equal(t, all[len(all)-1].Hash, *o.TransactionHash)
		require.Equal(t, "5", h.supply(token))
		require.True(t, o.SingleNode)

		// The first version is mined after the second one was signed: the node lost that one.
		if kind == tx.KindQuantum {
			h.delay()
			again := h.sentMint(token.ID)
			h.node.Drop(1 << 40) // and every later one
			h.mineUntil("it is offered again", func() bool { return h.now(again.ID).Version > 1 })
			h.mine(slow)
			h.mineUntil("it is mined", func() bool { return h.now(again.ID).Status.Terminal() })
			again = h.ends(again, operation.Completed)
			require.Equal(t, h.versions(again)[0].Hash, *again.TransactionHash)
			require.Equal(t, "10", h.supply(token))
		}
	})
}

// lostBumps has the seal sign one more version than it is asked for, once, and loses the answers: those of a call that
// took too long, and of an appliance that was paused and asked when it had lost the lane.
type lostBumps struct {
	operation.Sealer
	done atomic.Bool
}

func (s *lostBumps) Bump(ctx context.Context, q seal.BumpRequest) (*seal.BumpResult, error) {
	r, err := s.Sealer.Bump(ctx, q)
	if err != nil || s.done.Swap(true) {
		return r, err
	}
	q.MaxFee, _ = q.MaxFee.Mul(2)
	if _, err := s.Sealer.Bump(ctx, q); err != nil {
		return nil, err
	}
	return nil, errors.New("the answers are lost")
}

// TestLostVersionsHoldNothingUp: versions that the ledger has and nobody's bytes are of are left out; the newest is signed
// once more, and sent.
func TestLostVersionsHoldNothingUp(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{period: manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	stop()
	h.between = func(s operation.Sealer) operation.Sealer { return &lostBumps{Sealer: s} }
	h.restart()
	h.hold()
	o := h.sentMint(token.ID)
	h.release(h.versions(o)[0].Tip)
	h.mineUntil("it is mined", func() bool { return h.now(o.ID).Status.Terminal() })
	o = h.ends(o, operation.Completed)
	all := h.versions(o)
	require.Len(t, all, 2)
	require.Equal(t, []int{1, 3}, []int{all[0].Number, all[1].Number})
	require.Equal(t, all[1].Hash, *o.TransactionHash)
	require.Equal(t, "5", h.supply(token))
	h.settled(o.ID)
	h.verifies()
}

// TestFeeCapHolds: an operation that cannot be mined under its cap says so and waits.
func TestFeeCapHolds(t *testing.T) {
	h := newHouse(t, options{period: manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()}) // the first one is dearer
	usual := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
	stop()
	limit := new(big.Int).Mul(usual.FeeCap.Big(), big.NewInt(5)) // a cap is four times what one transaction may cost
	limit.Rsh(limit, 4)
	h.applyPolicy(approvals(2), amountRule(policy.RuleMaxFee, limit.String()))
	h.delay()
	o := h.sentMint(token.ID)
	require.Equal(t, limit.String(), o.FeeCap.String())
	h.mineUntil("it says that it waits", func() bool { return strings.HasPrefix(h.now(o.ID).Attention, "FEE_CAP") })
	all := h.versions(o)
	most := new(big.Int).Div(limit, new(big.Int).SetUint64(all[0].Gas))
	last := all[len(all)-1].MaxFee
	require.Greater(t, len(all), 1, "a raise of an eighth fits the cap")
	require.LessOrEqual(t, last.Cmp(most), 0, "within the cap")
	require.Positive(t, new(big.Int).Mul(last, big.NewInt(9)).Cmp(new(big.Int).Lsh(most, 3)), "another raise of an eighth would have fitted")
	h.mine(10)
	h.restart()
	require.Equal(t, operation.Broadcasting, h.now(o.ID).Status)
	h.mine(slow)
	h.mineUntil("it is mined", func() bool { return h.now(o.ID).Status.Terminal() })
	o = h.ends(o, operation.Completed)
	require.Empty(t, o.Attention)
	require.Len(t, h.versions(o), len(all))
}
