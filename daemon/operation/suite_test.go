package operation_test

import (
	"crypto/rand"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/devnet/geth"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// overKinds runs a test on both kinds of network: Quantum Chain's devnet, and go-ethereum unmodified; beside other tests.
func overKinds(t *testing.T, f func(t *testing.T, kind tx.Kind)) {
	t.Parallel()
	for _, kind := range []tx.Kind{tx.KindQuantum, tx.KindEVM} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			f(t, kind)
		})
	}
}

// manual is a period in which no block is made unasked.
const manual = devnet.Manual

var _ = [1]int{}[manual-geth.Manual] // both nodes mean it

// aheadOfClock is how far blocks that are made at once may run ahead of the clock on a chain whose blocks'
// times must differ by a second: less than what the seal takes for a wrong clock.
const aheadOfClock = 10 * time.Second

// blockPause keeps the chain slow enough beside the operations that those of one test end within the blocks in
// which an ending is watched.
const blockPause = 150 * time.Millisecond

// mineAlways makes blocks until the function that it returns is called.
func (h *house) mineAlways() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			pause := blockPause
			if h.geth != nil {
				pause = max(pause, time.Until(time.Unix(int64(h.geth.Head().Time), 0))-aheadOfClock)
			}
			select {
			case <-end:
				return
			case <-time.After(pause):
				var err error
				if h.geth != nil {
					_, err = h.geth.Mine(1)
				} else {
					_, err = h.node.Mine(1)
				}
				if err != nil {
					return
				}
			}
		}
	}()
	return func() { close(end); <-ended }
}

func (h *house) reorg(depth uint64, forget bool) {
	h.t.Helper()
	var err error
	if h.geth != nil {
		_, err = h.geth.Reorg(depth, forget)
	} else {
		_, err = h.node.Reorg(depth, forget)
	}
	require.NoError(h.t, err)
}

// head is the newest block's number.
func (h *house) head() uint64 {
	if h.geth != nil {
		return h.geth.Head().Number.Uint64()
	}
	return h.node.Head().Number.Uint64()
}

// own is the first vault account as a party.
func (h *house) own() *operation.Party {
	return &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}
}

// settled waits until the ledger holds that operations are over.
func (h *house) settled(ids ...string) {
	h.t.Helper()
	for _, id := range ids {
		h.until(id+" is settled", func() bool { return h.now(id).Settled })
	}
}

// now is an operation as it is.
func (h *house) now(id string) *operation.Operation {
	h.t.Helper()
	o, err := h.operations.Get(h.t.Context(), id)
	require.NoError(h.t, err)
	return o
}

// pooled waits until the node has the operation's bytes, in no block.
func (h *house) pooled(id string) *operation.Operation {
	h.t.Helper()
	var o *operation.Operation
	h.until(id+" is in the node's pool", func() bool { // the state is written before the bytes are sent
		if o = h.now(id); o.TransactionHash == nil {
			return false
		}
		st, err := h.chain.Status(h.t.Context(), *o.TransactionHash)
		return err == nil && st.Found && !st.Mined && o.Status == operation.Broadcasting
	})
	return o
}

// is waits for a state.
func (h *house) is(id string, s operation.Status) *operation.Operation {
	h.t.Helper()
	h.until(id+" is "+string(s), func() bool { return h.now(id).Status == s })
	return h.now(id)
}

func (h *house) do(r operation.Request) *operation.Operation {
	h.t.Helper()
	o := h.submit(r)
	h.approve(o)
	return h.ends(o, operation.Completed)
}

// TestEndToEnd is the main job on both kinds: deploy, mint, burn, grant, revoke, pause, unpause.
func TestEndToEnd(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		h := newHouse(t, options{kind: kind, period: manual})
		defer h.mineAlways()()
		mainJob(t, h)
	})
}

