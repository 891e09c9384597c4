package auditlog

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// following is one reading of the store: entries into the index, blocks into the tree, checkpoints to the
// disk. One goroutine.
type following struct {
	*Log
	tree   *tree
	hashes map[uint64]string // of entries that are not in the tree yet
	end    uint64            // of the newest block that was read
	epoch  uint64            // of the ledger, and of the tree
	words  cosigning
	// anchored is the anchor that this following wrote last.
	anchored []byte
	refusal  string // why the last checkpoint was refused, which it may be at every tick
	retry    func() // begins anew, after a while
}

// diskRetry is how long a disk that is full or failed is left alone.
const diskRetry = 30 * time.Second

var errDisk = errors.New("the disk failed before")

// follow reads the log into the index and the tree and keeps both up to date; it returns why it stopped.
func (l *Log) follow(ctx context.Context) error {
	whole := ctx
	ctx, cancel := context.WithCancelCause(whole)
	defer cancel(nil)
	f := &following{Log: l, hashes: map[uint64]string{}, words: cosigning{},
		retry: func() { time.AfterFunc(diskRetry, func() { cancel(errDisk) }) }}
	f.epoch = firstEpoch
	if f.opts.Ledger.Epoch != nil && f.archive != nil {
		var err error
		if f.epoch, err = f.opts.Ledger.Epoch(ctx); err != nil {
			return err
		}
		go f.watchEpoch(ctx, func() { cancel(errEpoch) })
	}
	if err := f.openDisk(ctx); err != nil {
		return err
	}
	var from int64
	for kv, err := range l.store.All(ctx, store.AuditFollow, func(r int64) { from = r + 1 }) {
		if err != nil {
			return err
		}
		if err := f.take(ctx, kv); err != nil {
			return err
		}
	}
	if f.tree != nil && f.end < f.tree.now().Size {
		f.stop("rolled_back", fmt.Errorf("the store's order of the tree ends at leaf %d, the disk holds %d (a restored or wrong store)", f.end, f.tree.now().Size))
	}
	l.index.once.Do(func() { close(l.index.loaded) })
	l.notify()
	for c := range l.store.Watch(ctx, store.AuditFollow, from) {
		for _, e := range c.Events {
			if e.Deleted {
				continue
			}
			if err := f.take(ctx, e.KV); err != nil {
				return err
			}
		}
		l.notify()
		if c.Err != nil {
			return c.Err
		}
	}
	return context.Cause(ctx)
}

