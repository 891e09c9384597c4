package reconciliation

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// firstRange and mostRange bound the blocks of one question; what nodes take is found out.
	firstRange = 1_000
	mostRange  = 10_000
	// fewLogs and manyLogs are when the next question's range grows or shrinks: some thousands of logs are a few
	// MiB.
	fewLogs  = 1_000
	manyLogs = 4_000
	// together is how many contracts one question names.
	together = 50
	// compareEvery is how often a token of which nothing happened is written and compared again.
	compareEvery = time.Minute
	// compareShare is how many times longer than a comparison took nothing is compared: with thousands of operations
	// under way it costs some, and supplies need not be side by side at every block.
	compareShare = 20
)

// front is how far a network's tokens are. One goroutine's.
type front struct {
	s       *Service
	fence   *store.Fence
	network string
	chain   *chain.Client

	tokens map[string]*track
	blocks uint64 // of one question
	taken  uint64 // to how many they grow fast
	head   tx.Hash

	// Of one pass: tokens that have had their turn or could not be worked on, and that not all was done that is to be
	// done at this head.
	skip       map[string]bool
	unfinished bool
}

// track is a token's progress while it is worked on.
type track struct {
	token *registry.Token
	at    *progress
	rev   int64 // of the stored progress; 0: none
	saved time.Time
	// pending tells that findings wait for two nodes.
	pending bool
	cursor  string // the last of them that nodes were asked for; empty: begin with the oldest
	// rested is when the next comparison may be, which reads what the last one read again.
	rested time.Time
}

func newFront(s *Service, fence *store.Fence, network string, c *chain.Client) *front {
	return &front{s: s, fence: fence, network: network, chain: c, tokens: map[string]*track{}, blocks: firstRange, taken: mostRange}
}

// pass looks at every final block that was not looked at yet.
func (f *front) pass(ctx context.Context) error {
	if err := f.s.registry.Ready(); err != nil {
		return err // whose a transaction is the ledger says
	}
	head, err := f.chain.Head(ctx)
	if err != nil {
		return err
	}
	// Of blocks that one node alone says there are, no other tells what happened in them: they wait until it does.
	newest, ahead := head.Number, false
	if common, ok := f.chain.Common(); ok && common < newest {
		newest, ahead = common, true
	}
	depth := f.chain.Network().Confirmations
	if head.Number+1 < depth {
		return nil
	}
	final := newest + 1 - min(newest+1, depth) // a node that holds everything back has to show in what is measured, too
	f.skip, f.unfinished = map[string]bool{}, ahead
	faults := f.load(ctx, final)
	if head.Hash == f.head {
		return joined(faults)
	}
	faults = append(faults, f.advance(ctx, final)...)
	for _, t := range f.tokens {
		if err := f.after(ctx, t, final); err != nil {
			faults = append(faults, fmt.Errorf("token %s: %w", t.token.ID, err))
		}
	}
	f.measure(head.Number + 1 - depth)
	if len(faults) == 0 && !f.unfinished {
		f.head = head.Hash
	}
	return joined(faults)
}

// mostFaults is how many tokens' faults are told one by one: all may have the same.
const mostFaults = 5

// joined is faults as one, nil for none.
func joined(faults []error) error {
	if more := len(faults) - mostFaults; more > 0 {
		faults = append(faults[:mostFaults:mostFaults], fmt.Errorf("and %d more", more))
	}
	return errors.Join(faults...)
}

// load takes in the tokens that have a contract and were not known yet, or with another one. One that cannot be begun with
// is no hindrance for the others.
func (f *front) load(ctx context.Context, final uint64) (faults []error) {
	tokens, _, err := f.s.registry.Tokens(ctx, registry.TokenFilter{Network: f.network}, math.MaxInt32, 0)
	if err != nil {
		return []error{err}
	}
	for _, token := range tokens {
		if t, known := f.tokens[token.ID]; known && t.at.of(token) {
			t.token = token
			continue
		}
		delete(f.tokens, token.ID) // what was known is not where it is now
		if token.ContractAddress == nil {
			continue
		}
		t, err := f.begin(ctx, token, final)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("token %s: %w", token.ID, err))
		case t != nil:
			f.tokens[token.ID] = t
			f.head = tx.Hash{} // it has not seen this head
		}
		if ctx.Err() != nil {
			break
		}
	}
	return faults
}

