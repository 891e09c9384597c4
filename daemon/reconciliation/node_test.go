package reconciliation_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math/big"
	"net/http/httptest"
	"slices"
	"sort"
	"sync"
	"testing"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rpc"
	"github.com/stretchr/testify/require"
)

// ledgerNode is a chain that is told what stands in it, for what no real node can be told to do: a hundred thousand
// events at once, limits, deep reorgs, lies.
type ledgerNode struct {
	mu    sync.Mutex
	head  uint64
	fork  uint64                    // blocks from here on have other hashes with another salt
	salt  byte                      //
	logs  []*types.Log              // in the chain's order
	sent  map[common.Hash]*sentBy   // by hash
	asked map[string]int            // methods
	limit uint64                    // blocks of one question; 0: any
	after func(method string) error // may refuse; nil: nothing
	// refuse says what is too much of a question for logs; nil: nothing is.
	refuse func(filter) bool
	// hangs says what of a question for logs takes longer than anybody waits; nil: nothing does.
	hangs func(filter) bool
	// tells is whose logs this node answers with, where it is asked for logs; nil: its own. Asked for a receipt it says
	// what it knows itself.
	tells *ledgerNode
}

type sentBy struct {
	Hash  common.Hash     `json:"hash"`
	From  common.Address  `json:"from"`
	To    *common.Address `json:"to"`
	Gas   hexutil.Uint64  `json:"gas"`
	Value *hexutil.Big    `json:"value"`
	Input hexutil.Bytes   `json:"input"`
}

const chainID = 1337

func newNode() *ledgerNode {
	return &ledgerNode{sent: map[common.Hash]*sentBy{}, asked: map[string]int{}, fork: 1 << 62}
}

// serve answers at a URL of its own, with the node's chain.
func (n *ledgerNode) serve(t testing.TB) string {
	t.Helper()
	server := rpc.NewServer()
	require.NoError(t, server.RegisterName("eth", &ethAPI{n}))
	h := httptest.NewServer(server)
	t.Cleanup(func() { h.Close(); server.Stop() })
	return h.URL
}

func (n *ledgerNode) blockHash(number uint64) common.Hash {
	var b [9]byte
	binary.BigEndian.PutUint64(b[:], number)
	if number >= n.fork {
		b[8] = n.salt
	}
	return crypto.Keccak256Hash(b[:])
}

// write puts a log into a block, the newest one so far or a later one.
func (n *ledgerNode) write(block uint64, contract common.Address, hash common.Hash, topics []common.Hash, data []byte) *types.Log {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := &types.Log{Address: contract, Topics: topics, Data: data, BlockNumber: block, TxHash: hash, BlockHash: n.blockHash(block)}
	if last := len(n.logs) - 1; last >= 0 && n.logs[last].BlockNumber == block {
		l.Index = n.logs[last].Index + 1
	}
	n.logs = append(n.logs, l)
	n.head = max(n.head, block)
	return l
}

func (n *ledgerNode) advance(to uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.head = max(n.head, to)
}

// questions is how often a method was asked for.
func (n *ledgerNode) questions(method string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asked[method]
}

// reorg gives every block from a number on another hash, and takes its logs away.
func (n *ledgerNode) reorg(from uint64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.fork, n.salt = from, n.salt+1
	at := sort.Search(len(n.logs), func(i int) bool { return n.logs[i].BlockNumber >= from })
	n.logs = n.logs[:at:at]
}

var zeroWord common.Hash

var transferTopic = crypto.Keccak256Hash([]byte("Transfer(address,address,uint256)"))

// supply is what transfers from and to zero come to.
func (n *ledgerNode) supply(block uint64) *big.Int {
	sum := new(big.Int)
	for _, l := range n.logs {
		if l.BlockNumber > block || l.Topics[0] != transferTopic {
			continue
		}
		amount := new(big.Int).SetBytes(l.Data)
		if l.Topics[1] == zeroWord {
			sum.Add(sum, amount)
		} else {
			sum.Sub(sum, amount)
		}
	}
	return sum
}

type ethAPI struct{ n *ledgerNode }

func (a *ethAPI) begin(method string) error {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	a.n.asked[method]++
	if a.n.after != nil {
		return a.n.after(method)
	}
	return nil
}

func (a *ethAPI) ChainId() hexutil.Uint64 { return chainID }

func (a *ethAPI) BlockNumber() hexutil.Uint64 {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	return hexutil.Uint64(a.n.head)
}

func (a *ethAPI) GetBlockByNumber(number rpc.BlockNumber, _ bool) (map[string]any, error) {
	if err := a.begin("block"); err != nil {
		return nil, err
	}
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	at := uint64(number)
	if number < 0 {
		at = a.n.head
	}
	if at > a.n.head {
		return nil, nil
	}
	return map[string]any{"number": hexutil.Uint64(at), "hash": a.n.blockHash(at), "timestamp": hexutil.Uint64(1_700_000_000 + at), "baseFeePerGas": (*hexutil.Big)(big.NewInt(1))}, nil
}

type filter struct {
	From    hexutil.Uint64   `json:"fromBlock"`
	To      hexutil.Uint64   `json:"toBlock"`
	Address []common.Address `json:"address"`
	Topics  [][]common.Hash  `json:"topics"`
}

func (a *ethAPI) GetLogs(ctx context.Context, f filter) ([]*types.Log, error) {
	if err := a.begin("logs"); err != nil {
		return nil, err
	}
	a.n.mu.Lock()
	hangs := a.n.hangs != nil && a.n.hangs(f)
	a.n.mu.Unlock()
	if hangs {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	if a.n.limit > 0 && uint64(f.To-f.From) >= a.n.limit || a.n.refuse != nil && a.n.refuse(f) {
		return nil, errors.New("query exceeds max block range")
	}
	logs := a.n.logs
	if other := a.n.tells; other != nil {
		other.mu.Lock()
		logs = slices.Clone(other.logs)
		other.mu.Unlock()
	}
	found := []*types.Log{}
	at := sort.Search(len(logs), func(i int) bool { return logs[i].BlockNumber >= uint64(f.From) })
	for _, l := range logs[at:] {
		if l.BlockNumber > uint64(f.To) {
			break
		}
		fits := slices.Contains(f.Address, l.Address) && len(f.Topics) <= len(l.Topics)
		for i := 0; fits && i < len(f.Topics); i++ {
			fits = len(f.Topics[i]) == 0 || slices.Contains(f.Topics[i], l.Topics[i])
		}
		if fits {
			found = append(found, l)
		}
	}
	return found, nil
}

func (a *ethAPI) Call(_ map[string]any, at rpc.BlockNumber) (hexutil.Bytes, error) {
	if err := a.begin("call"); err != nil {
		return nil, err
	}
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	return common.LeftPadBytes(a.n.supply(uint64(at)).Bytes(), 32), nil
}

func (a *ethAPI) GetTransactionByHash(hash common.Hash) *sentBy {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	return a.n.sent[hash]
}

func (a *ethAPI) GetTransactionReceipt(hash common.Hash) map[string]any {
	a.n.mu.Lock()
	defer a.n.mu.Unlock()
	logs := []*types.Log{}
	for _, l := range a.n.logs {
		if l.TxHash == hash {
			logs = append(logs, l)
		}
	}
	return map[string]any{"logs": logs}
}