// openDisk reads the archive and the tree. A tree that is not what was saved is put aside and grown anew.
func (f *following) openDisk(ctx context.Context) error {
	f.Log.tree.Store(nil)
	f.loud.Store(0)
	f.fault.Store(nil)
	f.metrics.faults.Reset()
	if f.archive == nil {
		return nil
	}
	for e, err := range f.archive.all() {
		if err != nil {
			f.stop("hole", err)
			return nil
		}
		f.index.add(uint64(e.Seq), e)
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	dir := filepath.Join(f.opts.Dir, tlogDir)
	open := func() (t *tree, err error) {
		if err = f.inEpoch(dir); err == nil {
			t, err = openTree(dir)
		}
		return t, err
	}
	t, err := open()
	if errors.Is(err, errTree) {
		aside, moved := setAside(dir)
		if moved != nil {
			return errors.Join(err, moved)
		}
		f.log.Error("audit log: the tree on the disk was put aside, and is grown anew from the store", "error", err, "aside", aside)
		t, err = open()
	}
	var later *rolledBack
	if errors.As(err, &later) {
		f.stop("rolled_back", err)
		return nil
	}
	if err != nil {
		f.stop("disk", err)
		return nil
	}
	f.tree = t
	f.before.CompareAndSwap(0, t.now().Size)
	f.Log.tree.Store(t)
	f.metrics.leaves.Set(float64(t.now().Size))
	return nil
}

// stop notes a fault; entries are listed all the same. A disk may come back.
func (f *following) stop(what string, err error) {
	f.tree = nil
	if what == "disk" {
		f.retry()
	}
	f.broke(what, err)
}

// take is one key of the store. An error is the context's: whatever is wrong with a value is noted, and
// what follows is read.
func (f *following) take(ctx context.Context, kv store.KV) error {
	switch {
	case strings.HasPrefix(kv.Key, store.AuditLog):
		f.entries(kv)
	case strings.HasPrefix(kv.Key, store.AuditOrder):
		f.blocks(kv)
	case strings.HasPrefix(kv.Key, store.AuditCosigned):
		f.cosigned(ctx, kv)
	case kv.Key == store.AuditSigned:
		f.checkpointed(ctx, kv.Value)
	}
	return ctx.Err()
}

// entries takes in what stands at a key of the log; some of it may be known, from before values were put together.
func (f *following) entries(kv store.KV) {
	seq, err := parseLogKey(kv.Key)
	if err != nil {
		f.log.Error("audit log: unknown key", "key", kv.Key)
		return
	}
	entries, err := parseEntries(kv)
	if err != nil {
		f.log.Error("audit log: not what the log holds", "key", kv.Key, "error", err)
		entries = []*audit.Entry{{Seq: audit.Sequence(seq), CreatedAt: time.Unix(0, 0)}}
	}
	for _, e := range entries {
		f.entry(e)
	}
	f.metrics.sequence.Set(float64(f.index.newestNumber()))
}

func (f *following) entry(e *audit.Entry) {
	seq := uint64(e.Seq)
	f.index.add(seq, e)
	if f.tree == nil {
		return
	}
	switch saved := f.tree.now(); {
	case seq > saved.Audit:
		f.hashes[seq] = e.EntryHash
	case seq == f.archive.newest() && e.EntryHash != f.archive.newestHash():
		f.stop("forked", fmt.Errorf("the store's entry %d is %.80q, the archive holds %s: another history", seq, e.EntryHash, f.archive.newestHash()))
	case seq == saved.Audit && e.EntryHash != saved.Entry:
		f.stop("forked", fmt.Errorf("the store's entry %d is %.80q, the tree on the disk holds %s: another history", seq, e.EntryHash, saved.Entry))
	}
}

// blocks grows the tree by what stands at a key of its order.
func (f *following) blocks(kv store.KV) {
	if f.tree == nil {
		return
	}
	all, err := parseBlocks(kv)
	if err != nil {
		f.stop("hole", err)
		return
	}
	for _, b := range all {
		if f.tree != nil { // or the block before stopped it
			f.block(b)
		}
	}
}

// block grows the tree.
func (f *following) block(b *block) {
	now := f.tree.now()
	f.end = max(f.end, b.end())
	if now.Size == 0 && b.First > 0 && f.inherit(b.First) {
		now = f.tree.now()
	}
	if !b.Quiet && b.end() > f.loud.Load() { // it may be known, from before values were put together
		f.loud.Store(b.end())
	}
	switch {
	case b.end() < now.Size:
		return
	case b.end() == now.Size:
		if b.Audit != now.Audit || b.Ledger != now.Ledger || len(b.Batches) > 0 && b.Batches[len(b.Batches)-1] != now.Batch {
			f.stop("forked", fmt.Errorf("the store's block that ends at leaf %d is not the one that the tree on the disk ends with", b.end()))
		}
		return
	case b.First != now.Size:
		f.stop("hole", fmt.Errorf("the store's order goes on at leaf %d, the tree on the disk ends at %d: copy the directory of another appliance", b.First, now.Size))
		return
	}
	leaves, encoded := make([]audit.Leaf, 0, b.Entries), make([][]byte, 0, b.Entries)
	for seq := b.Audit - b.Entries + 1; seq <= b.Audit; seq++ {
		hash, ok := f.hashes[seq]
		if !ok {
			// It moved to the archive since.
			e, err := f.archive.entry(seq)
			if err != nil {
				f.stop("hole", fmt.Errorf("entry %d of the tree is neither in the store nor in the archive: %w", seq, err))
				return
			}
			hash = e.EntryHash
		}
		delete(f.hashes, seq)
		leaf := audit.Leaf{Digest: hash, Format: 1, Log: audit.AuditLeaves, Sequence: seq}
		leaves, encoded = append(leaves, leaf), append(encoded, leaf.Encode())
	}
	for i, digest := range b.Batches {
		leaves = append(leaves, audit.Leaf{Digest: digest, Format: 1, Log: audit.LedgerLeaves, Sequence: b.Ledger - uint64(len(b.Batches)-i) + 1})
		encoded = append(encoded, b.batch(i))
	}
	if err := f.tree.append(leaves, encoded); err != nil {
		f.stop("damaged", err)
		return
	}
	end := f.tree.now()
	f.metrics.leaves.Set(float64(end.Size))
	if end.Size-f.tree.onDisk().Size >= treeUnsaved {
		f.save(end, nil)
	}
}

func (f *following) save(m mark, published map[string][]byte) bool {
	if err := f.tree.save(m, published); err != nil {
		what := "disk"
		if errors.Is(err, errTree) {
			what = "damaged"
		}
		f.stop(what, err)
		return false
	}
	return true
}

// publication is the files that a checkpoint is published as.
func (f *following) publication(s *signedTree) map[string][]byte {
	out := map[string][]byte{"checkpoint": []byte(s.Note)}
	anchor, err := f.anchor(s)
	if err != nil {
		f.log.Error("audit log: a checkpoint is published without what leads to its keys", "error", err)
		return out
	}
	if !bytes.Equal(anchor, f.anchored) { // it changes with the charter, and where another appliance signs
		out["anchor"], f.anchored = anchor, anchor
	}
	return out
}

func (f *following) anchor(s *signedTree) ([]byte, error) {
	keys, err := json.Marshal(s.Keys)
	if err != nil {
		return nil, err
	}
	charters, err := f.opts.Ledger.Charters()
	if err != nil {
		return nil, err
	}
	return (&audit.Anchor{Format: 1, Charters: charters, Keys: keys}).Encode()
}

// checkpointed publishes a signed tree head, if our own tree has it.
func (f *following) checkpointed(ctx context.Context, value []byte) {
	if f.tree == nil {
		return
	}
	s, err := parseSigned(value)
	if err == nil && f.opts.Ledger.Check != nil {
		err = f.opts.Ledger.Check(ctx, s.Keys)
	}
	if err != nil {
		if ctx.Err() == nil {
			if f.refusal != err.Error() {
				f.refusal = err.Error()
				f.log.Error("audit log: what stands in the store is no checkpoint of this ledger's appliances", "error", err)
			}
			f.metrics.faults.WithLabelValues("refused").Set(1)
			f.refusals.Add(1)
		}
		return
	}
	if max(s.Keys.Epoch, firstEpoch) != f.epoch {
		return // of a tree that a recover gave up, or of one that is opened in a moment
	}
	if old := f.signed.Load(); old != nil && s.tree.Size < old.tree.Size {
		f.log.Error("audit log: the store went back to an older checkpoint", "leaves", s.tree.Size, "published", old.tree.Size)
		f.metrics.faults.WithLabelValues("refused").Set(1)
		return
	}
	now := f.tree.now()
	if s.tree.Size > now.Size {
		f.stop("forked", fmt.Errorf("a checkpoint of %d leaves was signed, the store's order ends at %d", s.tree.Size, now.Size))
		return
	}
	root, err := tlog.TreeHash(int64(s.tree.Size), f.tree.reader())
	if err != nil {
		f.stop("damaged", err)
		return
	}
	if rootText(root) != string(s.tree.Root) {
		f.stop("forked", fmt.Errorf("our own tree of %d leaves is %s, signed was %s", s.tree.Size, rootText(root), s.tree.Root))
		return
	}
	if m, ok := f.tree.at(s.tree.Size); ok && !f.save(m, f.publication(s)) {
		return
	}
	f.metrics.faults.WithLabelValues("refused").Set(0)
	f.refusal = ""
	f.signed.Store(s)
	f.metrics.signed.Set(float64(s.tree.Size))
	f.metrics.signedAt.SetToCurrentTime()
	f.metrics.cosigners.Set(0)
	f.witness()
}
