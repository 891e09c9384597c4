package operation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
)

const (
	// topAge is how long the chain's word on how far a wallet's nonces are used up is good, while a gap waits.
	topAge = time.Second
	// gapAge is how long a gap waits before every node is asked, for the one that says so may be wrong.
	gapAge = 3 * time.Second
)

// send hands the lane's signed transactions to the chain, in nonce order and without gaps: what was signed
// last run, too. One send runs at a time.
func (l *lane) send(ctx context.Context, fence *store.Fence) error {
	due := l.unsentNow()
	if len(due) == 0 {
		return nil
	}
	c, ok := l.s.chains[due[0].Network]
	if !ok {
		return fmt.Errorf("operation: network %s of wallet %s is not configured", due[0].Network, l.wallet)
	}
	top, err := l.top(ctx, c, due[0])
	if err != nil {
		return err
	}
	ready := slices.IndexFunc(due, func(o *Operation) bool {
		next := o.Nonce <= top
		top = max(top, o.Nonce+1)
		return !next
	})
	if ready < 0 {
		ready = len(due)
	}
	if ready == 0 {
		// A lower nonce is authorized and not signed yet; its turn comes first, and it will wake us. One that a
		// recovery left open is nobody's: people have to give it to a CANCEL.
		return l.tellGap(ctx, fence, due)
	}
	due = due[:ready]
	if err := l.broadcasting(ctx, fence, due); err != nil {
		return err
	}
	return l.sendAll(ctx, fence, c, due)
}

// tellGap says of operations that wait for the lane's first unused nonce if that is one that nobody has.
func (l *lane) tellGap(ctx context.Context, fence *store.Fence, waiting []*Operation) error {
	l.mu.Lock()
	next := l.sendTop
	l.mu.Unlock()
	if !l.s.registry.Fold().Gap(l.wallet, next) {
		return nil
	}
	for _, o := range waiting {
		if err := l.attend(ctx, fence, o, fmt.Sprintf("%s: nonce %d of wallet %s was left open by a recovery, and everything behind it waits; only a CANCEL fills it",
			attentionGap, next, l.wallet)); err != nil {
			return err
		}
	}
	return nil
}

// unsentNow is the operations whose bytes are to be sent, by nonce.
func (l *lane) unsentNow() []*Operation {
	l.mu.Lock()
	ids := slices.Collect(maps.Keys(l.unsent))
	l.mu.Unlock()
	var due []*Operation
	for _, id := range ids {
		e, open := l.s.index.get(id)
		if open && (e.op.Status == Signed || e.op.Status == Broadcasting) {
			due = append(due, e.op)
			continue
		}
		l.note(func() { delete(l.unsent, id) })
	}
	slices.SortFunc(due, func(a, b *Operation) int { return cmp.Compare(a.Nonce, b.Nonce) })
	return due
}

// top is the first nonce that was neither sent nor is on the chain. While the next one waits for a lower one
// it asks the chain again now and then: another process may have sent it before this one took the lane over.
func (l *lane) top(ctx context.Context, c *chain.Client, first *Operation) (uint64, error) {
	l.mu.Lock()
	top, known := l.sendTop, l.sendSet && (first.Nonce <= l.sendTop || time.Since(l.topAt) < topAge)
	l.mu.Unlock()
	if known {
		return top, nil
	}
	at, err := c.NonceAt(ctx, first.Performer, nil)
	if err == nil && l.gapLasts(at < first.Nonce) {
		at, err = c.MostNonce(ctx, first.Performer)
	}
	if err != nil {
		return 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sendTop, l.sendSet, l.topAt = max(at, l.sendTop), true, time.Now()
	l.turnTop = max(l.turnTop, l.sendTop)
	return l.sendTop, nil
}

// gapLasts notes whether there is a gap, and reports whether there has been one for long.
func (l *lane) gapLasts(gap bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case !gap:
		l.gapAt = time.Time{}
	case l.gapAt.IsZero():
		l.gapAt = time.Now()
	default:
		return time.Since(l.gapAt) >= gapAge
	}
	return false
}

// turn reports whether the bytes with a nonce are the next ones to be sent, and takes it that they will be.
func (l *lane) turn(nonce uint64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.sendSet || nonce > l.turnTop {
		return false
	}
	l.turnTop = max(l.turnTop, nonce+1)
	return true
}

// broadcasting writes that the bytes of these operations may be known from now on.
func (l *lane) broadcasting(ctx context.Context, fence *store.Fence, due []*Operation) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, o := range due {
		if o.Status == Broadcasting {
			continue
		}
		g.Go(func() error {
			ctx, span := l.s.traces.step(ctx, o, "operation.broadcast")
			broadcastBefore()
			_, err := l.walk(ctx, fence, o.ID, []Status{Signed}, []leg{{Broadcasting, nil}}, nil)
			broadcastAfter()
			span.End(err)
			return err
		})
	}
	return g.Wait()
}

