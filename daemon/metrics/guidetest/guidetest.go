// Package guidetest gives tests the pages for people (README.md, the operations guide, the page of each room), their
// commands and the keys that they tell of, so that what a page says and what the programs do cannot part.
package guidetest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Commands are the lines of the first shell block of the page under a heading, each without its comment. A page that
// is not there, or has none, fails the test.
func Commands(t *testing.T, heading string) []string {
	t.Helper()
	_, block, ok := strings.Cut(Section(t, "daemon/metrics/guide.md", heading), "\n```sh\n")
	block, _, closed := strings.Cut(block, "\n```")
	if !ok || !closed {
		t.Fatalf("the page %q has no commands", heading)
	}
	var commands []string
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(strings.TrimSpace(line), "  #")
		if command = strings.TrimSpace(command); command != "" {
			commands = append(commands, command)
		}
	}
	return commands
}

// Fill puts what this site has in the place of what a command names: each must stand in it.
func Fill(t *testing.T, command string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(command, pairs[i]) {
			t.Fatalf("the guide's %q does not say %q", command, pairs[i])
		}
		command = strings.ReplaceAll(command, pairs[i], pairs[i+1])
	}
	return command
}

// top is where go.mod is.
func top(t *testing.T) string {
	t.Helper()
	at, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; at = filepath.Dir(at) {
		if _, err := os.Stat(filepath.Join(at, "go.mod")); err == nil {
			return at
		}
		if at == filepath.Dir(at) {
			t.Fatal("no go.mod above the test")
		}
	}
}
