package auditlog

import (
	"bytes"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/disk"
)

const (
	tileHeight = audit.TileHeight
	tileWidth  = audit.TileWidth
	// treeUnsaved is how many leaves may wait for a checkpoint in memory, at some 200 bytes each, before
	// they go to the disk without one.
	treeUnsaved = 16 << 10
)

// errTree says that the tiles on the disk are not the tree that was written there.
var errTree = errors.New("auditlog: the tree on the disk is damaged or was tampered with")

// mark is the tree at the end of a block.
type mark struct {
	Format int    `json:"format"`
	Size   uint64 `json:"size"`
	Root   string `json:"root"`   // sha256: and hex
	Audit  uint64 `json:"audit"`  // newest audit entry in it
	Entry  string `json:"entry"`  // its hash; empty where there is none
	Ledger uint64 `json:"ledger"` // newest batch of the ledger in it
	Batch  string `json:"batch"`  // its digest; empty where there is none
	Index  uint64 `json:"index"`  // of that batch's leaf
}

// tree is the log as C2SP tlog-tiles on the disk: tile/<level>/<n>, tile/entries/<n>, checkpoint, and
// beside them anchor, which leads from charter 1 to the checkpoint's keys, and state, which says how much of it was
// written to its end. Tiles that are not full live in
// memory and are written at each save, as the partial tiles of that size.
//
// A save is, in this order: every new tile and bundle (write to a new file, fdatasync, rename), their
// directories (fsync), state (the same), checkpoint and anchor (the same). What a crash leaves between is written
// again, with the same bytes: a tile follows from the order in the store alone.
//
// Safe for concurrent use; one goroutine appends and saves.
type tree struct {
	dir string

	mu      sync.RWMutex
	last    mark
	edge    [][]tlog.Hash   // by level, the hashes of the tile that is not full
	bundle  []byte          // the leaves of edge[0]
	pending map[string]tile // full tiles and bundles that are not on the disk, by path
	saved   mark
	marks   []mark // ends of blocks since the last save
}

// tile is a full tile or bundle that is not on the disk yet.
type tile struct {
	content []byte
	end     uint64 // the tree's size once it was full
}

// openTree reads what was saved in a directory, which is made if it is not there. Errors wrap errTree
// where it is not what was saved.
func openTree(dir string) (*tree, error) {
	t := &tree{dir: dir, pending: map[string]tile{}}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "state"))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(text, &t.saved, json.RejectUnknownMembers(true)); err != nil || t.saved.Format != 1 || t.saved.Size == 0 || t.saved.Size > 1<<52 {
		return nil, fmt.Errorf("%w: %s: %s", errTree, filepath.Join(dir, "state"), text[:min(len(text), 200)])
	}
	t.last = t.saved
	for level := 0; t.last.Size>>(tileHeight*level) > 0; level++ {
		t.edge = append(t.edge, nil)
		n, w := position(t.last.Size, level)
		if w == 0 {
			continue
		}
		if t.edge[level], err = t.readTile(level, n, w); err != nil {
			return nil, err
		}
	}
	if n, w := position(t.last.Size, 0); w > 0 {
		if t.bundle, err = os.ReadFile(filepath.Join(dir, audit.TilePath("entries", n, w))); err != nil {
			return nil, fmt.Errorf("%w: %w", errTree, err)
		}
		if err := holds(t.bundle, t.edge[0]); err != nil {
			return nil, err
		}
	}
	root, err := tlog.TreeHash(int64(t.last.Size), t.reader())
	if err != nil {
		return nil, err
	}
	if rootText(root) != t.last.Root {
		return nil, fmt.Errorf("%w: its root is %s, saved was %s", errTree, rootText(root), t.last.Root)
	}
	return t, t.ends()
}

