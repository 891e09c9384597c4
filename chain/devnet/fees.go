package devnet

import (
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common/hexutil"
	"github.com/ethereum/go-ethereum/common/math"
	"github.com/ethereum/go-ethereum/consensus/misc/eip1559"
	"github.com/ethereum/go-ethereum/params"
	"github.com/ethereum/go-ethereum/rpc"
)

const (
	maxFeeBlocks   = 1024 // geth's limit of eth_feeHistory with percentiles
	maxPercentiles = 100
	tipBlocks      = 20 // newest blocks that a suggested tip looks at
	tipPercentile  = 60 // geth's
)

// idleTip is suggested while no recent block has transactions: 1 gwei.
var idleTip = big.NewInt(params.GWei)

// MaxPriorityFeePerGas suggests a tip: the 60th percentile of the newest blocks' tips, or 1 gwei.
func (a *ethAPI) MaxPriorityFeePerGas() (*hexutil.Big, error) {
	b, err := a.n.mustAt(latest(nil))
	var tips []*big.Int
	for range tipBlocks {
		if err != nil {
			return nil, err
		}
		for _, t := range b.txs {
			tips = append(tips, t.effectiveTip(b.header.BaseFee))
		}
		if b.number() == 0 {
			break
		}
		b, err = a.n.mustAt(rpc.BlockNumberOrHashWithNumber(rpc.BlockNumber(b.number() - 1)))
	}
	if len(tips) == 0 {
		return (*hexutil.Big)(idleTip), nil
	}
	slices.SortFunc(tips, (*big.Int).Cmp)
	return (*hexutil.Big)(tips[(len(tips)-1)*tipPercentile/100]), nil
}

// GasPrice suggests a price for legacy transactions: base fee and suggested tip.
func (a *ethAPI) GasPrice() (*hexutil.Big, error) {
	tip, err := a.MaxPriorityFeePerGas()
	if err != nil {
		return nil, err
	}
	b, err := a.n.mustAt(latest(nil))
	if err != nil {
		return nil, err
	}
	return (*hexutil.Big)(new(big.Int).Add(tip.ToInt(), b.header.BaseFee)), nil
}

type feeHistory struct {
	OldestBlock   *hexutil.Big     `json:"oldestBlock"`
	BaseFeePerGas []*hexutil.Big   `json:"baseFeePerGas"` // one more than blocks: the next block's
	GasUsedRatio  []float64        `json:"gasUsedRatio"`
	Reward        [][]*hexutil.Big `json:"reward,omitempty"`
}

// FeeHistory is geth's: base fees, fullness, and percentiles of the tips by gas.
func (a *ethAPI) FeeHistory(count math.HexOrDecimal64, newest rpc.BlockNumber, percentiles []float64) (*feeHistory, error) {
	if err := checkPercentiles(percentiles); err != nil {
		return nil, err
	}
	last, err := a.n.at(rpc.BlockNumberOrHashWithNumber(newest))
	if err != nil {
		return nil, err
	}
	if last == nil {
		return nil, fmt.Errorf("request beyond head block: requested %d, head %d", newest, a.n.visible())
	}
	blocks := min(uint64(count), maxFeeBlocks, last.number()+1)
	if blocks == 0 {
		return &feeHistory{OldestBlock: new(hexutil.Big), GasUsedRatio: []float64{}}, nil
	}
	oldest := last.number() + 1 - blocks
	h := &feeHistory{OldestBlock: (*hexutil.Big)(new(big.Int).SetUint64(oldest))}
	for number := oldest; number <= last.number(); number++ {
		b, err := a.n.mustAt(rpc.BlockNumberOrHashWithNumber(rpc.BlockNumber(number)))
		if err != nil {
			return nil, err
		}
		h.BaseFeePerGas = append(h.BaseFeePerGas, (*hexutil.Big)(b.header.BaseFee))
		h.GasUsedRatio = append(h.GasUsedRatio, float64(b.header.GasUsed)/float64(b.header.GasLimit))
		if len(percentiles) > 0 {
			h.Reward = append(h.Reward, b.rewards(percentiles))
		}
	}
	h.BaseFeePerGas = append(h.BaseFeePerGas, (*hexutil.Big)(eip1559.CalcBaseFee(a.n.config, last.header)))
	return h, nil
}

func checkPercentiles(percentiles []float64) error {
	if len(percentiles) > maxPercentiles {
		return fmt.Errorf("invalid reward percentile: over the query limit %d", maxPercentiles)
	}
	for i, p := range percentiles {
		if p < 0 || p > 100 || p != p {
			return fmt.Errorf("invalid reward percentile: %f", p)
		}
		if i > 0 && p <= percentiles[i-1] {
			return errors.New("invalid reward percentile: not ascending")
		}
	}
	return nil
}

// rewards is the block's tips at percentiles of its gas, all zero for a block without transactions.
func (b *block) rewards(percentiles []float64) []*hexutil.Big {
	type reward struct {
		gas uint64
		tip *big.Int
	}
	byTip := make([]reward, len(b.txs))
	for i, t := range b.txs {
		byTip[i] = reward{b.receipts[i].GasUsed, t.effectiveTip(b.header.BaseFee)}
	}
	slices.SortStableFunc(byTip, func(x, y reward) int { return x.tip.Cmp(y.tip) })
	out := make([]*hexutil.Big, len(percentiles))
	at, sum := -1, uint64(0)
	for i, p := range percentiles {
		if len(byTip) == 0 {
			out[i] = new(hexutil.Big)
			continue
		}
		threshold := uint64(float64(b.header.GasUsed) * p / 100)
		for at < 0 || (sum < threshold && at < len(byTip)-1) {
			at++
			sum += byTip[at].gas
		}
		out[i] = (*hexutil.Big)(byTip[at].tip)
	}
	return out
}
