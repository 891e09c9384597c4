package audit_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
)

// leavesOf are n leaves: two entries, then a batch, and so on.
func leavesOf(n int) (out []audit.Leaf) {
	entry, batch := uint64(0), uint64(0)
	for i := range n {
		l := audit.Leaf{Digest: fmt.Sprintf("sha256:%064x", i), Format: 1, Log: audit.AuditLeaves}
		if i%3 == 2 {
			batch++
			l.Log, l.Sequence = audit.LedgerLeaves, batch
		} else {
			entry++
			l.Sequence = entry
		}
		out = append(out, l)
	}
	return out
}

// tiled are leaves as C2SP tlog-tiles, made from the hashes of an implementation that is not ours.
func tiled(t testing.TB, leaves []audit.Leaf) (fstest.MapFS, tlog.Hash) {
	t.Helper()
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			out[i] = hashes[n]
		}
		return out, nil
	})
	bundles := map[int][]byte{}
	for n, l := range leaves {
		more, err := tlog.StoredHashes(int64(n), l.Encode(), read)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
		bundles[n/256] = audit.AppendBundle(bundles[n/256], l.Encode())
	}
	root, err := tlog.TreeHash(int64(len(leaves)), read)
	if err != nil {
		t.Fatal(err)
	}
	out := fstest.MapFS{}
	for n, b := range bundles {
		width := min(len(leaves)-n*256, 256) % 256
		out[audit.TilePath("entries", uint64(n), width)] = &fstest.MapFile{Data: b}
	}
	for _, tile := range tlog.NewTiles(8, 0, int64(len(leaves))) {
		b, err := tlog.ReadTileData(tile, read)
		if err != nil {
			t.Fatal(err)
		}
		out[audit.TilePath(fmt.Sprint(tile.L), uint64(tile.N), tile.W%256)] = &fstest.MapFile{Data: b}
	}
	return out, root
}

func TestEveryTileOfALogIsVerified(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 255, 256, 257, 511, 512, 700, 66000} {
		leaves := leavesOf(n)
		tiles, root := tiled(t, leaves)
		var got []audit.Leaf
		if err := audit.VerifyTiles(tiles, uint64(n), root, func(l audit.Leaf) error { got = append(got, l); return nil }); err != nil {
			t.Fatalf("%d leaves: %v", n, err)
		}
		if len(got) != n || n > 0 && got[n-1] != leaves[n-1] {
			t.Errorf("%d leaves: %d were handed out", n, len(got))
		}
		if n == 0 || n > 1000 {
			continue // a leaf takes microseconds
		}
		for name, err := range map[string]error{
			"another root": audit.VerifyTiles(tiles, uint64(n), tlog.Hash{1}, nil),
			"a leaf more":  audit.VerifyTiles(tiles, uint64(n+1), root, nil),
			"no tile":      audit.VerifyTiles(fstest.MapFS{}, uint64(n), root, nil),
			"no end":       audit.VerifyTiles(tiles, 1<<60, root, nil),
		} {
			if !errors.Is(err, audit.ErrTiles) {
				t.Errorf("%d leaves, %s: %v", n, name, err)
			}
		}
	}
}

// A partial tile may go once the full one is there: the tree of an earlier checkpoint is verified all the same.
func TestATreeIsVerifiedFromFullTilesThatCameLater(t *testing.T) {
	now, _ := tiled(t, leavesOf(512))
	_, before := tiled(t, leavesOf(300))
	early, _ := tiled(t, leavesOf(300))
	now["tile/1/000.p/1"] = early["tile/1/000.p/1"] // the full one of 65,536 leaves is not there yet
	if err := audit.VerifyTiles(now, 300, before, nil); err != nil {
		t.Error(err)
	}
}

