package guidetest

import (
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

var (
	block  = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	inline = regexp.MustCompile("`([^`\n]+)`")
	// ends is where a command ends within a line.
	ends = regexp.MustCompile(`\s#\s|\s#$|[;|]\s|&&|\|\||[()"]`)
	flag = regexp.MustCompile(`--?[a-z][a-z0-9-]*`)
)

// Typed are the commands of a program that the pages have people type, or name: in shell blocks and in the text,
// without what follows them on their line.
func Typed(t *testing.T, program string) []string {
	t.Helper()
	var found []string
	for _, page := range Pages(t) {
		var lines []string
		for _, b := range block.FindAllStringSubmatch(page, -1) {
			lines = append(lines, strings.Split(strings.ReplaceAll(b[1], "\\\n", " "), "\n")...)
		}
		for _, s := range inline.FindAllStringSubmatch(block.ReplaceAllString(page, ""), -1) {
			lines = append(lines, s[1])
		}
		start := regexp.MustCompile(`(?:^|&&\s+|[;|]\s+|\bdo\s+|bin/)` + program + `\s`)
		for _, line := range lines {
			for _, at := range start.FindAllStringIndex(line, -1) {
				rest := line[at[1]:]
				if end := ends.FindStringIndex(rest + " "); end != nil && end[0] < len(rest) {
					rest = rest[:end[0]]
				}
				found = append(found, strings.TrimSpace(rest))
			}
		}
	}
	if len(found) < 5 {
		t.Fatalf("the pages name %q of %s", found, program)
	}
	return found
}

// Known holds that root has a command, with its flags, as the pages write it: “a|b” is either.
func Known(t *testing.T, root *cobra.Command, typed string) {
	t.Helper()
	words := strings.Fields(typed)
	cmd := root
	for len(words) > 0 && !strings.HasPrefix(words[0], "-") && cmd.HasSubCommands() {
		var next *cobra.Command
		for name := range strings.SplitSeq(strings.TrimSuffix(words[0], ","), "|") {
			if next, _, _ = cmd.Find([]string{name}); next == nil || next == cmd {
				t.Errorf("“%s %s”: %s has no command %s", root.Name(), typed, cmd.CommandPath(), name)
				return
			}
		}
		cmd, words = next, words[1:]
	}
	cmd.InitDefaultHelpFlag()
	for _, word := range words {
		if !strings.HasPrefix(word, "-") && !strings.HasPrefix(word, "[-") {
			continue
		}
		for _, f := range flag.FindAllString(word, -1) {
			name := strings.TrimLeft(f, "-")
			if cmd.Flag(name) == nil && cmd.InheritedFlags().Lookup(name) == nil {
				t.Errorf("“%s %s”: %s has no flag --%s", root.Name(), typed, cmd.CommandPath(), name)
			}
		}
	}
}
