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
	// maxKept bounds the findings of a token that wait for two nodes, and those that were frozen for or denied, before
	// there are too many of them. Whoever can make that many has said enough, but somebody else may have made them up:
	// from then on nodes are asked before a finding is told, and each range of blocks tells one that stands, and one
	// that is undecided, in the place of the oldest.
	maxKept = 1_000
	// mostJudged is how many findings one look at a range asks the nodes for at once; the next pass goes on behind.
	mostJudged = 40
	// eventFailed tells of a finding.
	eventFailed = "token.reconciliation_failed"
)

// take puts a range of blocks, whose last is to, into a token's sums. What was found is told in the same transaction;
// where it does not fit one, the part before is committed first, with its place in the block. What only others than
// the node that was asked first tell of is in no sum, and is told where nobody authorized it: one node that is silent
// hides nothing that another one tells.
func (f *front) take(ctx context.Context, t *track, logs, others []chain.Log, to uint64, hash tx.Hash) error {
	events, err := f.s.match(ctx, t.token, logs, others)
	if err != nil {
		return err
	}
	p, change, b := t.at.clone(), f.s.store.Tx(), &telling{waiting: -1}
	told := false
	for i := range events {
		e := &events[i]
		if e.log.BlockNumber == p.Block+1 && e.log.Index < p.Index {
			continue // an earlier part has it
		}
		if b.told == maxFindings || b.judged == mostJudged {
			if p, err = f.part(ctx, t, p, change, &e.log); err != nil {
				return err
			}
			if b.judged == mostJudged { // the other tokens' turn
				f.skip[t.token.ID], f.unfinished = true, true
				return nil
			}
			change, b.told = f.s.store.Tx(), 0
		}
		if e.elsewhere && e.outcome != unmatched {
			continue
		}
		count(p, e)
		f.s.metrics.events.WithLabelValues(f.network, e.outcome.String()).Inc()
		if e.outcome != unmatched {
			continue
		}
		news, err := f.tell(ctx, t, p, e, b, change)
		if err != nil {
			return err
		}
		told = told || news
	}
	p.Block, p.BlockHash, p.Index = to, hash, 0
	if len(events) == 0 && t.rev != 0 && t.at.Compared && t.at.Index == 0 {
		// Nothing happened: where it was is as good a place to begin again, until the next comparison.
		t.at = p
		return nil
	}
	p.Compared = false
	if told {
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
	if e.elsewhere {
		p.Unmatched++
		return
	}
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

// telling is what a look at a range of blocks told so far.
type telling struct {
	told    int   // in the transaction that is being made
	waiting int64 // findings for two nodes; -1: not counted yet
	judged  int   // findings that nodes were asked for at once
	// Of those that were too many, one that stands was told, and one that is undecided.
	standing, undecided bool
}

// tell puts a finding into the change, and the event, the audit entry and the wait for two nodes with it; false if it
// was told before a reorg, or is one of too many.
func (f *front) tell(ctx context.Context, t *track, p *progress, e *seen, b *telling, change *store.Tx) (bool, error) {
	key := findingKey(t.token.ID, e.log.BlockNumber, slot(e.log.Index, e.shadow))
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
	d := &finding{event: e.event, TokenID: t.token.ID, Network: p.Network, Contract: p.Contract, TxHash: e.log.TxHash,
		Block: e.log.BlockNumber, BlockHash: e.log.BlockHash, Index: e.log.Index, Topics: e.log.Topics, Operation: e.operation, FoundAt: f.s.second(), Shadow: e.shadow}
	if len(e.log.Data) <= maxFindingData {
		d.Data = e.log.Data
	}
	if b.waiting < 0 {
		n, err := f.s.store.Count(ctx, pendingPrefix(t.token.ID))
		if err != nil {
			return false, err
		}
		b.waiting = n
	}
	if full := b.waiting >= maxKept; full || p.Kept+p.Denied >= maxKept {
		if worth, err := f.judge(ctx, t, p, d, b); err != nil || !worth {
			return false, err
		}
		if err := f.makeRoom(ctx, t, full); err != nil {
			return false, err
		}
	}
	b.told, b.waiting = b.told+1, b.waiting+1
	value, err := json.Marshal(d)
	if err != nil {
		return false, fmt.Errorf("reconciliation: finding: %w", err)
	}
	change.Put(key, value)
	change.Put(pendingKey(t.token.ID, d.Block, d.slot()), value)
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

// judge tells whether one finding of too many is to be told, by what the nodes say of it.
func (f *front) judge(ctx context.Context, t *track, p *progress, d *finding, b *telling) (bool, error) {
	if b.standing || b.undecided && f.single() {
		return false, nil // who is told of one is told
	}
	var w chain.Witness
	if !f.single() {
		var err error
		if w, err = f.witness(ctx, d); err != nil {
			return false, err
		}
		b.judged++
	}
	switch {
	case stands(w):
		b.standing = true
		// It is asked for next, whatever waits before it.
		key := pendingKey(t.token.ID, d.Block, d.slot())
		t.cursor = key[:len(key)-1]
		return true, nil
	case denied(w):
		p.Denied++
		f.s.metrics.denied.WithLabelValues(f.network).Inc()
		f.s.log.Error("reconciliation: a node told one event more that most nodes say is not in the chain", "token", t.token.ID,
			"transaction", d.TxHash.String(), "block", d.Block)
		return false, nil
	}
	news := !b.undecided
	b.undecided = true
	return news, nil
}

// makeRoom takes the oldest finding out, and the oldest that waits where as many wait as may. It is a transaction of its
// own, for what takes the place may have the same key.
func (f *front) makeRoom(ctx context.Context, t *track, full bool) error {
	change := f.s.store.Tx()
	f.fence.Require(change)
	oldest, err := f.s.store.List(ctx, findingsPrefix(t.token.ID), store.ListOptions{Limit: 1, Descending: true, KeysOnly: true})
	if err != nil {
		return err
	}
	if full {
		page, err := f.s.store.List(ctx, pendingPrefix(t.token.ID), store.ListOptions{Limit: 1, KeysOnly: true})
		if err != nil {
			return err
		}
		oldest.KVs = append(oldest.KVs, page.KVs...)
	}
	if len(oldest.KVs) == 0 {
		return nil
	}
	for _, kv := range oldest.KVs {
		change.Delete(kv.Key)
	}
	_, err = change.Commit(ctx)
	return err
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
