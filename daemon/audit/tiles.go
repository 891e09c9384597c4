package audit

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"golang.org/x/mod/sumdb/tlog"
)

const (
	// TileHeight and TileWidth are C2SP tlog-tiles': a tile has 2^TileHeight hashes, a bundle as many leaves.
	TileHeight = 8
	TileWidth  = 1 << TileHeight
	// maxBundle bounds a bundle, in bytes: each leaf has its length in two bytes.
	maxBundle = TileWidth * (maxLeaf + 2)
	// maxTree bounds a tree, in leaves, so that places in it can be computed with.
	maxTree = 1 << 52
)

// ErrTiles says that tiles are not the tree that was signed.
var ErrTiles = errors.New("audit: the tiles are not the tree that was signed")

// TileError says where tiles stop being the tree that was signed. It wraps ErrTiles.
type TileError struct {
	Leaf  uint64 // place of the first leaf that does not hold, from 0
	Entry uint64 // number that the next audit entry was to have there
	Batch uint64 // number that the next batch of the ledger was to have there
	Why   string
}

func (e *TileError) Error() string {
	return fmt.Sprintf("audit: leaf %d (audit entry %d or batch %d was to come): %s", e.Leaf, e.Entry, e.Batch, e.Why)
}

func (e *TileError) Unwrap() error { return ErrTiles }

// TilePath is where a tile of a level, or the bundle of leaves "entries", stands (C2SP tlog-tiles); width 0 is
// a full one.
func TilePath(level string, n uint64, width int) string {
	path := fmt.Sprintf("%03d", n%1000)
	for n /= 1000; n > 0; n /= 1000 {
		path = fmt.Sprintf("x%03d/%s", n%1000, path)
	}
	path = "tile/" + level + "/" + path
	if width > 0 {
		path += fmt.Sprintf(".p/%d", width)
	}
	return path
}

// VerifyTiles reads a whole log from its tiles: every leaf, which is one of ours and the next of its log, against
// its hash in the tile, every tile of every level against the hashes below it, and all against the root that was
// signed. It hands each leaf that holds to leaf, which may be nil and may refuse it by an error. It holds one tile
// of each level in memory. Errors are *TileError where a leaf or a tile does not hold or is not there, ErrTiles
// where all of them hang together and are another tree, and those of reading.
func VerifyTiles(tiles fs.FS, size uint64, root tlog.Hash, leaf func(Leaf) error) error {
	if size > maxTree {
		return fmt.Errorf("%w: it is said to have %d leaves", ErrTiles, size)
	}
	v := &tileVerifier{tiles: tiles, size: size, at: TileError{Entry: 1, Batch: 1}}
	for n := uint64(0); n<<TileHeight < size; n++ {
		if err := v.bundle(n, leaf); err != nil {
			return err
		}
	}
	for level := range v.edge {
		if err := v.close(level); err != nil {
			return err
		}
	}
	if got := v.root(); got != root {
		return fmt.Errorf("%w: the tree of these %d leaves is sha256:%x, signed was sha256:%x", ErrTiles, size, got[:], root[:])
	}
	return nil
}

type tileVerifier struct {
	tiles fs.FS
	size  uint64
	at    TileError     // where it is
	edge  [][]tlog.Hash // by level, the hashes of the tile that is not held to the disk yet
}

func (v *tileVerifier) broken(format string, args ...any) error {
	e := v.at
	e.Why = fmt.Sprintf(format, args...)
	return &e
}

// read is a tile or bundle of which the tree has width, which is all of it if that is full; of a full one the
// beginning, where one that was not full went since.
func (v *tileVerifier) read(level string, n uint64, width int, limit int) (path string, content []byte, full bool, err error) {
	for _, w := range []int{width % TileWidth, 0} {
		path = TilePath(level, n, w)
		content, err = readBounded(v.tiles, path, limit)
		if !errors.Is(err, fs.ErrNotExist) {
			full = w == 0
			break
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err = v.broken("%s is not there", TilePath(level, n, width%TileWidth))
	case errors.Is(err, errTooLong):
		err = v.broken("%s has more than %d bytes", path, limit)
	}
	return path, content, full, err
}

var errTooLong = errors.New("too long")

func readBounded(files fs.FS, path string, limit int) ([]byte, error) {
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = errTooLong
	}
	return b, err
}

