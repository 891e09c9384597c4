package operation_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/chaintest"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// emitted counts the outbox's events of a type; nobody delivers here.
func (h *house) emitted(name string) (n int) {
	h.t.Helper()
	for kv, err := range h.store.All(h.t.Context(), store.Outbox, nil) {
		require.NoError(h.t, err)
		if bytes.Contains(kv.Value, []byte(strconv.Quote(name))) {
			n++
		}
	}
	return n
}

// TestDeepReorg: a reorg deeper than the confirmations takes operations back out of their ends. The same bytes are
// sent again, and everything ends as it had, once.
func TestDeepReorg(t *testing.T) {
	overKinds(t, func(t *testing.T, kind tx.Kind) {
		h := newHouse(t, options{kind: kind, period: manual})
		stop := h.mineAlways()
		token := h.deployed("0")
		first := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
		second := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("7"), Recipient: h.own()})
		h.settled(first.ID, second.ID)
		stop()
		h.restart() // what is watched does not live in memory alone
		depth := h.head() - first.BlockNumber + 1
		h.reorg(depth, true)
		h.until("they are taken back", func() bool {
			return strings.Contains(statuses(h.now(first.ID)), "COMPLETED BROADCASTING") && strings.Contains(statuses(h.now(second.ID)), "COMPLETED BROADCASTING")
		})
		if kind != tx.KindEVM { // go-ethereum takes what is sent again into the very blocks of the reorg
			require.Equal(t, "0", h.supply(token))
		}
		stop = h.mineAlways()
		again := h.ends(first, operation.Completed)
		require.Equal(t, *first.TransactionHash, *again.TransactionHash, "the same bytes")
		h.ends(second, operation.Completed)
		require.Equal(t, "12", h.supply(token))
		require.Contains(t, statuses(again), "COMPLETED BROADCASTING")
		require.Equal(t, 2, h.emitted("token.reconciliation_failed"))
		h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("1"), Recipient: h.own()})
		stop()
		require.Equal(t, "13", h.supply(token))
	})
}

// TestReorgOfEverything: 64 blocks go, with the token's own deployment in them.
func TestReorgOfEverything(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{period: manual})
	carried := func(r operation.Request) *operation.Operation {
		o := h.submit(r)
		h.approve(o)
		h.mineUntil("it ends", func() bool { return h.now(o.ID).Status.Terminal() })
		return h.ends(o, operation.Completed)
	}
	token := h.token("0")
	deploy := carried(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
	var ops []*operation.Operation
	for range 3 {
		ops = append(ops, carried(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()}))
	}
	token, err := h.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	if short := deploy.BlockNumber + 63; h.head() < short {
		h.mine(short - h.head())
	}
	h.reorg(h.head()-deploy.BlockNumber+1, true)
	h.is(deploy.ID, operation.Broadcasting)
	defer h.mineAlways()()
	h.ends(deploy, operation.Completed)
	for _, o := range ops {
		h.ends(o, operation.Completed)
	}
	require.Equal(t, "15", h.supply(token))
}

// TestReorgThatKeepsTheTransaction: it is in another block, which is final already: the end stands. Nobody is told of
// the chain while it is still shorter than that.
func TestReorgThatKeepsTheTransaction(t *testing.T) {
	t.Parallel()
	var node *chaintest.Proxy
	h := newHouse(t, options{kind: tx.KindEVM, period: manual, nodes: behind(t, &node)}) // whose new blocks take what the old ones had
	stop := h.mineAlways()
	token := h.deployed("0")
	o := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
	h.settled(o.ID)
	stop()
	h.mine(2)
	node.Set("500", "")
	h.reorg(h.head()-o.BlockNumber+1, false)
	node.Behave()
	h.until("its block is noted", func() bool {
		after := h.now(o.ID)
		require.Equal(t, operation.Completed, after.Status)
		return *after.EndHash != *o.EndHash
	})
	require.Zero(t, h.emitted("token.reconciliation_failed"))
	require.Equal(t, "5", h.supply(token))
}

// TestADeploymentThatStandsInAnEarlierBlock: a deep reorg put it there, and its end stands. Its token begins there, too.
func TestADeploymentThatStandsInAnEarlierBlock(t *testing.T) {
	t.Parallel()
	var node *chaintest.Proxy
	h := newHouse(t, options{kind: tx.KindEVM, period: manual, nodes: behind(t, &node)}) // whose new blocks take what the old ones had
	stop := h.mineAlways()
	token := h.deployed("0")
	o := h.now(token.DeployOperationID)
	h.settled(o.ID)
	stop()
	h.mine(2)
	node.Set("500", "")
	h.reorg(h.head()-o.BlockNumber+2, false)
	node.Behave()
	h.until("its block is noted", func() bool { return h.now(o.ID).BlockNumber == o.BlockNumber-1 })
	require.Equal(t, operation.Completed, h.now(o.ID).Status)
	token, err := h.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	require.Equal(t, o.BlockNumber-1, token.BlockNumber)
}

