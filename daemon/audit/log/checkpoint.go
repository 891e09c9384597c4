package auditlog

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// signedTree is a checkpoint as it stands in the store.
type signedTree struct {
	Format int                  `json:"format"`
	Note   string               `json:"note"` // C2SP tlog-checkpoint
	Keys   *seal.CheckpointKeys `json:"keys"` // that signed it

	tree      seal.Tree     // what the note says
	cosigners []*signedTree // whose cosignatures stand under it besides
}

// maxSigned bounds a checkpoint in the store, in bytes: its cosignature takes 3,300.
const maxSigned = 64 << 10

// parseSigned reads a checkpoint strictly, and verifies it with the keys that it brings. Whose they are says
// the ledger.
func parseSigned(b []byte) (*signedTree, error) {
	var s signedTree
	if len(b) > maxSigned {
		return nil, fmt.Errorf("auditlog: a checkpoint of %d bytes", len(b))
	}
	if err := json.Unmarshal(b, &s, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("auditlog: not a checkpoint: %w", err)
	}
	if s.Format != 1 || s.Keys == nil {
		return nil, fmt.Errorf("auditlog: a checkpoint of format %d", s.Format)
	}
	c, err := s.Keys.Open([]byte(s.Note))
	if err != nil {
		return nil, fmt.Errorf("auditlog: %w", err)
	}
	s.tree = c.Tree
	return &s, nil
}

// errBehind says that this process does not know yet what it would ask about.
var errBehind = errors.New("auditlog: behind the ledger")

// failedRest is for how long nobody's wish is heard after a checkpoint that failed: whoever waits for one wishes again
// at all that is new, and a refusal is.
const failedRest = time.Second

// checkpoint asks for one whenever it is time, or somebody waits, and there is something new. It returns
// only with ctx.
func (l *Log) checkpoint(ctx context.Context, fence *store.Fence) error {
	tick := time.NewTicker(l.opts.CheckpointEvery)
	defer tick.Stop()
	told := ""
	wished, rested := (<-chan struct{})(l.kick), (<-chan time.Time)(nil)
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-rested:
			wished, rested = l.kick, nil
			continue
		case <-tick.C:
		case <-wished:
		}
		err := l.checkpointOnce(ctx, fence)
		switch {
		case err == nil:
			told = ""
		case errors.Is(err, errBehind) || ctx.Err() != nil:
		default:
			wished, rested = nil, time.After(failedRest)
			l.metrics.refused.Inc()
			if told != err.Error() { // a seal that is sealed says so at every tick
				told = err.Error()
				l.log.Warn("audit log: no checkpoint", "error", err)
			}
		}
	}
}

// checkpointOnce has the tree's head signed, and puts it into the store for all.
func (l *Log) checkpointOnce(ctx context.Context, fence *store.Fence) error {
	t := l.tree.Load()
	if t == nil || l.fault.Load() != nil {
		return errBehind // the fault was told
	}
	q, err := l.wanted(t)
	if err != nil || q == nil {
		return err
	}
	began := time.Now()
	res, err := l.opts.Seal.Checkpoint(ctx, *q)
	l.metrics.checkpoint.Observe(time.Since(began).Seconds())
	if err != nil {
		return err
	}
	// gofail: var checkpointBeforeStore struct{}
	value, err := json.Marshal(&signedTree{Format: 1, Note: res.Note, Keys: res.Keys})
	if err != nil {
		return err
	}
	if s, err := parseSigned(value); err != nil || s.tree != q.Tree {
		return errors.Join(errors.New("auditlog: the seal's checkpoint is not what was asked for"), err)
	}
	refusals := l.refusals.Load()
	tx := l.store.Tx()
	fence.Require(tx)
	tx.Put(store.AuditSigned, value)
	if _, err := tx.Commit(ctx); err != nil {
		return err
	}
	return l.awaitSigned(ctx, q.Tree.Size, refusals)
}

// awaitSigned waits until our own follower took the checkpoint, so that the next one is asked for on top
// of it. One that it refused since there were that many refusals, or that it never came to see, is asked for again: the
// charter that names who signed it may be on its way here.
func (l *Log) awaitSigned(ctx context.Context, size, refusals uint64) error {
	over := time.After(signPatience)
	for {
		news := l.news()
		if s := l.signed.Load(); s != nil && s.tree.Size >= size || l.fault.Load() != nil {
			return nil
		}
		if l.refusals.Load() != refusals {
			return fmt.Errorf("auditlog: the checkpoint of %d leaves was refused here", size)
		}
		select {
		case <-news:
		case <-over:
			return fmt.Errorf("auditlog: the checkpoint of %d leaves was not taken in within %s", size, signPatience)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// wanted is the next request, nil if there is nothing to ask for. What the ledger recorded and the store
// lacks, because somebody died between the two, is asked for again.
func (l *Log) wanted(t *tree) (*seal.CheckpointRequest, error) {
	now := t.now()
	last, recorded := l.opts.Ledger.LastCheckpoint()
	var published uint64
	if s := l.signed.Load(); s != nil {
		published = s.tree.Size
	}
	switch {
	case published > last.Size || last.Size > now.Size:
		return nil, errBehind
	case now.Ledger == 0:
		return nil, nil // there is no ledger yet, and nobody who could sign
	case recorded && published < last.Size:
		root, err := tlog.TreeHash(int64(last.Size), t.reader())
		if err != nil {
			return nil, err
		}
		if rootText(root) == string(last.Root) {
			return request(t, mark{Size: last.Size, Root: rootText(root), Ledger: 1}, 0, false)
		}
		l.broke("forked", fmt.Errorf("our own tree of %d leaves is %s, the ledger records %s", last.Size, rootText(root), last.Root))
		return nil, nil
	}
	switch loud := l.loud.Load(); {
	case loud <= last.Size:
		return nil, nil
	case loud > now.Size:
		return nil, errBehind // a tree without the block would be signed for nothing, and its batch ask for nothing more
	}
	return request(t, now, last.Size, true)
}

// request asks for the tree at m, with its proofs where it is a new one.
func request(t *tree, m mark, from uint64, fresh bool) (*seal.CheckpointRequest, error) {
	root, err := parseRoot(m.Root)
	if err != nil {
		return nil, err
	}
	q := &seal.CheckpointRequest{Tree: seal.Tree{Size: m.Size, Root: seal.RootOf(root)},
		Proof: seal.TreeProof{From: from, Consistency: [][]byte{}, Ledger: seal.BatchProof{Sequence: m.Ledger, Index: m.Index, Inclusion: [][]byte{}}}}
	if !fresh {
		return q, nil
	}
	if from > 0 {
		proof, err := tlog.ProveTree(int64(m.Size), int64(from), t.reader())
		if err != nil {
			return nil, err
		}
		q.Proof.Consistency = slicesOf(proof)
	}
	proof, err := tlog.ProveRecord(int64(m.Size), int64(m.Index), t.reader())
	if err != nil {
		return nil, err
	}
	q.Proof.Ledger.Inclusion = slicesOf(proof)
	return q, nil
}

func slicesOf(hashes []tlog.Hash) [][]byte {
	out := make([][]byte, len(hashes))
	for i, h := range hashes {
		out[i] = h[:]
	}
	return out
}
