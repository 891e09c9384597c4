package operation

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	// WatchDepth is for how many blocks an operation is watched after it ended: beyond any reorg that the
	// networks of this kind have had.
	WatchDepth = 128
	// watchMost bounds how many ended operations a start looks at; those before them ended long ago.
	watchMost = 1024
	// watchKept is about how many ended operations of a network are watched, the newest: more than end within WatchDepth
	// blocks. A node that tells of few blocks has none forgotten by their depth.
	watchKept = 1 << 16
)

// endings is the operations that ended by a block that a reorg may still take away: the block's hash is looked
// at whenever the chain's newest block does not follow the one that was seen before. Safe for concurrent use.
type endings struct {
	mu    sync.Mutex
	ended map[string]map[string]*watched // by network and operation id
	more  chan struct{}                  // closed and replaced when there is one more
}

// watched is an ending; seen, once its block was found to be the chain's after the newest block was looked at and that one
// follows the one seen before: a reorg from then on shows by that one.
type watched struct {
	at     ending
	seen   bool
	stolen bool // it ended without a block of its own: a stranger is said to hold its nonce
}

// ending is the block that an operation ended by.
type ending struct {
	number uint64
	hash   tx.Hash
}

func newEndings() *endings {
	return &endings{ended: map[string]map[string]*watched{}, more: make(chan struct{})}
}

// put takes in an operation's state.
func (e *endings) put(o *Operation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !o.Status.Terminal() || o.EndHash == nil {
		delete(e.ended[o.Network], o.ID)
		return
	}
	if e.ended[o.Network] == nil {
		e.ended[o.Network] = map[string]*watched{}
	}
	at := ending{o.EndBlock, *o.EndHash}
	if w, ok := e.ended[o.Network][o.ID]; ok && w.at == at {
		return
	}
	e.ended[o.Network][o.ID] = &watched{at: at, stolen: o.BlockNumber == 0}
	close(e.more)
	e.more = make(chan struct{})
}

// of is what is watched on a network, by block, without what every node's newest block, of which reached is the
// lowest, has left far behind; unless all is set, without what was seen. With all set nothing counts as seen any more:
// nodes hear of a reorg one after the other, and the next look may be the first at which they all know of it.
func (e *endings) of(network string, reached uint64, all bool) map[ending][]string {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[ending][]string{}
	oldest := e.oldestKept(network)
	for id, w := range e.ended[network] {
		if w.at.number+WatchDepth < reached || w.at.number < oldest {
			delete(e.ended[network], id)
			continue
		}
		w.seen = w.seen && !all
		if !w.seen {
			out[w.at] = append(out[w.at], id)
		}
	}
	return out
}

// oldestKept is the block before which nothing is watched for its number; the caller holds the lock.
func (e *endings) oldestKept(network string) uint64 {
	over := len(e.ended[network]) - watchKept
	if over <= 0 {
		return 0
	}
	numbers := make([]uint64, 0, len(e.ended[network]))
	for _, w := range e.ended[network] {
		numbers = append(numbers, w.at.number)
	}
	slices.Sort(numbers)
	return numbers[over]
}

// thefts are the operations that ended because a stranger is said to hold their nonces, and by which block.
func (e *endings) thefts(network string) map[string]ending {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := map[string]ending{}
	for id, w := range e.ended[network] {
		if w.stolen {
			out[id] = w.at
		}
	}
	return out
}

// see notes that an operation's block is the chain's.
func (e *endings) see(network, id string, at ending) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if w, ok := e.ended[network][id]; ok && w.at == at {
		w.seen = true
	}
}