// ends is nil if the newest leaves of both logs are those that the state names: later comparisons with the
// store go by it.
func (t *tree) ends() error {
	m := t.last
	if m.Ledger > 0 {
		if leaf, err := t.leaf(m.Index); err != nil || leaf.Log != audit.LedgerLeaves || leaf.Sequence != m.Ledger || leaf.Digest != m.Batch {
			return fmt.Errorf("%w: leaf %d is not batch %d, %s", errTree, m.Index, m.Ledger, m.Batch)
		}
	}
	for at := m.Size; at > 0; at-- {
		leaf, err := t.leaf(at - 1)
		if err != nil {
			return fmt.Errorf("%w: %w", errTree, err)
		}
		switch leaf.Log {
		case audit.LedgerLeaves:
			if leaf.Sequence > m.Ledger {
				return fmt.Errorf("%w: leaf %d is batch %d, behind the last", errTree, at-1, leaf.Sequence)
			}
		case audit.AuditLeaves:
			if leaf.Sequence != m.Audit || leaf.Digest != m.Entry {
				return fmt.Errorf("%w: the newest entry is %d, %s, saved was %d, %s", errTree, leaf.Sequence, leaf.Digest, m.Audit, m.Entry)
			}
			return nil
		}
	}
	if m.Audit != 0 || m.Entry != "" {
		return fmt.Errorf("%w: no entry stands in it, saved was %d", errTree, m.Audit)
	}
	return nil
}

// holds is nil if the leaves of a bundle have these hashes, and there are no others.
func holds(bundle []byte, hashes []tlog.Hash) error {
	for i, h := range hashes {
		leaf, rest, err := audit.CutBundle(bundle)
		if err != nil || tlog.RecordHash(leaf) != h {
			return fmt.Errorf("%w: leaf %d of the last bundle is not the tile's", errTree, i)
		}
		bundle = rest
	}
	if len(bundle) > 0 {
		return fmt.Errorf("%w: the last bundle has more leaves than the tile", errTree)
	}
	return nil
}

// position is the tile of a level that a tree of that size is at, and how many hashes it has there.
func position(size uint64, level int) (n uint64, width int) {
	count := size >> (tileHeight * level)
	return count >> tileHeight, int(count & (tileWidth - 1))
}

func levelName(level int) string { return fmt.Sprint(level) }

// append adds a block's leaves, in their order, and makes its end one to save at.
func (t *tree) append(leaves []audit.Leaf, encoded [][]byte) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.last
	m.Format = 1
	for i, leaf := range leaves {
		switch leaf.Log {
		case audit.AuditLeaves:
			m.Audit, m.Entry = leaf.Sequence, leaf.Digest
		case audit.LedgerLeaves:
			m.Ledger, m.Batch, m.Index = leaf.Sequence, leaf.Digest, m.Size
		}
		t.add(m.Size, encoded[i])
		m.Size++
	}
	t.last.Size = m.Size
	root, err := tlog.TreeHash(int64(m.Size), tlog.HashReaderFunc(t.readHashes))
	if err != nil {
		return err
	}
	m.Root = rootText(root)
	t.last = m
	t.marks = append(t.marks, m)
	return nil
}

func (t *tree) add(at uint64, leaf []byte) {
	if len(t.edge) == 0 {
		t.edge = append(t.edge, nil)
	}
	t.bundle = audit.AppendBundle(t.bundle, leaf)
	t.edge[0] = append(t.edge[0], tlog.RecordHash(leaf))
	for level := 0; len(t.edge[level]) == tileWidth; level++ {
		n := at >> (tileHeight * (level + 1))
		t.pending[audit.TilePath(levelName(level), n, 0)] = tile{flat(t.edge[level]), at + 1}
		if level == 0 {
			t.pending[audit.TilePath("entries", n, 0)] = tile{t.bundle, at + 1}
			t.bundle = nil
		}
		up := fold(t.edge[level])
		t.edge[level] = nil
		if level+1 == len(t.edge) {
			t.edge = append(t.edge, nil)
		}
		t.edge[level+1] = append(t.edge[level+1], up)
	}
}

