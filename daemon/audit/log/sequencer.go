package auditlog

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json/v2"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// batchEntries is how many entries one transaction numbers: the deletion of each, their value, the tree's block
	// and the head.
	batchEntries = valueFull
	// condenseEvery is after how many leaves of the tree values are put together.
	condenseEvery = valueFull / 4
	// batchBytes bounds their size; a batch's keys and the rest of the transaction fit beside it.
	batchBytes = 700 << 10
	// ledgerPage is how many batches of the ledger are read at once, at most 1 MiB each.
	ledgerPage = 16
)

// head is the end of the chain and of the tree, at store.AuditHead.
type head struct {
	Seq       audit.Sequence `json:"seq"`
	EntryHash string         `json:"entryHash"`
	Tree      uint64         `json:"tree,omitzero"`   // leaves; 0: nothing is in the tree, whatever is numbered
	Ledger    uint64         `json:"ledger,omitzero"` // newest batch of the ledger in the tree
	Batch     string         `json:"batch,omitzero"`  // its digest
}

// batch is what the tree needs to know of one of the ledger.
type batch struct {
	sequence         uint64
	digest, previous string
	quiet            bool // it holds nothing but the record of a checkpoint
}

// sequencing is the work of the one sequencer there is.
type sequencing struct {
	*Log
	fence   *store.Fence
	end     head
	rev     int64 // of end's key
	queue   []store.KV
	batches []batch
	// single is how many leaves came since values were last put together, and together asks for that.
	single   uint64
	together chan struct{}
}

// sequence numbers entries while this process holds the fence; it returns why it stopped.
func (l *Log) sequence(ctx context.Context) error {
	return l.store.While(ctx, "audit-sequencer", func(ctx context.Context, fence *store.Fence) error {
		defer l.metrics.waiting.Set(0)
		g, ctx := errgroup.WithContext(ctx)
		s := &sequencing{Log: l, fence: fence, together: make(chan struct{}, 1)}
		g.Go(func() error { return s.run(ctx) })
		g.Go(func() error { return l.condense(ctx, fence, s.together) })
		if l.opts.Seal != nil && l.opts.Dir != "" {
			g.Go(func() error { return l.checkpoint(ctx, fence) })
		}
		if l.archive != nil && l.opts.Retention > 0 {
			g.Go(func() error { return l.shorten(ctx, fence) })
		}
		return g.Wait()
	})
}

func (s *sequencing) run(ctx context.Context) (err error) {
	if s.end, s.rev, err = s.readHead(ctx); err != nil {
		return err
	}
	var from int64
	for kv, err := range s.store.All(ctx, store.AuditPending, func(r int64) { from = r + 1 }) {
		if err != nil {
			return err
		}
		s.queue = append(s.queue, kv)
	}
	slices.SortStableFunc(s.queue, func(a, b store.KV) int { return int(a.ModRevision - b.ModRevision) })
	arrivals := s.store.Watch(ctx, store.AuditPending, from)
	ledger, err := s.ledger(ctx)
	if err != nil {
		return err
	}
	for {
		if len(s.queue) == 0 && len(s.batches) == 0 {
			select {
			case c, open := <-arrivals:
				err = s.arrived(ctx, c, open)
			case c, open := <-ledger:
				err = s.wrote(ctx, c, open)
			}
		}
		for more := true; more && err == nil && len(s.queue) < batchEntries; { // what arrived meanwhile goes into this one
			select {
			case c, open := <-arrivals:
				err = s.arrived(ctx, c, open)
			case c, open := <-ledger:
				err = s.wrote(ctx, c, open)
			default:
				more = false
			}
		}
		if err != nil {
			return err
		}
		if len(s.queue) == 0 && len(s.batches) == 0 {
			continue // a deletion
		}
		s.metrics.waiting.Set(float64(len(s.queue)))
		if err := s.number(ctx); err != nil {
			return err
		}
		s.metrics.waiting.Set(float64(len(s.queue)))
	}
}

