package devnet

import (
	"context"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
)

// The exported methods of these types are the JSON-RPC methods: ethAPI.ChainId is eth_chainId and
// qc_chainId.

// netAPI is net_*.
type netAPI struct{ n *Node }

// Version is the network id, which is the chain id, in decimal.
func (a *netAPI) Version() string { return fmt.Sprint(a.n.ChainID()) }

// Listening is true: the node answers.
func (a *netAPI) Listening() bool { return true }

// PeerCount is 0: there is one node.
func (a *netAPI) PeerCount() hexutil.Uint { return 0 }

// web3API is web3_*.
type web3API struct{}

// ClientVersion names this node.
func (web3API) ClientVersion() string { return "mintwarden-devnet/v1" }

// devnetAPI is devnet_*: gifts and misbehaviour. Ask it at the path /control, which a stall does
// not stop.
type devnetAPI struct{ n *Node }

// Fund is Node.Fund.
func (a *devnetAPI) Fund(account common.Address) (bool, error) { return a.n.Fund(account) }

// Mine is Node.Mine; it answers the last block's number.
func (a *devnetAPI) Mine(count hexutil.Uint64) (hexutil.Uint64, error) {
	h, err := a.n.Mine(uint64(count))
	if err != nil {
		return 0, err
	}
	return hexutil.Uint64(h.Number.Uint64()), nil
}

// Reorg is Node.Reorg; it answers the new head's number.
func (a *devnetAPI) Reorg(depth hexutil.Uint64, forget *bool) (hexutil.Uint64, error) {
	h, err := a.n.Reorg(uint64(depth), forget != nil && *forget)
	if err != nil {
		return 0, err
	}
	return hexutil.Uint64(h.Number.Uint64()), nil
}

// Refuse is Node.Refuse.
func (a *devnetAPI) Refuse(message string) { a.n.Refuse(message) }

// Drop is Node.Drop.
func (a *devnetAPI) Drop(count hexutil.Uint64) { a.n.Drop(uint64(count)) }

// Delay is Node.Delay.
func (a *devnetAPI) Delay(blocks hexutil.Uint64) { a.n.Delay(uint64(blocks)) }

// Lag is Node.Lag.
func (a *devnetAPI) Lag(blocks hexutil.Uint64) { a.n.Lag(uint64(blocks)) }

// Stall is Node.Stall.
func (a *devnetAPI) Stall(on bool) { a.n.Stall(on) }

// ethAPI is eth_* and qc_*. Where an argument names a block, "pending" means the newest one; only
// eth_getTransactionCount counts the pool in.
type ethAPI struct{ n *Node }

// ChainId is the chain's id.
func (a *ethAPI) ChainId() hexutil.Uint64 { return hexutil.Uint64(a.n.ChainID()) }

// Syncing is false: there is nobody to sync with.
func (a *ethAPI) Syncing() bool { return false }

// Accounts is empty: the node holds no keys.
func (a *ethAPI) Accounts() []common.Address { return []common.Address{} }

// BlockNumber is the newest block's number.
func (a *ethAPI) BlockNumber() hexutil.Uint64 { return hexutil.Uint64(a.n.visible()) }

// SendRawTransaction takes a signed transaction.
func (a *ethAPI) SendRawTransaction(ctx context.Context, raw hexutil.Bytes) (common.Hash, error) {
	return a.n.send(raw)
}
