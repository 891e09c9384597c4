package chain

import (
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
)

// Strategy is how much tip to offer; the zero value is none.
type Strategy string

// The strategies, by the percentile of what recent blocks' transactions paid.
const (
	Low    Strategy = "LOW"    // 10th
	Medium Strategy = "MEDIUM" // 50th
	High   Strategy = "HIGH"   // 90th
)

// Valid is true of the three.
func (s Strategy) Valid() bool { return s.percentile() != 0 }

func (s Strategy) percentile() int {
	switch s {
	case Low:
		return 10
	case Medium:
		return 50
	case High:
		return 90
	}
	return 0
}

// feeBlocks is how many recent blocks the percentiles are taken of.
const feeBlocks = 20

// tipFloor is the least tip that is offered, in wei per gas: 0.001 gwei, below which geth's miner
// takes nothing by default.
var tipFloor = big.NewInt(1_000_000)

// Fees are what a transaction offers per gas, in wei.
type Fees struct {
	MaxFee *big.Int // 2 × base fee + Tip: good for six full blocks in a row
	Tip    *big.Int
}

type feeHistory struct {
	BaseFeePerGas []*hexutil.Big   `json:"baseFeePerGas"`
	GasUsedRatio  []float64        `json:"gasUsedRatio"`
	Reward        [][]*hexutil.Big `json:"reward"`
}

// Fees suggests fees for the next block: the tip is the median, over recent blocks that are not
// empty, of the strategy's percentile; if all are empty, what the node suggests. Of several nodes the
// median is taken, the higher of two: what one of them alone says is too little would be in no block,
// and its nonce is spent.
func (c *Client) Fees(ctx context.Context, s Strategy) (Fees, error) {
	p := s.percentile()
	if p == 0 {
		return Fees{}, fmt.Errorf("fee strategy %q is none of LOW, MEDIUM, HIGH", string(s))
	}
	said, err := heard(ctx, c, func(s session) (price, error) { return s.price(p) })
	if err != nil {
		return Fees{}, err
	}
	tip := median(said, func(p price) *big.Int { return p.tip })
	if tip.Cmp(tipFloor) < 0 {
		tip = tipFloor
	}
	maxFee := new(big.Int).Lsh(median(said, func(p price) *big.Int { return p.base }), 1)
	maxFee.Add(maxFee, tip)
	if maxFee.BitLen() > 256 {
		return Fees{}, fmt.Errorf("%w: fees above 2^256", errAnswer)
	}
	return Fees{MaxFee: maxFee, Tip: new(big.Int).Set(tip)}, nil
}

// price is what one node says of the next block, in wei per gas.
type price struct{ base, tip *big.Int }

// median is the higher one of two in the middle.
func median(said []price, of func(price) *big.Int) *big.Int {
	var all []*big.Int
	for _, p := range said {
		all = append(all, of(p))
	}
	slices.SortFunc(all, (*big.Int).Cmp)
	return all[len(all)/2]
}

func (s session) price(percentile int) (price, error) {
	var h *feeHistory
	if err := s.ask(&h, "eth_feeHistory", hexutil.Uint64(feeBlocks), "latest", []int{percentile}); err != nil {
		return price{}, err
	}
	if h == nil || len(h.BaseFeePerGas) == 0 || h.BaseFeePerGas[len(h.BaseFeePerGas)-1] == nil {
		return price{}, fmt.Errorf("%w: fee history", errAnswer)
	}
	tip, err := s.tip(h)
	return price{h.BaseFeePerGas[len(h.BaseFeePerGas)-1].ToInt(), tip}, err // the next block's
}

// tip is the median of the history's rewards, or the node's suggestion.
func (s session) tip(h *feeHistory) (*big.Int, error) {
	var tips []*big.Int
	for i, r := range h.Reward {
		if i < len(h.GasUsedRatio) && h.GasUsedRatio[i] > 0 && len(r) > 0 && r[0] != nil {
			tips = append(tips, r[0].ToInt())
		}
	}
	if len(tips) > 0 {
		slices.SortFunc(tips, (*big.Int).Cmp)
		return tips[len(tips)/2], nil
	}
	var suggested *hexutil.Big
	if err := s.ask(&suggested, "eth_maxPriorityFeePerGas"); err != nil {
		return nil, err
	}
	return amount(suggested, "suggested tip")
}
