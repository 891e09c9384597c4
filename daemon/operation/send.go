package operation

import (
	"cmp"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// send hands the lane's signed transactions to the chain, in nonce order and without gaps: what was signed
// last run, too. One send runs at a time.
func (l *lane) send(ctx context.Context, fence *store.Fence) error {
	var due []*Operation
	for _, e := range l.s.index.lane(l.wallet) {
		if e.op.Status == Signed || (e.op.Status == Broadcasting && !l.wasSent(e.op.ID)) {
			due = append(due, e.op)
		}
	}
	if len(due) == 0 {
		return nil
	}
	slices.SortFunc(due, func(a, b *Operation) int { return cmp.Compare(a.Nonce, b.Nonce) })
	c, ok := l.s.chains[due[0].Network]
	if !ok {
		return fmt.Errorf("operation: network %s of wallet %s is not configured", due[0].Network, l.wallet)
	}
	if !l.sendSet {
		top, err := c.NonceAt(ctx, due[0].Performer, nil)
		if err != nil {
			return err
		}
		l.sendTop, l.sendSet = top, true
	}
	for _, o := range due {
		if o.Nonce > l.sendTop {
			// A lower nonce is authorized and not signed yet; its turn comes first, and it will wake us.
			return l.refreshTop(ctx, c, o)
		}
		if err := l.sendOne(ctx, fence, c, o); err != nil {
			return err
		}
		l.sendTop = max(l.sendTop, o.Nonce+1)
	}
	return nil
}

// refreshTop looks whether the chain has moved past what was sent here: by transactions of another process
// before this one took the lane over.
func (l *lane) refreshTop(ctx context.Context, c *chain.Client, o *Operation) error {
	top, err := c.NonceAt(ctx, o.Performer, nil)
	if err != nil {
		return err
	}
	if top > l.sendTop {
		l.sendTop = top
		l.poke()
		return nil
	}
	return errNothingNew
}

// errNothingNew ends a step that has to wait for something; it is tried again, and not worth a log line.
var errNothingNew = errors.New("operation: nothing new")

// sendOne writes that the bytes may be known from now on, reads them back, and sends them.
func (l *lane) sendOne(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation) error {
	// gofail: var broadcastBeforeCommit struct{}
	o, err := l.transition(ctx, fence, o.ID, Broadcasting, []Status{Signed}, nil, nil)
	// gofail: var broadcastAfterCommit struct{}
	if err != nil {
		return err
	}
	if o.Status != Broadcasting {
		return nil
	}
	raw, err := l.s.signedBytes(ctx, o)
	if err != nil {
		return err
	}
	// gofail: var sendBefore struct{}
	err = c.Send(ctx, raw)
	// gofail: var sendAfter struct{}
	var rejected *chain.RejectedError
	switch {
	case err == nil:
		l.markSent(o.ID, true)
		return nil
	case errors.As(err, &rejected) && rejected.NonceTooLow:
		// Ours may be mined, or a stranger's: confirming finds out.
		l.markSent(o.ID, true)
		return nil
	case errors.As(err, &rejected):
		attention := "TX_BROADCAST_FAILED: " + rejected.Message
		if _, werr := l.change(ctx, fence, o.ID, func(o *Operation, _ *store.Tx) (bool, error) {
			changed := o.Status == Broadcasting && o.Attention != attention
			o.Attention = attention
			return changed, nil
		}); werr != nil {
			return werr
		}
	}
	return err
}

func (l *lane) markSent(id string, sent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent {
		l.sent[id] = true
		return
	}
	delete(l.sent, id)
}

// signedBytes are the operation's transaction as the store holds it.
func (s *Service) signedBytes(ctx context.Context, o *Operation) ([]byte, error) {
	v, _, ok, err := s.store.Get(ctx, store.OpTx(o.ID, 1))
	if err != nil || !ok {
		return nil, errors.Join(err, missing(ok, "the signed transaction of "+o.ID))
	}
	var t storedTx
	if err := json.Unmarshal(v, &t, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("operation: signed transaction of %s: %w", o.ID, err)
	}
	if h := tx.HashOf(t.Raw); h != t.Hash || o.TransactionHash == nil || h != *o.TransactionHash {
		return nil, fmt.Errorf("operation: signed transaction of %s is %s, its state says %v", o.ID, h, o.TransactionHash)
	}
	return t.Raw, nil
}