// fold is the hash over a power of two of hashes.
func fold(hashes []tlog.Hash) tlog.Hash {
	for len(hashes) > 1 {
		up := make([]tlog.Hash, len(hashes)/2)
		for i := range up {
			up[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
		hashes = up
	}
	return hashes[0]
}

func flat(hashes []tlog.Hash) []byte {
	out := make([]byte, 0, len(hashes)*tlog.HashSize)
	for _, h := range hashes {
		out = append(out, h[:]...)
	}
	return out
}

// reader reads the hashes that proofs are made of.
func (t *tree) reader() tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		t.mu.RLock()
		defer t.mu.RUnlock()
		return t.readHashes(indexes)
	})
}

func (t *tree) readHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, x := range indexes {
		level, n := tlog.SplitStoredHashIndex(x)
		within := level % tileHeight
		first := (uint64(n) << within) & (tileWidth - 1)
		tile, err := t.hashesAt(level/tileHeight, uint64(n)>>(tileHeight-within))
		if err != nil {
			return nil, err
		}
		if first+1<<within > uint64(len(tile)) {
			return nil, fmt.Errorf("%w: hash %d of level %d is not there yet", errTree, n, level)
		}
		out[i] = fold(tile[first : first+1<<within])
	}
	return out, nil
}

// hashesAt is the hashes of a tile, full or as far as the tree goes.
func (t *tree) hashesAt(level int, n uint64) ([]tlog.Hash, error) {
	if at, _ := position(t.last.Size, level); n == at && level < len(t.edge) {
		return t.edge[level], nil
	}
	if b, ok := t.pending[audit.TilePath(levelName(level), n, 0)]; ok {
		return hashes(b.content), nil
	}
	return t.readTile(level, n, 0)
}

func (t *tree) readTile(level int, n uint64, width int) ([]tlog.Hash, error) {
	path := audit.TilePath(levelName(level), n, width)
	b, err := os.ReadFile(filepath.Join(t.dir, path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errTree, err)
	}
	if err != nil {
		return nil, err
	}
	if want := (width+tileWidth-1)%tileWidth + 1; len(b) != want*tlog.HashSize {
		return nil, fmt.Errorf("%w: %s has %d bytes, want %d hashes", errTree, path, len(b), want)
	}
	return hashes(b), nil
}

func hashes(b []byte) []tlog.Hash {
	out := make([]tlog.Hash, len(b)/tlog.HashSize)
	for i := range out {
		out[i] = tlog.Hash(b[i*tlog.HashSize:])
	}
	return out
}

// leaf is the one at an index.
func (t *tree) leaf(index uint64) (audit.Leaf, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if index >= t.last.Size {
		return audit.Leaf{}, fmt.Errorf("%w: leaf %d of %d", errTree, index, t.last.Size)
	}
	bundle, err := t.bundleAt(index >> tileHeight)
	if err != nil {
		return audit.Leaf{}, err
	}
	var b []byte
	for range index&(tileWidth-1) + 1 {
		if b, bundle, err = audit.CutBundle(bundle); err != nil {
			return audit.Leaf{}, fmt.Errorf("%w: %w", errTree, err)
		}
	}
	return audit.ParseLeaf(b)
}

