package reconciliation

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"math/big"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// opsPage is how many operations are read at once.
	opsPage = 200
	// idSkew is how much older than now an operation must be before later ones are counted behind it for good: ids are
	// drawn by the clocks of several appliances.
	idSkew = 2 * time.Minute
)

// compare puts a token's supply by events, by its contract and by operations side by side, all at its block.
func (f *front) compare(ctx context.Context, t *track) error {
	p := t.at.clone()
	supply, err := f.contractSupply(ctx, p.Contract, p.Block)
	if err != nil {
		return err
	}
	p.ContractSupply = *numberOf(supply)
	byOps, settling, err := f.s.operationsSupply(ctx, p)
	if err != nil {
		return err
	}
	p.OperationsSupply = *numberOf(byOps)
	p.Compared, p.CheckedAt = !settling, f.s.second()
	change := f.s.store.Tx()
	switch differ := !p.agrees(); {
	case settling:
		if t.saved.Add(compareEvery).After(f.s.now()) {
			return nil // looked at again with the next block
		}
	case differ && !p.Told && p.Unmatched == 0:
		if err := f.tellSupply(t, p, change); err != nil {
			return err
		}
	case !differ:
		p.Told = false
	}
	return f.save(ctx, t, p, change)
}

// tellSupply tells that the supplies differ although every event has its operation: an event is missing, or an
// operation's effect is.
func (f *front) tellSupply(t *track, p *progress, change *store.Tx) error {
	p.Told = true
	s := &supplies{p.eventsSupply().String(), p.ContractSupply.String(), p.OperationsSupply.String()}
	reason := fmt.Sprintf("the supply at block %d is %s by events, %s by the contract, %s by operations", p.Block, s.Events, s.Contract, s.Operations)
	change.Audit(f.s.draft(t, eventFailed, map[string]any{"reason": reason, "blockNumber": p.Block}))
	data, err := json.Marshal(notice{TokenID: p.TokenID, Network: p.Network, Contract: p.Contract, Reason: reason, BlockNumber: p.Block, Supply: s})
	if err != nil {
		return fmt.Errorf("reconciliation: event: %w", err)
	}
	change.Emit(store.Emission{Type: eventFailed, Data: data, Order: p.TokenID})
	f.s.log.Error("reconciliation: supplies differ", "token", p.TokenID, "reason", reason)
	return nil
}

// contractSupply is what a contract says exists after a block.
func (f *front) contractSupply(ctx context.Context, address tx.Address, block uint64) (*big.Int, error) {
	answer, err := f.chain.CallAt(ctx, tx.Address{}, address, contract.PackTotalSupply(), block)
	if err != nil {
		return nil, err
	}
	supply, err := contract.UnpackTotalSupply(answer)
	if err != nil {
		return nil, fmt.Errorf("reconciliation: the supply of %s: %w", address, err)
	}
	return supply, nil
}

// operationsSupply is what the completed operations of a token come to at its block. settling tells that one of them
// was sent and has no end yet. Operations that have their end, and none before them is without, are counted into p
// for good, so that each is read a few times in its life.
func (s *Service) operationsSupply(ctx context.Context, p *progress) (supply *big.Int, settling bool, err error) {
	open := sums{}   // behind an operation that has no end yet
	closed := sums{} // before every one of those: from now on for good
	counted := p.Counted
	filter := operation.Filter{TokenID: p.TokenID, From: store.IDTime(p.Counted)}
	settled := s.now().Add(-idSkew)
	for cursor, more := "", true; more; {
		page, _, next, err := s.operations.List(ctx, filter, opsPage, 0, cursor)
		if err != nil {
			return nil, false, err
		}
		for _, o := range page { // newest first
			if o.ID <= p.Counted {
				continue
			}
			inside := o.Status == operation.Completed && o.BlockNumber <= p.Block
			if !o.Status.Terminal() || o.Status == operation.Completed && !inside || doubtful(o, p.Block) || store.IDTime(o.ID).After(settled) {
				open.take(&closed)
				closed, counted = sums{}, p.Counted
				settling = settling || o.Status == operation.Signed || o.Status == operation.Broadcasting || o.Status == operation.Confirming
			} else if counted == p.Counted {
				counted = o.ID
			}
			if inside && o.BlockNumber >= p.FromBlock && o.Amount != nil {
				into := &closed
				if counted == p.Counted {
					into = &open
				}
				into.add(o)
			}
		}
		cursor, more = next, next != ""
	}
	p.Counted = counted
	p.OpsMinted.Add(&p.OpsMinted.Int, &closed.minted)
	p.OpsBurned.Add(&p.OpsBurned.Int, &closed.burned)
	supply = new(big.Int).Add(&p.Base.Int, &p.OpsMinted.Int)
	supply.Add(supply, &open.minted).Sub(supply, &p.OpsBurned.Int).Sub(supply, &open.burned)
	return supply, settling, nil
}

// doubtful reports whether an operation ended for a stranger is said to hold its nonce, so lately that its own transaction
// may yet be found in a block that was looked at.
func doubtful(o *operation.Operation, block uint64) bool {
	return o.Status == operation.Failed && o.EndHash != nil && o.BlockNumber == 0 && block <= o.EndBlock+operation.WatchDepth
}

// sums are amounts of operations.
type sums struct{ minted, burned big.Int }

func (a *sums) add(o *operation.Operation) {
	switch o.Type {
	case "MINT", "DEPLOY_TOKEN":
		a.minted.Add(&a.minted, o.Amount.Big())
	case "BURN":
		a.burned.Add(&a.burned, o.Amount.Big())
	}
}

func (a *sums) take(b *sums) {
	a.minted.Add(&a.minted, &b.minted)
	a.burned.Add(&a.burned, &b.burned)
}
