package devnet

import (
	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/state"
	"github.com/ethereum/go-ethereum/rpc"
)

// stateAt is the state after the block that a request names.
func (n *Node) stateAt(ref rpc.BlockNumberOrHash) (*state.StateDB, *block, error) {
	b, err := n.mustAt(ref)
	if err != nil {
		return nil, nil, err
	}
	st, err := n.stateOf(b.header)
	return st, b, err
}

// latest is ref, or the newest block if the request named none.
func latest(ref *rpc.BlockNumberOrHash) rpc.BlockNumberOrHash {
	if ref == nil {
		return rpc.BlockNumberOrHashWithNumber(rpc.LatestBlockNumber)
	}
	return *ref
}

// GetBalance is in wei.
func (a *ethAPI) GetBalance(account common.Address, ref *rpc.BlockNumberOrHash) (*hexutil.Big, error) {
	st, _, err := a.n.stateAt(latest(ref))
	if err != nil {
		return nil, err
	}
	return (*hexutil.Big)(st.GetBalance(account).ToBig()), st.Error()
}

// GetCode is a contract's runtime code, empty for an account without.
func (a *ethAPI) GetCode(account common.Address, ref *rpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	st, _, err := a.n.stateAt(latest(ref))
	if err != nil {
		return nil, err
	}
	return st.GetCode(account), st.Error()
}

// word is 32 bytes, given whole or as a number.
type word common.Hash

// UnmarshalText takes both forms.
func (w *word) UnmarshalText(text []byte) error {
	if len(text) == 2+2*common.HashLength {
		return (*common.Hash)(w).UnmarshalText(text)
	}
	var n hexutil.Big
	err := n.UnmarshalText(text)
	*w = word(common.BigToHash(n.ToInt()))
	return err
}

// GetStorageAt is one word of a contract's storage.
func (a *ethAPI) GetStorageAt(account common.Address, slot word, ref *rpc.BlockNumberOrHash) (hexutil.Bytes, error) {
	st, _, err := a.n.stateAt(latest(ref))
	if err != nil {
		return nil, err
	}
	v := st.GetState(account, common.Hash(slot))
	return v[:], st.Error()
}

// GetTransactionCount is the account's next nonce; for "pending" the first one that no waiting
// transaction has either.
func (a *ethAPI) GetTransactionCount(account common.Address, ref *rpc.BlockNumberOrHash) (hexutil.Uint64, error) {
	r := latest(ref)
	st, _, err := a.n.stateAt(r)
	if err != nil {
		return 0, err
	}
	next := st.GetNonce(account)
	if number, ok := r.Number(); ok && number == rpc.PendingBlockNumber {
		a.n.mu.RLock()
		next = a.n.pool.nextNonce(account, next)
		a.n.mu.RUnlock()
	}
	return hexutil.Uint64(next), st.Error()
}

// GetBlockByNumber is null for a block that is not there yet.
func (a *ethAPI) GetBlockByNumber(number rpc.BlockNumber, full bool) (map[string]any, error) {
	b, err := a.n.at(rpc.BlockNumberOrHashWithNumber(number))
	if err != nil || b == nil {
		return nil, err
	}
	return blockJSON(b, full), nil
}

// GetBlockByHash also knows blocks that a reorg threw out.
func (a *ethAPI) GetBlockByHash(hash common.Hash, full bool) (map[string]any, error) {
	b, err := a.n.at(rpc.BlockNumberOrHashWithHash(hash, false))
	if err != nil || b == nil {
		return nil, err
	}
	return blockJSON(b, full), nil
}

// GetBlockTransactionCountByNumber counts a block's transactions.
func (a *ethAPI) GetBlockTransactionCountByNumber(number rpc.BlockNumber) (*hexutil.Uint, error) {
	b, err := a.n.at(rpc.BlockNumberOrHashWithNumber(number))
	if err != nil || b == nil {
		return nil, err
	}
	count := hexutil.Uint(len(b.txs))
	return &count, nil
}

// GetTransactionByHash knows mined and pending transactions; null for others.
func (a *ethAPI) GetTransactionByHash(hash common.Hash) (map[string]any, error) {
	b, i, err := a.n.mined(hash)
	if err != nil {
		return nil, err
	}
	if b != nil {
		return txJSON(b.txs[i], b, i), nil
	}
	t, err := a.n.waitingTx(hash)
	if err != nil || t == nil {
		return nil, err
	}
	return txJSON(t, nil, 0), nil
}

// GetRawTransactionByHash is the transaction as it was sent; null if unknown.
func (a *ethAPI) GetRawTransactionByHash(hash common.Hash) (hexutil.Bytes, error) {
	b, i, err := a.n.mined(hash)
	if err != nil {
		return nil, err
	}
	if b != nil {
		return b.txs[i].Raw, nil
	}
	t, err := a.n.waitingTx(hash)
	if err != nil || t == nil {
		return nil, err
	}
	return t.Raw, nil
}

// GetTransactionReceipt is null until the transaction is mined.
func (a *ethAPI) GetTransactionReceipt(hash common.Hash) (map[string]any, error) {
	b, i, err := a.n.mined(hash)
	if err != nil || b == nil {
		return nil, err
	}
	return receiptJSON(b, i), nil
}

// GetBlockReceipts is all receipts of a block, null if there is no such block.
func (a *ethAPI) GetBlockReceipts(ref rpc.BlockNumberOrHash) ([]map[string]any, error) {
	b, err := a.n.at(ref)
	if err != nil || b == nil {
		return nil, err
	}
	receipts := make([]map[string]any, len(b.txs))
	for i := range b.txs {
		receipts[i] = receiptJSON(b, i)
	}
	return receipts, nil
}
