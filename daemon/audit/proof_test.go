package audit_test

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/mintwarden/mintwarden/daemon/audit"
)

// grown is a tree of the entries, in memory.
func grown(t testing.TB, entries []*audit.Entry) (tlog.HashReader, tlog.Hash) {
	t.Helper()
	var hashes []tlog.Hash
	read := tlog.HashReaderFunc(func(at []int64) ([]tlog.Hash, error) {
		out := make([]tlog.Hash, len(at))
		for i, n := range at {
			out[i] = hashes[n]
		}
		return out, nil
	})
	for n, e := range entries {
		more, err := tlog.StoredHashes(int64(n), e.Leaf().Encode(), read)
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, more...)
	}
	root, err := tlog.TreeHash(int64(len(entries)), read)
	if err != nil {
		t.Fatal(err)
	}
	return read, root
}

func TestAProofIsOfOneLeafOfOneTree(t *testing.T) {
	entries := chain(t, 11)
	read, root := grown(t, entries)
	for n, e := range entries {
		hashes, err := tlog.ProveRecord(int64(len(entries)), int64(n), read)
		if err != nil {
			t.Fatal(err)
		}
		text := (&audit.Proof{Extra: []byte("extra"), Index: uint64(n), Hashes: hashes, Checkpoint: []byte("a note\n")}).Encode()
		p, err := audit.ParseProof(text)
		if err != nil {
			t.Fatal(err)
		}
		if string(p.Extra) != "extra" || string(p.Checkpoint) != "a note\n" {
			t.Errorf("came back as %+v", p)
		}
		if err := p.Check(e.Leaf(), uint64(len(entries)), root); err != nil {
			t.Error(err)
		}
		other := entries[(n+1)%len(entries)]
		for name, err := range map[string]error{
			"another leaf": p.Check(other.Leaf(), uint64(len(entries)), root),
			"another size": p.Check(e.Leaf(), 64*uint64(len(entries)), root),
			"another root": p.Check(e.Leaf(), uint64(len(entries)), tlog.Hash{}),
			"no tree":      p.Check(e.Leaf(), 0, root),
		} {
			if !errors.Is(err, audit.ErrProof) {
				t.Errorf("leaf %d, %s: %v", n, name, err)
			}
		}
	}
}