// ledger reads the batches behind those in the tree, and watches for more.
func (s *sequencing) ledger(ctx context.Context) (<-chan store.Changes, error) {
	after := fmt.Sprintf("%s%020d", store.SealLog, s.end.Ledger)
	for {
		p, err := s.store.List(ctx, store.SealLog, store.ListOptions{After: after, Limit: ledgerPage})
		if err != nil {
			return nil, err
		}
		for _, kv := range p.KVs {
			if err := s.take(kv); err != nil {
				return nil, err
			}
			after = kv.Key
		}
		if !p.More {
			return s.store.Watch(ctx, store.SealLog, p.Revision+1), nil
		}
	}
}

func (s *sequencing) arrived(ctx context.Context, c store.Changes, open bool) error {
	if !open {
		return fmt.Errorf("auditlog: %w", ctx.Err())
	}
	for _, e := range c.Events {
		if !e.Deleted {
			s.queue = append(s.queue, e.KV)
		}
	}
	return c.Err
}

func (s *sequencing) wrote(ctx context.Context, c store.Changes, open bool) error {
	if !open {
		return fmt.Errorf("auditlog: %w", ctx.Err())
	}
	for _, e := range c.Events {
		if e.Deleted {
			continue
		}
		if err := s.take(e.KV); err != nil {
			return err
		}
	}
	return c.Err
}

// take is a batch's place in the queue. One that does not follow the last one does not get into the tree:
// the seal would never sign that, and it could not be taken back.
func (s *sequencing) take(kv store.KV) error {
	b, err := readBatch(kv)
	if err != nil {
		return err
	}
	last := batch{sequence: s.end.Ledger, digest: s.end.Batch}
	if n := len(s.batches); n > 0 {
		last = s.batches[n-1]
	}
	switch {
	case b.sequence <= last.sequence:
		return fmt.Errorf("auditlog: batch %d of the ledger was written again, or after %d", b.sequence, last.sequence)
	case b.sequence == last.sequence+1 && last.sequence > 0 && b.previous != last.digest:
		return fmt.Errorf("auditlog: batch %d of the ledger follows %.80q, the last one in the tree is %s", b.sequence, b.previous, last.digest)
	case b.sequence > last.sequence+1:
		s.log.Warn("audit log: batches of the ledger were trimmed before they were in the tree", "after", last.sequence, "first", b.sequence)
	}
	s.batches = append(s.batches, b)
	return nil
}

// previousWithin is how far from its beginning a batch names the one before: its members stand in order.
const previousWithin = 1024

// readBatch looks at what the tree needs of a batch and takes the rest on the seal's word, which signs no
// tree with another one.
func readBatch(kv store.KV) (batch, error) {
	var b batch
	if _, err := fmt.Sscanf(strings.TrimPrefix(kv.Key, store.SealLog), "%d", &b.sequence); err != nil || fmt.Sprintf("%s%020d", store.SealLog, b.sequence) != kv.Key {
		return b, fmt.Errorf("auditlog: %s is no batch's key", kv.Key)
	}
	b.digest = digestOf(kv.Value)
	const member = `"previous":"`
	begin := kv.Value[:min(len(kv.Value), previousWithin)]
	if at := bytes.Index(begin, []byte(member)); at >= 0 {
		if text, _, ok := bytes.Cut(begin[at+len(member):], []byte{'"'}); ok {
			b.previous = string(text)
		}
	}
	b.quiet = isCheckpoint(kv.Value)
	return b, nil
}

// isCheckpoint is true of a batch whose only record is a checkpoint.
func isCheckpoint(value []byte) bool {
	if len(value) > 2<<10 || !bytes.Contains(value, []byte(`"type":"checkpoint"`)) {
		return false
	}
	var b struct {
		Records []struct {
			Type string `json:"type"`
		} `json:"records"`
	}
	return json.Unmarshal(value, &b) == nil && len(b.Records) == 1 && b.Records[0].Type == "checkpoint"
}

