package main

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// bothLogs is a tree of audit entries with the world's batches between them.
func bothLogs(w *world, entries []*audit.Entry) *logOf {
	l := &logOf{w: w}
	for n := range max(len(entries), len(w.values)) {
		if n < len(w.values) {
			l.grow(audit.Leaf{Digest: string(policy.DigestOf(w.values[n])), Format: 1, Log: audit.LedgerLeaves, Sequence: uint64(n) + 1})
		}
		if n < len(entries) {
			l.grow(entries[n].Leaf())
		}
	}
	return l
}

// auditDir is an appliance's audit.dir with the tree, signed by that appliance, and with some entries archived.
func (l *logOf) auditDir(signer string, archived []*audit.Entry) string {
	t := l.w.t
	t.Helper()
	dir := t.TempDir()
	write := func(path string, b []byte) {
		path = filepath.Join(dir, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, b, 0o600))
	}
	var bundle []byte
	for i, leaf := range l.leaves {
		bundle = audit.AppendBundle(bundle, leaf.Encode())
		if i%256 == 255 || i == len(l.leaves)-1 {
			write("tlog/"+audit.TilePath("entries", uint64(i/256), (i+1)%256), bundle)
			bundle = nil
		}
	}
	for _, tile := range tlog.NewTiles(8, 0, int64(len(l.leaves))) {
		b, err := tlog.ReadTileData(tile, tlog.HashReaderFunc(l.read))
		require.NoError(t, err)
		write("tlog/"+audit.TilePath(fmt.Sprint(tile.L), uint64(tile.N), tile.W%256), b)
	}
	keys, log, own := l.keysOf(signer)
	text, err := seal.Checkpoint{Origin: seal.Origin("dev-1"), Tree: l.tree()}.Text()
	require.NoError(t, err)
	checkpoint, err := note.Sign(&note.Note{Text: text}, log, own)
	require.NoError(t, err)
	write("tlog/checkpoint", checkpoint)
	a := audit.Anchor{Format: 1}
	a.Keys, err = json.Marshal(keys)
	require.NoError(t, err)
	for _, c := range l.w.fold.Charters() {
		a.Charters = append(a.Charters, jsontext.Value(c.Encode()))
	}
	b, err := a.Encode()
	require.NoError(t, err)
	write("tlog/anchor", b)
	files := map[string][]byte{}
	for i, e := range archived {
		line, err := e.Encode()
		require.NoError(t, err)
		name := fmt.Sprintf("entries/%020d.jsonl", i/100*100+1)
		files[name] = append(append(files[name], line...), '\n')
	}
	for name, b := range files {
		write(name, b)
	}
	return dir
}

// verifyTiles runs audit verify --tiles with nothing but a digest.
func verifyTiles(t *testing.T, root policy.Digest, dir string) (result, verifiedTiles) {
	t.Helper()
	got := mintwarden(t, "audit", "verify", "--tiles", dir, "--charter1", string(root), "--json")
	var out verifiedTiles
	if strings.Contains(got.out, `"tree"`) {
		require.NoError(t, json.Unmarshal([]byte(got.out), &out), got.out)
	}
	return got, out
}

func TestAWholeLogIsVerifiedFromItsTiles(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	entries := chain(t, 700)
	l := bothLogs(w, entries)
	dir := l.auditDir("appliance-1", entries[:250])
	got, out := verifyTiles(t, w.root, dir)
	require.Equal(t, exitDone, got.code, got.err)
	require.Equal(t, verifiedTiles{Valid: true, Instance: "dev-1", Appliance: "appliance-1", Charter: out.Charter, Tree: l.tree(),
		Entries: 700, Batches: uint64(len(w.values)), Archived: 250, LastEntry: entries[699].EntryHash}, out)
	require.True(t, out.Charter.Valid())
	// The tree alone, and in words.
	said := mintwarden(t, "audit", "verify", "--tiles", filepath.Join(dir, "tlog"), "--charter1", string(w.root))
	require.Equal(t, exitDone, said.code, said.err)
	require.Contains(t, said.out, fmt.Sprintf("700 audit entries and %d batches", len(w.values)))
	require.NotContains(t, said.out, "archive")

	for args, why := range map[string]string{
		"--tiles /nowhere":                     "no such file",
		"--tiles " + dir + " --receipt " + dir: "exclude each other",
	} {
		got := mintwarden(t, append(strings.Fields("audit verify "+args), "--charter1", string(w.root))...)
		require.Equal(t, exitUsage, got.code, args)
		require.Contains(t, got.err, why)
	}
	require.Equal(t, exitUnverified, mintwarden(t, "audit", "verify", "--tiles", t.TempDir(), "--charter1", string(w.root)).code)
}

