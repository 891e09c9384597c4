package guidetest

import (
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	// unslugged is what is left out of a heading's anchor.
	unslugged = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
	installed = regexp.MustCompile(`/usr/share/doc/mintwarden/[\w-]+\.md`)
)

// anchors of a page, as they are made of its headings where it is shown.
func anchors(page string) []string {
	var names []string
	for _, m := range heading.FindAllStringSubmatch(block.ReplaceAllString(page, ""), -1) {
		names = append(names, strings.ReplaceAll(unslugged.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return names
}

// Every link of a page leads to a file that is there, and to a heading that it has.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	pages, followed := Pages(t), 0
	for _, from := range slices.Sorted(maps.Keys(pages)) {
		for _, m := range link.FindAllStringSubmatch(block.ReplaceAllString(pages[from], ""), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			followed++
			name, anchor, anchored := strings.Cut(m[1], "#")
			to := from
			if name != "" {
				to = path.Join(path.Dir(from), name)
			}
			if _, err := os.Stat(filepath.Join(top(t), filepath.FromSlash(to))); err != nil {
				t.Errorf("%s links to %s: %v", from, m[1], err)
			} else if anchored && !slices.Contains(anchors(pages[to]), anchor) {
				t.Errorf("%s links to %s, and %s has no such heading", from, m[1], to)
			}
		}
	}
	if followed < 30 {
		t.Errorf("only %d links were followed", followed)
	}
}

// Whoever reads README.md finds every page, and whoever has the package has them all, in one directory.
func TestEveryPageIsFoundAndInstalled(t *testing.T) {
	pages, packed := Pages(t), file(t, "systemd/package/build.sh")
	base := map[string]int{}
	for _, page := range slices.Sorted(maps.Keys(pages)) {
		if page != "README.md" && !strings.Contains(pages["README.md"], "]("+page+")") {
			t.Errorf("README.md does not lead to %s", page)
		}
		if !strings.Contains(packed, "\t"+page+" \\\n") && !strings.Contains(packed, "\t"+page+"; do\n") {
			t.Errorf("build.sh does not pack %s", page)
		}
		if base[path.Base(page)]++; base[path.Base(page)] > 1 {
			t.Errorf("%s is not the only page of its name, and the package has them in one directory", page)
		}
	}
	named := 0
	for _, dir := range []string{"config", "units"} {
		files, err := filepath.Glob(filepath.Join(top(t), "systemd", dir, "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, at := range files {
			for _, name := range installed.FindAllString(file(t, path.Join("systemd", dir, filepath.Base(at))), -1) {
				if named++; base[path.Base(name)] == 0 {
					t.Errorf("%s names %s, which the package does not install", at, name)
				}
			}
		}
	}
	if named < 3 {
		t.Errorf("units and configuration name %d pages", named)
	}
}

// A command that is broken over two lines would be looked at by no test.
func TestNoNameIsBrokenOverLines(t *testing.T) {
	for page, text := range Pages(t) {
		for line := range strings.Lines(block.ReplaceAllString(text, "")) {
			if !strings.HasPrefix(line, "```") && strings.Count(line, "`")%2 != 0 {
				t.Errorf("%s: %q", page, line)
			}
		}
	}
}
