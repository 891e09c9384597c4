package devnet

import (
	"bytes"
	"fmt"
	"math/big"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/crypto"
	"github.com/ethereum/go-ethereum/rlp"
	"github.com/holiman/uint256"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// transaction is a decoded transaction in the types that the EVM takes.
type transaction struct {
	*tx.Signed
	hash   common.Hash
	sender common.Address
	access types.AccessList // nil for a legacy transaction
}

// decode reads raw for the chain with chainID; it verifies nothing but the form.
func decode(raw []byte, chainID uint64) (*transaction, error) {
	s, err := tx.Decode(tx.KindQuantum, raw)
	if err != nil {
		return nil, err
	}
	if s.Type == tx.Legacy {
		// The encoding is silent; the signature holds for this chain or for none.
		s.ChainID = chainID
	}
	t := &transaction{Signed: s, hash: common.Hash(s.Hash), sender: common.Address(s.Sender)}
	if s.Type != tx.Legacy {
		t.access = make(types.AccessList, 0, len(s.AccessList))
	}
	for _, a := range s.AccessList {
		keys := make([]common.Hash, len(a.StorageKeys))
		for i, k := range a.StorageKeys {
			keys[i] = common.Hash(k)
		}
		t.access = append(t.access, types.AccessTuple{Address: common.Address(a.Address), StorageKeys: keys})
	}
	return t, nil
}

// to is nil for a contract creation.
func (t *transaction) to() *common.Address { return (*common.Address)(t.Signed.To) }

// cost is the most that the transaction can take from its sender, in wei.
func (t *transaction) cost() *big.Int {
	c := new(big.Int).SetUint64(t.Gas)
	c.Mul(c, t.MaxFee)
	return c.Add(c, t.Value)
}

// effectiveTip is what its author earns per gas at baseFee; negative if it cannot be mined there.
func (t *transaction) effectiveTip(baseFee *big.Int) *big.Int {
	left := new(big.Int).Sub(t.MaxFee, baseFee)
	if left.Cmp(t.Tip) > 0 {
		return new(big.Int).Set(t.Tip)
	}
	return left
}

// message is the transaction as the EVM takes it. Its numbers were found to fit 256 bits when the
// pool took it.
func (t *transaction) message(baseFee *big.Int) *core.Message {
	price := new(big.Int).Add(baseFee, t.effectiveTip(baseFee))
	return &core.Message{
		From:       t.sender,
		To:         t.to(),
		Nonce:      t.Nonce,
		Value:      uint256.MustFromBig(t.Value),
		GasLimit:   t.Gas,
		GasPrice:   uint256.MustFromBig(price),
		GasFeeCap:  uint256.MustFromBig(t.MaxFee),
		GasTipCap:  uint256.MustFromBig(t.Tip),
		Data:       t.Data,
		AccessList: t.access,
	}
}

// credit is coins out of nothing: devnet_fund's gift, part of the block like a transaction, so
// that executing the chain again gives the same state.
type credit struct {
	Account common.Address
	Amount  *big.Int // wei
}

// creditsHash stands in the header's extra data, so that a block's hash covers its credits.
func creditsHash(credits []credit) []byte {
	if len(credits) == 0 {
		return nil
	}
	b, err := rlp.EncodeToBytes(credits)
	if err != nil {
		panic(err) // addresses and non-negative numbers always encode
	}
	return crypto.Keccak256(b)
}

// block is a block with all that is known of it. It is never changed once made.
type block struct {
	header   *types.Header
	hash     common.Hash
	txs      []*transaction
	credits  []credit
	receipts []*types.Receipt // as many as txs
}

func (b *block) number() uint64 { return b.header.Number.Uint64() }

// rawTransactions is the transactions' list of types.DeriveSha.
type rawTransactions []*transaction

func (r rawTransactions) Len() int { return len(r) }

func (r rawTransactions) EncodeIndex(i int, w *bytes.Buffer) { w.Write(r[i].Raw) }

// storedBlock is the form on disk; what follows from it is not stored.
type storedBlock struct {
	Header   *types.Header
	Txs      [][]byte
	Credits  []credit
	Receipts []storedReceipt
}

type storedReceipt struct {
	Status  uint64
	GasUsed uint64
	Logs    []*types.Log
}

func (b *block) encode() ([]byte, error) {
	s := storedBlock{Header: b.header, Credits: b.credits}
	for i, t := range b.txs {
		s.Txs = append(s.Txs, t.Raw)
		r := b.receipts[i]
		s.Receipts = append(s.Receipts, storedReceipt{r.Status, r.GasUsed, r.Logs})
	}
	return rlp.EncodeToBytes(s)
}

func decodeBlock(data []byte, chainID uint64) (*block, error) {
	var s storedBlock
	if err := rlp.DecodeBytes(data, &s); err != nil {
		return nil, fmt.Errorf("stored block: %w", err)
	}
	b := &block{header: s.Header, hash: s.Header.Hash(), credits: s.Credits}
	for i, raw := range s.Txs {
		t, err := decode(raw, chainID)
		if err != nil {
			return nil, fmt.Errorf("transaction %d of block %d: %w", i, b.number(), err)
		}
		b.txs = append(b.txs, t)
		r := s.Receipts[i]
		b.receipts = append(b.receipts, newReceipt(t, r.Status, r.GasUsed, r.Logs))
	}
	b.complete()
	return b, nil
}

// newReceipt holds what the transaction alone decides.
func newReceipt(t *transaction, status, gasUsed uint64, logs []*types.Log) *types.Receipt {
	r := &types.Receipt{Type: uint8(t.Type), Status: status, GasUsed: gasUsed, Logs: logs, TxHash: t.hash}
	if t.To == nil {
		r.ContractAddress = crypto.CreateAddress(t.sender, t.Nonce)
	}
	r.Bloom = types.CreateBloom(r)
	return r
}

// complete fills in what a receipt and its logs have from their place in the finished block.
func (b *block) complete() {
	var cumulative uint64
	var logIndex uint
	for i, r := range b.receipts {
		cumulative += r.GasUsed
		r.CumulativeGasUsed = cumulative
		r.EffectiveGasPrice = new(big.Int).Add(b.header.BaseFee, b.txs[i].effectiveTip(b.header.BaseFee))
		r.BlockHash, r.BlockNumber, r.TransactionIndex = b.hash, b.header.Number, uint(i)
		for _, l := range r.Logs {
			l.BlockNumber, l.BlockHash, l.BlockTimestamp = b.number(), b.hash, b.header.Time
			l.TxHash, l.TxIndex, l.Index = r.TxHash, uint(i), logIndex
			logIndex++
		}
	}
}

// logs counts the block's log entries.
func (b *block) logs() (n int) {
	for _, r := range b.receipts {
		n += len(r.Logs)
	}
	return n
}