// The points before and after the commit that makes an operation BROADCASTING, alone or together with SIGNED.
func broadcastBefore() {
	// gofail: var broadcastBeforeCommit struct{}
}

func broadcastAfter() {
	// gofail: var broadcastAfterCommit struct{}
}

// sendAll reads the bytes of operations back from the store and sends them, in order.
func (l *lane) sendAll(ctx context.Context, fence *store.Fence, c *chain.Client, due []*Operation) error {
	raws, err := l.s.signedBytes(ctx, due)
	if err != nil {
		return err
	}
	for n, o := range due {
		if err := l.sendOne(ctx, fence, c, o, raws[n]); err != nil {
			return err
		}
		l.note(func() {
			l.sendTop = max(l.sendTop, o.Nonce+1)
			l.turnTop = max(l.turnTop, l.sendTop)
		})
	}
	return nil
}

// errNothingNew ends a step that has to wait for something; it is tried again, and not worth a log line.
var errNothingNew = errors.New("operation: nothing new")

// sendOne sends bytes that were read back from the store.
func (l *lane) sendOne(ctx context.Context, fence *store.Fence, c *chain.Client, o *Operation, raw []byte) error {
	give, head, again := c.Send, l.s.heads.get(o.Network), false
	l.note(func() {
		if again = l.resent[o.ID]; again {
			give = c.SendAll
		}
		l.resent[o.ID] = true
	})
	if o.Foreign != "" {
		give = l.s.deliver(c, o, give)
	}
	step, span := l.s.traces.step(ctx, o, "operation.send")
	// gofail: var sendBefore struct{}
	err := given(step, give, raw)
	// gofail: var sendAfter struct{}
	span.End(err)
	var rejected *chain.RejectedError
	l.note(func() {
		if delete(l.refused, o.ID); errors.As(err, &rejected) && rejected.Underpriced {
			l.refused[o.ID] = true
		}
	})
	switch {
	case err == nil:
		l.markSent(o.ID, true)
		l.waited(o, head)
		if !again {
			l.lookedAt(o.ID, head) // what becomes of it a later block says
		}
		return nil
	case errors.As(err, &rejected) && rejected.NonceTooLow:
		// Ours may be mined, or a stranger's: confirming finds out.
		l.markSent(o.ID, true)
		return nil
	}
	if attention, ok := sendRefusal(err); ok {
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

// given gives the bytes to a node, or to whoever sends them.
func given(ctx context.Context, give func(context.Context, []byte) error, raw []byte) error {
	ctx, span := trace.Call(ctx, "chain.send")
	span.Set(trace.Peer, "chain")
	err := give(ctx, raw)
	if err == nil {
		span.Keep()
	}
	span.End(err)
	return err
}

// markSent notes whether a node has an operation's bytes.
func (l *lane) markSent(id string, sent bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if sent {
		l.sent[id] = true
		delete(l.unsent, id)
		return
	}
	delete(l.sent, id)
	l.due.add(id)
	l.poke()
}

// signedBytes are the operations' transactions as the store holds them: of each the mined version, else the
// newest.
func (s *Service) signedBytes(ctx context.Context, ops []*Operation) ([][]byte, error) {
	raws := make([][]byte, 0, len(ops))
	for chunk := range slices.Chunk(ops, store.MaxTxOps) {
		keys := make([]string, len(chunk))
		for n, o := range chunk {
			keys[n] = store.OpTx(o.ID, o.version())
		}
		kvs, _, err := s.store.GetMany(ctx, keys...)
		if err != nil {
			return nil, err
		}
		for n, o := range chunk {
			t, err := s.readSigned(ctx, o, kvs[n])
			if err != nil {
				return nil, err
			}
			if o.TransactionHash == nil || t.Hash != *o.TransactionHash {
				if t, err = s.chosen(ctx, o); err != nil {
					return nil, err
				}
			}
			raws = append(raws, t.Raw)
		}
	}
	return raws, nil
}

// chosen is the version that the operation's state names, which is not the newest: it was mined once.
func (s *Service) chosen(ctx context.Context, o *Operation) (storedTx, error) {
	versions, err := s.versions(ctx, o)
	if err != nil {
		return storedTx{}, err
	}
	for _, t := range versions {
		if o.TransactionHash != nil && t.Hash == *o.TransactionHash {
			return t, nil
		}
	}
	return storedTx{}, fmt.Errorf("operation: none of the %d signed transactions of %s is %v, as its state says", len(versions), o.ID, o.TransactionHash)
}
