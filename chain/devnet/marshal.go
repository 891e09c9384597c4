package devnet

import (
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/core/types"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// blockJSON is a block as geth answers it, and systemCredits, which geth does not have.
func blockJSON(b *block, full bool) map[string]any {
	h := b.header
	txs := make([]any, len(b.txs))
	for i, t := range b.txs {
		if full {
			txs[i] = txJSON(t, b, i)
		} else {
			txs[i] = t.hash
		}
	}
	stored, _ := b.encode() // what was read from the store encodes
	m := map[string]any{
		"number":           (*hexutil.Big)(h.Number),
		"hash":             b.hash,
		"parentHash":       h.ParentHash,
		"nonce":            h.Nonce,
		"mixHash":          h.MixDigest,
		"sha3Uncles":       h.UncleHash,
		"logsBloom":        h.Bloom,
		"stateRoot":        h.Root,
		"miner":            h.Coinbase,
		"difficulty":       (*hexutil.Big)(h.Difficulty),
		"extraData":        hexutil.Bytes(h.Extra),
		"gasLimit":         hexutil.Uint64(h.GasLimit),
		"gasUsed":          hexutil.Uint64(h.GasUsed),
		"timestamp":        hexutil.Uint64(h.Time),
		"transactionsRoot": h.TxHash,
		"receiptsRoot":     h.ReceiptHash,
		"baseFeePerGas":    (*hexutil.Big)(h.BaseFee),
		"size":             hexutil.Uint64(len(stored)),
		"uncles":           []common.Hash{},
		"transactions":     txs,
	}
	if len(b.credits) > 0 {
		credits := make([]map[string]any, len(b.credits))
		for i, c := range b.credits {
			credits[i] = map[string]any{"address": c.Account, "amount": (*hexutil.Big)(c.Amount)}
		}
		m["systemCredits"] = credits
	}
	return m
}

// txJSON is a transaction as geth answers it, with publicKey and signature in place of v, r, s.
// b is nil for one that is in no block.
func txJSON(t *transaction, b *block, index int) map[string]any {
	m := map[string]any{
		"type":             hexutil.Uint64(t.Type),
		"hash":             t.hash,
		"from":             t.sender,
		"nonce":            hexutil.Uint64(t.Nonce),
		"gas":              hexutil.Uint64(t.Gas),
		"gasPrice":         (*hexutil.Big)(t.MaxFee),
		"to":               t.to(),
		"value":            (*hexutil.Big)(t.Value),
		"input":            hexutil.Bytes(t.Data),
		"chainId":          hexutil.Uint64(t.ChainID),
		"publicKey":        hexutil.Bytes(t.PublicKey),
		"signature":        hexutil.Bytes(t.Signature),
		"blockHash":        nil,
		"blockNumber":      nil,
		"blockTimestamp":   nil,
		"transactionIndex": nil,
	}
	if t.Type != tx.Legacy {
		m["accessList"] = t.access
	}
	if t.Type == tx.DynamicFee {
		m["maxFeePerGas"] = (*hexutil.Big)(t.MaxFee)
		m["maxPriorityFeePerGas"] = (*hexutil.Big)(t.Tip)
	}
	if b != nil {
		m["blockHash"] = b.hash
		m["blockNumber"] = (*hexutil.Big)(b.header.Number)
		m["blockTimestamp"] = hexutil.Uint64(b.header.Time)
		m["transactionIndex"] = hexutil.Uint64(index)
		m["gasPrice"] = (*hexutil.Big)(new(big.Int).Add(b.header.BaseFee, t.effectiveTip(b.header.BaseFee)))
	}
	return m
}

// receiptJSON is the index-th transaction's receipt as geth answers it.
func receiptJSON(b *block, index int) map[string]any {
	r, t := b.receipts[index], b.txs[index]
	logs := r.Logs
	if logs == nil {
		logs = []*types.Log{}
	}
	m := map[string]any{
		"blockHash":         b.hash,
		"blockNumber":       (*hexutil.Big)(b.header.Number),
		"transactionHash":   r.TxHash,
		"transactionIndex":  hexutil.Uint64(index),
		"from":              t.sender,
		"to":                t.to(),
		"gasUsed":           hexutil.Uint64(r.GasUsed),
		"cumulativeGasUsed": hexutil.Uint64(r.CumulativeGasUsed),
		"effectiveGasPrice": (*hexutil.Big)(r.EffectiveGasPrice),
		"contractAddress":   nil,
		"logs":              logs,
		"logsBloom":         r.Bloom,
		"type":              hexutil.Uint(r.Type),
		"status":            hexutil.Uint(r.Status),
	}
	if r.ContractAddress != (common.Address{}) {
		m["contractAddress"] = r.ContractAddress
	}
	return m
}
