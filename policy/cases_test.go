package policy_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var rewrite = flag.Bool("rewrite", false, "write what the cases give into testdata, to be read and committed")

// TestCases runs testdata/*.txt: each a sequence of commands on one engine. testdata/README.md
// tells the language.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	total := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			e := newEngine(t)
			var out strings.Builder
			for _, c := range readCases(t, string(text)) {
				total++
				have := e.run(c)
				if *rewrite {
					out.WriteString(c.before + "----\n" + have + "\n")
				} else if have != c.want {
					t.Errorf("%s:%d: %s\nhave:\n%s\nwant:\n%s", file, c.line, c.command, have, c.want)
				}
			}
			if *rewrite {
				require.NoError(t, os.WriteFile(file, []byte(out.String()), 0o644))
			}
		})
	}
	if !*rewrite && total < 150 {
		t.Errorf("%d cases, there were 150 once", total)
	}
}

// testCase is a command, its input lines and what it gives.
type testCase struct {
	line    int
	before  string // the text before ----, comments too
	command string
	input   string
	want    string
}

func readCases(t *testing.T, text string) []testCase {
	var out []testCase
	var c testCase
	wanting := false
	for n, line := range strings.SplitAfter(text, "\n") {
		bare := strings.TrimSuffix(line, "\n")
		switch {
		case wanting && bare == "":
			out, c, wanting = append(out, c), testCase{}, false
		case wanting:
			c.want += line
		case bare == "----":
			wanting = true
		default:
			c.before += line
			if strings.HasPrefix(bare, "#") || bare == "" {
				continue
			}
			if c.command == "" {
				c.command, c.line = bare, n+1
			} else {
				c.input += line
			}
		}
	}
	require.False(t, wanting, "the last case does not end in an empty line")
	return out
}
