package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/stretchr/testify/require"
)

// TestEveryCommandExplainsItself: help and an example, which must be one of
// that command.
func TestEveryCommandExplainsItself(t *testing.T) {
	root := (&cli{}).command()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Hidden || slices.Contains([]string{"json", "help", "completion"}, sub.Name()) {
				continue
			}
			require.NotEmpty(t, sub.Short, sub.CommandPath())
			require.Contains(t, sub.Example, sub.CommandPath(), sub.CommandPath())
			require.NotNil(t, sub.RunE, sub.CommandPath())
			got := mintwarden(t, append(strings.Fields(sub.CommandPath())[1:], "--help")...)
			require.Equal(t, exitDone, got.code, sub.CommandPath())
			walk(sub)
		}
	}
	walk(root)
}

// TestWhatIsLinked: the CLI runs on people's machines; it holds neither the
// store nor a node.
func TestWhatIsLinked(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		if geth, ok := strings.CutPrefix(dep, "github.com/ethereum/go-ethereum/"); ok {
			first, _, _ := strings.Cut(geth, "/")
			require.Contains(t, []string{"common", "crypto", "rlp", "accounts"}, first, dep)
			require.NotContains(t, dep, "accounts/abi/bind")
		}
		require.NotContains(t, dep, "go.etcd.io")
	}
}
