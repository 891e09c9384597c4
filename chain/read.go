package chain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/ethereum/go-ethereum/common/hexutil"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// Head is the newest block that a node has.
type Head struct {
	Number  uint64
	Hash    tx.Hash
	Time    time.Time
	BaseFee *big.Int // wei per gas of this block
}

// header is what we read of a block.
type header struct {
	Number        *hexutil.Uint64 `json:"number"`
	Hash          *hash           `json:"hash"`
	Timestamp     *hexutil.Uint64 `json:"timestamp"`
	BaseFeePerGas *hexutil.Big    `json:"baseFeePerGas"`
}

// hash and address are read in whatever case a node writes them.
type (
	hash    [32]byte
	address [20]byte
)

// UnmarshalText takes 0x and 64 hex digits.
func (h *hash) UnmarshalText(text []byte) error {
	return hexutil.UnmarshalFixedText("hash", text, h[:])
}

// String is the usual text.
func (h hash) String() string { return hexutil.Encode(h[:]) }

// UnmarshalText takes 0x and 40 hex digits.
func (a *address) UnmarshalText(text []byte) error {
	return hexutil.UnmarshalFixedText("address", text, a[:])
}

// Head asks for the newest block.
func (c *Client) Head(ctx context.Context) (Head, error) {
	h, err := ask(ctx, c, session.newest)
	if err == nil {
		c.metrics.saw(h)
	}
	return h, err
}

// newest asks one node, and notes how new its newest block is.
func (s session) newest() (Head, error) {
	var h *header
	if err := s.ask(&h, "eth_getBlockByNumber", "latest", false); err != nil {
		return Head{}, err
	}
	if h == nil || h.Number == nil || h.Hash == nil || h.Timestamp == nil || h.BaseFeePerGas == nil || *h.Timestamp > 1<<40 {
		return Head{}, fmt.Errorf("%w: newest block", errAnswer)
	}
	head := Head{uint64(*h.Number), tx.Hash(*h.Hash), time.Unix(int64(*h.Timestamp), 0).UTC(), h.BaseFeePerGas.ToInt()}
	s.told(head)
	return head, nil
}

// Balance is in wei, at the newest block.
func (c *Client) Balance(ctx context.Context, account tx.Address) (*big.Int, error) {
	return ask(ctx, c, func(s session) (*big.Int, error) {
		var b *hexutil.Big
		if err := s.ask(&b, "eth_getBalance", hexutil.Encode(account[:]), "latest"); err != nil {
			return nil, err
		}
		return amount(b, "balance")
	})
}

// NonceAt is the account's next nonce after the block with that number, the newest one if nil.
// Transactions that wait do not count.
func (c *Client) NonceAt(ctx context.Context, account tx.Address, block *big.Int) (uint64, error) {
	if block != nil && (block.Sign() < 0 || !block.IsUint64()) {
		return 0, fmt.Errorf("block number %v is out of range", block)
	}
	return ask(ctx, c, func(s session) (uint64, error) { return s.nonceAt(account, block) })
}

func (s session) nonceAt(account tx.Address, block *big.Int) (uint64, error) {
	at := "latest"
	if block != nil {
		at = hexutil.EncodeBig(block)
	}
	var n *hexutil.Uint64
	if err := s.ask(&n, "eth_getTransactionCount", hexutil.Encode(account[:]), at); err != nil {
		return 0, err
	}
	if n == nil {
		return 0, fmt.Errorf("%w: nonce", errAnswer)
	}
	return uint64(*n), nil
}

// HashAt is the canonical block's hash at a number; the zero hash if the chain is not that long.
func (c *Client) HashAt(ctx context.Context, number uint64) (tx.Hash, error) {
	return ask(ctx, c, func(s session) (tx.Hash, error) { return s.hashAt(number) })
}

func (s session) hashAt(number uint64) (tx.Hash, error) {
	var h *header
	if err := s.ask(&h, "eth_getBlockByNumber", hexutil.EncodeUint64(number), false); err != nil || h == nil {
		return tx.Hash{}, err
	}
	if h.Hash == nil {
		return tx.Hash{}, fmt.Errorf("%w: block %d", errAnswer, number)
	}
	return tx.Hash(*h.Hash), nil
}

// Code is an account's runtime code at the newest block, empty for one that is no contract.
func (c *Client) Code(ctx context.Context, account tx.Address) ([]byte, error) {
	return ask(ctx, c, func(s session) ([]byte, error) {
		var code *hexutil.Bytes
		if err := s.ask(&code, "eth_getCode", hexutil.Encode(account[:]), "latest"); err != nil {
			return nil, err
		}
		if code == nil {
			return nil, fmt.Errorf("%w: code", errAnswer)
		}
		return *code, nil
	})
}

// callObject is the argument of eth_call and eth_estimateGas.
type callObject struct {
	From  string         `json:"from"`
	To    string         `json:"to,omitempty"`
	Data  hexutil.Bytes  `json:"data"`
	Gas   hexutil.Uint64 `json:"gas,omitempty"`
	Value *hexutil.Big   `json:"value,omitempty"`
}

// Call executes a call at the newest block without a transaction and gives what it returns.
// *RevertError if the EVM would not carry it out.
func (c *Client) Call(ctx context.Context, from, to tx.Address, data []byte) ([]byte, error) {
	args := callObject{From: hexutil.Encode(from[:]), To: hexutil.Encode(to[:]), Data: data}
	return ask(ctx, c, func(s session) ([]byte, error) { return s.call(args, "latest") })
}

func (s session) call(args callObject, at string) ([]byte, error) {
	var out *hexutil.Bytes
	if err := s.ask(&out, "eth_call", args, at); err != nil {
		return nil, err
	}
	if out == nil {
		return nil, fmt.Errorf("%w: result of a call", errAnswer)
	}
	return *out, nil
}

// EstimateGas is about the least gas with which the call succeeds at the newest block; to is nil
// for a contract creation. *RevertError if it succeeds with none. Of several nodes the median is
// taken, the higher of two, as of fees, and a call that a node would not carry out needs more than
// any: with less than it needs a transaction fails, and its nonce and its fee are spent.
func (c *Client) EstimateGas(ctx context.Context, from tx.Address, to *tx.Address, data []byte) (uint64, error) {
	args := callObject{From: hexutil.Encode(from[:]), Data: data}
	if to != nil {
		args.To = hexutil.Encode(to[:])
	}
	said, err := heard(ctx, c, func(s session) (need, error) { return s.estimate(args) })
	if err != nil {
		return 0, err
	}
	slices.SortFunc(said, func(a, b need) int { return cmp.Compare(a.gas, b.gas) })
	middle := said[len(said)/2]
	if middle.revert != nil {
		return 0, middle.revert
	}
	return middle.gas, nil
}

// need is what one node says that a call needs; with revert no gas is enough.
type need struct {
	gas    uint64
	revert *RevertError
}

func (s session) estimate(args callObject) (need, error) {
	var gas *hexutil.Uint64
	err := s.ask(&gas, "eth_estimateGas", args)
	var revert *RevertError
	switch {
	case errors.As(err, &revert):
		return need{math.MaxUint64, revert}, nil
	case err != nil:
		return need{}, err
	case gas == nil:
		return need{}, fmt.Errorf("%w: gas estimate", errAnswer)
	}
	return need{gas: uint64(*gas)}, nil
}

// amount is a number of at most 256 bits; hexutil refuses more, and signs.
func amount(b *hexutil.Big, what string) (*big.Int, error) {
	if b == nil {
		return nil, fmt.Errorf("%w: %s", errAnswer, what)
	}
	return b.ToInt(), nil
}