// bundle takes one bundle's leaves in, each against its hash in the lowest tile.
func (v *tileVerifier) bundle(n uint64, leaf func(Leaf) error) error {
	width := int(min(v.size-n<<TileHeight, TileWidth))
	path, rest, full, err := v.read("entries", n, width, maxBundle)
	if err != nil {
		return err
	}
	tile, hashes, err := v.tile(0, n, width)
	if err != nil {
		return err
	}
	for i := range width {
		var b []byte
		if b, rest, err = CutBundle(rest); err != nil {
			return v.broken("%s: %v", path, err)
		}
		h := tlog.RecordHash(b)
		if h != hashes[i] {
			return v.broken("what stands in %s has not the hash that stands in %s", path, tile)
		}
		l, err := ParseLeaf(b)
		if err != nil {
			return v.broken("%s: %v", path, err)
		}
		next := &v.at.Entry
		if l.Log == LedgerLeaves {
			next = &v.at.Batch
		}
		if l.Sequence != *next {
			return v.broken("%s %d stands there", l.Log, l.Sequence)
		}
		if leaf != nil {
			if err := leaf(l); err != nil {
				return v.broken("%v", err)
			}
		}
		*next++
		v.at.Leaf++
		if err := v.add(0, h); err != nil {
			return err
		}
	}
	if len(rest) > 0 && (!full || width == TileWidth) {
		return v.broken("%s has more leaves than its tile", path)
	}
	return nil
}

// tile is the hashes of a tile.
func (v *tileVerifier) tile(level int, n uint64, width int) (path string, hashes []tlog.Hash, err error) {
	path, b, full, err := v.read(fmt.Sprint(level), n, width, TileWidth*sha256.Size)
	if err != nil {
		return path, nil, err
	}
	want := width
	if full {
		want = TileWidth
	}
	if len(b) != want*sha256.Size {
		return path, nil, v.broken("%s has %d bytes, want %d hashes", path, len(b), want)
	}
	for i := range width {
		hashes = append(hashes, tlog.Hash(b[i*sha256.Size:]))
	}
	return path, hashes, nil
}

// add puts a hash on a level; a tile that gets full is held to the disk, and stands as one hash on the next level.
func (v *tileVerifier) add(level int, h tlog.Hash) error {
	if level == len(v.edge) {
		v.edge = append(v.edge, nil)
	}
	v.edge[level] = append(v.edge[level], h)
	if len(v.edge[level]) < TileWidth {
		return nil
	}
	if err := v.close(level); err != nil {
		return err
	}
	up := v.edge[level]
	for len(up) > 1 {
		next := make([]tlog.Hash, len(up)/2)
		for i := range next {
			next[i] = tlog.NodeHash(up[2*i], up[2*i+1])
		}
		up = next
	}
	v.edge[level] = nil
	return v.add(level+1, up[0])
}

// close holds the hashes of a level's last tile to the disk. Those of the lowest were when they were read.
func (v *tileVerifier) close(level int) error {
	have := v.edge[level]
	if level == 0 || len(have) == 0 {
		return nil
	}
	span := uint64(1) << (TileHeight * level) // leaves below each hash
	end := v.at.Leaf &^ (span - 1)
	n := (end/span - 1) >> TileHeight
	path, hashes, err := v.tile(level, n, len(have))
	if err != nil {
		return v.from(err, n<<TileHeight*span)
	}
	for i, h := range hashes {
		if h != have[i] {
			return v.from(v.broken("hash %d of %s is not that of the %d leaves below it", i, path, span), (n<<TileHeight+uint64(i))*span)
		}
	}
	return nil
}

// from is an error that begins at an earlier leaf than the one that was read last. Which numbers were to come
// there is not known any more.
func (v *tileVerifier) from(err error, leaf uint64) error {
	if e := new(TileError); errors.As(err, &e) {
		return &TileError{Leaf: leaf, Why: e.Why}
	}
	return err
}

// root is the tree's, of the hashes at its edge (RFC 9162, 2.1.1).
func (v *tileVerifier) root() tlog.Hash {
	if v.size == 0 {
		return tlog.Hash(sha256.Sum256(nil))
	}
	// Every level's hashes stand for complete subtrees; from the right, a subtree is joined by the one left of it.
	var whole tlog.Hash
	some := false
	for _, hashes := range v.edge {
		for _, h := range peaks(hashes) {
			if !some {
				whole, some = h, true
			} else {
				whole = tlog.NodeHash(h, whole)
			}
		}
	}
	return whole
}

// peaks are the roots of the complete subtrees over some hashes, the smallest and last first.
func peaks(hashes []tlog.Hash) (out []tlog.Hash) {
	for len(hashes) > 0 {
		if len(hashes)&1 == 1 {
			out = append(out, hashes[len(hashes)-1])
			hashes = hashes[:len(hashes)-1]
		}
		up := make([]tlog.Hash, len(hashes)/2)
		for i := range up {
			up[i] = tlog.NodeHash(hashes[2*i], hashes[2*i+1])
		}
		hashes = up
	}
	return out
}
