package reconciliation

import (
	"encoding/json/v2"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// The keys of a token's reconciliation.
const root = "/mw/reconciliation/"

func progressKey(tokenID string) string { return root + tokenID + "/progress" }

// findings stand newest first.
func findingsPrefix(tokenID string) string { return root + tokenID + "/finding/" }

func findingKey(tokenID string, block, index uint64) string {
	return fmt.Sprintf("%s%020d/%020d", findingsPrefix(tokenID), math.MaxUint64-block, math.MaxUint64-index)
}

// pending are findings that nothing was frozen for yet, oldest first.
func pendingPrefix(tokenID string) string { return root + tokenID + "/pending/" }

func pendingKey(tokenID string, block, index uint64) string {
	return fmt.Sprintf("%s%020d/%020d", pendingPrefix(tokenID), block, index)
}

// progress is how far a token's reconciliation is: every event up to Block is in the sums, with it, and of the block
// behind it those before Index.
type progress struct {
	TokenID   string     `json:"tokenId"`
	Network   string     `json:"network"`
	Contract  tx.Address `json:"contractAddress"`
	FromBlock uint64     `json:"fromBlock"` // the first block that counts
	Base      number     `json:"base"`      // supply before it; more than none for a token that was imported

	Block     uint64  `json:"block"`
	BlockHash tx.Hash `json:"blockHash"`
	Index     uint64  `json:"index,omitzero"`

	Minted    number `json:"minted"` // by events, matched or not
	Burned    number `json:"burned"`
	Events    uint64 `json:"events"`
	External  uint64 `json:"external"`
	Unmatched uint64 `json:"unmatched"`
	Kept      uint64 `json:"kept"` // findings that a freeze answered for
	// Denied are findings that most nodes said are not in the chain.
	Denied uint64 `json:"denied,omitzero"`

	// Operations up to Counted, an id, are in these sums.
	Counted   string `json:"counted,omitzero"`
	OpsMinted number `json:"opsMinted"`
	OpsBurned number `json:"opsBurned"`

	// What the last comparison found, all at Block.
	ContractSupply   number    `json:"contractSupply"`
	OperationsSupply number    `json:"operationsSupply"`
	Compared         bool      `json:"compared"` // caught up, and no operation's end is on its way
	Told             bool      `json:"told"`     // that the supplies differ
	CheckedAt        time.Time `json:"checkedAt"`
}

// of tells whether it is of the contract that a token has now, from the block on in which that is: a token may be deployed
// again, and its deployment may come to stand in another block.
func (p *progress) of(token *registry.Token) bool {
	return token.ContractAddress != nil && p.Contract == *token.ContractAddress && p.FromBlock == firstBlock(token)
}

// eventsSupply is the supply by the events.
func (p *progress) eventsSupply() *big.Int {
	sum := new(big.Int).Add(&p.Base.Int, &p.Minted.Int)
	return sum.Sub(sum, &p.Burned.Int)
}

// agrees tells whether the three supplies are one.
func (p *progress) agrees() bool {
	events := p.eventsSupply()
	return events.Cmp(&p.ContractSupply.Int) == 0 && events.Cmp(&p.OperationsSupply.Int) == 0
}

// clone is a copy that shares nothing.
func (p *progress) clone() *progress {
	c := *p
	for _, n := range []struct{ to, from *number }{{&c.Base, &p.Base}, {&c.Minted, &p.Minted}, {&c.Burned, &p.Burned},
		{&c.OpsMinted, &p.OpsMinted}, {&c.OpsBurned, &p.OpsBurned}, {&c.ContractSupply, &p.ContractSupply}, {&c.OperationsSupply, &p.OperationsSupply}} {
		n.to.Int = big.Int{}
		n.to.Set(&n.from.Int)
	}
	return &c
}

func (p *progress) encode() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("reconciliation: progress of %s does not encode: %v", p.TokenID, err)) // no value of these types can do that
	}
	return b
}

func decodeProgress(b []byte) (*progress, error) {
	var p progress
	if err := json.Unmarshal(b, &p, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reconciliation: stored progress: %w", err)
	}
	if !store.ValidID("token_", p.TokenID) {
		return nil, fmt.Errorf("reconciliation: stored progress of %q", p.TokenID)
	}
	return &p, nil
}

// finding is an event that nobody authorized.
type finding struct {
	event
	TokenID   string     `json:"tokenId"`
	Network   string     `json:"network"`
	Contract  tx.Address `json:"contractAddress"`
	TxHash    tx.Hash    `json:"transactionHash"`
	Block     uint64     `json:"blockNumber"`
	BlockHash tx.Hash    `json:"blockHash"`
	Index     uint64     `json:"logIndex"`
	Topics    []tx.Hash  `json:"topics"`
	Data      []byte     `json:"data,omitzero"`
	Operation string     `json:"operationId,omitzero"` // whose transaction wrote it, with other effects than that one's
	// Shadow tells it from what another node says stands at the same place; such findings are rare.
	Shadow  uint64    `json:"shadow,omitzero"`
	FoundAt time.Time `json:"foundAt"`
}

// shadowBits keep keys of one place of a block apart; no block has so many logs.
const shadowBits = 40

// slot is its place in its block, as keys have it.
func (f *finding) slot() uint64 { return slot(f.Index, f.Shadow) }

func slot(index, shadow uint64) uint64 { return index&(1<<shadowBits-1) | shadow<<shadowBits }

// maxFindingData bounds what is kept of an event's data, in bytes: those of the templates have at most 32.
const maxFindingData = 1 << 10

func decodeFinding(b []byte) (*finding, error) {
	var f finding
	if err := json.Unmarshal(b, &f, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reconciliation: stored finding: %w", err)
	}
	return &f, nil
}
