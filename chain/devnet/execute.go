package devnet

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/tracing"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/core/vm"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/trie"
	"github.com/holiman/uint256"
)

// execute makes the block on top of parent, whose state st is, out of credits and as many of the
// candidates as it can take. It writes state but neither the block nor the head. The state after
// the block is returned too.
func (c *chain) execute(parent *block, st *state.StateDB, candidates *queue, credits []credit, forks uint64) (*block, *state.StateDB, error) {
	h := &types.Header{
		ParentHash: parent.hash,
		UncleHash:  types.EmptyUncleHash,
		Coinbase:   author,
		Difficulty: big.NewInt(1), // a difficulty of zero would mean the Merge
		Number:     new(big.Int).SetUint64(parent.number() + 1),
		GasLimit:   GasLimit,
		Time:       nextTime(parent.header),
		Extra:      creditsHash(credits),
		// Blocks that were made again after a reorg must not have the hashes of the old ones.
		Nonce:   types.EncodeNonce(forks),
		BaseFee: eip1559.CalcBaseFee(c.config, parent.header),
	}
	evm := vm.NewEVM(core.NewEVMBlockContext(h, c, &author), st, c.config, vm.Config{})
	rules := evm.GetRules()

	b := &block{header: h, credits: credits}
	for _, g := range credits {
		st.AddBalance(g.Account, uint256.MustFromBig(g.Amount), tracing.BalanceIncreaseGenesisBalance)
	}
	st.Finalise(rules)

	gas := core.NewGasPool(h.GasLimit)
	for gas.Available(false) >= params.TxGas {
		t := candidates.next(h.BaseFee)
		if t == nil {
			break
		}
		r, err := c.apply(evm, st, t, len(b.txs), gas)
		if err != nil {
			// Later ones of this sender need this one first; another block may take them.
			candidates.skip(t.sender)
			c.log.Debug("devnet leaves a transaction for later", "hash", t.hash, "reason", err)
			continue
		}
		candidates.took(t)
		b.txs = append(b.txs, t)
		b.receipts = append(b.receipts, r)
	}

	h.GasUsed = gas.Used()
	if len(b.txs) == 0 && len(credits) == 0 {
		h.Root = parent.header.Root // an empty block costs a header and no tree
	} else {
		root, err := st.Commit(rules, h.Number.Uint64())
		if err != nil {
			return nil, nil, fmt.Errorf("devnet: state of block %d: %w", h.Number, err)
		}
		if root != parent.header.Root {
			if err := c.trie.Commit(root, false); err != nil {
				return nil, nil, fmt.Errorf("devnet: state of block %d: %w", h.Number, err)
			}
		}
		h.Root = root
	}
	h.TxHash = types.DeriveSha(rawTransactions(b.txs), trie.NewStackTrie(nil))
	h.ReceiptHash, h.Bloom = c.receiptsRoot(b)
	b.hash = h.Hash()
	b.complete()
	after, err := c.stateOf(h)
	return b, after, err
}

func (c *chain) receiptsRoot(b *block) (common.Hash, types.Bloom) {
	b.complete() // cumulative gas is part of what is hashed
	return types.DeriveSha(types.Receipts(b.receipts), trie.NewStackTrie(nil)), types.MergeBloom(b.receipts)
}

// apply executes t as the block's index-th transaction. An error means that it cannot stand in
// this block; state and gas are then as before.
func (c *chain) apply(evm *vm.EVM, st *state.StateDB, t *transaction, index int, gas *core.GasPool) (*types.Receipt, error) {
	st.SetTxContext(t.hash, index, uint32(index)+1)
	snapshot, before := st.Snapshot(), gas.Snapshot()
	result, err := core.ApplyMessage(evm, t.message(evm.Context.BaseFee), gas)
	if err != nil {
		st.RevertToSnapshot(snapshot)
		gas.Set(before)
		return nil, err
	}
	st.Finalise(evm.GetRules())
	status := types.ReceiptStatusSuccessful
	if result.Failed() {
		status = types.ReceiptStatusFailed
	}
	logs := st.GetLogs(t.hash, evm.Context.BlockNumber.Uint64(), common.Hash{}, evm.Context.Time)
	return newReceipt(t, status, result.UsedGas, logs), nil
}
