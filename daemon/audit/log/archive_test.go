package auditlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/store"
)

func links(t testing.TB, n int) []*audit.Entry {
	t.Helper()
	var out []*audit.Entry
	prev := audit.Genesis
	for i := range n {
		p, err := audit.Draft{ActorID: "operator", ActorType: audit.User, Action: "token.created", ResourceType: "token", ResourceID: fmt.Sprint("token_", i)}.
			Pend(fmt.Sprint("aud_", i), "acme", time.UnixMilli(int64(i)))
		if err != nil {
			t.Fatal(err)
		}
		e, err := p.Entry(uint64(i)+1, prev)
		if err != nil {
			t.Fatal(err)
		}
		prev, out = e.EntryHash, append(out, e)
	}
	return out
}

func archiveOf(t testing.TB, dir string) *archive {
	t.Helper()
	a, err := openArchive(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func count(a *archive) (n int, err error) {
	for e, err := range a.all() {
		if err != nil {
			return n, err
		}
		if n++; uint64(e.Seq) != uint64(n) {
			return n, fmt.Errorf("entry %d comes as the %dth", e.Seq, n)
		}
	}
	return n, nil
}

func TestArchiveKeepsWhatWasAppended(t *testing.T) {
	t.Parallel()
	dir, all := t.TempDir(), links(t, 90)
	a := archiveOf(t, dir)
	for _, cut := range [][2]int{{0, 1}, {1, 40}, {40, 90}} {
		if err := a.append(all[cut[0]:cut[1]]); err != nil {
			t.Fatal(err)
		}
		a = archiveOf(t, dir)
	}
	if n, err := count(a); err != nil || n != 90 {
		t.Fatalf("%d, %v", n, err)
	}
	e, err := a.entry(57)
	if err != nil || e.EntryHash != all[56].EntryHash {
		t.Errorf("%+v, %v", e, err)
	}
	for name, err := range map[string]error{"a gap": a.append(links(t, 95)[92:]), "again": a.append(all[89:])} {
		if !errors.Is(err, errArchive) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := a.entry(91); !errors.Is(err, errArchive) {
		t.Errorf("one that is not there: %v", err)
	}
}

// A file that the disk did not let be made is made later: what is there is read as before, and the archive goes on.
func TestArchiveAfterADiskThatTookNoFile(t *testing.T) {
	t.Parallel()
	dir, all := t.TempDir(), links(t, 3)
	a := archiveOf(t, dir)
	inTheWay := filepath.Join(dir, archiveName(1))
	if err := os.Mkdir(inTheWay, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := a.append(all); err == nil {
		t.Fatal("a directory took entries")
	}
	if err := os.Remove(inTheWay); err != nil {
		t.Fatal(err)
	}
	if n, err := count(a); err != nil || n != 0 {
		t.Errorf("%d entries, %v", n, err)
	}
	if err := a.append(all); err != nil {
		t.Fatal(err)
	}
	if n, err := count(a); err != nil || n != len(all) {
		t.Errorf("%d entries, %v", n, err)
	}
}

// What a crash left at the end is cut off wherever it tore, and the archive goes on.
func TestArchiveAfterACrashAnywhere(t *testing.T) {
	t.Parallel()
	all := links(t, 4)
	whole := t.TempDir()
	if err := archiveOf(t, whole).append(all); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(whole, archiveName(1)))
	if err != nil {
		t.Fatal(err)
	}
	for at := 0; at <= len(text); at += 23 { // every place of a line comes, over its lines
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, archiveName(1)), text[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		a := archiveOf(t, dir)
		want := bytes.Count(text[:at], []byte{'\n'})
		if n, err := count(a); err != nil || n != want {
			t.Fatalf("cut at %d: %d entries, want %d (%v)", at, n, want, err)
		}
		if err := a.append(all[want:]); err != nil {
			t.Fatal(err)
		}
		if n, err := count(archiveOf(t, dir)); err != nil || n != len(all) {
			t.Fatalf("cut at %d and gone on with: %d entries (%v)", at, n, err)
		}
	}
}

func TestAttack_ATamperedArchive(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := archiveOf(t, dir).append(links(t, 9)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, archiveName(1))
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.SplitAfter(text, []byte{'\n'})
	for name, bad := range map[string][]byte{
		"an actor changed": bytes.Replace(text, []byte(`"operator"`), []byte(`"somebody"`), 1),
		"one removed":      bytes.Join(append(append([][]byte{}, lines[:3]...), lines[4:]...), nil),
		"two swapped":      bytes.Join([][]byte{lines[1], lines[0], bytes.Join(lines[2:], nil)}, nil),
		"not an entry":     append([]byte("{}\n"), bytes.Join(lines[1:], nil)...),
	} {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		a, err := openArchive(dir)
		if err == nil {
			_, err = count(a)
		}
		if !errors.Is(err, errArchive) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseBlock(f *testing.F) {
	b := block{Format: 1, First: 3, Entries: 2, Audit: 2, Ledger: 4, Batches: []string{digestOf(nil)}}
	text, err := b.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b.key(), text)
	f.Add(b.key(), storeLines(storedBlocks, [][]byte{text}))
	f.Add(orderKey(1), []byte(`{"format":1,"first":0,"entries":1,"audit":1,"batches":[],"ledger":0}`))
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		blocks, err := parseBlocks(store.KV{Key: key, Value: value})
		if err != nil {
			return
		}
		if last := blocks[len(blocks)-1]; last.key() != key {
			t.Errorf("%q read at %q", last.key(), key)
		}
		for _, b := range blocks {
			for i := range b.Batches {
				if _, err := audit.ParseLeaf(b.batch(i)); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

func FuzzParseSigned(f *testing.F) {
	f.Add([]byte(`{"format":1,"note":"o\n1\nAAAA\n\n","keys":{"format":1,"instance":"i","applianceId":"a","log":"","cosign":"","signature":""}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseSigned(b); err == nil && s.tree.Size == 0 {
			t.Error("a signed tree without leaves")
		}
		if s, err := parseCosigned(b); err == nil && s.Keys == nil {
			t.Error("a cosignature of nobody")
		}
	})
}

func FuzzArchive(f *testing.F) {
	e, err := links(f, 1)[0].Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(e, '\n'))
	f.Add([]byte("\n\n{"))
	f.Fuzz(func(t *testing.T, text []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, archiveName(1)), text, 0o600); err != nil {
			t.Fatal(err)
		}
		if a, err := openArchive(dir); err == nil {
			_, _ = count(a)
		}
	})
}