// Entries that were archived after the tree was signed are held to their own links.
func TestWhatIsArchivedBehindTheTree(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	entries := chain(t, 9)
	dir := bothLogs(w, entries[:5]).auditDir("appliance-1", entries)
	got, out := verifyTiles(t, w.root, dir)
	require.Equal(t, exitDone, got.code, got.err)
	require.EqualValues(t, 5, out.Archived)
	require.EqualValues(t, 4, out.Behind, "of which nobody signed anything")
	entries[7].ActorID = "mallory"
	got, out = verifyTiles(t, w.root, bothLogs(w, entries[:5]).auditDir("appliance-1", entries))
	require.Equal(t, exitUnverified, got.code)
	require.EqualValues(t, 8, out.Broken.Entry)
}

// Whoever has the disk changes, cuts, or takes away one file of each kind: it does not verify, and the entry is named.
func TestAttack_ALogOnATamperedDisk(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	entries := chain(t, 300)
	l := bothLogs(w, entries)
	second := secondOf(t, w)
	for name, tt := range map[string]struct {
		path   string
		tamper func(b []byte) []byte // nil: the file is taken away
		entry  uint64                // that is named; 0: none is
	}{
		"an entry's leaf":                  {"tlog/tile/entries/000", func(b []byte) []byte { return bytes.Replace(b, []byte(`"sequence":7}`), []byte(`"sequence":8}`), 1) }, 0},
		"a bit of a leaf":                  {"tlog/tile/entries/001.p/47", func(b []byte) []byte { b[len(b)-20] ^= 1; return b }, 300},
		"a leaf is cut":                    {"tlog/tile/entries/001.p/47", func(b []byte) []byte { return b[:len(b)-3] }, 300},
		"a bundle is not there":            {"tlog/tile/entries/001.p/47", nil, 254},
		"a hash of the lowest tile":        {"tlog/tile/0/000", func(b []byte) []byte { b[20*32] ^= 1; return b }, 18},
		"a hash of the lowest tile is cut": {"tlog/tile/0/000", func(b []byte) []byte { return b[:20*32] }, 1},
		"the lowest tile is not there":     {"tlog/tile/0/000", nil, 1},
		"a hash of a tile above":           {"tlog/tile/1/000.p/1", func(b []byte) []byte { b[0] ^= 1; return b }, 0},
		"a tile above is not there":        {"tlog/tile/1/000.p/1", nil, 0},
		"the checkpoint's size":            {"tlog/checkpoint", func(b []byte) []byte { return bytes.Replace(b, []byte("\n303\n"), []byte("\n302\n"), 1) }, 0},
		"a signature under the checkpoint": {"tlog/checkpoint", func(b []byte) []byte { b[len(b)-20] ^= 1; return b }, 0},
		"half of the checkpoint":           {"tlog/checkpoint", func(b []byte) []byte { return b[:len(b)/2] }, 0},
		"no checkpoint":                    {"tlog/checkpoint", nil, 0},
		"another log's checkpoint":         {"tlog/checkpoint", func([]byte) []byte { return second["checkpoint"] }, 0},
		"a charter in the anchor":          {"tlog/anchor", func(b []byte) []byte { return bytes.Replace(b, []byte(`"payload":"ey`), []byte(`"payload":"ez`), 1) }, 0},
		"another instance's anchor":        {"tlog/anchor", func([]byte) []byte { return second["anchor"] }, 0},
		"an anchor that is none":           {"tlog/anchor", func([]byte) []byte { return []byte("{}") }, 0},
		"an endless anchor":                {"tlog/anchor", func([]byte) []byte { return make([]byte, audit.MaxAnchor+1) }, 0},
		"no anchor":                        {"tlog/anchor", nil, 0},
		"an archived entry":                {"entries/00000000000000000101.jsonl", func(b []byte) []byte { return bytes.Replace(b, []byte(`"operator"`), []byte(`"mallory!"`), 1) }, 101},
		"archived entries are cut":         {"entries/00000000000000000001.jsonl", func(b []byte) []byte { return b[:len(b)/2] }, 0},
		"no archived entries in between":   {"entries/00000000000000000001.jsonl", nil, 1},
		"a line that is no entry":          {"entries/00000000000000000001.jsonl", func(b []byte) []byte { return append([]byte("{}\n"), b...) }, 1},
		"an endless line":                  {"entries/00000000000000000001.jsonl", func(b []byte) []byte { return append(bytes.Repeat([]byte("a"), 2*audit.MaxEntrySize), '\n') }, 1},
	} {
		dir := l.auditDir("appliance-1", entries[:200])
		path := filepath.Join(dir, tt.path)
		b, err := os.ReadFile(path)
		require.NoError(t, err, name)
		if tt.tamper == nil {
			require.NoError(t, os.Remove(path))
		} else {
			after := tt.tamper(bytes.Clone(b))
			require.NotEqual(t, b, after, name)
			require.NoError(t, os.WriteFile(path, after, 0o600))
		}
		got, out := verifyTiles(t, w.root, dir)
		require.Equal(t, exitUnverified, got.code, "%s: %s %s", name, got.out, got.err)
		require.False(t, out.Valid, name)
		if tt.entry > 0 {
			require.NotNil(t, out.Broken, name)
			require.Equal(t, tt.entry, out.Broken.Entry, "%s: %s", name, out.Broken.Why)
		}
	}
}

