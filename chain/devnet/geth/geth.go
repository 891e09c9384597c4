// Package geth is go-ethereum's own node, unmodified, with a chain of its own: what kind evm is held
// against in tests, and what `mintwardend dev --network evm` runs on.
//
// It is put together from go-ethereum's packages as `geth --dev` is: one author, a prefunded account, every
// fork that Ethereum has taken. It speaks JSON-RPC over HTTP on loopback, under go-ethereum's names alone, and
// devnet_fund, which gives an account coins from the prefunded one; devnet_reorg does what Reorg does.
//
// It promises that a block which was announced to anybody survives SIGKILL of the process: the state of every
// block is kept, and written before the block is the head, and what is written is the kernel's at once. Waiting
// transactions are kept in go-ethereum's own journal, which a SIGKILL may leave behind by a moment.
//
// It does not promise a clock: go-ethereum wants each block's time to be later than its parent's by a second
// at least, so that blocks which are made faster than that run ahead of the clock.
package geth

import (
	"context"
	"crypto/ecdsa"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/rawdb"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/eth"
	"github.com/ethereum/go-ethereum/eth/catalyst"
	"github.com/ethereum/go-ethereum/eth/ethconfig"
	"github.com/ethereum/go-ethereum/eth/filters"
	"github.com/ethereum/go-ethereum/ethclient"
	"github.com/ethereum/go-ethereum/node"
	"github.com/ethereum/go-ethereum/p2p"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

const (
	// ChainID is `geth --dev`'s; no public chain has it.
	ChainID = 1337
	// Manual as a Config's Period makes blocks only when Mine, Fund or Reorg ask for them.
	Manual time.Duration = -1
	// gasLimit of a block, as Quantum Chain's.
	gasLimit = 30_000_000
	// maxBlocks bounds how many blocks one call of Mine or Reorg makes.
	maxBlocks = 1000
)

// Gift is what Fund gives: 1,000 coins, in wei.
var Gift = new(big.Int).Mul(big.NewInt(1000), big.NewInt(params.Ether))

// faucetKey is the prefunded account's, the same on every such chain: its coins are worth nothing, and with
// no secret in it a directory needs no protection.
var faucetKey = sync.OnceValue(func() *ecdsa.PrivateKey {
	key, err := crypto.ToECDSA(crypto.Keccak256([]byte("mintwarden: the prefunded account of a devnet")))
	if err != nil {
		panic(err) // a hash that is no scalar would have been found when this was written
	}
	return key
})

// Faucet is the prefunded account: what Fund gives comes from it.
func Faucet() common.Address { return crypto.PubkeyToAddress(faucetKey().PublicKey) }

// Config says which chain to run and where.
type Config struct {
	Dir    string        // holds the chain; made if absent. Only one process may have it open
	Addr   string        // host:port to listen on, on loopback; port 0 for a free one
	Period time.Duration // between blocks, whole seconds; 0 is one second; Manual makes none
	Log    *slog.Logger  // may be nil
}

// Node is a running node. Its methods are safe for concurrent use.
type Node struct {
	cfg    Config
	stack  *node.Node
	eth    *eth.Ethereum
	beacon *catalyst.SimulatedBeacon
	client *ethclient.Client

	mu     sync.Mutex // makes blocks, one at a time
	minTip *big.Int
	stop   context.CancelFunc
	work   sync.WaitGroup
	closed sync.Once
	result error // of the close
}

// Start opens or makes the chain in cfg.Dir and serves it until ctx is done or Close is called. The port is
// bound when it returns.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	n, err := assemble(cfg)
	if err != nil {
		return nil, fmt.Errorf("geth: %w", err)
	}
	ctx, n.stop = context.WithCancel(context.WithoutCancel(ctx))
	if cfg.Period != Manual {
		n.work.Go(func() { n.produce(ctx) })
	}
	return n, nil
}