// TestATokenThatWasDeployedAgain: the node knows nothing of the first deployment for a while, which so ends as if a
// stranger had used its nonce; people deploy the token again. That the first one is done after all does not give the
// token the first contract back: the ledger has bound it to the second.
func TestATokenThatWasDeployedAgain(t *testing.T) {
	t.Parallel()
	var node *chaintest.Proxy
	h := newHouse(t, options{period: manual, rules: []policy.Rule{approvals(1)}, nodes: behind(t, &node)})
	token := h.token("0")
	deploy := func() *operation.Operation {
		o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
		h.approve(o)
		return h.pooled(o.ID)
	}
	ended := func(o *operation.Operation, want operation.Status) *operation.Operation {
		h.mineUntil("it ends", func() bool { return h.now(o.ID).Status.Terminal() })
		return h.ends(o, want)
	}
	first := deploy()
	node.Set("hide", first.TransactionHash.String())
	require.Contains(t, ended(first, operation.Failed).FailureReason, "NONCE_STOLEN")
	second := ended(deploy(), operation.Completed)
	node.Behave()
	h.mineUntil("the first is done after all", func() bool { return h.now(first.ID).Status == operation.Completed })
	token, err := h.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	require.Equal(t, registry.TokenDeployed, token.Status)
	require.Equal(t, tx.CreateAddress(second.Performer, second.Nonce), *token.ContractAddress)
	mint := h.mint(token, "5")
	h.approve(mint)
	ended(mint, operation.Completed)
	require.Equal(t, "5", h.supply(token))
}

// TestARetiredTokenStaysRetired: a deep reorg takes its deployment back, which is done a second time.
func TestARetiredTokenStaysRetired(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{period: manual, rules: []policy.Rule{approvals(1)}})
	token := h.token("0")
	o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
	h.approve(o)
	h.mineUntil("it ends", func() bool { return h.now(o.ID).Status.Terminal() })
	o = h.ends(o, operation.Completed)
	_, err := h.operations.Retire(t.Context(), operator, token.ID, "", nil)
	require.NoError(t, err)
	h.reorg(h.head()-o.BlockNumber+1, true)
	h.is(o.ID, operation.Broadcasting)
	defer h.mineAlways()()
	h.ends(o, operation.Completed)
	token, err = h.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	require.Equal(t, registry.TokenRetired, token.Status)
}

// TestADeploymentThatFailsInTheEnd: a deep reorg takes it back, and somebody who has the HSM's login uses its nonce before
// it is in a block again. The token has no contract then, and can be deployed again.
func TestADeploymentThatFailsInTheEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{period: manual, rules: []policy.Rule{approvals(1)}})
	token := h.token("0")
	deploy := func(want operation.Status, before func(*operation.Operation)) {
		o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
		h.approve(o)
		h.mineUntil("it ends", func() bool { return h.now(o.ID).Status.Terminal() })
		o = h.ends(o, operation.Completed)
		before(o)
		h.mineUntil("it ends again", func() bool { return h.now(o.ID).Status.Terminal() })
		h.ends(o, want)
		var err error
		token, err = h.registry.Token(t.Context(), token.ID)
		require.NoError(t, err)
	}
	deploy(operation.Failed, func(o *operation.Operation) {
		h.settled(o.ID)
		w, err := h.registry.OldestWallet(t.Context(), h.vault, networkName)
		require.NoError(t, err)
		h.reorg(h.head()-o.BlockNumber+1, true)
		h.steal(w, o.Nonce)
		h.mine(1)
		h.is(o.ID, operation.Broadcasting)
	})
	require.Equal(t, registry.TokenFailed, token.Status)
	require.Nil(t, token.ContractAddress)
	deploy(operation.Completed, func(*operation.Operation) {})
	require.Equal(t, registry.TokenDeployed, token.Status)
	mint := h.mint(token, "5")
	h.approve(mint)
	h.mineUntil("it ends", func() bool { return h.now(mint.ID).Status.Terminal() })
	h.ends(mint, operation.Completed)
	require.Equal(t, "5", h.supply(token))
}

// TestATheftIsDisprovedWithoutABlock: the node makes its index of transactions anew, and is done with it when no other block
// comes.
func TestATheftIsDisprovedWithoutABlock(t *testing.T) {
	t.Parallel()
	var node *chaintest.Proxy
	h := newHouse(t, options{period: manual, rules: []policy.Rule{approvals(1)}, nodes: behind(t, &node)})
	token := h.token("0")
	o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: token.ID})
	h.approve(o)
	o = h.pooled(o.ID)
	node.Set("hide", o.TransactionHash.String())
	h.mineUntil("it ends", func() bool { return h.now(o.ID).Status.Terminal() })
	require.Contains(t, h.ends(o, operation.Failed).FailureReason, "NONCE_STOLEN")
	receipts := node.Count("eth_getTransactionReceipt")
	h.until("it is asked whether that was so", func() bool { return node.Count("eth_getTransactionReceipt") > receipts })
	node.Behave()
	h.is(o.ID, operation.Completed)
}

// TestDeepReorgBesideADamagedArchive: what ended and is in the store is watched whatever became of what left it.
func TestDeepReorgBesideADamagedArchive(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{period: manual})
	stop := h.mineAlways()
	token := h.deployed("0")
	o := h.do(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("5"), Recipient: h.own()})
	h.settled(o.ID)
	stop()
	h.archives()
	h.archive.Retention = 0
	require.NoError(t, os.Mkdir(h.archive.Dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(h.archive.Dir, "00000000000000000001.jsonl.gz"), []byte("zeroes"), 0o600))
	h.restart()
	h.reorg(h.head()-o.BlockNumber+1, true)
	h.is(o.ID, operation.Broadcasting)
}