// secondOf is another instance's checkpoint and anchor.
func secondOf(t *testing.T, w *world) map[string][]byte {
	other := newWorld(t, func(c *policy.Charter) { c.TenantID = "other" })
	dir := bothLogs(other, chain(t, 300)).auditDir("appliance-1", nil)
	out := map[string][]byte{}
	for _, name := range []string{"checkpoint", "anchor"} {
		var err error
		out[name], err = os.ReadFile(filepath.Join(dir, "tlog", name))
		require.NoError(t, err)
	}
	require.NotEqual(t, w.root, other.root)
	return out
}

// The whole log is rewritten and hangs together, and is signed by whoever wrote it: by no appliance, by one that a
// charter expelled, or by another tree's checkpoint.
func TestAttack_AWholeLogIsRewritten(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	entries := chain(t, 20)
	honest := bothLogs(w, entries).auditDir("appliance-1", nil)
	entries[12].ActorID = "mallory"
	entries[12].EntryHash, _ = entries[12].Hash()
	forged := bothLogs(w, entries).auditDir("appliance-1", nil)
	b, err := os.ReadFile(filepath.Join(honest, "tlog", "checkpoint"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(forged, "tlog", "checkpoint"), b, 0o600))
	got, out := verifyTiles(t, w.root, forged)
	require.Equal(t, exitUnverified, got.code)
	require.Contains(t, got.err, "signed was")
	require.Nil(t, out.Broken, "nobody can say which of the leaves is another one")

	stranger := bothLogs(w, entries).auditDir("appliance-9", nil)
	got, _ = verifyTiles(t, w.root, stranger)
	require.Equal(t, exitUnverified, got.code, got.err)
	w.commit(secondCharter(w, "appliance-2"))
	got, _ = verifyTiles(t, w.root, bothLogs(w, entries).auditDir("appliance-1", nil))
	require.Equal(t, exitUnverified, got.code, got.err)
}

// Signed by the right key, and not what this user saw: a batch, an entry, a tree of the same size.
func TestAttack_ALogOfAnotherHistoryThanTheOneThatWasSeen(t *testing.T) {
	w := newWorld(t)
	entries := chain(t, 9)
	l := bothLogs(w, entries)
	w.commit(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: l.tree().Size, Root: l.tree().Root}})
	a := serve(t, w)
	a.audit = entries
	require.Equal(t, exitDone, mintwarden(t, "audit", "verify").code)

	got, out := verifyTiles(t, w.root, l.auditDir("appliance-1", entries))
	require.Equal(t, exitDone, got.code, got.err)
	require.True(t, out.Recorded)
	require.EqualValues(t, len(w.values)-1, out.Compared)

	forged := chain(t, 9)
	forged[8].ActorID = "mallory"
	forged[8].EntryHash, _ = forged[8].Hash()
	more := bothLogs(w, forged) // of more leaves than the ledger's newest checkpoint
	got, out = verifyTiles(t, w.root, more.auditDir("appliance-1", nil))
	require.Equal(t, exitUnverified, got.code)
	require.EqualValues(t, 9, out.Broken.Entry, got.err)

	fork := &logOf{w: w}
	for n, e := range entries {
		fork.grow(e.Leaf())
		if n < 6 {
			fork.grow(audit.Leaf{Digest: string(policy.DigestOf(fmt.Append(nil, n))), Format: 1, Log: audit.LedgerLeaves, Sequence: uint64(n) + 1})
		}
	}
	got, out = verifyTiles(t, w.root, fork.auditDir("appliance-1", nil))
	require.Equal(t, exitUnverified, got.code)
	require.EqualValues(t, 1, out.Broken.Batch, got.err)
	require.Contains(t, got.err, "forked")
}