func (t *tree) bundleAt(n uint64) ([]byte, error) {
	if at, _ := position(t.last.Size, 0); n == at {
		return t.bundle, nil
	}
	path := audit.TilePath("entries", n, 0)
	if b, ok := t.pending[path]; ok {
		return b.content, nil
	}
	b, err := os.ReadFile(filepath.Join(t.dir, path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", errTree, err)
	}
	return b, err
}

// indexOf finds an audit entry's leaf by its number: entries stand in order, without gaps, with batches of
// the ledger between them.
func (t *tree) indexOf(entry uint64) (uint64, error) {
	low, high := entry-1, t.now().Size // the leaf is at low or behind, and before high
	for low < high {
		middle := low + (high-low)/2
		at := middle
		leaf, err := t.leaf(at)
		for err == nil && leaf.Log != audit.AuditLeaves && at > low {
			at--
			leaf, err = t.leaf(at)
		}
		switch {
		case err != nil:
			return 0, err
		case leaf.Log != audit.AuditLeaves || leaf.Sequence < entry:
			low = middle + 1
		case leaf.Sequence == entry:
			return at, nil
		default:
			high = at
		}
	}
	return 0, fmt.Errorf("%w: entry %d has no leaf", errTree, entry)
}

// now is the tree's end.
func (t *tree) now() mark {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.last
}

// onDisk is what the last save was of.
func (t *tree) onDisk() mark {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.saved
}

// at is the end of a block since the last save, or that of the last save itself.
func (t *tree) at(size uint64) (mark, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.saved.Size == size {
		return t.saved, size > 0
	}
	for _, m := range t.marks {
		if m.Size == size {
			return m, true
		}
	}
	return mark{}, false
}

// save brings the tree to the disk as it was at a mark, and publishes the files that stand for it by name: its
// checkpoint, and what leads to the keys that signed that, if there is one.
func (t *tree) save(m mark, published map[string][]byte) error {
	t.mu.RLock()
	files := map[string][]byte{}
	for path, full := range t.pending {
		if full.end <= m.Size { // the others are written once the tree on the disk reaches them
			files[path] = full.content
		}
	}
	for level := 0; m.Size>>(tileHeight*level) > 0; level++ {
		n, w := position(m.Size, level)
		if w == 0 {
			continue
		}
		hashes, err := t.hashesAt(level, n)
		if err == nil && len(hashes) < w {
			err = fmt.Errorf("%w: level %d ends at %d", errTree, level, len(hashes))
		}
		if err != nil {
			t.mu.RUnlock()
			return err
		}
		files[audit.TilePath(levelName(level), n, w)] = flat(hashes[:w])
	}
	if n, w := position(m.Size, 0); w > 0 {
		bundle, err := t.bundleAt(n)
		rest := bundle
		for range w {
			if err == nil {
				_, rest, err = audit.CutBundle(rest)
			}
		}
		if err != nil {
			t.mu.RUnlock()
			return err
		}
		files[audit.TilePath("entries", n, w)] = bytes.Clone(bundle[:len(bundle)-len(rest)])
	}
	t.mu.RUnlock()
	state, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// gofail: var tilesBeforeWrite struct{}
	if err := disk.Write(t.dir, files); err != nil {
		return err
	}
	// gofail: var tilesBeforeState struct{}
	if err := disk.Write(t.dir, map[string][]byte{"state": state}); err != nil {
		return err
	}
	// gofail: var tilesBeforeCheckpoint struct{}
	if len(published) > 0 {
		if err := disk.Write(t.dir, published); err != nil {
			return err
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.saved = m
	var later []mark
	for _, k := range t.marks {
		if k.Size > m.Size {
			later = append(later, k)
		}
	}
	t.marks = later
	for path := range files {
		delete(t.pending, path)
		if !strings.Contains(path, ".p/") {
			// A partial tile may go once the full one is there.
			if err := os.RemoveAll(filepath.Join(t.dir, path+".p")); err != nil {
				return err
			}
		}
	}
	return nil
}

// rootText is a hash as documents have it.
func rootText(h tlog.Hash) string { return "sha256:" + fmt.Sprintf("%x", h[:]) }

// setAside renames what is in the directory, so that the tree is grown anew, and says where it is.
func setAside(dir string) (string, error) {
	for n := 1; ; n++ {
		to := fmt.Sprintf("%s.damaged-%d", dir, n)
		if _, err := os.Lstat(to); err == nil {
			continue
		}
		return to, os.Rename(dir, to)
	}
}
