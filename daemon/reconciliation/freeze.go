package reconciliation

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// agreeing is how many nodes, each for itself, must say that a finding stands in the chain before a token is frozen
	// for it: one that lies freezes nothing.
	agreeing = 2
	// askedAtOnce is how many of the findings that wait one pass asks the nodes for; the next pass goes on behind them.
	// Setting one aside is two writes of a transaction's hundred.
	askedAtOnce = 40
	// asking is how many of them are asked for side by side: a node that does not answer costs its timeout.
	asking = 8
)

// stands tells whether enough nodes say so to freeze a token.
func stands(w chain.Witness) bool { return w.Stand >= agreeing }

// denied tells whether a finding is the liar's who told it: most nodes of the network, those that are silent too, and
// more than one, say that it is not in the chain. So no node that denies the truth alone has it forgotten while the
// others are down.
func denied(w chain.Witness) bool { return w.Deny >= agreeing && 2*w.Deny > w.Nodes }

// witness asks the nodes for a finding.
func (f *front) witness(ctx context.Context, d *finding) (chain.Witness, error) {
	return f.chain.Witnesses(ctx, chain.Log{Address: d.Contract, Topics: d.Topics, Data: d.Data, BlockNumber: d.Block,
		BlockHash: d.BlockHash, TxHash: d.TxHash, Index: d.Index})
}

// freeze has privileged operations on a token stopped, if two nodes agree on one of the findings that wait. It asks
// for some of them at a time, in turn, so that none waits behind those that nobody agrees on. One freeze answers for
// all that wait; what is found after custodians let the token go on asks for another.
func (f *front) freeze(ctx context.Context, t *track) error {
	if f.single() { // nobody will ever agree, and what waits is told already
		t.pending = false
		return nil
	}
	page, err := f.s.store.List(ctx, pendingPrefix(t.token.ID), store.ListOptions{After: t.cursor, Limit: askedAtOnce})
	if err != nil {
		return err
	}
	if len(page.KVs) == 0 {
		t.pending, t.cursor = t.cursor != "", ""
		return nil
	}
	waiting := make([]*finding, len(page.KVs))
	words := make([]chain.Witness, len(page.KVs))
	for i, kv := range page.KVs {
		if waiting[i], err = decodeFinding(kv.Value); err != nil {
			return err
		}
	}
	g, asked := errgroup.WithContext(ctx)
	g.SetLimit(asking)
	for i := range waiting {
		g.Go(func() (err error) {
			words[i], err = f.witness(asked, waiting[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	var lies []*finding
	undecided, standing := 0, -1
	for i, w := range words {
		switch {
		case stands(w) && standing < 0:
			standing = i
		case stands(w):
		case denied(w):
			lies = append(lies, waiting[i])
		default:
			undecided++
		}
	}
	if standing >= 0 {
		d := waiting[standing]
		recorded, err := f.s.seal.Freeze(ctx, seal.FreezeRequest{TokenID: t.token.ID, Event: d.words()})
		if err != nil {
			return fmt.Errorf("freeze: %w", err)
		}
		// gofail: var reconcileAfterFreeze struct{}
		if err := f.frozen(ctx, t, d, words[standing].Stand, recorded.Sequence); err != nil {
			return err
		}
		return f.deny(ctx, t, lies)
	}
	if undecided > 0 {
		f.s.log.Warn("reconciliation: too few nodes say that events stand, so nothing is frozen for them", "token", t.token.ID, "events", undecided)
	}
	if err := f.deny(ctx, t, lies); err != nil {
		return err
	}
	// Once all were asked, the next look begins again.
	t.cursor = ""
	if page.More {
		t.cursor = page.KVs[len(page.KVs)-1].Key
	}
	return nil
}

func (f *front) single() bool { return len(f.chain.Network().RPCURLs) < agreeing }

// deny sets aside what most nodes say is not in the chain: it waits no more and is shown no more, only counted.
func (f *front) deny(ctx context.Context, t *track, lies []*finding) error {
	if len(lies) == 0 {
		return nil
	}
	change, p := f.s.store.Tx(), t.at.clone()
	for _, d := range lies {
		change.Delete(pendingKey(t.token.ID, d.Block, d.slot()))
		change.Delete(findingKey(t.token.ID, d.Block, d.slot()))
	}
	p.Denied += uint64(len(lies))
	change.Audit(f.s.draft(t, "token.reconciliation_denied", map[string]any{"events": len(lies), "transactionHash": lies[0].TxHash.String(),
		"blockNumber": lies[0].Block, "logIndex": lies[0].Index}))
	if err := f.save(ctx, t, p, change); err != nil {
		return err
	}
	f.s.metrics.denied.WithLabelValues(f.network).Add(float64(len(lies)))
	f.s.log.Error("reconciliation: a node told events that most nodes say are not in the chain: it lies, or follows another chain",
		"token", t.token.ID, "events", len(lies), "transaction", lies[0].TxHash.String(), "block", lies[0].Block)
	return nil
}

// frozen notes that what waited led to a freeze.
func (f *front) frozen(ctx context.Context, t *track, d *finding, nodes int, sequence uint64) error {
	for first := true; ; first = false {
		page, err := f.s.store.List(ctx, pendingPrefix(t.token.ID), store.ListOptions{Limit: 2 * askedAtOnce, KeysOnly: true})
		if err != nil {
			return err
		}
		if len(page.KVs) == 0 {
			break
		}
		change, p := f.s.store.Tx(), t.at.clone()
		for _, kv := range page.KVs {
			change.Delete(kv.Key)
		}
		p.Kept += uint64(len(page.KVs))
		if first {
			change.Audit(f.s.draft(t, "token.frozen_by_reconciliation", map[string]any{"reason": d.words(), "nodes": nodes, "ledgerSequence": sequence}))
		}
		if err := f.save(ctx, t, p, change); err != nil {
			return err
		}
		if first {
			f.s.log.Error("reconciliation: privileged operations on a token are frozen until the custodians' threshold lets them go on",
				"token", t.token.ID, "event", d.words(), "sequence", sequence)
		}
	}
	t.pending, t.cursor = false, ""
	return nil
}