// await blocks until something is watched on a network, or ctx ends.
func (e *endings) await(ctx context.Context, network string) error {
	for {
		e.mu.Lock()
		n, more := len(e.ended[network]), e.more
		e.mu.Unlock()
		if n > 0 {
			return nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watchEndings takes operations back out of their ends when a reorg deeper than the network's confirmations
// takes their blocks away, until ctx ends.
func (s *Service) watchEndings(ctx context.Context, network string) {
	c := s.chains[network]
	for s.readEndings(ctx, network) != nil {
		select {
		case <-time.After(mostPause):
		case <-ctx.Done():
			return
		}
	}
	pace := min(max(c.Network().BlockPeriod, mostPause), 15*time.Second)
	var last chain.Head
	for s.endings.await(ctx, network) == nil {
		if head, err := s.follows(ctx, c, last); err == nil {
			last = head
		}
		select {
		case <-time.After(pace):
		case <-ctx.Done():
			return
		}
	}
}

// readEndings takes in what ended before this process began. An operation that cannot be read, for the archive has lost it,
// is not watched, and keeps no other one from that. Errors are the store's, or the context's: nothing is known then.
func (s *Service) readEndings(ctx context.Context, network string) error {
	if err := s.archive.Ready(ctx); err != nil {
		return err
	}
	for _, status := range []Status{Completed, Failed} {
		ids, _ := s.index.page(Filter{Network: network, Status: status}, nil, "", 0, watchMost)
		for chunk := range slices.Chunk(ids, store.MaxTxOps) {
			ops, err := s.states(ctx, chunk)
			for i := 0; err != nil && i < len(chunk); i++ {
				e, alone := s.loadState(ctx, chunk[i])
				switch {
				case errors.Is(alone, store.ErrUnavailable) || ctx.Err() != nil:
					return errors.Join(alone, ctx.Err())
				case alone != nil:
					s.log.Error("an operation that ended is not watched", "operation", chunk[i], "error", alone)
				default:
					ops = append(ops, e.op)
				}
			}
			for _, o := range ops {
				s.endings.put(o)
			}
		}
	}
	return nil
}

// follows looks at the newest block, at what ended since the last one that was seen, and at every watched block
// if the newest does not follow that one. On an error nothing was decided: the next look compares with the same
// block again.
func (s *Service) follows(ctx context.Context, c *chain.Client, last chain.Head) (chain.Head, error) {
	head, err := c.Head(ctx)
	if err != nil {
		return last, err
	}
	network, reorg := c.Network().Name, last.Hash.IsZero()
	if !reorg && head.Hash != last.Hash {
		is, err := c.HashAt(ctx, last.Number)
		if err != nil {
			return last, err
		}
		reorg = is != last.Hash
	}
	for at, ids := range s.endings.of(network, c.Reached(), reorg) {
		if at.number > head.Number {
			return last, nil // the chain is shorter just now; the reorg is not over
		}
		is, err := c.HashAt(ctx, at.number)
		if err != nil {
			return last, err
		}
		for _, id := range ids {
			if is == at.hash {
				if !reorg {
					s.endings.see(network, id, at)
				}
				continue
			}
			if err := s.reopen(ctx, c, id, at); err != nil {
				s.log.Warn("an operation whose block is gone is looked at again", "operation", id, "block", at.number, "error", err)
				return last, err
			}
		}
	}
	for id, at := range s.endings.thefts(network) {
		if err := s.disprove(ctx, c, id, at); err != nil && ctx.Err() == nil {
			s.log.Warn("an operation whose nonce was called stolen is looked at again", "operation", id, "error", err)
		}
	}
	return head, nil
}

// disprove takes one operation out of its end that ended because a stranger was said to hold its nonce, if every node
// says by now that its own transaction is final: a node that makes its index of transactions anew knows none of the
// older ones meanwhile, and may have forgotten which block used the nonce.
func (s *Service) disprove(ctx context.Context, c *chain.Client, id string, at ending) error {
	e, err := s.loadState(ctx, id)
	if err != nil {
		return err
	}
	o := *e.op
	if !o.Status.Terminal() || o.EndHash == nil || *o.EndHash != at.hash || o.BlockNumber != 0 {
		s.endings.put(&o)
		return nil // somebody else did it
	}
	hashes, err := s.hashes(ctx, &o)
	if err != nil {
		return err
	}
	opinion, err := c.Ask(ctx, o.Performer, o.Nonce, hashes)
	if err != nil || !opinion.Final {
		return err
	}
	s.log.Error("an operation's nonce was called stolen, and its own transaction is on the chain", "operation", o.ID, "nonce", o.Nonce, "block", opinion.Mined.BlockNumber)
	t := s.store.Tx()
	if err := s.takeBack(t, &o, map[string]any{"reason": "every node says that its own transaction is final, at the nonce that was called stolen",
		"transactionHash": hashes[opinion.Which].String(), "blockNumber": opinion.Mined.BlockNumber}); err != nil {
		return err
	}
	if err := s.commit(ctx, t, &o, e.rev, e.op); err != nil && !lostRace(err) {
		return err
	}
	return nil
}

// takeBack takes an operation out of its end, to where its bytes are sent again.
func (s *Service) takeBack(t *store.Tx, o *Operation, meta map[string]any) error {
	meta["was"] = string(o.Status)
	if err := o.move(Broadcasting, s.now()); err != nil {
		return err
	}
	o.BlockNumber, o.Confirmations, o.EndBlock, o.EndHash, o.FailureReason = 0, 0, 0, nil, ""
	t.Audit(o.draft(registry.SystemActor(), Broadcasting.action(), meta))
	return nil
}

// reopen takes one operation out of its end, if no node that answers has it in the block by which it ended. The
// same bytes are sent again; where one of them is final in another block already, with the same result, the end
// stands.
func (s *Service) reopen(ctx context.Context, c *chain.Client, id string, at ending) error {
	for {
		e, err := s.loadState(ctx, id)
		if err != nil {
			return err
		}
		o := *e.op
		if !o.Status.Terminal() || o.EndHash == nil || *o.EndHash != at.hash {
			s.endings.put(&o)
			return nil // somebody else did it
		}
		hashes, err := s.hashes(ctx, &o)
		if err != nil {
			return err
		}
		opinion, err := c.Ask(ctx, o.Performer, o.Nonce, hashes)
		if err != nil {
			return err
		}
		if stands, err := s.standsFor(ctx, c, &o, opinion, at); err != nil || stands {
			return err // one node only has left it, or says so
		}
		now, err := s.endsBy(ctx, c, opinion)
		if err != nil {
			return err
		}
		t := s.store.Tx()
		stands := opinion.Final && o.BlockNumber != 0 && opinion.Mined.Success == (o.Status == Completed) || opinion.Stolen && o.BlockNumber == 0
		meta := map[string]any{"blockNumber": at.number, "blockHash": at.hash.String(), "reason": "a reorg took away the block by which it ended"}
		if stands {
			hash := *o.TransactionHash
			if opinion.Final {
				hash = hashes[opinion.Which]
			}
			o.ended(c, opinion.Mined, hash, now)
			o.UpdatedAt = moment(s.now())
			meta["newBlockNumber"], meta["newBlockHash"] = now.number, now.hash.String()
			t.Audit(o.draft(registry.SystemActor(), "operation.block_changed", meta))
			if o.Type == policy.OpDeployToken && o.Status == Completed { // its token is looked at from that block on
				if err := s.stageToken(ctx, t, &o, func(token *registry.Token) (bool, error) { return s.deployed(token, &o), nil }); err != nil {
					return err
				}
			}
		} else {
			s.log.Error("a reorg deeper than the confirmations took an operation's block away", "operation", o.ID, "block", at.number, "was", o.Status)
			s.metrics.alarms.WithLabelValues("DEEP_REORG").Inc()
			if err := s.takeBack(t, &o, meta); err != nil {
				return err
			}
		}
		// gofail: var reopenBeforeCommit struct{}
		err = s.commit(ctx, t, &o, e.rev, e.op)
		// gofail: var reopenAfterCommit struct{}
		if err == nil || !lostRace(err) {
			return err
		}
	}
}

// standsFor reports whether some node still has an operation in the block by which it ended, or that block, if a
// stranger holds its nonce: what another one says, of however many blocks it tells, takes nothing back.
func (s *Service) standsFor(ctx context.Context, c *chain.Client, o *Operation, opinion chain.Opinion, at ending) (bool, error) {
	if o.BlockNumber != 0 {
		return slices.Contains(opinion.Blocks, at.hash), nil
	}
	return c.Stands(ctx, at.number, at.hash)
}

// endsBy is the block by which an operation ends now: the mined transaction's, else one that is final.
func (s *Service) endsBy(ctx context.Context, c *chain.Client, opinion chain.Opinion) (ending, error) {
	if opinion.Mined.Mined {
		return ending{opinion.Mined.BlockNumber, opinion.Mined.BlockHash}, nil
	}
	head, err := c.Head(ctx)
	if err != nil {
		return ending{}, err
	}
	at := ending{number: head.Number + 1 - min(head.Number+1, c.Network().Confirmations)}
	at.hash, err = c.HashAt(ctx, at.number)
	return at, err
}
