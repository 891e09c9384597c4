package reconciliation

import (
	"context"
	"encoding/json/v2"
	"fmt"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// maxFindings bounds what one transaction tells: each finding is four writes of the hundred.
	maxFindings = 20
	// maxKept bounds the findings of a token that are kept and told one by one; more are counted. Whoever can make
	// that many has said enough.
	maxKept = 1_000
	// eventFailed tells of a finding.
	eventFailed = "token.reconciliation_failed"
)

// take puts a range of blocks, whose last is to, into a token's sums. What was found is told in the same transaction;
// where it does not fit one, the part before is committed first, with its place in the block.
func (f *front) take(ctx context.Context, t *track, logs []chain.Log, to uint64, hash tx.Hash) error {
	events, err := f.s.match(ctx, t.token, logs)
	if err != nil {
		return err
	}
	p, change, told := t.at.clone(), f.s.store.Tx(), 0
	for i := range events {
		e := &events[i]
		if e.log.BlockNumber == p.Block+1 && e.log.Index < p.Index {
			continue // an earlier part has it
		}
		if told == maxFindings {
			if p, err = f.part(ctx, t, p, change, &e.log); err != nil {
				return err
			}
			change, told = f.s.store.Tx(), 0
		}
		count(p, e)
		f.s.metrics.events.WithLabelValues(f.network, e.outcome.String()).Inc()
		if e.outcome != unmatched {
			continue
		}
		news, err := f.tell(ctx, t, p, e, change)
		if err != nil {
			return err
		}
		if news {
			told++
		}
	}
	p.Block, p.BlockHash, p.Index = to, hash, 0
	if len(events) == 0 && t.rev != 0 && t.at.Compared && t.at.Index == 0 {
		// Nothing happened: where it was is as good a place to begin again, until the next comparison.
		t.at = p
		return nil
	}
	p.Compared = false
	if told > 0 {
		t.pending = true
	}
	return f.save(ctx, t, p, change)
}

// part commits what comes before a log, so that a crash goes on with that one.
func (f *front) part(ctx context.Context, t *track, p *progress, change *store.Tx, next *chain.Log) (*progress, error) {
	hash, err := f.chain.BlockHash(ctx, next.BlockNumber-1)
	if err != nil {
		return nil, err
	}
	p.Block, p.BlockHash, p.Index, p.Compared = next.BlockNumber-1, hash, next.Index, false
	t.pending = true
	if err := f.save(ctx, t, p, change); err != nil {
		return nil, err
	}
	return p.clone(), nil
}

// count puts an event into the sums.
func count(p *progress, e *seen) {
	p.Events++
	switch e.outcome {
	case unmatched:
		p.Unmatched++
	case external:
		p.External++
	}
	if e.event.Name != eventTransfer || e.event.Amount == nil {
		return
	}
	if e.event.Burn {
		p.Burned.Add(&p.Burned.Int, &e.event.Amount.Int)
	} else {
		p.Minted.Add(&p.Minted.Int, &e.event.Amount.Int)
	}
}

// tell puts a finding into the change, and the event, the audit entry and the wait for two nodes with it; false if it
// was told before a reorg, or is one of too many.
func (f *front) tell(ctx context.Context, t *track, p *progress, e *seen, change *store.Tx) (bool, error) {
	if p.Kept >= maxKept {
		return false, nil
	}
	key := findingKey(t.token.ID, e.log.BlockNumber, e.log.Index)
	if value, _, ok, err := f.s.store.Get(ctx, key); err != nil {
		return false, err
	} else if ok {
		old, err := decodeFinding(value)
		if err != nil {
			return false, err
		}
		if old.TxHash == e.log.TxHash && old.BlockHash == e.log.BlockHash {
			return false, nil
		}
	}
	p.Kept++
	d := &finding{event: e.event, TokenID: t.token.ID, Network: p.Network, Contract: p.Contract, TxHash: e.log.TxHash,
		Block: e.log.BlockNumber, BlockHash: e.log.BlockHash, Index: e.log.Index, Topics: e.log.Topics, Operation: e.operation, FoundAt: f.s.second()}
	if len(e.log.Data) <= maxFindingData {
		d.Data = e.log.Data
	}
	value, err := json.Marshal(d)
	if err != nil {
		return false, fmt.Errorf("reconciliation: finding: %w", err)
	}
	change.Put(key, value)
	change.Put(pendingKey(t.token.ID, d.Block, d.Index), value)
	told := d.words()
	change.Audit(f.s.draft(t, eventFailed, map[string]any{"reason": told, "event": d.Name, "transactionHash": d.TxHash.String(),
		"blockNumber": d.Block, "logIndex": d.Index}))
	data, err := json.Marshal(notice{TokenID: d.TokenID, Network: d.Network, Contract: d.Contract, Reason: told, Event: d.Name, TransactionHash: &d.TxHash,
		BlockNumber: d.Block, LogIndex: &d.Index, Amount: d.Amount, Account: d.Account, Role: string(d.Role), OperationID: d.Operation})
	if err != nil {
		return false, fmt.Errorf("reconciliation: event: %w", err)
	}
	change.Emit(store.Emission{Type: eventFailed, Data: data, Order: t.token.ID})
	f.s.log.Error("reconciliation: nobody authorized an event of a token's contract", "token", t.token.ID, "event", told,
		"transaction", d.TxHash.String(), "block", d.Block)
	return true, nil
}

// notice is what token.reconciliation_failed tells.
type notice struct {
	TokenID         string      `json:"tokenId"`
	Network         string      `json:"network"`
	Contract        tx.Address  `json:"contractAddress"`
	Reason          string      `json:"reason"` // a sentence for people
	Event           string      `json:"event,omitzero"`
	TransactionHash *tx.Hash    `json:"transactionHash,omitzero"`
	BlockNumber     uint64      `json:"blockNumber"`
	LogIndex        *uint64     `json:"logIndex,omitzero"`
	Amount          *number     `json:"amount,omitzero"`
	Account         *tx.Address `json:"account,omitzero"`
	Role            string      `json:"role,omitzero"`
	OperationID     string      `json:"operationId,omitzero"`
	Supply          *supplies   `json:"supply,omitzero"`
}

// supplies are one supply from three sources, in base units.
type supplies struct {
	Events     string `json:"events"`
	Contract   string `json:"contract"`
	Operations string `json:"operations"`
}

// words is what was seen, for people and for the ledger.
func (d *finding) words() string {
	what := d.Name
	switch {
	case d.Name == eventTransfer && d.Amount != nil && d.Account != nil && d.Burn:
		what = fmt.Sprintf("%s burned of %s", d.Amount.String(), d.Account)
	case d.Name == eventTransfer && d.Amount != nil && d.Account != nil:
		what = fmt.Sprintf("%s minted to %s", d.Amount.String(), d.Account)
	case d.Role != "" && d.Account != nil:
		what = fmt.Sprintf("%s of %s, %s", d.Name, d.Role, d.Account)
	case d.Account != nil:
		what = fmt.Sprintf("%s, %s", d.Name, d.Account)
	case d.Actor != nil:
		what = fmt.Sprintf("%s by %s", d.Name, d.Actor)
	}
	return fmt.Sprintf("%s: nobody authorized it (transaction %s, block %d, log %d)", what, d.TxHash, d.Block, d.Index)
}
