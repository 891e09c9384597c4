package operation_test

import (
	"crypto/rand"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
)

// TestLimitHoldsAgainstMany: a limit that fits ten, and many approved mints at once.
func TestLimitHoldsAgainstMany(t *testing.T) {
	const many, fit = 40, 10
	h := newHouse(t, options{rules: []policy.Rule{approvals(1), amountRule(policy.RuleDailyLimit, fmt.Sprint(fit*7))}})
	token := h.deployed("0")
	var ops []*operation.Operation
	for range many {
		ops = append(ops, h.mint(token, "7"))
	}
	var wg sync.WaitGroup
	for _, o := range ops {
		wg.Go(func() { h.decide(o, "approver-1", policy.Approve) })
	}
	wg.Wait()
	completed := 0
	for _, o := range ops {
		var last *operation.Operation
		h.until("ends", func() bool {
			var err error
			last, err = h.operations.Get(t.Context(), o.ID)
			return err == nil && last.Status.Terminal()
		})
		switch last.Status {
		case operation.Completed:
			completed++
		case operation.Rejected:
			require.Contains(t, last.FailureReason, "DAILY_LIMIT")
		default:
			t.Errorf("%s is %s: %s", o.ID, last.Status, last.FailureReason)
		}
	}
	require.Equal(t, fit, completed)
	require.Equal(t, fmt.Sprint(fit*7), h.supply(token))
	// A batch that comes again finds everything done.
	before := h.dump()
	h.stopDaemon()
	h.forgetCarried()
	h.startDaemon()
	require.Equal(t, before, h.dump())
}

// dump is everything of operations, tokens and audit in the store.
func (h *house) dump() map[string]string {
	h.t.Helper()
	h.until("everything is settled", func() bool {
		for kv, err := range h.store.All(h.t.Context(), store.OperationIndex, nil) {
			require.NoError(h.t, err)
			var s struct {
				Closed bool `json:"closed"`
			}
			require.NoError(h.t, json.Unmarshal(kv.Value, &s))
			if !s.Closed {
				return false
			}
		}
		return true
	})
	out := map[string]string{}
	for _, prefix := range []string{"/mw/op/", "/mw/idx/", "/mw/token/", "/mw/wallet/", "/mw/audit/"} {
		for kv, err := range h.store.All(h.t.Context(), prefix, nil) {
			require.NoError(h.t, err)
			out[kv.Key] = string(kv.Value)
		}
	}
	return out
}

// forgetCarried makes the next start carry the whole ledger again.
func (h *house) forgetCarried() {
	h.t.Helper()
	s := h.etcd.Open(store.UserServe)
	t := s.Tx()
	t.Delete(store.LedgerCarried)
	_, err := t.Commit(h.t.Context())
	require.NoError(h.t, err)
}

func TestQueue(t *testing.T) {
	h := newHouse(t, options{maxOutstanding: 2, period: devnet.Manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	stop() // nothing is confirmed while they queue up
	var ops []*operation.Operation
	for range 6 {
		ops = append(ops, h.mint(token, "1"))
	}
	for _, o := range ops {
		h.approve(o)
	}
	h.until("four of them wait for a place", func() bool {
		queued := 0
		for _, o := range ops {
			now, err := h.operations.Get(t.Context(), o.ID)
			require.NoError(t, err)
			if now.Status == operation.Queued {
				queued++
			}
		}
		return queued == 4
	})
	defer h.mineAlways()()
	for _, o := range ops {
		h.ends(o, operation.Completed)
	}
	require.Equal(t, "6", h.supply(token))
}

// TestRestartAtEveryState stops the daemon as soon as an operation reaches a state, and starts it again.
func TestRestartAtEveryState(t *testing.T) {
	h := newHouse(t, options{})
	token := h.deployed("0")
	amount := 0
	for _, at := range []operation.Status{operation.PendingAuthorization, operation.Approved, operation.PendingSignature,
		operation.Signed, operation.Broadcasting, operation.Confirming} {
		t.Run(string(at), func(t *testing.T) {
			o := h.mint(token, "1")
			amount++
			changes := h.store.Watch(t.Context(), store.OpState(o.ID), 0)
			if at == operation.PendingAuthorization {
				h.restart()
			}
			h.approve(o)
			if at != operation.PendingAuthorization {
				for c := range changes {
					require.NoError(t, c.Err)
					var s struct {
						Status operation.Status `json:"status"`
					}
					require.NoError(t, json.Unmarshal(c.Events[len(c.Events)-1].Value, &s))
					if s.Status == at || s.Status.Terminal() {
						break
					}
				}
				h.restart()
			}
			done := h.ends(o, operation.Completed)
			require.Equal(t, fmt.Sprint(amount), h.supply(token), statuses(done))
		})
	}
}

func TestReorg(t *testing.T) {
	h := newHouse(t, options{period: devnet.Manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	stop()
	o := h.mint(token, "5")
	h.approve(o)
	is := func(s operation.Status) func() bool {
		return func() bool {
			now, err := h.operations.Get(t.Context(), o.ID)
			require.NoError(t, err)
			return now.Status == s
		}
	}
	h.until("sent", is(operation.Broadcasting))
	h.until("in the node's pool", func() bool { // the state is written before the bytes are sent
		now, err := h.operations.Get(t.Context(), o.ID)
		require.NoError(t, err)
		st, err := h.chain.Status(t.Context(), *now.TransactionHash)
		return err == nil && st.Found
	})
	_, err := h.node.Mine(1)
	require.NoError(t, err)
	h.until("mined", is(operation.Confirming))
	_, err = h.node.Reorg(1, true) // the node forgets the transaction, too
	require.NoError(t, err)
	h.until("back", is(operation.Broadcasting))
	stop = h.mineAlways()
	done := h.ends(o, operation.Completed)
	stop()
	require.Contains(t, statuses(done), "CONFIRMING BROADCASTING CONFIRMING COMPLETED")
	require.Equal(t, "5", h.supply(token))
}

// mineAlways makes blocks until the function that it returns is called.
func (h *house) mineAlways() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				if _, err := h.node.Mine(1); err != nil {
					return
				}
			}
		}
	}()
	return func() { close(end); <-ended }
}

