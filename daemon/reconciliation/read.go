package reconciliation

import (
	"context"
	"math/big"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Status is how the chain and the operations of a token compare. The zero value is invalid.
type Status string

// The states of a comparison (spec: the OpenAPI document).
const (
	Agrees     Status = "AGREES"
	CatchingUp Status = "CATCHING_UP" // events are still being read, or an operation is about to end
	Disagrees  Status = "DISAGREES"
)

// Report is a token's reconciliation as it was last written.
type Report struct {
	TokenID     string
	Status      Status
	FromBlock   uint64 // the first block that counts
	BlockNumber uint64 // the last block that does
	// The supply at that block, in base units. That of the contract and of operations is of the last comparison.
	Events, Contract, Operations *big.Int
	EventsChecked                uint64
	UnmatchedTotal               uint64
	Unmatched                    []Unmatched // the newest, at most 200
	Frozen                       bool
	CheckedAt                    time.Time
}

// Unmatched is an event that nobody authorized.
type Unmatched struct {
	Event           string
	TransactionHash tx.Hash
	LogIndex        uint64
	BlockNumber     uint64
	Amount          *big.Int    // nil: it has none
	Account         *tx.Address // nil: it names none
	Role            string      // empty: it names none
}

// maxUnmatched bounds what a report shows.
const maxUnmatched = 200

// Report is how a token's chain and operations compare. An unknown token is NOT_FOUND, one without a contract
// TOKEN_NOT_DEPLOYED.
func (s *Service) Report(ctx context.Context, tokenID string) (*Report, error) {
	token, err := s.registry.Token(ctx, tokenID)
	if err != nil {
		return nil, err
	}
	if token.ContractAddress == nil {
		return nil, registry.Refuse(registry.NotDeployed, "token %s has no contract address yet; it is %s", token.ID, token.Status)
	}
	r := &Report{TokenID: token.ID, Status: CatchingUp, FromBlock: token.BlockNumber, BlockNumber: token.BlockNumber, Events: new(big.Int),
		Contract: new(big.Int), Operations: new(big.Int), Frozen: s.registry.TokenFrozen(token.ID), CheckedAt: s.second()}
	value, _, ok, err := s.store.Get(ctx, progressKey(token.ID))
	if err != nil || !ok {
		return r, err
	}
	p, err := decodeProgress(value)
	if err != nil {
		return nil, err
	}
	r.FromBlock, r.BlockNumber, r.EventsChecked, r.UnmatchedTotal, r.CheckedAt = p.FromBlock, p.Block, p.Events, p.Unmatched, p.CheckedAt
	r.Events, r.Contract, r.Operations = unsigned(p.eventsSupply()), unsigned(&p.ContractSupply.Int), unsigned(&p.OperationsSupply.Int)
	switch {
	case p.Unmatched > 0 || p.Compared && !p.agrees():
		r.Status = Disagrees
	case p.Compared:
		r.Status = Agrees
	}
	page, err := s.store.List(ctx, findingsPrefix(token.ID), store.ListOptions{Limit: maxUnmatched})
	if err != nil {
		return nil, err
	}
	for _, kv := range page.KVs {
		d, err := decodeFinding(kv.Value)
		if err != nil {
			return nil, err
		}
		u := Unmatched{Event: d.Name, TransactionHash: d.TxHash, LogIndex: d.Index, BlockNumber: d.Block, Account: d.Account, Role: string(d.Role)}
		if d.Amount != nil {
			u.Amount = &d.Amount.Int
		}
		r.Unmatched = append(r.Unmatched, u)
	}
	return r, nil
}

// unsigned is n, or 0 for what only a lying node makes less.
func unsigned(n *big.Int) *big.Int {
	if n.Sign() < 0 {
		return new(big.Int)
	}
	return n
}
