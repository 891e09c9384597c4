// Package devnet is a Quantum Chain of one node, for a user's first command and for tests.
//
// It executes with go-ethereum's own EVM and state under the London rules and speaks go-ethereum's
// JSON-RPC over HTTP on loopback, each method under its eth_ name and its qc_ twin. Accounts and
// signatures are post-quantum (chain/tx): every signature is verified before a transaction gets
// near the EVM. Nonces, balances, gas and base fee follow EIP-1559, and a refusal has the words
// that geth would use.
//
// It promises that a block which was announced to anybody survives SIGKILL: a block is on disk,
// synced, before a reader can see it, and so is a transaction before its hash is answered. The
// state of every block stays, so calls may ask about any of them.
//
// It does not promise consensus, peers, or rewards: its one author is this process, which may also
// be told to misbehave (Node.Reorg, Drop, Delay, Refuse, Stall, Lag) so that tests can see what
// others make of it. Nor has it any defence against its callers beyond limits of size: whoever
// reaches its port may give himself coins.
package devnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"

	"github.com/mintwarden/mintwarden/chain/tx"
)

const (
	// DefaultChainID is an id that no public chain has: 20803 (Quantum Chain's) and 77.
	DefaultChainID = 2080377
	// DefaultPeriod is the time between blocks, as spec/chain.md has it.
	DefaultPeriod = time.Second
	// Manual as a Config's Period makes blocks only when Mine, Fund or Reorg ask for them.
	Manual time.Duration = -1
)

// Config says which chain to run and where.
type Config struct {
	// Dir holds the chain; it is made if absent. Only one process may have it open.
	Dir string
	// Addr is the loopback address to listen on, "127.0.0.1:0" if empty.
	Addr string
	// ChainID is DefaultChainID if zero. A directory keeps the id that it was made with; another
	// one is refused.
	ChainID uint64
	// Period is the time between blocks; 0 makes a block at each transaction, Manual none.
	Period time.Duration
	// Schemes are the signature schemes that accounts may use; both post-quantum ones if empty.
	Schemes []tx.Scheme
	// Log receives what the node does; discarded if nil.
	Log *slog.Logger
}

func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("devnet: no directory")
	}
	if c.Addr == "" {
		c.Addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return fmt.Errorf("devnet: address %q: %w", c.Addr, err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("devnet: address %q is not a loopback one", c.Addr)
	}
	if c.ChainID == 0 {
		c.ChainID = DefaultChainID
	}
	if len(c.Schemes) == 0 {
		c.Schemes = []tx.Scheme{tx.Dilithium3, tx.MLDSA65}
	}
	for _, s := range c.Schemes {
		if s.Kind() != tx.KindQuantum {
			return fmt.Errorf("devnet: scheme %q is not one of Quantum Chain's", s)
		}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Node is a running chain. Its methods are safe for concurrent use.
type Node struct {
	*chain
	cfg    Config
	faults faults
	server *server
	rpc    *rpc.Server

	ctx    context.Context // done when the node closes
	cancel context.CancelFunc
	work   sync.WaitGroup
	closed sync.Once
	result error // of the close
}

// Start opens or makes the chain in cfg.Dir and serves it until ctx is done or Close is called.
// The port is bound when it returns.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("devnet: %w", err)
	}
	c, err := openChain(cfg)
	if err != nil {
		listener.Close()
		return nil, err
	}
	n := &Node{chain: c, cfg: cfg}
	n.ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := n.serve(listener); err != nil {
		n.cancel()
		listener.Close()
		c.close()
		return nil, err
	}
	if cfg.Period > 0 {
		n.work.Go(n.produce)
	}
	context.AfterFunc(ctx, func() { n.Close() })
	cfg.Log.Info("devnet started", "url", n.URL(), "chain", cfg.ChainID, "block", n.Head().Number)
	return n, nil
}

// Run starts a chain, prints one line `devnet url=… chain=…` to out once it answers, and serves
// until ctx is done.
func Run(ctx context.Context, cfg Config, out io.Writer) error {
	n, err := Start(ctx, cfg)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "devnet url=%s chain=%d\n", n.URL(), n.ChainID())
	<-n.ctx.Done()
	return n.Close()
}

// URL is where the node answers JSON-RPC.
func (n *Node) URL() string { return n.server.url }

// ChainID is the chain's id.
func (n *Node) ChainID() uint64 { return n.cfg.ChainID }

// Head is the newest block's header, whatever Lag shows to others.
func (n *Node) Head() *types.Header {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return types.CopyHeader(n.head.header)
}

// Close stops answering and making blocks, and closes the directory. It is safe to call again.
func (n *Node) Close() error {
	n.closed.Do(func() {
		n.cancel()
		err := n.server.close()
		n.rpc.Stop()
		n.work.Wait()
		n.result = errors.Join(err, n.chain.close())
	})
	return n.result
}

// produce makes a block each period, full or empty.
func (n *Node) produce() {
	t := time.NewTicker(n.cfg.Period)
	defer t.Stop()
	for {
		select {
		case <-n.ctx.Done():
			return
		case <-t.C:
			if _, err := n.mine(nil); err != nil {
				n.cfg.Log.Error("devnet cannot make a block", "error", err)
			}
		}
	}
}
