package reconciliation_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// theft is a mint that nobody authorized, as every node tells it.
const theft = 424_242

// lying is a house whose nodes all tell mints in block 2 that but the first of them deny when they are asked for one of
// them, and of the theft, much later, that all know: the lie holds, whichever node a busy machine has asked first.
func lying(t *testing.T, lies uint64, honest int) *house {
	t.Helper()
	h := newHouse(t)
	for range lies {
		h.mint(2, 1, account(1), 1)
	}
	nodes := []*ledgerNode{h.node}
	for range honest {
		n := newNode()
		nodes, h.urls = append(nodes, n), append(h.urls, n.serve(t))
	}
	liar := h.node
	for _, n := range nodes {
		h.node = n
		h.mint(30, theft, account(2), theft)
		n.advance(40)
		if n != liar {
			n.tells = liar
		}
	}
	h.node, h.nodes = liar, nodes
	return h
}

// everywhere does something to every node.
func (h *house) everywhere(do func()) {
	first := h.node
	for _, h.node = range h.nodes {
		do()
	}
	h.node = first
}

func (h *house) requireFrozenForTheTheft(t *testing.T) {
	t.Helper()
	require.NotEmpty(t, h.freezes)
	require.Contains(t, h.freezes[0].Event, "424242 minted to "+account(2).String())
}

// One of two nodes makes up so many mints that they fill what is looked at first. Nobody can say who of the two is
// right, and what both tell is not overlooked behind it.
func TestAttack_SixtyLiesHideNoTheft(t *testing.T) {
	h := lying(t, 60, 1)
	h.until(func(r *reconciliation.Report) bool {
		return r.Frozen && r.UnmatchedTotal == 61 && h.count("pending") == 0
	})
	h.requireFrozenForTheTheft(t)
}

// What most nodes deny waits no more, is shown no more, and freezes nothing.
func TestAttack_WhatMostNodesDenyIsSetAside(t *testing.T) {
	h := lying(t, 60, 2)
	h.until(func(r *reconciliation.Report) bool { return r.Frozen && len(r.Unmatched) == 1 })
	h.requireFrozenForTheTheft(t)
	require.Zero(t, h.count("pending"))
	require.Equal(t, 1, h.count("finding"))
}

// A node that denies the truth while the one that told it is down has nothing forgotten.
func TestAttack_ANodeAloneHasNothingForgotten(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	denier, silent := newNode(), newNode()
	h.urls = append(h.urls, denier.serve(t), silent.serve(t))
	silent.after = func(string) error { return errors.New("down") }
	denier.advance(40)
	h.mint(30, theft, account(2), theft)
	h.node.advance(40)
	h.until(func(r *reconciliation.Report) bool { return r.UnmatchedTotal == 1 })
	h.node.mu.Lock()
	h.node.after = func(string) error { return errors.New("down") }
	h.node.mu.Unlock()
	denier.advance(60)
	h.until(func(*reconciliation.Report) bool { return denier.questions("block") > 20 })
	require.Equal(t, 1, h.count("pending"))
	require.Empty(t, h.freezes)
	for _, n := range []*ledgerNode{h.node, silent} {
		n.mu.Lock()
		n.after = nil
		n.mu.Unlock()
	}
	truth := h.node
	h.node = silent
	h.mint(30, theft, account(2), theft)
	silent.advance(70)
	truth.advance(70)
	denier.advance(70)
	h.until(func(r *reconciliation.Report) bool { return r.Frozen })
	h.requireFrozenForTheTheft(t)
}

// More lies than are kept disarm neither the freeze nor the alarm: where they wait, for nobody can say who is right,
// and where they were denied.
func TestAttack_AThousandLiesDisarmNothing(t *testing.T) {
	for name, honest := range map[string]int{"one says so, one does not": 1, "most deny it": 2} {
		t.Run(name, func(t *testing.T) {
			h := lying(t, 1_030, honest)
			h.until(func(r *reconciliation.Report) bool {
				return r.Frozen && r.UnmatchedTotal == 1_031 && h.count("pending") == 0
			})
			h.requireFrozenForTheTheft(t)
			require.LessOrEqual(t, h.told(), 1_002)
			require.LessOrEqual(t, h.count("finding"), 1_002)

			// Custodians let it go on, and it happens again: it freezes, and it is told, again.
			for again := range 2 {
				h.mu.Lock()
				h.frozen, h.freezes = false, nil
				h.mu.Unlock()
				before := h.told()
				h.everywhere(func() {
					h.mint(uint64(50+20*again), theft, account(2), theft)
					h.node.advance(uint64(60 + 20*again))
				})
				h.until(func(r *reconciliation.Report) bool { return r.Frozen && h.count("pending") == 0 })
				h.requireFrozenForTheTheft(t)
				require.Equal(t, before+1, h.told())
			}
		})
	}
}

