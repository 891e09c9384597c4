package audit_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/big"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/audit"
)

func chain(t *testing.T, n int) []*audit.Entry {
	t.Helper()
	var out []*audit.Entry
	prev := audit.Genesis
	for i := range n {
		p, err := audit.Draft{
			ActorID: "operator", ActorType: audit.User, Action: "token.created", ResourceType: "token",
			ResourceID: fmt.Sprintf("token_%d", i), Metadata: map[string]any{"n": i, "name": "Münze \u20ac"},
		}.Pend(fmt.Sprintf("aud_%d", i), "acme", time.Date(2026, 4, 27, 10, 14, i, 0, time.UTC))
		if err != nil {
			t.Fatal(err)
		}
		e, err := p.Entry(uint64(i)+1, prev)
		if err != nil {
			t.Fatal(err)
		}
		prev = e.EntryHash
		out = append(out, e)
	}
	return out
}

func seq(entries []*audit.Entry) iter.Seq2[*audit.Entry, error] {
	return func(yield func(*audit.Entry, error) bool) {
		for _, e := range entries {
			if !yield(e, nil) {
				return
			}
		}
	}
}

// TestFormIsStable holds the bytes and the hash of an entry to what is checked in: a change of either
// would break every log that exists.
func TestFormIsStable(t *testing.T) {
	e := chain(t, 2)[1]
	got, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/entry.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != strings.TrimSpace(string(want)) {
		t.Errorf("entry is\n%s\nwant\n%s", got, want)
	}
	// The hash again, from the stored text alone, as another program would do it.
	bare := strings.Replace(string(got), `"entryHash":"`+e.EntryHash+`",`, "", 1)
	sum := sha256.Sum256([]byte(e.PrevHash + bare))
	if h := "sha256:" + hex.EncodeToString(sum[:]); h != e.EntryHash {
		t.Errorf("hash %s, want %s", e.EntryHash, h)
	}
	back, err := audit.Parse(got)
	if err != nil {
		t.Fatal(err)
	}
	if h, err := back.Hash(); err != nil || h != e.EntryHash {
		t.Errorf("parsed entry hashes to %s (%v), want %s", h, err, e.EntryHash)
	}
}

func TestVerifyFindsEveryBreak(t *testing.T) {
	for _, c := range []struct {
		name   string
		break_ func([]*audit.Entry) []*audit.Entry
		at     audit.Sequence
	}{
		{"whole", func(e []*audit.Entry) []*audit.Entry { return e }, 0},
		{"empty", func(e []*audit.Entry) []*audit.Entry { return nil }, 0},
		{"first removed", func(e []*audit.Entry) []*audit.Entry { return e[1:] }, 1},
		{"one removed", func(e []*audit.Entry) []*audit.Entry { return append(e[:2:2], e[3:]...) }, 3},
		{"two swapped", func(e []*audit.Entry) []*audit.Entry { e[1], e[2] = e[2], e[1]; return e }, 2},
		{"one repeated", func(e []*audit.Entry) []*audit.Entry { return append(e[:2:2], e[1:]...) }, 3},
		{"actor changed", func(e []*audit.Entry) []*audit.Entry { e[3].ActorID = "admin"; return e }, 4},
		{"metadata changed", func(e []*audit.Entry) []*audit.Entry { e[3].Metadata = []byte(`{"n":4}`); return e }, 4},
		{"digits that no float64 holds", func(e []*audit.Entry) []*audit.Entry {
			e[3].Metadata = []byte(strings.Replace(string(e[3].Metadata), `"n":3`, `"n":3.00000000000000000000001`, 1))
			return e
		}, 4},
		{"changed and hashed again", func(e []*audit.Entry) []*audit.Entry {
			e[1].ActorID = "admin"
			e[1].EntryHash, _ = e[1].Hash()
			return e
		}, 3},
		{"renumbered", func(e []*audit.Entry) []*audit.Entry {
			e[4].Seq = 7
			e[4].EntryHash, _ = e[4].Hash()
			return e
		}, 5},
	} {
		entries := c.break_(chain(t, 5))
		r, err := audit.Verify(seq(entries))
		if err != nil {
			t.Fatal(err)
		}
		if r.BrokenAt != c.at || r.Valid != (c.at == 0) {
			t.Errorf("%s: %+v, want a break at %d", c.name, r, c.at)
		}
		if c.at == 0 && (r.EntriesChecked != uint64(len(entries)) || (len(entries) > 0 && r.LastEntryHash != entries[len(entries)-1].EntryHash)) {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func TestVerifyPassesReadErrorsOn(t *testing.T) {
	lost := errors.New("disk gone")
	_, err := audit.Verify(func(yield func(*audit.Entry, error) bool) { yield(nil, lost) })
	if !errors.Is(err, lost) {
		t.Errorf("got %v, want %v", err, lost)
	}
}

func TestLargeIntegersBecomeStrings(t *testing.T) {
	huge, _ := new(big.Int).SetString("1000000000000000000000", 10)
	p, err := audit.Draft{Action: "a.b", ResourceType: "token", Metadata: map[string]any{
		"huge": huge, "max": uint64(math.MaxUint64), "min": int64(math.MinInt64), "edge": 1 << 53, "over": 1<<53 + 1,
		"deep": []any{map[string]any{"n": int64(1) << 60}}, "fraction": 0.5,
	}}.Pend("aud_1", "acme", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"deep":[{"n":"1152921504606846976"}],"edge":9007199254740992,"fraction":0.5,"huge":"1000000000000000000000",` +
		`"max":"18446744073709551615","min":"-9223372036854775808","over":"9007199254740993"}`
	if string(p.Metadata) != want {
		t.Errorf("metadata %s, want %s", p.Metadata, want)
	}
	e, err := p.Entry(1<<53+1, audit.Genesis)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Encode()
	if err != nil || !strings.Contains(string(b), `"seq":"9007199254740993"`) {
		t.Errorf("%s, %v", b, err)
	}
	if back, err := audit.Parse(b); err != nil || back.Seq != 1<<53+1 {
		t.Errorf("got %+v, %v", back, err)
	}
}

func TestDraftsThatAreNoEntries(t *testing.T) {
	for name, d := range map[string]audit.Draft{
		"no action":   {ResourceType: "token"},
		"no resource": {Action: "token.created"},
		"no actor":    {Action: "token.created", ResourceType: "token", ActorType: audit.User},
		"actor type":  {Action: "token.created", ResourceType: "token", ActorType: "robot"},
		"asserter":    {Action: "token.created", ResourceType: "token", AssertedBy: "me"},
		"metadata":    {Action: "token.created", ResourceType: "token", Metadata: map[string]any{"f": func() {}}},
	} {
		if _, err := d.Pend("aud_1", "acme", time.Now()); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func FuzzParse(f *testing.F) {
	if b, err := os.ReadFile("testdata/entry.json"); err == nil {
		f.Add([]byte(strings.TrimSpace(string(b))))
	}
	f.Add([]byte(`{"seq":"9007199254740993","seq":1}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := audit.Parse(b)
		if err != nil {
			return
		}
		once, err := e.Encode()
		if err != nil {
			return // a number in the metadata that RFC 8785 cannot write
		}
		again, err := audit.Parse(once)
		if err != nil {
			t.Fatalf("%s does not parse again: %v", once, err)
		}
		if twice, err := again.Encode(); err != nil || string(twice) != string(once) {
			t.Errorf("%s became %s (%v)", once, twice, err)
		}
	})
}