func TestProofsHaveOneSpelling(t *testing.T) {
	text := string((&audit.Proof{Extra: []byte("x"), Index: 7, Hashes: []tlog.Hash{{1}}, Checkpoint: []byte("o\n8\nr\n\n— o s\n")}).Encode())
	if _, err := audit.ParseProof([]byte(text)); err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"another header":  strings.Replace(text, "@v1", "@v2", 1),
		"a zero in front": strings.Replace(text, "index 7", "index 07", 1),
		"a sign":          strings.Replace(text, "index 7", "index +7", 1),
		"no index":        strings.Replace(text, "index 7\n", "", 1),
		"no hash":         strings.Replace(text, "AQAA", "", 1),
		"extra twice":     strings.Replace(text, "extra eA==\n", "extra eA==\nextra eA==\n", 1),
		"carriage return": strings.ReplaceAll(text, "\n", "\r\n"),
		"empty extra":     strings.Replace(text, "extra eA==", "extra ", 1),
		"no checkpoint":   text[:strings.Index(text, "\n\n")],
		"nothing":         "",
	} {
		if _, err := audit.ParseProof([]byte(bad)); !errors.Is(err, audit.ErrProof) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLeavesHaveOneSpelling(t *testing.T) {
	leaf := chain(t, 1)[0].Leaf()
	b := leaf.Encode()
	if back, err := audit.ParseLeaf(b); err != nil || back != leaf {
		t.Fatalf("%+v, %v", back, err)
	}
	for _, bad := range []string{"", "{}", " " + string(b), strings.Replace(string(b), `"log":"audit"`, `"log":"other"`, 1),
		strings.Replace(string(b), `"sequence":1`, `"sequence":0`, 1), strings.Replace(string(b), "sha256:", "sha256:A", 1)} {
		if _, err := audit.ParseLeaf([]byte(bad)); !errors.Is(err, audit.ErrLeaf) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	bundle := audit.AppendBundle(audit.AppendBundle(nil, b), []byte("second"))
	first, rest, err := audit.CutBundle(bundle)
	if err != nil || string(first) != string(b) {
		t.Fatalf("%q, %v", first, err)
	}
	second, rest, err := audit.CutBundle(rest)
	if err != nil || string(second) != "second" || len(rest) != 0 {
		t.Fatalf("%q, %q, %v", second, rest, err)
	}
	if _, _, err := audit.CutBundle(bundle[:len(b)]); !errors.Is(err, audit.ErrLeaf) {
		t.Errorf("a torn bundle: %v", err)
	}
}

func TestEvidenceOfAnotherEntryIsRefused(t *testing.T) {
	e := chain(t, 1)[0]
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	good := fmt.Sprintf(`{"format":1,"entry":%s,"charters":[{}],"keys":{}}`, b)
	if _, back, err := audit.ParseEvidence([]byte(good)); err != nil || back.EntryHash != e.EntryHash {
		t.Fatal(err)
	}
	for _, bad := range []string{strings.Replace(good, `"actorId":"operator"`, `"actorId":"admin"`, 1), strings.Replace(good, `[{}]`, `[]`, 1), "{}",
		strings.Replace(good, `"n":0`, `"n":1e-999`, 1),
		strings.Replace(good, `"format":1,"entry"`, `"format":2,"entry"`, 1), strings.Replace(good, `"keys":{}`, `"keys":{},"more":1`, 1)} {
		if _, _, err := audit.ParseEvidence([]byte(bad)); !errors.Is(err, audit.ErrProof) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseProof(f *testing.F) {
	f.Add((&audit.Proof{Extra: []byte("x"), Index: 7, Hashes: []tlog.Hash{{1}}, Checkpoint: []byte("o\n8\nr\n\n— o s\n")}).Encode())
	f.Add([]byte("c2sp.org/tlog-proof@v1\nindex 0\n\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := audit.ParseProof(b)
		if err != nil {
			return
		}
		if string(p.Encode()) != string(b) {
			t.Errorf("%q became %q", b, p.Encode())
		}
		_ = p.Check(audit.Leaf{}, 1<<40, tlog.Hash{})
	})
}

func FuzzParseLeaf(f *testing.F) {
	f.Add(audit.Leaf{Digest: "sha256:" + strings.Repeat("0", 64), Format: 1, Log: audit.AuditLeaves, Sequence: 1}.Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if l, err := audit.ParseLeaf(b); err == nil && string(l.Encode()) != string(b) {
			t.Errorf("%q became %q", b, l.Encode())
		}
		for rest := b; len(rest) > 0; {
			var err error
			if _, rest, err = audit.CutBundle(rest); err != nil {
				return
			}
		}
	})
}

func FuzzParseEvidence(f *testing.F) {
	f.Add([]byte(`{"format":1,"entry":{},"charters":[{}],"keys":{}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, _, err := audit.ParseEvidence(b); err == nil {
			if _, err := e.Encode(); err != nil {
				t.Error(err)
			}
		}
	})
}

// FuzzParseAnchor: whatever stands beside a checkpoint, it is read as one writes it, or refused.
func FuzzParseAnchor(f *testing.F) {
	whole, err := (&audit.Anchor{Format: 1, Charters: []jsontext.Value{jsontext.Value(`{"payload":"e30="}`)}, Keys: jsontext.Value(`{"format":1}`)}).Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(`{"format":1,"charters":[],"keys":{}}`))
	f.Add([]byte(`{"format":1,"charters":[null],"keys":null,"more":1}`))
	f.Add([]byte(``))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := audit.ParseAnchor(b)
		if err != nil {
			if !errors.Is(err, audit.ErrProof) {
				t.Error(err)
			}
			return
		}
		again, err := a.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if c, err := audit.ParseAnchor(again); err != nil || len(c.Charters) != len(a.Charters) {
			t.Errorf("%s: %v", again, err)
		}
	})
}