// One node alone freezes nothing, and its alarm does not end after many either.
func TestAttack_TheAlarmDoesNotEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	for n := range uint64(1_020) {
		h.mint(2, n, account(1), 1)
	}
	h.node.advance(20)
	h.until(func(r *reconciliation.Report) bool { return r.UnmatchedTotal == 1_020 })
	before := h.told()
	h.mint(30, theft, account(2), theft)
	h.node.advance(40)
	r := h.until(func(r *reconciliation.Report) bool { return r.UnmatchedTotal == 1_021 })
	require.Equal(t, before+1, h.told())
	require.EqualValues(t, theft, r.Unmatched[0].Amount.Int64())
}

// other is another token of the network, with an id in front of the token's.
func (h *house) other(contract common.Address) *registry.Token {
	address := tx.Address(contract)
	o := &registry.Token{ID: "token_" + "00000000000000000000000000", TemplateID: "tpl_qrc20_v1", Network: networkName, Status: registry.TokenDeployed,
		ContractAddress: &address, BlockNumber: 1, DeployOperationID: store.NewID("op_")}
	h.others = append(h.others, o)
	return o
}

// A contract that writes more into one block than a node tells at once is looked at no further; all others are.
func TestAttack_OneContractsFloodStopsNoOtherToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	flood := common.Address{0xf1}
	h.other(flood)
	blocks, supply := h.history(40, 1)
	h.node.refuse = func(f filter) bool { return slices.Contains(f.Address, flood) && f.From <= 7 && f.To >= 7 }
	h.node.advance(blocks + confirmations)
	r := h.until(settled(blocks))
	require.Equal(t, reconciliation.Agrees, r.Status)
	sameSupply(t, r, supply)
}

// A contract that does not tell its supply is frozen all the same.
func TestAttack_AContractWithoutASupplyIsFrozen(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.urls = append(h.urls, h.node.serve(t))
	h.node.after = func(method string) error {
		if method == "call" {
			return errors.New("execution reverted")
		}
		return nil
	}
	h.mint(2, theft, account(2), theft)
	h.node.advance(20)
	h.until(func(r *reconciliation.Report) bool { return r.Frozen })
	h.requireFrozenForTheTheft(t)
}

// TestAttackOneNodeSaysThatAnExternalHolderSentIt: a thief mints with a key of ours. One of two nodes says that the
// transaction was sent by an account that the token's binding lists; the other one knows who sent it.
func TestAttackOneNodeSaysThatAnExternalHolderSentIt(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.urls = append(h.urls, h.node.serve(t))
	holder, thief := account(1), account(9)
	h.external = []tx.Address{holder}
	to := h.contract
	honest, liar := h.node, newNode()
	h.urls[0], h.urls[1] = liar.serve(t), h.urls[0]
	for n, from := range map[*ledgerNode]tx.Address{honest: thief, liar: holder} {
		h.node = n
		h.mint(2, 1, thief, 1000)
		n.sent[hashOf(1)] = &sentBy{Hash: hashOf(1), From: common.Address(from), To: &to}
	}
	liar.mu.Lock()
	liar.head = 20
	liar.mu.Unlock()
	h.node = honest
	h.node.advance(20)
	r := h.until(func(r *reconciliation.Report) bool { return r.BlockNumber >= 18 })
	require.EqualValues(t, 1, r.UnmatchedTotal, "what one node says of the sender whitewashes nothing")
}

// A node that says nothing of a limit, and does not answer within its time where many blocks are asked for, is asked for
// fewer: what stands behind them is looked at all the same.
func TestAttack_ANodeThatHangsAtManyBlocks(t *testing.T) {
	h := newHouse(t)
	h.timeout = 200 * time.Millisecond
	h.node.hangs = func(f filter) bool { return f.To-f.From >= 400 }
	h.mint(5, 1, account(1), 10)
	h.mint(4_990, 2, account(2), theft)
	h.node.advance(5_000)
	require.EqualValues(t, 2, h.until(settled(4_998)).UnmatchedTotal)
}
