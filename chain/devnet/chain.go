package devnet

import (
	"fmt"
	"log/slog"
	"math/big"
	"sync"
	"time"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/consensus"
	"github.com/ethereum/go-ethereum/consensus/ethash"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/params"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// GasLimit is a block's, Quantum Chain's own.
const GasLimit = 30_000_000

// author receives the tips of every block. Nobody has its key.
var author = common.HexToAddress("0x00000000000000000000000000000000000d37e7")

// chain is blocks, state and pool, without the network around them.
//
// Two locks. making is held by whoever makes blocks (produce, Fund, Mine, Reorg), for as long as
// it takes. mu guards head and pool; readers hold it for single look-ups, and a maker only while it
// swaps the head, so that nobody waits for an execution, save in a reorg, where nobody may see the
// chain halfway.
type chain struct {
	*store
	config  *params.ChainConfig
	schemes []tx.Scheme
	log     *slog.Logger

	making sync.Mutex

	mu    sync.RWMutex
	head  *block
	forks uint64
	pool  *pool
}

// london has every fork up to London from block 0, none after.
func london(chainID uint64) *params.ChainConfig {
	zero := new(big.Int)
	return &params.ChainConfig{
		ChainID:        new(big.Int).SetUint64(chainID),
		HomesteadBlock: zero, EIP150Block: zero, EIP155Block: zero, EIP158Block: zero,
		ByzantiumBlock: zero, ConstantinopleBlock: zero, PetersburgBlock: zero, IstanbulBlock: zero,
		MuirGlacierBlock: zero, BerlinBlock: zero, LondonBlock: zero, ArrowGlacierBlock: zero, GrayGlacierBlock: zero,
		Ethash: new(params.EthashConfig),
	}
}

func openChain(cfg Config) (_ *chain, err error) {
	s, err := openStore(cfg.Dir, cfg.ChainID)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	c := &chain{store: s, config: london(cfg.ChainID), schemes: cfg.Schemes, log: cfg.Log, pool: newPool()}
	if c.forks, err = s.forks(); err != nil {
		return nil, err
	}
	hash, ok, err := s.headHash()
	if err != nil {
		return nil, err
	}
	if !ok {
		g := genesis(cfg.ChainID)
		if err := s.appendBlock(g); err != nil {
			return nil, fmt.Errorf("devnet: first block: %w", err)
		}
		c.head = g
		return c, nil
	}
	if c.head, err = s.block(hash); err != nil {
		return nil, err
	}
	if c.head == nil {
		return nil, fmt.Errorf("devnet: directory %q: its head %s is missing", cfg.Dir, hash)
	}
	if _, err := c.stateOf(c.head.header); err != nil {
		return nil, fmt.Errorf("devnet: directory %q: state of block %d: %w", cfg.Dir, c.head.number(), err)
	}
	return c, c.reload()
}

// genesis is block 0: no accounts. Its hash differs by chain id alone.
func genesis(chainID uint64) *block {
	h := &types.Header{
		UncleHash:   types.EmptyUncleHash,
		Root:        types.EmptyRootHash,
		TxHash:      types.EmptyTxsHash,
		ReceiptHash: types.EmptyReceiptsHash,
		Difficulty:  big.NewInt(1),
		Number:      new(big.Int),
		GasLimit:    GasLimit,
		Extra:       u64(chainID),
		BaseFee:     big.NewInt(params.InitialBaseFee),
	}
	return &block{header: h, hash: h.Hash()}
}

// stateOf opens the state after a block; it may be changed without harm to anybody.
func (c *chain) stateOf(h *types.Header) (*state.StateDB, error) { return state.New(h.Root, c.state) }

// reload puts the transactions that were pending at the end back into the pool; those that the
// last blocks made impossible are forgotten.
func (c *chain) reload() error {
	raws, err := c.pending()
	if err != nil {
		return err
	}
	st, err := c.stateOf(c.head.header)
	if err != nil {
		return err
	}
	for _, raw := range raws {
		t, err := c.admit(raw)
		if err == nil {
			_, err = c.pool.add(t, st, 0)
		}
		if err != nil {
			c.log.Info("devnet forgets a pending transaction", "hash", tx.HashOf(raw), "reason", err)
			if err := c.deletePending([]*transaction{{hash: common.Hash(tx.HashOf(raw))}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// mine makes one block out of the pool and credits, announces it, and returns it.
func (c *chain) mine(credits []credit) (*block, error) {
	c.making.Lock()
	defer c.making.Unlock()
	return c.mineLocked(credits)
}

// mineLocked is mine for a caller that holds making.
func (c *chain) mineLocked(credits []credit) (*block, error) {
	c.mu.RLock()
	parent, forks := c.head, c.forks
	st, err := c.stateOf(parent.header)
	if err != nil {
		c.mu.RUnlock()
		return nil, err
	}
	candidates := c.pool.executable(st, parent.number()+1)
	c.mu.RUnlock()

	b, after, err := c.execute(parent, st, candidates, credits, forks)
	if err != nil {
		return nil, err
	}
	if err := c.appendBlock(b); err != nil {
		return nil, fmt.Errorf("devnet: block %d: %w", b.number(), err)
	}
	c.mu.Lock()
	c.head = b
	gone := c.pool.settle(b.txs, after)
	c.mu.Unlock()
	if len(b.txs) > 0 {
		c.log.Info("devnet block", "number", b.number(), "hash", b.hash, "transactions", len(b.txs))
	}
	return b, c.deletePending(gone)
}

// mineAll makes blocks while the pool has something for them.
func (c *chain) mineAll() error {
	c.making.Lock()
	defer c.making.Unlock()
	for {
		st, err := c.stateOf(c.head.header)
		if err != nil {
			return err
		}
		c.mu.RLock()
		idle := c.pool.executable(st, c.head.number()+1).empty()
		c.mu.RUnlock()
		if idle {
			return nil
		}
		// A block that took nothing (fees below its base fee) is not tried again at once.
		if b, err := c.mineLocked(nil); err != nil || len(b.txs) == 0 {
			return err
		}
	}
}

// nextTime is the time of a block that is made now: the clock's, never before its parent's.
func nextTime(parent *types.Header) uint64 {
	return max(parent.Time, uint64(time.Now().Unix()))
}

// Chain reads for go-ethereum's EVM context and gas estimation.
var _ core.ChainContext = (*chain)(nil)

// Engine only says who a block's author is.
func (c *chain) Engine() consensus.Engine { return ethash.NewFaker() }

// Config is the fork rules.
func (c *chain) Config() *params.ChainConfig { return c.config }

// CurrentHeader is the newest block's header.
func (c *chain) CurrentHeader() *types.Header {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.head.header
}

// GetHeader reads a header by hash; nil if there is none.
func (c *chain) GetHeader(hash common.Hash, number uint64) *types.Header {
	return c.GetHeaderByHash(hash)
}

// GetHeaderByHash reads a header; nil if there is none.
func (c *chain) GetHeaderByHash(hash common.Hash) *types.Header {
	b, err := c.block(hash)
	if err != nil || b == nil {
		return nil
	}
	return b.header
}

// GetHeaderByNumber reads a canonical header; nil if there is none.
func (c *chain) GetHeaderByNumber(number uint64) *types.Header {
	b, err := c.blockByNumber(number)
	if err != nil || b == nil {
		return nil
	}
	return b.header
}