// begin is a token's progress as it is stored, or its first.
func (f *front) begin(ctx context.Context, token *registry.Token, final uint64) (*track, error) {
	value, rev, ok, err := f.s.store.Get(ctx, progressKey(token.ID))
	if err != nil {
		return nil, err
	}
	if ok {
		p, err := decodeProgress(value)
		if err != nil {
			return nil, err
		}
		if p.of(token) {
			// What waits for two nodes is found by looking once.
			return &track{token: token, at: p, rev: rev, pending: true}, nil
		}
	}
	p, err := f.first(ctx, token, final)
	if err != nil || p == nil {
		return nil, err
	}
	return &track{token: token, at: p, rev: rev}, nil
}

// firstBlock is where a token begins: at the block of its deployment, if that was ours, else behind the block at which an
// import looked at it: what became of it before nobody here authorized.
func firstBlock(token *registry.Token) uint64 {
	if token.Imported {
		return token.BlockNumber + 1
	}
	return token.BlockNumber
}

// first is the progress of a token that is looked at from its beginning; nil if that is not final yet.
func (f *front) first(ctx context.Context, token *registry.Token, final uint64) (*progress, error) {
	p := &progress{TokenID: token.ID, Network: token.Network, Contract: *token.ContractAddress, FromBlock: firstBlock(token), CheckedAt: f.s.second()}
	if token.Imported {
		p.Base.Set(token.InitialSupply.Big())
	}
	if p.FromBlock == 0 || p.FromBlock > final+1 {
		return nil, nil
	}
	p.Block = p.FromBlock - 1
	hash, err := f.chain.BlockHash(ctx, p.Block)
	if err != nil {
		return nil, err
	}
	p.BlockHash = hash
	return p, nil
}

// advance takes every token to the final block, those that are furthest behind first. What goes wrong with one token
// is that one's fault, and it rests until the next pass.
func (f *front) advance(ctx context.Context, final uint64) (faults []error) {
	hashes := map[uint64]hashed{}
	for id, t := range f.tokens {
		if err := f.stands(ctx, t, hashes); err != nil {
			f.skip[id] = true
			faults = append(faults, fmt.Errorf("token %s: %w", id, err))
		}
	}
	for ctx.Err() == nil {
		group := f.hindmost(final)
		if len(group) == 0 {
			break
		}
		faults = append(faults, f.step(ctx, group, final)...)
	}
	return faults
}

// hashed is what nodes said of a block: asked once for all tokens.
type hashed struct {
	hash tx.Hash
	err  error
}

// stands begins anew with a token whose last block is not of the chain any more.
func (f *front) stands(ctx context.Context, t *track, hashes map[uint64]hashed) error {
	at, known := hashes[t.at.Block]
	if !known {
		at.hash, at.err = f.chain.BlockHash(ctx, t.at.Block)
		hashes[t.at.Block] = at
	}
	if at.err != nil {
		return at.err
	}
	hash := at.hash
	if hash == t.at.BlockHash {
		return nil
	}
	f.s.log.Error("reconciliation: a reorg took a final block away; the token is looked at from its beginning again",
		"token", t.token.ID, "block", t.at.Block)
	p := &progress{TokenID: t.at.TokenID, Network: t.at.Network, Contract: t.at.Contract, FromBlock: t.at.FromBlock, Told: t.at.Told,
		Kept: t.at.Kept, Denied: t.at.Denied, Block: t.at.FromBlock - 1, CheckedAt: f.s.second()}
	p.Base.Set(&t.at.Base.Int)
	var err error
	if p.BlockHash, err = f.chain.BlockHash(ctx, p.Block); err != nil {
		return err
	}
	change := f.s.store.Tx()
	change.Audit(f.s.draft(t, "token.reconciliation_restarted", map[string]any{"blockNumber": t.at.Block, "blockHash": t.at.BlockHash.String()}))
	return f.save(ctx, t, p, change)
}

// hindmost are tokens that are equally far, and no others further behind but those that rest.
func (f *front) hindmost(final uint64) []*track {
	var all []*track
	for id, t := range f.tokens {
		if t.at.Block < final && !f.skip[id] {
			all = append(all, t)
		}
	}
	slices.SortFunc(all, func(a, b *track) int {
		return cmp.Or(cmp.Compare(a.at.Block, b.at.Block), cmp.Compare(a.token.ID, b.token.ID))
	})
	n := 0
	for n < len(all) && n < together && all[n].at.Block == all[0].at.Block {
		n++
	}
	return all[:n]
}

