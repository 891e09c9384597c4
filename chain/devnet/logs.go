package devnet

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/ethereum/go-ethereum/common"
	"github.com/ethereum/go-ethereum/core/types"
	"github.com/ethereum/go-ethereum/rpc"
)

// maxFilter bounds addresses and topics of one filter, geth's limit.
const maxFilter = 1000

// filter is the filter object of eth_getLogs.
type filter struct {
	BlockHash *common.Hash     `json:"blockHash"`
	FromBlock *rpc.BlockNumber `json:"fromBlock"`
	ToBlock   *rpc.BlockNumber `json:"toBlock"`
	Address   oneOrMany        `json:"address"`
	Topics    []oneOrMany      `json:"topics"`
}

// oneOrMany is null (anything), one hex value, or an array of them (any of these).
type oneOrMany [][]byte

// UnmarshalJSON takes all three forms.
func (o *oneOrMany) UnmarshalJSON(data []byte) error {
	var many []*hexValue
	if len(data) > 0 && data[0] == '"' {
		many = make([]*hexValue, 1)
		if err := json.Unmarshal(data, &many[0]); err != nil {
			return err
		}
	} else if err := json.Unmarshal(data, &many); err != nil {
		return err
	}
	if len(many) > maxFilter {
		return errors.New("exceed max addresses or topics per search position")
	}
	*o = nil
	for _, v := range many {
		if v == nil {
			*o = nil // a null among them matches anything
			return nil
		}
		*o = append(*o, *v)
	}
	return nil
}

// hexValue is an address or a topic.
type hexValue []byte

// UnmarshalText takes 20 or 32 bytes of 0x hex.
func (h *hexValue) UnmarshalText(text []byte) error {
	var topic common.Hash
	var address common.Address
	switch len(text) {
	case 2 + 2*common.HashLength:
		err := topic.UnmarshalText(text)
		*h = topic[:]
		return err
	case 2 + 2*common.AddressLength:
		err := address.UnmarshalText(text)
		*h = address[:]
		return err
	}
	return fmt.Errorf("hex has invalid length %d", len(text))
}

// has is true if value is one of them, or if there are none.
func (o oneOrMany) has(value []byte) bool {
	if len(o) == 0 {
		return true
	}
	for _, v := range o {
		if string(v) == string(value) {
			return true
		}
	}
	return false
}

// may is true if the bloom does not exclude all of them.
func (o oneOrMany) may(bloom types.Bloom) bool {
	if len(o) == 0 {
		return true
	}
	for _, v := range o {
		if bloom.Test(v) {
			return true
		}
	}
	return false
}

func (f *filter) may(bloom types.Bloom) bool {
	if !f.Address.may(bloom) {
		return false
	}
	for _, t := range f.Topics {
		if !t.may(bloom) {
			return false
		}
	}
	return true
}

func (f *filter) has(l *types.Log) bool {
	if !f.Address.has(l.Address[:]) || len(f.Topics) > len(l.Topics) {
		return false
	}
	for i, t := range f.Topics {
		if !t.has(l.Topics[i][:]) {
			return false
		}
	}
	return true
}

// GetLogs finds the log entries that a filter describes, in the order of the chain.
func (a *ethAPI) GetLogs(f filter) ([]*types.Log, error) {
	if len(f.Topics) > 4 {
		return nil, errors.New("exceed max topics")
	}
	found := []*types.Log{}
	take := func(b *block) error {
		for _, r := range b.receipts {
			for _, l := range r.Logs {
				if f.has(l) {
					found = append(found, l)
				}
			}
		}
		if len(found) > maxLogs {
			return fmt.Errorf("query returns more than %d results: narrow its blocks", maxLogs)
		}
		return nil
	}
	if f.BlockHash != nil {
		if f.FromBlock != nil || f.ToBlock != nil {
			return nil, errors.New("cannot specify both BlockHash and FromBlock/ToBlock, choose one or the other")
		}
		b, err := a.n.at(rpc.BlockNumberOrHashWithHash(*f.BlockHash, false))
		if err != nil {
			return nil, err
		}
		if b == nil {
			return nil, errors.New("unknown block")
		}
		err = take(b)
		return found, err
	}
	err := a.n.eachWithLogs(f, take)
	return found, err
}

// eachWithLogs calls take with each block of f's range whose bloom allows a match.
func (n *Node) eachWithLogs(f filter, take func(*block) error) error {
	newest := n.visible()
	resolve := func(number *rpc.BlockNumber) uint64 {
		switch {
		case number == nil || *number == rpc.LatestBlockNumber || *number == rpc.PendingBlockNumber:
			return newest
		case *number < 0: // earliest, safe, finalized: this chain finalizes nothing
			return 0
		}
		return uint64(*number)
	}
	from, to := resolve(f.FromBlock), min(resolve(f.ToBlock), newest)
	if f.FromBlock != nil && f.ToBlock != nil && *f.FromBlock >= 0 && *f.ToBlock >= 0 && *f.FromBlock > *f.ToBlock {
		return errors.New("invalid block range params")
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.withLogs(from, to, func(number uint64, bloom []byte) (bool, error) {
		if !f.may(types.BytesToBloom(bloom)) {
			return true, nil
		}
		b, err := n.blockByNumber(number)
		if err != nil {
			return false, err
		}
		return true, take(b)
	})
}
