package devnet

import (
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/rpc"
)

var (
	errNoHeader = errors.New("header not found") // geth's words
	errNotFinal = errors.New("finalized block not found")
)

// visible is the number of the newest block that is shown to others.
func (n *Node) visible() uint64 {
	lag := n.lag()
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.head.number() - min(lag, n.head.number())
}

// at finds the block that a request names: nil if it does not exist or is not shown yet.
func (n *Node) at(ref rpc.BlockNumberOrHash) (*block, error) {
	newest := n.visible()
	n.mu.RLock()
	defer n.mu.RUnlock()
	if hash, ok := ref.Hash(); ok {
		b, err := n.block(hash)
		if err != nil || b == nil || b.number() > newest {
			return nil, err
		}
		canonical, err := n.canonical(b.number())
		if err != nil {
			return nil, err
		}
		if ref.RequireCanonical && canonical != hash {
			return nil, errors.New("hash is not currently canonical")
		}
		return b, nil
	}
	number, ok := ref.Number()
	if !ok {
		return nil, errors.New("invalid arguments; neither block nor hash specified")
	}
	switch {
	case number == rpc.LatestBlockNumber || number == rpc.PendingBlockNumber:
		return n.blockByNumber(newest)
	case number == rpc.EarliestBlockNumber:
		return n.blockByNumber(0)
	case number < 0:
		return nil, errNotFinal
	case uint64(number) > newest:
		return nil, nil
	}
	return n.blockByNumber(uint64(number))
}

// mustAt is at, with geth's error for a block that does not exist.
func (n *Node) mustAt(ref rpc.BlockNumberOrHash) (*block, error) {
	b, err := n.at(ref)
	if err == nil && b == nil {
		err = errNoHeader
	}
	return b, err
}

// mined finds a transaction in a block that is shown; b is nil if it is in none.
func (n *Node) mined(hash common.Hash) (b *block, index int, err error) {
	newest := n.visible()
	n.mu.RLock()
	defer n.mu.RUnlock()
	number, i, ok, err := n.lookup(hash)
	// The index is written before the block is announced: what lies above the head is not there yet.
	if err != nil || !ok || number > newest {
		return nil, 0, err
	}
	b, err = n.blockByNumber(number)
	if err != nil {
		return nil, 0, err
	}
	if b == nil || int(i) >= len(b.txs) {
		return nil, 0, fmt.Errorf("devnet: index of transaction %s is broken", hash)
	}
	return b, int(i), nil
}

// waitingTx finds a transaction that is in no block that is shown but known: pending, or in a
// block that Lag hides.
func (n *Node) waitingTx(hash common.Hash) (*transaction, error) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	if w := n.pool.byHash[hash]; w != nil {
		return w.transaction, nil
	}
	number, i, ok, err := n.lookup(hash)
	if err != nil || !ok || number > n.head.number() {
		return nil, err
	}
	b, err := n.blockByNumber(number)
	if err != nil || b == nil {
		return nil, err
	}
	return b.txs[i], nil
}