// number chains the first entries of the queue and gives them and the batches that wait their places in
// the tree, in one transaction: either an entry has left the pending prefix and stands in the log, in the
// tree's order and under the head, or none of it happened.
func (s *sequencing) number(ctx context.Context) error {
	tx := s.store.Tx()
	s.fence.Require(tx)
	end, n, size := s.end, 0, 0
	var lines [][]byte
	for n < len(s.queue) && n < batchEntries {
		kv := s.queue[n]
		e, err := entry(kv, uint64(end.Seq)+1, end.EntryHash)
		if err != nil {
			return err
		}
		b, err := e.Encode()
		if err != nil {
			return err
		}
		if size += len(b); n > 0 && size > batchBytes {
			break
		}
		tx.DeleteIf(kv.Key, kv.ModRevision)
		lines = append(lines, b)
		end.Seq, end.EntryHash = e.Seq, e.EntryHash
		n++
	}
	if n > 0 {
		tx.Put(logKey(uint64(end.Seq)), storeLines(storedEntries, lines))
	}
	taken := s.grow(&end)
	b := block{Format: blockFormat, First: s.end.Tree, Entries: uint64(n), Audit: uint64(end.Seq), Ledger: end.Ledger, Quiet: n == 0, Batches: []string{}}
	if s.end.Tree == 0 {
		b.Entries = uint64(end.Seq) // numbered by a build that had no tree
		b.Quiet = b.Quiet && b.Entries == 0
	}
	for _, t := range s.batches[:taken] {
		b.Batches, b.Quiet = append(b.Batches, t.digest), b.Quiet && t.quiet
	}
	end.Tree = b.end()
	text, err := b.encode()
	if err != nil {
		return err
	}
	tx.PutIfAbsent(b.key(), storeLines(storedBlocks, [][]byte{text}))
	if text, err = json.Marshal(end); err != nil {
		return err
	}
	tx.PutIf(store.AuditHead, text, s.rev)
	// gofail: var auditBeforeCommit struct{}
	rev, err := tx.Commit(ctx)
	// gofail: var auditAfterCommit struct{}
	if err != nil {
		return err
	}
	s.end, s.rev, s.queue, s.batches = end, rev, s.queue[n:], s.batches[taken:]
	s.metrics.entries.Add(float64(n))
	if s.single += b.end() - b.First; s.single >= condenseEvery {
		s.single = 0
		select {
		case s.together <- struct{}{}:
		default:
		}
	}
	return nil
}

// grow takes the batches that fit into one block: they follow each other.
func (s *sequencing) grow(end *head) (taken int) {
	for i, b := range s.batches {
		if i == blockBatches || i > 0 && b.sequence != end.Ledger+1 {
			break
		}
		end.Ledger, end.Batch, taken = b.sequence, b.digest, i+1
	}
	return taken
}

// entry gives what stands at kv its number. A value that is no pending entry gets a number, too, and is
// shown as it is: a sequencer that stopped at it would hide everything after it.
func entry(kv store.KV, seq uint64, prev string) (*audit.Entry, error) {
	p, err := audit.ParsePending(kv.Value)
	if err == nil {
		var e *audit.Entry
		if e, err = p.Entry(seq, prev); err == nil {
			return e, nil
		}
	}
	p, err = audit.Draft{
		Action: "audit.unreadable", ResourceType: "audit", ResourceID: strings.TrimPrefix(kv.Key, store.AuditPending),
		Metadata: map[string]any{"value": kv.Value[:min(len(kv.Value), 16<<10)], "bytes": len(kv.Value)},
	}.Pend(store.NewID("aud_"), "", time.Now())
	if err != nil {
		return nil, err
	}
	return p.Entry(seq, prev)
}

// Sealer signs checkpoints; it is the seal's door, or the author's over the link.
type Sealer interface {
	Checkpoint(context.Context, seal.CheckpointRequest) (*seal.CheckpointResult, error)
}

// digestOf is sha256: and the hex of the SHA-256 of b.
func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}