// step takes a group one range of blocks further, as much of it as can be. Who cannot rests.
func (f *front) step(ctx context.Context, group []*track, final uint64) (faults []error) {
	from := group[0].at.Block + 1
	to := min(final, from+f.blocks-1)
	contracts := make([]tx.Address, len(group))
	for i, t := range group {
		contracts[i] = t.at.Contract
	}
	logs, others, hash, err := f.chain.AllLogs(ctx, from, to, queries(contracts)...)
	switch {
	case errors.Is(err, chain.ErrTooManyLogs) && to > from:
		f.blocks = max(1, (to-from+1)/2)
		return nil
	case errors.Is(err, chain.ErrTooManyLogs) && len(group) > 1:
		// One of these contracts writes more into one block than a node tells at once; the others need not wait for it.
		half := len(group) / 2
		return append(f.step(ctx, group[:half], to), f.step(ctx, group[half:], to)...)
	case err != nil:
		// So many blocks may be more than a node tells of in its time, without a word about it: the next question is about
		// fewer, and it takes longer until one is about so many again. What was too much of one block is none of the others'.
		f.blocks = (to - from + 1) / 2
		if f.blocks == 0 {
			f.blocks = firstRange
		}
		f.taken = f.blocks
		for _, t := range group {
			f.skip[t.token.ID] = true
			faults = append(faults, fmt.Errorf("token %s: %w", t.token.ID, err))
		}
		return faults
	case len(logs) > manyLogs:
		f.blocks = max(1, f.blocks/2)
	case len(logs) < fewLogs && f.blocks < f.taken:
		f.blocks = min(f.taken, f.blocks*2)
	case len(logs) < fewLogs:
		f.blocks = min(mostRange, f.blocks+f.blocks/16+1)
	}
	for _, t := range group {
		if err := f.take(ctx, t, of(t, logs), of(t, others), to, hash); err != nil {
			f.skip[t.token.ID] = true
			faults = append(faults, fmt.Errorf("token %s: %w", t.token.ID, err))
		}
	}
	return faults
}

// of is the logs of a token's contract.
func of(t *track, logs []chain.Log) (own []chain.Log) {
	for _, l := range logs {
		if l.Address == t.at.Contract {
			own = append(own, l)
		}
	}
	return own
}

// after has a token frozen if that waits, whatever else is the matter with it, and compares its supplies when it is
// time.
func (f *front) after(ctx context.Context, t *track, final uint64) error {
	var fault error
	if t.pending {
		fault = f.freeze(ctx, t)
		f.unfinished = f.unfinished || t.pending // nodes that did not say anything may, whether another block comes or none
	}
	if t.at.Block != final {
		return fault
	}
	if (!t.at.Compared || f.s.now().Sub(t.at.CheckedAt) >= compareEvery) && time.Now().After(t.rested) {
		began := time.Now()
		err := f.compare(ctx, t)
		if err == nil {
			t.rested = time.Now().Add(min(compareShare*time.Since(began), compareEvery))
		}
		fault = errors.Join(fault, err)
	}
	if !t.at.Compared {
		f.unfinished = true // it is due whether another block comes or none
	}
	return fault
}

// save writes a token's progress with what the change holds, if this process still has the fence and nobody else
// wrote it.
func (f *front) save(ctx context.Context, t *track, p *progress, change *store.Tx) error {
	f.fence.Require(change)
	change.PutIf(progressKey(t.token.ID), p.encode(), t.rev)
	// gofail: var reconcileBeforeCommit struct{}
	rev, err := change.Commit(ctx)
	if err != nil {
		// Whatever became of it, the next look begins with what is stored.
		delete(f.tokens, t.token.ID)
		f.head = tx.Hash{}
		return err
	}
	// gofail: var reconcileAfterCommit struct{}
	t.at, t.rev, t.saved = p, rev, f.s.now()
	return nil
}

func (f *front) measure(final uint64) {
	var behind uint64
	disagrees, pending := 0, 0
	for _, t := range f.tokens {
		behind = max(behind, final-min(final, t.at.Block))
		if t.at.Unmatched > 0 || t.at.Compared && !t.at.agrees() {
			disagrees++
		}
		if t.pending {
			pending++
		}
	}
	f.s.metrics.behind.WithLabelValues(f.network).Set(float64(behind))
	f.s.metrics.disagrees.WithLabelValues(f.network).Set(float64(disagrees))
	f.s.metrics.pending.WithLabelValues(f.network).Set(float64(pending))
}

// draft is the audit entry of something that was seen of a token.
func (s *Service) draft(t *track, action string, metadata map[string]any) audit.Draft {
	metadata["network"], metadata["contractAddress"] = t.at.Network, t.at.Contract.String()
	return audit.Draft{ActorID: registry.SystemActor().Name, ActorType: audit.System, Action: action, ResourceType: "token",
		ResourceID: t.token.ID, Metadata: metadata}
}

func (s *Service) second() time.Time { return s.now().UTC().Truncate(time.Second) }
