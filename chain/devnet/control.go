package devnet

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ethereum/go-ethereum/core/types"
)

// maxBlocks bounds how many blocks one call of Mine or Reorg makes.
const maxBlocks = 10_000

// faults is how the node was told to misbehave. All of it is forgotten by a restart.
type faults struct {
	mu      sync.Mutex
	refuse  string        // every transaction is refused with this, if not empty
	drop    uint64        // so many more transactions are answered and forgotten
	delay   uint64        // blocks that a transaction waits before it may be mined
	lag     uint64        // blocks by which the answers are behind
	stalled chan struct{} // closed at the end of a stall; nil without one
}

// sending says how the next transaction fares; drop is asked once the transaction was found good,
// for a bad one is refused by a forgetful node too.
func (f *faults) sending() (delay uint64, drop func() bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.refuse != "" {
		return 0, nil, errors.New(f.refuse)
	}
	return f.delay, func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.drop == 0 {
			return false
		}
		f.drop--
		return true
	}, nil
}

// wait returns when the node may answer, or with ctx's error.
func (f *faults) wait(ctx context.Context) error {
	f.mu.Lock()
	stalled := f.stalled
	f.mu.Unlock()
	if stalled == nil {
		return nil
	}
	select {
	case <-stalled:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *faults) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Refuse makes eth_sendRawTransaction answer with message as its error; empty ends that.
func (n *Node) Refuse(message string) { n.faults.set(func() { n.faults.refuse = message }) }

// Drop makes the node answer the next count good transactions with their hashes and forget them.
func (n *Node) Drop(count uint64) { n.faults.set(func() { n.faults.drop = count }) }

// Delay makes each transaction that comes from now on wait for so many blocks without it.
func (n *Node) Delay(blocks uint64) { n.faults.set(func() { n.faults.delay = blocks }) }

// Lag makes the node answer as if the newest blocks were not there yet. Transactions are still
// judged by the real head.
func (n *Node) Lag(blocks uint64) { n.faults.set(func() { n.faults.lag = blocks }) }

// Stall makes the node accept connections and answer nothing, until Stall(false). Blocks go on.
// Requests that came meanwhile are answered then. The control path (URL + "/control") answers
// always.
func (n *Node) Stall(on bool) {
	n.faults.set(func() {
		switch {
		case on && n.faults.stalled == nil:
			n.faults.stalled = make(chan struct{})
		case !on && n.faults.stalled != nil:
			close(n.faults.stalled)
			n.faults.stalled = nil
		}
	})
}

// lag is what Lag was told.
func (n *Node) lag() uint64 {
	n.faults.mu.Lock()
	defer n.faults.mu.Unlock()
	return n.faults.lag
}

// Mine makes count blocks at once and returns the last one's header.
func (n *Node) Mine(count uint64) (*types.Header, error) {
	if count == 0 || count > maxBlocks {
		return nil, fmt.Errorf("devnet: %d blocks: 1 to %d at once", count, maxBlocks)
	}
	var last *block
	for range count {
		b, err := n.mine(nil)
		if err != nil {
			return nil, err
		}
		last = b
	}
	return types.CopyHeader(last.header), nil
}

// Reorg replaces the last depth blocks by depth+1 others, without transactions. Those of the old
// blocks become pending again, or are lost for good if forget is set; what Fund gave in them is
// given again in the first new one. Readers see the old chain or the new one, nothing between.
func (n *Node) Reorg(depth uint64, forget bool) (*types.Header, error) {
	n.making.Lock()
	defer n.making.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.reorg(depth, forget)
}

// reorg is Reorg for a holder of both locks.
func (c *chain) reorg(depth uint64, forget bool) (*types.Header, error) {
	if depth == 0 || depth > c.head.number() || depth > maxBlocks {
		return nil, fmt.Errorf("devnet: reorg of %d blocks at block %d", depth, c.head.number())
	}
	ancestor := c.head
	var orphans []*block // newest first
	for range depth {
		orphans = append(orphans, ancestor)
		parent, err := c.block(ancestor.header.ParentHash)
		if err != nil || parent == nil {
			return nil, fmt.Errorf("devnet: parent of block %d: %w", ancestor.number(), err)
		}
		ancestor = parent
	}
	var credits []credit
	var back []*transaction
	for i := len(orphans) - 1; i >= 0; i-- {
		credits = append(credits, orphans[i].credits...)
		back = append(back, orphans[i].txs...)
	}
	if forget {
		back = nil
	}
	if err := c.rewind(ancestor, orphans, back, c.forks+1); err != nil {
		return nil, err
	}
	c.forks++
	c.head = ancestor
	for range depth + 1 {
		if err := c.extend(credits); err != nil {
			return nil, err
		}
		credits = nil
	}
	c.log.Info("devnet reorg", "depth", depth, "head", c.head.number(), "returned", len(back))
	return types.CopyHeader(c.head.header), c.readmit(back)
}

// extend makes a block without transactions, for a holder of both locks.
func (c *chain) extend(credits []credit) error {
	st, err := c.stateOf(c.head.header)
	if err != nil {
		return err
	}
	b, _, err := c.execute(c.head, st, &queue{}, credits, c.forks)
	if err != nil {
		return err
	}
	if err := c.appendBlock(b); err != nil {
		return err
	}
	c.head = b
	return nil
}

// readmit makes transactions that a reorg threw out pending again. One that the new chain makes
// impossible is forgotten.
func (c *chain) readmit(back []*transaction) error {
	st, err := c.stateOf(c.head.header)
	if err != nil {
		return err
	}
	for _, t := range back {
		if _, err := c.pool.add(t, st, 0); err != nil {
			c.log.Info("devnet forgets a transaction after a reorg", "hash", t.hash, "reason", err)
			if err := c.deletePending([]*transaction{t}); err != nil {
				return err
			}
		}
	}
	return nil
}