// Behind an old head, which anybody may keep, the disk's owner writes entries of his own: they are linked, and nobody
// signed them. They are not said to be what was logged.
func TestAttack_ForgedEntriesBehindAnOldHead(t *testing.T) {
	t.Setenv("XDG_STATE_HOME", t.TempDir())
	w := newWorld(t)
	entries := chain(t, 9)
	dir := bothLogs(w, entries[:5]).auditDir("appliance-1", forgedFrom(t, 5, 9))
	_, out := verifyTiles(t, w.root, dir)
	require.EqualValues(t, 5, out.Archived)
	require.EqualValues(t, 4, out.Behind)
	said := mintwarden(t, "audit", "verify", "--tiles", dir, "--charter1", string(w.root))
	require.Contains(t, said.out, "5 entries are in the archive beside it, and are what was logged")
	require.Contains(t, said.out, "no signed tree says anything")
}

// forgedFrom is a chain of n entries whose last ones are forged and well linked.
func forgedFrom(t *testing.T, from, n int) []*audit.Entry {
	forged := chain(t, n)
	for i := from; i < n; i++ {
		forged[i].ActorID, forged[i].PrevHash = "mallory", forged[i-1].EntryHash
		forged[i].EntryHash, _ = forged[i].Hash()
	}
	return forged
}

// An appliance was expelled, as this user's verified ledger says; it goes on signing, beside charters that end before.
func TestAttack_AnExpelledApplianceSignsWithAnOldAnchor(t *testing.T) {
	w := newWorld(t)
	entries := chain(t, 9)
	l := bothLogs(w, entries)
	w.commit(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: l.tree().Size, Root: l.tree().Root}})
	honest := l.auditDir("appliance-1", nil)
	forged := bothLogs(w, forgedFrom(t, 9, 30))
	dir, receipt := forged.auditDir("appliance-1", nil), newLog(w, 30).receipt("appliance-1")
	cosigned := newLog(w, 30)
	w.commit(secondCharter(w, "appliance-2"))
	a := serve(t, w)
	a.audit = entries
	require.Equal(t, exitDone, mintwarden(t, "audit", "verify").code)
	got, out := verifyTiles(t, w.root, dir)
	require.Equal(t, exitUnverified, got.code, "%+v %s", out, got.err)
	require.Contains(t, got.err, "does not record")
	require.Equal(t, exitUnverified, verifyFile(t, w.root, receipt).code)
	// What it signed when it was one of them, and the ledger records, still holds; and what the new one signs.
	got, out = verifyTiles(t, w.root, honest)
	require.Equal(t, exitDone, got.code, got.err)
	require.True(t, out.Recorded)
	require.Equal(t, exitDone, verifyFile(t, w.root, cosigned.receipt("appliance-2")).code)
}

// A log that ends before what this user saw of it says so.
func TestAnOldCopyOfALogIsSaidToBeOne(t *testing.T) {
	w := newWorld(t)
	entries := chain(t, 9)
	early, late := bothLogs(w, entries[:4]), bothLogs(w, entries)
	for _, l := range []*logOf{early, late} {
		w.commit(ledger.Record{Checkpoint: &ledger.Checkpoint{Size: l.tree().Size, Root: l.tree().Root}})
	}
	a := serve(t, w)
	a.audit = entries
	require.Equal(t, exitDone, mintwarden(t, "audit", "verify").code)
	for l, older := range map[*logOf]bool{early: true, late: false} {
		dir := l.auditDir("appliance-1", nil)
		got, out := verifyTiles(t, w.root, dir)
		require.Equal(t, exitDone, got.code, got.err)
		require.Equal(t, older, out.Older)
		said := mintwarden(t, "audit", "verify", "--tiles", dir, "--charter1", string(w.root))
		require.Equal(t, older, strings.Contains(said.out, "old copy"), said.out)
	}
}