func assemble(cfg Config) (*Node, error) {
	if cfg.Period == 0 {
		cfg.Period = time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	host, port, err := address(cfg)
	if err != nil {
		return nil, err
	}
	nc := node.DefaultConfig
	nc.Name, nc.DataDir, nc.IPCPath = "geth", cfg.Dir, ""
	// LevelDB hands each write's log to the kernel before it returns. Pebble, go-ethereum's default, keeps up to
	// 32 KiB of it, twenty empty blocks, in the process's memory, until more is written or somebody wants it synced.
	nc.DBEngine = rawdb.DBLeveldb
	nc.P2P = p2p.Config{NoDiscovery: true, NoDial: true}
	nc.HTTPHost, nc.HTTPPort, nc.HTTPModules = host, port, []string{"eth", "net", "web3", "devnet"}
	stack, err := node.New(&nc)
	if err != nil {
		return nil, err
	}
	n := &Node{cfg: cfg, stack: stack}
	if err := n.open(); err != nil {
		return nil, errors.Join(err, stack.Close())
	}
	return n, nil
}

func address(cfg Config) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return "", 0, fmt.Errorf("address %q is not host:port", cfg.Addr)
	}
	if ip := net.ParseIP(host); ip == nil || !ip.IsLoopback() {
		return "", 0, fmt.Errorf("address %q is not on loopback", cfg.Addr)
	}
	if port, err = strconv.Atoi(text); err != nil {
		return "", 0, fmt.Errorf("address %q is not host:port", cfg.Addr)
	}
	switch {
	case cfg.Dir == "":
		return "", 0, errors.New("no directory")
	case cfg.Period != Manual && (cfg.Period < time.Second || cfg.Period%time.Second != 0):
		return "", 0, fmt.Errorf("%s between blocks: it must be whole seconds", cfg.Period)
	}
	return host, port, nil
}

// open starts the node's parts.
func (n *Node) open() error {
	faucet := Faucet()
	ec := ethconfig.Defaults
	ec.NetworkId = ChainID
	ec.Genesis = core.DeveloperGenesisBlock(gasLimit, &faucet)
	// Forks that no public chain has taken yet are left out; the next one makes state several times as dear.
	ec.Genesis.Config.AmsterdamTime, ec.Genesis.Config.BogotaTime = nil, nil
	ec.SyncMode = ethconfig.FullSync
	// Nothing but the pool keeps what was sent here: ten seconds after the start, and each minute, a local transaction
	// that the pool has forgotten would be put into it again, and Reorg could not forget any.
	ec.TxPool.NoLocals = true
	ec.Miner.GasCeil = gasLimit
	// Every block's state is written when the block is: it is there after a SIGKILL, and calls may ask about any.
	ec.NoPruning, ec.StateScheme = true, rawdb.HashScheme
	backend, err := eth.New(n.stack, &ec)
	if err != nil {
		return err
	}
	n.eth, n.minTip = backend, ec.Miner.GasPrice
	n.stack.RegisterAPIs([]rpc.API{
		{Namespace: "eth", Service: filters.NewFilterAPI(filters.NewFilterSystem(backend.APIBackend, filters.Config{}))},
		{Namespace: "devnet", Service: &devnetAPI{n}},
	})
	if err := n.stack.Start(); err != nil {
		return err
	}
	if n.beacon, err = catalyst.NewSimulatedBeacon(0, faucet, backend); err != nil {
		return err
	}
	n.client = ethclient.NewClient(n.stack.Attach())
	return nil
}

// devnetAPI is devnet_*.
type devnetAPI struct{ n *Node }

// Fund is Node.Fund.
func (a *devnetAPI) Fund(ctx context.Context, account common.Address) (bool, error) {
	return a.n.Fund(ctx, account)
}

// Reorg is Node.Reorg; it answers the new head's number.
func (a *devnetAPI) Reorg(depth hexutil.Uint64, forget *bool) (hexutil.Uint64, error) {
	h, err := a.n.Reorg(uint64(depth), forget != nil && *forget)
	if err != nil {
		return 0, err
	}
	return hexutil.Uint64(h.Number.Uint64()), nil
}

// URL is where the node answers JSON-RPC.
func (n *Node) URL() string { return n.stack.HTTPEndpoint() }

// ChainID is the chain's id.
func (n *Node) ChainID() uint64 { return ChainID }

// Head is the newest block's header.
func (n *Node) Head() *types.Header { return n.eth.BlockChain().CurrentBlock() }

// Close stops answering and making blocks, and closes the directory. It is safe to call again.
func (n *Node) Close() error {
	n.closed.Do(func() {
		n.stop()
		n.work.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.client.Close()
		n.result = errors.Join(n.beacon.Stop(), n.stack.Close())
	})
	return n.result
}

