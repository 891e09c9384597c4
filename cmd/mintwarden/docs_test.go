package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// TestEveryCommandHasAManualPage: with its example, made from the same words as
// its help, and the same bytes from the same commands.
func TestEveryCommandHasAManualPage(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1767225600")
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		require.Equal(t, exitDone, mintwarden(t, "docs", "man", dir).code)
	}
	pages := 0
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		name := strings.ReplaceAll(cmd.CommandPath(), " ", "-") + ".1"
		page, err := os.ReadFile(filepath.Join(one, name))
		require.NoError(t, err)
		pages++
		if cmd.Example != "" {
			require.Contains(t, string(page), ".SH EXAMPLE", name)
		}
		again, err := os.ReadFile(filepath.Join(two, name))
		require.NoError(t, err)
		require.Equal(t, string(page), string(again))
		for _, sub := range cmd.Commands() {
			if sub.IsAvailableCommand() && !sub.IsAdditionalHelpTopicCommand() {
				walk(sub)
			}
		}
	}
	walk((&cli{}).command())
	require.Greater(t, pages, 60)
	require.NoFileExists(t, filepath.Join(one, "mintwarden-docs.1"))
}
