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

// Section is what a page says under a heading.
func Section(t *testing.T, page, heading string) string {
	t.Helper()
	_, text, ok := strings.Cut("\n"+file(t, page), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", page, heading)
	}
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

// Rows are the names in the first column of the tables under a heading, as they stand there.
func Rows(t *testing.T, page, heading string) []string {
	t.Helper()
	var names []string
	below := false // the table's head
	for line := range strings.Lines(Section(t, page, heading)) {
		below = strings.HasPrefix(line, "| ---") || below && strings.HasPrefix(line, "| ")
		if cell, _, ok := strings.Cut(line, " | "); below && ok {
			for _, m := range inline.FindAllStringSubmatch(cell, -1) {
				names = append(names, m[1])
			}
		}
	}
	return names
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
