// Package chain asks the nodes of one network and hands them transactions.
//
// A Client has one or several nodes (JSON-RPC over HTTP; always the eth_ names, which Quantum Chain
// has as well). It asks the first one that works, and the next one when that fails. It promises
// that every question ends within its timeout, that no answer is read beyond a limit of size, that
// an answer which does not have its form is an error and never a guess, and that no error or log
// line holds a node's URL or a control character that a node sent.
//
// It does not promise that what a node says is true: a node may lie about all of this, and what is
// signed must not rest on it. It keeps no state besides which nodes work; what was sent and what
// became of it is its callers' affair. It signs nothing.
package chain

import (
	"context"
	"log/slog"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
)

// Client asks one network. It is safe for concurrent use.
type Client struct {
	net     Network
	log     *slog.Logger
	metrics *metrics
	nodes   []*node

	mu      sync.Mutex
	genesis string // hash of block 0 that the first node told; all must agree

	life context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup
}

// Dial checks the network's entry and whatever nodes answer. A node that does not answer is no
// error (it is checked before its first use; until then calls end in ErrUnavailable, so that an
// appliance starts while its chain is away), one of another chain is: ErrWrongChain. reg and log
// may be nil. Close the client to end its watch on the head.
func Dial(ctx context.Context, network Network, log *slog.Logger, reg prometheus.Registerer) (*Client, error) {
	if err := network.Validate(); err != nil {
		return nil, err
	}
	if network.Timeout == 0 {
		network.Timeout = DefaultTimeout
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Client{net: network, log: log.With("network", network.Name)}
	for _, u := range network.RPCURLs {
		n, err := newNode(ctx, u, network.Timeout)
		if err != nil {
			return nil, err
		}
		c.nodes = append(c.nodes, n)
	}
	m, err := newMetrics(reg, network.Name)
	if err != nil {
		c.closeNodes()
		return nil, err
	}
	c.metrics = m
	if err := c.checkAll(ctx); err != nil {
		m.unregister()
		c.closeNodes()
		return nil, err
	}
	c.life, c.stop = context.WithCancel(context.WithoutCancel(ctx))
	c.work.Go(func() { c.watch(c.life) })
	return c, nil
}

// Network is the entry that the client was made from.
func (c *Client) Network() Network { return c.net }

// Close ends the watch on the head and the connections. The client must not be used after it.
func (c *Client) Close() {
	c.stop()
	c.work.Wait()
	c.metrics.unregister()
	c.closeNodes()
}

func (c *Client) closeNodes() {
	for _, n := range c.nodes {
		n.close()
	}
}
