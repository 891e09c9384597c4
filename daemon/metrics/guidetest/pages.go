package guidetest

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// others are directories below which no page of ours is.
var others = []string{"node_modules", "testdata", "bin"}

// Pages are the pages for people, by their path from the top of the repository: README.md, and every one that stands
// in the room it is about.
func Pages(t *testing.T) map[string]string {
	t.Helper()
	root := os.DirFS(top(t))
	pages := map[string]string{}
	err := fs.WalkDir(root, ".", func(at string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if name := d.Name(); d.IsDir() && at != "." && (strings.HasPrefix(name, ".") || slices.Contains(others, name)) {
			return fs.SkipDir
		}
		if d.IsDir() || path.Ext(at) != ".md" {
			return nil
		}
		text, err := fs.ReadFile(root, at)
		pages[at] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages["README.md"] == "" || len(pages) < 5 {
		t.Fatalf("%d pages, README.md with %d bytes", len(pages), len(pages["README.md"]))
	}
	return pages
}

// file is the text of a file of the repository.
func file(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(top(t), filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
