package devnet

import (
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/params"
)

// Gift is what Fund gives: 1,000 QC, in wei.
var Gift = new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether))

// send takes a signed transaction as eth_sendRawTransaction does. When it returns without an error
// the transaction survives a crash; with Period 0 it is mined.
func (n *Node) send(raw []byte) (common.Hash, error) {
	delay, drop, err := n.faults.sending()
	if err != nil {
		return common.Hash{}, err
	}
	t, err := n.admit(raw)
	if err != nil {
		return common.Hash{}, err
	}
	if drop() {
		n.log.Info("devnet drops a transaction", "hash", t.hash)
		return t.hash, nil
	}
	replaced, err := n.enter(t, delay)
	if err != nil {
		return common.Hash{}, err
	}
	if err := n.putPending(t, replaced); err != nil {
		return common.Hash{}, fmt.Errorf("devnet: %w", err)
	}
	if n.cfg.Period == 0 {
		return t.hash, n.mineAll()
	}
	return t.hash, nil
}

// enter puts t into the pool, to be mined after delay blocks at the earliest.
func (c *chain) enter(t *transaction, delay uint64) (replaced *transaction, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	st, err := c.stateOf(c.head.header)
	if err != nil {
		return nil, err
	}
	return c.pool.add(t, st, c.head.number()+1+delay)
}

// Fund gives account Gift if it has no coins and never sent anything, in a block of its own that
// is made at once, and says whether it did. Doing it again is safe: what decides is the state.
func (n *Node) Fund(account common.Address) (bool, error) {
	n.making.Lock()
	defer n.making.Unlock()
	st, err := n.stateOf(n.head.header)
	if err != nil {
		return false, err
	}
	if !st.GetBalance(account).IsZero() || st.GetNonce(account) != 0 {
		return false, nil
	}
	_, err = n.mineLocked([]credit{{account, Gift}})
	return err == nil, err
}
