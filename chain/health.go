package chain

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// The pace of the watch: a block, within these.
	minWatch = time.Second
	maxWatch = 15 * time.Second
	// aheadOf the clock is how far a newest block's time may be before the node that tells of it is asked last:
	// less than what the seal takes for a wrong clock, so that one node cannot stop it.
	aheadOf = 15 * time.Second
	// oldBlocks is how many block periods without a block make a node's newest one old, and oldLeast how long
	// that is at least: empty networks are slow, too.
	oldBlocks = 6
	oldLeast  = 30 * time.Second
	// workedLately is how long ago a node may have told its newest block to count for one that works: longer than it is
	// left alone after a failure, and than the pauses between two looks.
	workedLately = time.Minute
	// behindMost is how many blocks a node may be behind the middle one of three or more.
	behindMost = 4
)

// watch looks at every node's newest block, while nobody asks, too: that says which node is behind, or shows
// blocks of a time that has not come, or is of another chain by now.
func (c *Client) watch(ctx context.Context) {
	t := time.NewTicker(min(max(c.net.BlockPeriod, minWatch), maxWatch))
	defer t.Stop()
	for {
		c.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// look asks every node once. Failures are counted and logged where they happen; the head's age tells of them.
func (c *Client) look(ctx context.Context) {
	var all sync.WaitGroup
	for _, n := range c.nodes {
		all.Go(func() {
			s := session{n, ctx, c.metrics}
			err := c.check(s)
			if err == nil {
				_, err = s.newest()
			}
			if err != nil && ctx.Err() == nil {
				c.failed(n, err)
			}
			n.looked()
		})
	}
	all.Wait()
	best, usable := Head{}, 0
	for _, n := range c.order(ctx) {
		if c.rank(n, c.middle(), time.Now()) == fit {
			usable++
		}
		if h, ok := n.newestKnown(); ok && best.Hash.IsZero() {
			best = h
		}
	}
	c.metrics.usable.Set(float64(usable))
	if !best.Hash.IsZero() {
		c.metrics.saw(best)
	}
}

// told notes a node's newest block.
func (n *node) told(h Head) {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	if n.headAt.IsZero() || h.Number > n.head.Number {
		n.rose = now
	}
	n.head, n.headAt = h, now
}

// standing is for how long a node's newest block has had the same number, whatever time it says that it is of.
func (n *node) standing(now time.Time) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	return now.Sub(n.rose)
}

// looked notes that a node was asked for its newest block, and answered or failed to.
func (n *node) looked() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.tried = true
}

// newestLately is a node's newest block, whether it told of it lately, and whether it was asked for it at all.
func (n *node) newestLately() (h Head, lately, tried bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, !n.headAt.IsZero() && time.Since(n.headAt) < workedLately, n.tried
}

func (n *node) newestKnown() (Head, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.head, !n.headAt.IsZero()
}

// Reached is the number of the newest block of the node that is furthest behind, as each told last; 0 while one has
// told none. One node's claim of more blocks does not raise it.
func (c *Client) Reached() uint64 {
	var reached uint64
	for i, n := range c.nodes {
		h, known := n.newestKnown()
		if !known {
			return 0
		}
		if i == 0 || h.Number < reached {
			reached = h.Number
		}
	}
	return reached
}

// Common is the number of the newest block that two of the nodes that worked lately have, as each told last: what one
// alone claims beyond that nobody can be asked about. It is 0 until every node was looked at once, and false if fewer
// than two worked.
func (c *Client) Common() (uint64, bool) {
	if len(c.nodes) < 2 {
		return 0, false
	}
	var numbers []uint64
	for _, n := range c.nodes {
		h, lately, tried := n.newestLately()
		if !tried {
			return 0, true
		}
		if lately {
			numbers = append(numbers, h.Number)
		}
	}
	if len(numbers) < 2 {
		return 0, false
	}
	slices.Sort(numbers)
	return numbers[len(numbers)-2], true
}

// rank says how gladly a node is asked; lower is sooner.
type rank int

const (
	fit     rank = iota
	odd          // its newest block is old, behind the others', or of a time that has not come
	resting      // it failed a moment ago
)

func (c *Client) rank(n *node, middle uint64, now time.Time) rank {
	if n.resting() {
		return resting
	}
	h, known := n.newestKnown()
	switch {
	case !known:
	case h.Time.After(now.Add(aheadOf)):
		return odd
	case max(now.Sub(h.Time), n.standing(now)) > max(oldBlocks*c.net.BlockPeriod, oldLeast):
		return odd
	case h.Number+behindMost < middle:
		return odd
	}
	return fit
}

// middle is the number that half of the nodes have reached; 0 with fewer than three, of which nobody could say
// which one is wrong.
func (c *Client) middle() uint64 {
	if len(c.nodes) < 3 {
		return 0
	}
	var numbers []uint64
	for _, n := range c.nodes {
		if h, known := n.newestKnown(); known && !n.resting() {
			numbers = append(numbers, h.Number)
		}
	}
	if len(numbers) < 3 {
		return 0
	}
	slices.Sort(numbers)
	return numbers[len(numbers)/2]
}

// order is the nodes in the order in which to ask them: as configured, but odd ones behind, and those that
// failed lately last; under a context of Each the one that it is for.
func (c *Client) order(ctx context.Context) []*node {
	if alone, ok := ctx.Value(aloneKey{}).(*node); ok && slices.Contains(c.nodes, alone) {
		return []*node{alone}
	}
	if len(c.nodes) == 1 {
		return c.nodes
	}
	middle, now := c.middle(), time.Now()
	ranks := map[*node]rank{}
	for _, n := range c.nodes {
		ranks[n] = c.rank(n, middle, now)
	}
	nodes := slices.Clone(c.nodes)
	slices.SortStableFunc(nodes, func(a, b *node) int { return int(ranks[a] - ranks[b]) })
	return nodes
}
