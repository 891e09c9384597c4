package archive

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A file of the disk is an attacker's: whatever is in it, it is what was written or ErrDamaged.
func FuzzFile(f *testing.F) {
	line := []byte(`{"id":"a","keys":[{"key":"/a","value":"b"},{"key":"/c","bytes":"AP8="}]}`)
	raw := []byte(`{"format":1,"number":1,"previous":"` + genesis + `","at":"2026-04-27T10:00:00Z","items":[{"id":"a","digest":"` + digestOf(line) + `","revision":1,"summary":{}}]}`)
	whole, err := encodeFile(raw, nil, [][]byte{line})
	if err != nil {
		f.Fatal(err)
	}
	absent, err := encodeFile(raw, []string{"a"}, nil)
	if err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(f.TempDir(), "file")
	for _, b := range [][]byte{whole, absent, raw, line} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := parseBlock(b); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		if _, err := parseLine(b); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := readFile(path, true); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}
