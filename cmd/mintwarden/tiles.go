package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// maxCheckpointFile is more than a checkpoint has, in bytes: a cosignature takes 3,300.
	maxCheckpointFile = 64 << 10
	treeDir           = "tlog"    // in an appliance's audit.dir: the tree
	entriesDir        = "entries" // and the entries that were archived
)

// verifiedTiles is what --json prints of a log's tiles.
type verifiedTiles struct {
	Valid     bool          `json:"valid"`
	Instance  string        `json:"instance"`
	Appliance string        `json:"appliance"` // that signed the tree
	Charter   policy.Digest `json:"charter"`   // in force when it did
	Tree      seal.Tree     `json:"tree"`
	Recorded  bool          `json:"recorded"` // the verified copy of the ledger that is kept here has that very tree
	Entries   uint64        `json:"entries"`  // audit entries whose leaves hold
	Batches   uint64        `json:"batches"`  // batches of the ledger whose leaves hold
	Compared  uint64        `json:"compared"` // those of them that the copy of the ledger has, too
	Archived  uint64        `json:"archived"` // entries that are there themselves, and are what their leaves say
	Behind    uint64        `json:"behind"`   // entries that are there behind the tree: they follow each other, and nobody signed them
	Older     bool          `json:"older"`    // this user saw a later tree or entry: it was cut, or is an old copy
	LastEntry string        `json:"lastEntryHash"`
	// Broken says where the log breaks; nil where it holds, or hangs together and is not what was signed.
	Broken *brokenTile `json:"broken,omitzero"`
}

// brokenTile is an audit.TileError in JSON.
type brokenTile struct {
	Leaf  uint64 `json:"leaf"`
	Entry uint64 `json:"entry,omitzero"` // number that the next audit entry was to have there
	Batch uint64 `json:"batch,omitzero"`
	Why   string `json:"why"`
}

// verifyTilesDir verifies a whole log in a directory. Nobody is asked.
func (c *cli) verifyTilesDir(dir string) error {
	root, err := c.root()
	if err != nil {
		return err
	}
	l, err := openTiles(root, dir)
	if err != nil {
		return err
	}
	defer l.close()
	err = l.verify()
	var at *audit.TileError
	if errors.As(err, &at) {
		l.Broken = &brokenTile{at.Leaf, at.Entry, at.Batch, at.Why}
	}
	if err != nil && !errors.Is(err, audit.ErrTiles) {
		return err
	}
	l.Valid = err == nil
	if c.json {
		if err := c.showJSON(l.verifiedTiles); err != nil {
			return err
		}
	}
	switch {
	case at != nil && at.Entry > 0:
		return unverified("the log in %s breaks at leaf %d, where audit entry %d or batch %d was to come: %s", dir, at.Leaf, at.Entry, at.Batch, printable(at.Why))
	case at != nil:
		return unverified("the log in %s breaks at leaf %d: %s", dir, at.Leaf, printable(at.Why))
	case err != nil:
		return unverified("the log in %s: %w", dir, err)
	case !c.json:
		l.say(c)
	}
	return nil
}

func (l *tiles) say(c *cli) {
	c.say("verified: a log of %d leaves, %d audit entries and %d batches of the ledger", l.Tree.Size, l.Entries, l.Batches)
	c.say("its root %s was signed by %s of %s, under charter %s", l.Tree.Root, l.Appliance, l.Instance, l.Charter)
	if l.Archived > 0 {
		c.say("%d entries are in the archive beside it, and are what was logged", l.Archived)
	}
	if l.Behind > 0 {
		c.say("%d more follow them there, of which no signed tree says anything yet", l.Behind)
	}
	if l.Older {
		c.say("WARNING: this user verified later entries or a later tree before: the log was cut, or is an old copy")
	}
	if l.Recorded {
		c.say("the copy of the ledger that is kept here records that tree")
	}
	if l.Compared > 0 {
		c.say("%d batches are those of the copy of the ledger that is kept here", l.Compared)
	}
}

// tiles is a log in a directory, whose head was verified.
type tiles struct {
	verifiedTiles
	tree     fs.FS
	archived func() (*audit.Entry, error, bool) // the next archived entry
	close    func()
	batches  []policy.Digest // of the copy of the ledger that is kept here
	newest   uint64          // leaves of the newest tree that the copy records
	seen     seenAudit
	links    *audit.Verifier
}

// openTiles takes an appliance's audit.dir or the tree in it, and follows the tree's head from charter 1's digest
// to the keys that signed it.
func openTiles(root policy.Digest, dir string) (*tiles, error) {
	where, entries := dir, ""
	if _, err := os.Stat(filepath.Join(dir, treeDir)); err == nil {
		where, entries = filepath.Join(dir, treeDir), filepath.Join(dir, entriesDir)
	}
	l := &tiles{links: audit.NewVerifier(), tree: os.DirFS(where)}
	// The checkpoint first: what stands beside it is of it, or of a later one that the same tiles hold.
	checkpoint, err := published(l.tree, where, "checkpoint", maxCheckpointFile)
	if err != nil {
		return nil, err
	}
	text, err := published(l.tree, where, "anchor", audit.MaxAnchor)
	if err != nil {
		return nil, err
	}
	a, err := audit.ParseAnchor(text)
	if err != nil {
		return nil, unverified("%s: %w", filepath.Join(where, "anchor"), err)
	}
	charter, digest, err := charterOf(root, a.Charters)
	if err != nil {
		return nil, err
	}
	keys, err := checkpointKeys(charter, a.Keys)
	if err != nil {
		return nil, err
	}
	signed, err := keys.Open(checkpoint)
	if err != nil {
		return nil, unverified("%s: %w", filepath.Join(where, "checkpoint"), err)
	}
	l.verifiedTiles = verifiedTiles{Instance: charter.Instance, Appliance: keys.ApplianceID, Charter: digest, Tree: signed.Tree}
	if err := l.compare(root, len(a.Charters), keys); err != nil {
		return nil, err
	}
	l.archived, l.close = iter.Pull2(archivedEntries(entries))
	return l, nil
}