// produce makes a block each period, full or empty.
func (n *Node) produce(ctx context.Context) {
	t := time.NewTicker(n.cfg.Period)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if _, err := n.Mine(1); err != nil && ctx.Err() == nil {
				n.cfg.Log.Error("geth cannot make a block", "error", err)
			}
		}
	}
}

// Mine makes count blocks at once and returns the last one's header.
func (n *Node) Mine(count uint64) (*types.Header, error) {
	if count == 0 || count > maxBlocks {
		return nil, fmt.Errorf("geth: %d blocks: 1 to %d at once", count, maxBlocks)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.commit(count)
}

func (n *Node) commit(count uint64) (*types.Header, error) {
	for range count {
		before := n.Head().Number.Uint64()
		n.beacon.Commit()
		if after := n.Head().Number.Uint64(); after != before+1 {
			return nil, fmt.Errorf("geth: block %d follows block %d", after, before)
		}
	}
	return n.Head(), nil
}

// MinTip keeps transactions that pay less, in wei a unit of gas, out of blocks from now on; they wait.
func (n *Node) MinTip(tip *big.Int) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.minTip = tip
	return n.eth.Miner().SetGasTip(n.minTip)
}

// noTip is more than anybody pays.
var noTip = new(big.Int).Lsh(big.NewInt(1), 200)

// Reorg replaces the last depth blocks by depth+1 others. Transactions of the old ones wait again, and are
// included in the new ones, or are lost for good if forget is set: coins that Fund gave in them are, too. What
// is sent again at once is in none of those then.
func (n *Node) Reorg(depth uint64, forget bool) (_ *types.Header, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	bc := n.eth.BlockChain()
	head := n.Head().Number.Uint64()
	if depth == 0 || depth >= head || depth >= maxBlocks {
		return nil, fmt.Errorf("geth: reorg of %d blocks at block %d", depth, head)
	}
	ancestor := bc.GetBlockByNumber(head - depth)
	if ancestor == nil {
		return nil, fmt.Errorf("geth: no block %d", head-depth)
	}
	if _, err := bc.SetCanonical(ancestor); err != nil {
		return nil, fmt.Errorf("geth: reorg of %d blocks: %w", depth, err)
	}
	if err := n.eth.TxPool().Sync(); err != nil {
		return nil, fmt.Errorf("geth: %w", err)
	}
	if forget {
		if err := n.eth.Miner().SetGasTip(noTip); err != nil {
			return nil, fmt.Errorf("geth: %w", err)
		}
		defer func() { err = errors.Join(err, n.eth.Miner().SetGasTip(n.minTip)) }()
		n.eth.TxPool().Clear()
	}
	return n.commit(depth + 1)
}

// Fund gives account Gift if it has no coins and never sent anything, in a block that is made at once, and
// says whether it did. Doing it again is safe: what decides is the state.
func (n *Node) Fund(ctx context.Context, account common.Address) (bool, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	balance, err := n.client.BalanceAt(ctx, account, nil)
	if err != nil {
		return false, fmt.Errorf("geth: %w", err)
	}
	sent, err := n.client.NonceAt(ctx, account, nil)
	if err != nil {
		return false, fmt.Errorf("geth: %w", err)
	}
	if balance.Sign() != 0 || sent != 0 {
		return false, nil
	}
	t, err := n.gift(ctx, account)
	if err != nil {
		return false, fmt.Errorf("geth: %w", err)
	}
	if err := n.client.SendTransaction(ctx, t); err != nil {
		return false, fmt.Errorf("geth: %w", err)
	}
	_, err = n.commit(1)
	return err == nil, err
}

// gift is the faucet's next transaction.
func (n *Node) gift(ctx context.Context, account common.Address) (*types.Transaction, error) {
	nonce, err := n.client.NonceAt(ctx, Faucet(), nil)
	if err != nil {
		return nil, err
	}
	id, tip := big.NewInt(ChainID), big.NewInt(params.GWei)
	most := new(big.Int).Add(tip, new(big.Int).Lsh(n.Head().BaseFee, 1))
	return types.SignNewTx(faucetKey(), types.LatestSignerForChainID(id), &types.DynamicFeeTx{ChainID: id, Nonce: nonce, GasTipCap: tip,
		GasFeeCap: most, Gas: params.TxGas, To: &account, Value: Gift})
}
