package chain

import (
	"context"
	"errors"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// TxStatus is what a node says became of a transaction. The zero value: it knows nothing of it.
type TxStatus struct {
	// Found: it waits or is mined.
	Found bool
	// Mined: it is in a block; the fields below are set only then.
	Mined bool

	BlockNumber   uint64
	BlockHash     tx.Hash
	Confirmations uint64 // 1 in the newest block
	// Success is false for a transaction that was mined but failed.
	Success           bool
	GasUsed           uint64
	EffectiveGasPrice *big.Int // wei per gas
	// ContractAddress is nil unless the transaction creates a contract.
	ContractAddress *tx.Address
	// RevertReason is one printable line, empty on success.
	RevertReason string
	// Final: Confirmations is at least the network's, the block is the canonical one of its number,
	// and the receipt, read again after that was known, still says the same.
	Final bool
}

type receipt struct {
	TransactionHash   *hash           `json:"transactionHash"`
	BlockHash         *hash           `json:"blockHash"`
	BlockNumber       *hexutil.Uint64 `json:"blockNumber"`
	Status            *hexutil.Uint64 `json:"status"`
	GasUsed           *hexutil.Uint64 `json:"gasUsed"`
	EffectiveGasPrice *hexutil.Big    `json:"effectiveGasPrice"`
	ContractAddress   *address        `json:"contractAddress"`
}

type transaction struct {
	Hash  *hash          `json:"hash"`
	From  address        `json:"from"`
	To    *address       `json:"to"`
	Gas   hexutil.Uint64 `json:"gas"`
	Value *hexutil.Big   `json:"value"`
	Input hexutil.Bytes  `json:"input"`
}

// Status asks one node what became of a transaction.
func (c *Client) Status(ctx context.Context, txHash tx.Hash) (TxStatus, error) {
	return ask(ctx, c, func(s session) (TxStatus, error) { return s.status(txHash, c.net.Confirmations) })
}

// StatusUnder is Status as far as the chain goes whose newest block is head, for half of the questions: the depth is
// known before the receipt is read. canonical tells the hash of that chain's block at a number, and may be told by what
// it was answered before, for a block's hash names all before it. Two nodes that differ may answer for the two, so that
// what is final here is final by one node's word only where there is one.
func (c *Client) StatusUnder(ctx context.Context, txHash tx.Hash, head Head, canonical func(context.Context, uint64) (tx.Hash, error)) (TxStatus, error) {
	st, err := ask(ctx, c, func(s session) (TxStatus, error) { return s.mined(txHash) })
	if err != nil || !st.Mined || head.Number < st.BlockNumber {
		return st, err
	}
	st.Confirmations = head.Number - st.BlockNumber + 1
	if st.Confirmations < c.net.Confirmations {
		return st, nil
	}
	hash, err := canonical(ctx, st.BlockNumber)
	st.Final = err == nil && hash == st.BlockHash
	return st, err
}

// mined is what became of a transaction but for its depth.
func (s session) mined(txHash tx.Hash) (TxStatus, error) {
	r, err := s.receipt(txHash)
	if err != nil {
		return TxStatus{}, err
	}
	if r == nil {
		t, err := s.transaction(txHash)
		return TxStatus{Found: t != nil}, err
	}
	st := TxStatus{
		Found: true, Mined: true,
		BlockNumber: uint64(*r.BlockNumber), BlockHash: tx.Hash(*r.BlockHash),
		Success: *r.Status == 1, GasUsed: uint64(*r.GasUsed), EffectiveGasPrice: r.EffectiveGasPrice.ToInt(),
		ContractAddress: (*tx.Address)(r.ContractAddress),
	}
	if !st.Success {
		st.RevertReason, err = s.reason(txHash, st)
	}
	return st, err
}

func (s session) status(txHash tx.Hash, confirmations uint64) (TxStatus, error) {
	st, err := s.mined(txHash)
	if err != nil || !st.Mined {
		return st, err
	}
	var newest *hexutil.Uint64
	if err := s.ask(&newest, "eth_blockNumber"); err != nil {
		return TxStatus{}, err
	}
	if newest == nil {
		return TxStatus{}, fmt.Errorf("%w: newest block's number", errAnswer)
	}
	if uint64(*newest) < st.BlockNumber {
		return st, nil // a reorg happens just now, or behind this address are several nodes
	}
	st.Confirmations = uint64(*newest) - st.BlockNumber + 1
	if st.Confirmations >= confirmations {
		st.Final, err = s.stands(txHash, st)
	}
	return st, err
}

// receipt is nil without an error if the transaction is in no block.
func (s session) receipt(txHash tx.Hash) (*receipt, error) {
	var r *receipt
	if err := s.ask(&r, "eth_getTransactionReceipt", hexutil.Encode(txHash[:])); err != nil || r == nil {
		return nil, err
	}
	if r.TransactionHash == nil || tx.Hash(*r.TransactionHash) != txHash || r.BlockHash == nil || r.BlockNumber == nil ||
		r.Status == nil || *r.Status > 1 || r.GasUsed == nil || r.EffectiveGasPrice == nil {
		return nil, fmt.Errorf("%w: receipt of %s", errAnswer, txHash)
	}
	return r, nil
}

// transaction is nil without an error if the node does not know it.
func (s session) transaction(txHash tx.Hash) (*transaction, error) {
	var t *transaction
	if err := s.ask(&t, "eth_getTransactionByHash", hexutil.Encode(txHash[:])); err != nil || t == nil {
		return nil, err
	}
	if t.Hash == nil || tx.Hash(*t.Hash) != txHash {
		return nil, fmt.Errorf("%w: transaction %s", errAnswer, txHash)
	}
	return t, nil
}

// stands reads the canonical block and the receipt again, now that the depth is known.
func (s session) stands(txHash tx.Hash, st TxStatus) (bool, error) {
	var h *header
	if err := s.ask(&h, "eth_getBlockByNumber", hexutil.EncodeUint64(st.BlockNumber), false); err != nil {
		return false, err
	}
	again, err := s.receipt(txHash)
	if err != nil || again == nil || h == nil || h.Hash == nil {
		return false, err
	}
	return tx.Hash(*h.Hash) == st.BlockHash && tx.Hash(*again.BlockHash) == st.BlockHash && (*again.Status == 1) == st.Success, nil
}

// reason executes a failed transaction again to learn why: on the state before its block, and if
// it succeeds there, because what stopped it stands in the same block, on the state after.
func (s session) reason(txHash tx.Hash, st TxStatus) (string, error) {
	t, err := s.transaction(txHash)
	if err != nil {
		return "", err
	}
	if t == nil {
		return "", fmt.Errorf("%w: transaction %s is mined but unknown", errAnswer, txHash)
	}
	args := callObject{From: hexutil.Encode(t.From[:]), Data: t.Input, Gas: t.Gas, Value: t.Value}
	if t.To != nil {
		args.To = hexutil.Encode(t.To[:])
	}
	for _, at := range []uint64{max(st.BlockNumber, 1) - 1, st.BlockNumber} {
		_, err := s.call(args, hexutil.EncodeUint64(at))
		var revert *RevertError
		var refused *RPCError
		switch {
		case errors.As(err, &revert):
			return revert.Reason, nil
		case errors.As(err, &refused): // the node no longer has that state
		case err != nil:
			return "", err
		}
	}
	if st.GasUsed == uint64(t.Gas) {
		return "out of gas", nil
	}
	return "failed, for a reason that executing it again does not show", nil
}