// published is one of the files that stand for the tree.
func published(files fs.FS, dir, name string, limit int64) ([]byte, error) {
	f, err := files.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(dir); err != nil {
			return nil, usagef("--tiles: %w", err)
		}
		return nil, unverified("%s is no log that was signed: it has no %s", dir, name)
	}
	if err != nil {
		return nil, usagef("--tiles: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("--tiles: %w", err)
	}
	if int64(len(b)) > limit {
		return nil, unverified("%s has more than %d bytes", filepath.Join(dir, name), limit)
	}
	return b, nil
}

// compare takes what this user verified before: the copy of the ledger, and the newest audit entry.
func (l *tiles) compare(root policy.Digest, charters int, keys *seal.CheckpointKeys) error {
	held, err := againstCopy(root, l.Tree, charters, keys)
	if err != nil || held.dir == "" {
		return err
	}
	l.Recorded, l.batches, l.newest = held.recorded, held.batches, held.newest
	if err := readStored(held.dir, auditFile, &l.seen); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return unverified("what was seen of the audit log before does not read: %w", err)
	}
	return nil
}

// verify holds every tile to the root that was signed, and every leaf to what is known of it otherwise.
func (l *tiles) verify() error {
	hash, err := l.Tree.Hash()
	if err != nil {
		return err
	}
	if err := audit.VerifyTiles(l.tree, l.Tree.Size, hash, l.leaf); err != nil {
		return err
	}
	l.Older = l.newest > l.Tree.Size || l.seen.Seq > l.Entries
	// What was archived since the tree was signed is held to its own links, and that is all that is known of it.
	for {
		e, err, ok := l.archived()
		if err != nil {
			return &audit.TileError{Leaf: l.Tree.Size, Entry: l.links.Result().EntriesChecked + 1, Batch: l.Batches + 1, Why: err.Error()}
		}
		if !ok {
			return nil
		}
		if !l.links.Add(e) {
			return &audit.TileError{Leaf: l.Tree.Size, Entry: l.links.Result().EntriesChecked + 1, Batch: l.Batches + 1, Why: fmt.Sprintf("archived entry %d does not follow the one before", e.Seq)}
		}
		l.Behind++
	}
}

func (l *tiles) leaf(leaf audit.Leaf) error {
	if leaf.Log == audit.LedgerLeaves {
		l.Batches++
		if leaf.Sequence <= uint64(len(l.batches)) {
			if own := l.batches[leaf.Sequence-1]; string(own) != leaf.Digest {
				return fmt.Errorf("batch %d is %s by the ledger that is verified here, the log has %s: one of them was forked", leaf.Sequence, own, leaf.Digest)
			}
			l.Compared++
		}
		return nil
	}
	if leaf.Sequence == l.seen.Seq && leaf.Digest != l.seen.Hash {
		return fmt.Errorf("audit entry %d was %s when it was verified here, the log has %s", leaf.Sequence, l.seen.Hash, leaf.Digest)
	}
	e, err, ok := l.archived()
	switch {
	case err != nil:
		return err
	case ok && (!l.links.Add(e) || e.EntryHash != leaf.Digest):
		return fmt.Errorf("what is archived as audit entry %d is not what was logged", leaf.Sequence)
	case ok:
		l.Archived++
	}
	l.Entries++
	l.LastEntry = leaf.Digest
	return nil
}

// archivedEntries are the entries in an appliance's archive, in order: files of one JSON text a line, in the order
// of their names; none where there is no directory. A last line without an end is what a crash left. What they say
// is not verified.
func archivedEntries(dir string) iter.Seq2[*audit.Entry, error] {
	return func(yield func(*audit.Entry, error) bool) {
		if dir == "" {
			return
		}
		files, err := os.ReadDir(dir) // by name, which is by number
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			yield(nil, err)
			return
		}
		for _, file := range files {
			if !strings.HasSuffix(file.Name(), ".jsonl") {
				continue
			}
			for e, err := range entriesIn(filepath.Join(dir, file.Name())) {
				if !yield(e, err) || err != nil {
					return
				}
			}
		}
	}
}

func entriesIn(path string) iter.Seq2[*audit.Entry, error] {
	return func(yield func(*audit.Entry, error) bool) {
		f, err := os.Open(path)
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		in := bufio.NewReaderSize(f, audit.MaxEntrySize+1)
		for {
			line, err := in.ReadSlice('\n')
			if errors.Is(err, io.EOF) {
				return
			}
			var e *audit.Entry
			if err == nil {
				e, err = audit.Parse(bytes.TrimSuffix(line, []byte{'\n'}))
			}
			if err != nil {
				yield(nil, fmt.Errorf("%s: %w", path, err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}
