package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// TestTablesFit: at no width does a line run over, unless a single word does.
func TestTablesFit(t *testing.T) {
	operations := &rows{header: []string{"operation", "status", "amount", "base units", "created"}, spare: []string{"base units", "created"}}
	operations.add(id("op", 1), "PENDING_AUTHORIZATION", "100 EIT", "100000000000000000000", "2026-04-27T10:14:00Z")
	operations.add(id("op", 2), "COMPLETED", "–", "–", "2026-04-27T10:14:00Z")
	rules := &rows{header: []string{"policy", "rules"}, cells: [][]string{{id("pol", 1), "2 of approvers"}, {"", "only MON TUE WED THU FRI SAT SUN from 00:00 to 24:00 (UTC)"}}}
	one := &rows{header: []string{"token", id("token", 1)}}
	one.add("intent", "sha256:"+strings.Repeat("0", 64))
	one.add("description", "a description of some length that is\x1b[2J typed by somebody")
	for name, r := range map[string]*rows{"list": operations, "rules": rules, "one": one} {
		for width := 74; width < 200; width++ {
			shown := r.render(width)
			for line := range strings.Lines(shown) {
				require.LessOrEqual(t, utf8.RuneCountInString(strings.TrimSuffix(line, "\n")), width, "%s at %d:\n%s", name, width, shown)
			}
			require.NotContains(t, shown, "\x1b")
			for _, cells := range r.cells {
				require.Contains(t, shown, cells[0], "%s at %d", name, width)
			}
		}
	}
	require.Contains(t, operations.render(0), "100000000000000000000")
	narrow := operations.render(100)
	require.NotContains(t, narrow, "100000000000000000000")
	require.Contains(t, narrow, "Left out at this width: base units")
	require.Equal(t, `operation   `+id("op", 1)+`
status      PENDING_AUTHORIZATION
amount      100 EIT
base units  100000000000000000000
created     2026-04-27T10:14:00Z

operation   `+id("op", 2)+`
status      COMPLETED
amount      –
base units  –
created     2026-04-27T10:14:00Z
`, operations.render(60))
	require.Equal(t, `token        `+id("token", 1)+`
intent
  sha256:`+strings.Repeat("0", 64)+`
description  a description of some length that is\x1b[2J
             typed by somebody
`, (&rows{header: one.header, cells: one.cells}).render(56))
}

func TestHanging(t *testing.T) {
	require.Equal(t, "  - one two\n    three", hanging("  - ", "one two three", 12))
	require.Equal(t, "  - one two three", hanging("  - ", "one two three", 0))
	require.Equal(t, "  - one\n    two", hanging("  - ", "one two", 2))
}