// TestStolenNonce: whoever has the HSM's login signs past the seal.
func TestStolenNonce(t *testing.T) {
	h := newHouse(t, options{period: devnet.Manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	stop() // ours stays in the pool, where the thief outbids it
	w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
	require.NoError(t, err)
	o := h.mint(token, "5")
	h.approve(o)
	h.until("sent", func() bool {
		now, err := h.operations.Get(t.Context(), o.ID)
		return err == nil && now.Status == operation.Broadcasting
	})
	o, err = h.operations.Get(t.Context(), o.ID)
	require.NoError(t, err)
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
}

// steal sends a transaction of the wallet's that the seal knows nothing of.
func (h *house) steal(w *registry.Wallet, nonce uint64) {
	h.t.Helper()
	token, err := hsm.Open(h.t.Context(), h.hsm, []byte(pin), storetest.Logger(h.t), prometheus.NewRegistry())
	require.NoError(h.t, err)
	defer func() { _ = token.Close() }()
	fees, err := h.chain.Fees(h.t.Context(), "HIGH")
	require.NoError(h.t, err)
	u := tx.Unsigned{Kind: tx.KindQuantum, ChainID: devnet.DefaultChainID, Nonce: nonce, Tip: new(big.Int).Mul(fees.Tip, big.NewInt(10)),
		MaxFee: new(big.Int).Mul(fees.MaxFee, big.NewInt(10)), Gas: 100_000, To: &w.Address, Value: big.NewInt(1), Data: make([]byte, 8)}
	_, err = rand.Read(u.Data)
	require.NoError(h.t, err)
	digest, err := u.SigningHash()
	require.NoError(h.t, err)
	signature, err := token.SignSeed(h.t.Context(), w.ID, digest)
	require.NoError(h.t, err)
	raw, err := u.Encode(w.PublicKey, signature)
	require.NoError(h.t, err)
	require.NoError(h.t, h.chain.Send(h.t.Context(), raw))
}

func TestRevertOnChain(t *testing.T) {
	h := newHouse(t, options{period: devnet.Manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	stop()
	// Both pass every check; the pause is mined first.
	pause := h.submit(operation.Request{Type: policy.OpPause, TokenID: token.ID})
	mint := h.mint(token, "5")
	h.approve(pause)
	h.until("the pause is sent", func() bool {
		o, err := h.operations.Get(t.Context(), pause.ID)
		return err == nil && o.Status == operation.Broadcasting
	})
	h.approve(mint)
	h.until("the mint is sent", func() bool {
		o, err := h.operations.Get(t.Context(), mint.ID)
		return err == nil && o.Status == operation.Broadcasting
	})
	stop = h.mineAlways()
	h.ends(pause, operation.Completed)
	done := h.ends(mint, operation.Failed)
	stop()
	require.Contains(t, done.FailureReason, "paused")
	require.NotNil(t, done.TransactionHash)
}

// TestStoreRestart: etcd goes away while operations are on their way, and comes back.
func TestStoreRestart(t *testing.T) {
	h := newHouse(t, options{})
	token := h.deployed("0")
	var ops []*operation.Operation
	for range 4 {
		o := h.mint(token, "1")
		h.approve(o)
		ops = append(ops, o)
	}
	h.etcd.Close()
	_, err := h.operations.Get(t.Context(), ops[0].ID)
	require.ErrorIs(t, err, store.ErrUnavailable)
	h.etcd.Restart()
	for _, o := range ops {
		h.until("the store answers", func() bool { _, err := h.operations.Get(t.Context(), o.ID); return err == nil })
		h.ends(o, operation.Completed)
	}
	require.Equal(t, "4", h.supply(token))
}