// mainJob is what every network must carry.
func mainJob(t *testing.T, h *house) {
	token := h.deployed("2000")
	own := &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}
	second := &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault2}
	h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("1000"), Recipient: own})
	require.Equal(t, "1000", h.supply(token))
	h.do(operation.Request{Type: policy.OpBurn, TokenID: token.ID, Amount: text("400"), From: own})
	require.Equal(t, "600", h.supply(token))
	h.do(operation.Request{Type: policy.OpGrantRole, TokenID: token.ID, Role: "MINTER", Subject: second})
	h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("7"), Recipient: own, PerformedBy: second})
	require.Equal(t, "607", h.supply(token))
	h.do(operation.Request{Type: policy.OpRevokeRole, TokenID: token.ID, Role: "MINTER", Subject: second})
	h.do(operation.Request{Type: policy.OpPause, TokenID: token.ID})
	h.do(operation.Request{Type: policy.OpUnpause, TokenID: token.ID})
	w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
	require.NoError(t, err)
	n, err := h.chain.NonceAt(t.Context(), w.Address, nil)
	require.NoError(t, err)
	require.EqualValues(t, 7, n, "a nonce an operation, none twice")
	if h.kind == tx.KindEVM {
		require.EqualValues(t, "hsm-native", w.Protection, "the key never leaves the token")
	}
}

func TestReorg(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		h := newHouse(t, options{kind: kind, period: manual})
		stop := h.mineAlways()
		token := h.deployed("0")
		stop()
		o := h.mint(token, "5")
		h.approve(o)
		h.pooled(o.ID)
		h.mine(1)
		h.is(o.ID, operation.Confirming)
		h.reorg(1, true) // the node forgets the transaction, too
		h.is(o.ID, operation.Broadcasting)
		stop = h.mineAlways()
		done := h.ends(o, operation.Completed)
		stop()
		require.Contains(t, statuses(done), "CONFIRMING BROADCASTING CONFIRMING COMPLETED")
		require.Equal(t, "5", h.supply(token))
	})
}

// TestStolenNonce: whoever has the HSM's login signs past the seal.
func TestStolenNonce(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		h := newHouse(t, options{kind: kind, period: manual})
		stop := h.mineAlways()
		token := h.deployed("0")
		stop() // ours stays in the pool, where the thief outbids it
		w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
		require.NoError(t, err)
		o := h.mint(token, "5")
		h.approve(o)
		o = h.pooled(o.ID)
		h.steal(w, o.Nonce)
		defer h.mineAlways()()
		done := h.ends(o, operation.Failed)
		require.Contains(t, done.FailureReason, "NONCE_STOLEN")
		require.Equal(t, "0", h.supply(token))

		// The lane goes on behind the stolen nonce.
		again := h.submit(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Replaces: o.ID,
			Recipient: &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}})
		h.approve(again)
		h.ends(again, operation.Completed)
	})
}

// steal sends a transaction of the wallet's that the seal knows nothing of.
func (h *house) steal(w *registry.Wallet, nonce uint64) { h.stealBy(h.chain, w, nonce) }

func (h *house) stealBy(c *chain.Client, w *registry.Wallet, nonce uint64) {
	h.t.Helper()
	fees, err := c.Fees(h.t.Context(), "HIGH")
	require.NoError(h.t, err)
	u := tx.Unsigned{Kind: h.kind, ChainID: h.chainID, Nonce: nonce, Tip: new(big.Int).Mul(fees.Tip, big.NewInt(10)),
		MaxFee: new(big.Int).Mul(fees.MaxFee, big.NewInt(10)), Gas: 100_000, To: &w.Address, Value: big.NewInt(1), Data: make([]byte, 8)}
	_, err = rand.Read(u.Data)
	require.NoError(h.t, err)
	require.NoError(h.t, c.Send(h.t.Context(), h.stolen(w, &u)))
}

func TestRevertOnChain(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		h := newHouse(t, options{kind: kind, period: manual})
		stop := h.mineAlways()
		token := h.deployed("0")
		stop()
		// Both pass every check; the pause is mined first.
		pause := h.submit(operation.Request{Type: policy.OpPause, TokenID: token.ID})
		mint := h.mint(token, "5")
		h.approve(pause)
		h.is(pause.ID, operation.Broadcasting)
		h.approve(mint)
		h.is(mint.ID, operation.Broadcasting)
		stop = h.mineAlways()
		h.ends(pause, operation.Completed)
		done := h.ends(mint, operation.Failed)
		stop()
		require.Contains(t, done.FailureReason, "paused")
		require.NotNil(t, done.TransactionHash)
	})
}
