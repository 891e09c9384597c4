package reconciliation

import (
	"context"
	"fmt"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// agreeing is how many nodes, each for itself, must say that a finding stands in the chain before a token is frozen
// for it: one that lies freezes nothing.
const agreeing = 2

// freeze has privileged operations on a token stopped, if two nodes agree on one of the findings that wait. One
// freeze answers for all that wait; what is found after custodians let the token go on asks for another.
func (f *front) freeze(ctx context.Context, t *track) error {
	page, err := f.s.store.List(ctx, pendingPrefix(t.token.ID), store.ListOptions{Limit: store.MaxTxOps / 2})
	if err != nil {
		return err
	}
	if len(page.KVs) == 0 {
		t.pending = false
		return nil
	}
	for _, kv := range page.KVs {
		d, err := decodeFinding(kv.Value)
		if err != nil {
			return err
		}
		yes, nodes, err := f.chain.Witnesses(ctx, chain.Log{Address: d.Contract, Topics: d.Topics, Data: d.Data, BlockNumber: d.Block,
			BlockHash: d.BlockHash, TxHash: d.TxHash, Index: d.Index})
		if err != nil {
			return err
		}
		if yes < agreeing {
			f.s.log.Warn("reconciliation: too few nodes say that an event stands, so nothing is frozen for it", "token", t.token.ID,
				"transaction", d.TxHash.String(), "agree", yes, "nodes", nodes)
			continue
		}
		recorded, err := f.s.seal.Freeze(ctx, seal.FreezeRequest{TokenID: t.token.ID, Event: d.words()})
		if err != nil {
			return fmt.Errorf("freeze: %w", err)
		}
		// gofail: var reconcileAfterFreeze struct{}
		return f.frozen(ctx, t, page, d, yes, recorded.Sequence)
	}
	// The next look at the head asks again; with one node nobody will ever agree, and what waits is told already.
	if f.single() {
		t.pending = false
	}
	return nil
}

func (f *front) single() bool { return len(f.chain.Network().RPCURLs) < agreeing }

// frozen notes that what waited led to a freeze.
func (f *front) frozen(ctx context.Context, t *track, page store.Page, d *finding, nodes int, sequence uint64) error {
	change := f.s.store.Tx()
	f.fence.Require(change)
	for _, kv := range page.KVs {
		change.Delete(kv.Key)
	}
	change.Audit(f.s.draft(t, "token.frozen_by_reconciliation", map[string]any{"reason": d.words(), "nodes": nodes, "ledgerSequence": sequence}))
	if _, err := change.Commit(ctx); err != nil {
		return err
	}
	f.s.log.Error("reconciliation: privileged operations on a token are frozen until the custodians' threshold lets them go on",
		"token", t.token.ID, "event", d.words(), "sequence", sequence)
	t.pending = page.More
	return nil
}