// Whatever is changed, cut, lengthened or taken away, in whatever file: the log does not verify, and what is said
// to be broken is at the place of the change.
func TestAttack_TamperedTiles(t *testing.T) {
	t.Parallel()
	spans := map[string]uint64{"entries": 1, "0": 1, "1": 256, "2": 65536}
	for _, size := range []uint64{700, 66000} {
		whole, root := tiled(t, leavesOf(int(size)))
		for path, f := range whole {
			level, n := strings.Split(path, "/")[1], uint64(0)
			if size > 1000 && level != "2" {
				continue // a smaller tree has them too
			}
			if _, err := fmt.Sscanf(strings.Split(path, "/")[2], "%03d", &n); err != nil {
				t.Fatal(err)
			}
			for name, tamper := range map[string]func(b []byte) []byte{
				"a bit of its first byte":      func(b []byte) []byte { b[0] ^= 1; return b },
				"a bit of its middle":          func(b []byte) []byte { b[len(b)/2] ^= 4; return b },
				"a bit of its last byte":       func(b []byte) []byte { b[len(b)-1] ^= 4; return b },
				"its last byte is cut":         func(b []byte) []byte { return b[:len(b)-1] },
				"its second half is cut":       func(b []byte) []byte { return b[:len(b)/2] },
				"it is empty":                  func([]byte) []byte { return nil },
				"it is longer":                 func(b []byte) []byte { return append(b, 0) },
				"it is much longer":            func(b []byte) []byte { return append(b, make([]byte, 1<<20)...) },
				"it has a leaf or a hash more": func(b []byte) []byte { return append(b, b[:min(len(b), 32)]...) },
				"it is not there":              nil,
			} {
				if size > 1000 && name != "a bit of its middle" && tamper != nil {
					continue
				}
				m := maps.Clone(whole)
				if tamper == nil {
					delete(m, path)
				} else {
					m[path] = &fstest.MapFile{Data: tamper(bytes.Clone(f.Data))}
				}
				at := new(audit.TileError)
				err := audit.VerifyTiles(m, size, root, nil)
				if !errors.As(err, &at) || !errors.Is(err, audit.ErrTiles) {
					t.Errorf("%s: %s: %v", path, name, err)
				} else if first, end := n*256*spans[level], (n+1)*256*spans[level]; at.Leaf < first || at.Leaf > min(end, size) {
					t.Errorf("%s: %s: said to be broken at leaf %d, want one of %d to %d", path, name, at.Leaf, first, end)
				}
			}
		}
	}
}

// Tiles that hang together, of leaves that are not the two logs, are not the log.
func TestAttack_TilesOfWhatIsNoLog(t *testing.T) {
	for name, tamper := range map[string]func(l []audit.Leaf) []audit.Leaf{
		"a number twice": func(l []audit.Leaf) []audit.Leaf { l[4].Sequence = l[3].Sequence; return l },
		"a gap":          func(l []audit.Leaf) []audit.Leaf { return append(l[:3], l[4:]...) },
		"two exchanged":  func(l []audit.Leaf) []audit.Leaf { l[3], l[4] = l[4], l[3]; return l },
		"another log":    func(l []audit.Leaf) []audit.Leaf { l[3].Log = audit.LedgerLeaves; return l },
		"a third log":    func(l []audit.Leaf) []audit.Leaf { l[3].Log = "theirs"; return l },
		"no digest":      func(l []audit.Leaf) []audit.Leaf { l[3].Digest = "sha256:"; return l },
	} {
		leaves := tamper(leavesOf(9))
		tiles, root := tiled(t, leaves)
		at := new(audit.TileError)
		if err := audit.VerifyTiles(tiles, uint64(len(leaves)), root, nil); !errors.As(err, &at) || at.Leaf != 3 && at.Leaf != 4 {
			t.Errorf("%s: %v", name, err)
		}
	}
	tiles, root := tiled(t, leavesOf(9))
	at := new(audit.TileError)
	err := audit.VerifyTiles(tiles, 9, root, func(l audit.Leaf) error {
		if l.Sequence == 3 {
			return errors.New("not what we saw")
		}
		return nil
	})
	if !errors.As(err, &at) || at.Leaf != 3 || at.Entry != 3 || at.Batch != 2 {
		t.Errorf("a leaf that is refused: %v", err)
	}
	broken := fs.ErrPermission
	if err := audit.VerifyTiles(unreadable{tiles, broken}, 9, root, nil); !errors.Is(err, broken) || errors.Is(err, audit.ErrTiles) {
		t.Errorf("files that cannot be read prove nothing: %v", err)
	}
}

type unreadable struct {
	fstest.MapFS
	err error
}

func (u unreadable) Open(string) (fs.File, error) { return nil, u.err }

// Whatever a bundle and a tile hold, nothing but what was signed is accepted, and no leaf of another one is handed
// out as if it held the tree's hash.
func FuzzVerifyTiles(f *testing.F) {
	whole, root := tiled(f, leavesOf(5))
	bundle, tile := whole["tile/entries/000.p/5"].Data, whole["tile/0/000.p/5"].Data
	f.Add(bundle, tile)
	f.Add(bundle[:40], tile)
	f.Add(bundle, tile[:32])
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, b, h []byte) {
		m := fstest.MapFS{"tile/entries/000.p/5": {Data: b}, "tile/0/000.p/5": {Data: h}}
		err := audit.VerifyTiles(m, 5, root, nil)
		if same := bytes.Equal(b, bundle) && bytes.Equal(h, tile); same != (err == nil) {
			t.Errorf("same: %t, %v", same, err)
		}
		if err != nil && !errors.Is(err, audit.ErrTiles) {
			t.Error(err)
		}
	})
}
