package main

import (
	"bytes"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

// completed is what a shell is offered behind these words.
func completed(t *testing.T, words ...string) string {
	t.Helper()
	var out bytes.Buffer
	c := &cli{in: strings.NewReader(""), out: &printer{w: &out}, err: &printer{w: io.Discard}, tab: time.Minute}
	require.Equal(t, exitDone, c.run(t.Context(), slices.Concat([]string{"__complete"}, words, []string{""})))
	return out.String()
}

// ours walks the commands, each with the words that call it.
func ours(visit func(cmd *cobra.Command, words []string)) {
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if sub.Name() != "help" && sub.Name() != "completion" {
				visit(sub, strings.Fields(sub.CommandPath())[1:])
				walk(sub)
			}
		}
	}
	walk((&cli{}).command())
}

// TestEveryArgumentIsCompleted: what a command's help calls TOKEN is offered as one, and what it calls a file is left to
// the shell.
func TestEveryArgumentIsCompleted(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	a.offer(i)
	a.propose(id("pol", 1), nextPolicy(t, w))
	const shell = ":0\n"
	offered := map[string]string{"TOKEN": id("token", 1), "OPERATION": i.OperationID, "POLICY": "dev-default", "VAULT": "treasury", "USER": "oscar", "WALLET": id("wallet", 1),
		"CREDENTIAL": id("cred", 1), "WEBHOOK": id("wh", 1), "TRANSACTION": id("txreq", 1), "FILE": shell, "FILE.crt": shell, "DIR": shell}
	seen := map[string]bool{}
	ours(func(cmd *cobra.Command, words []string) {
		use := strings.Fields(cmd.Use)
		if len(use) < 2 {
			return
		}
		kind := strings.Trim(use[1], "[…]")
		if want, ok := offered[kind]; ok {
			seen[kind] = true
			require.Contains(t, completed(t, words...), want, cmd.CommandPath())
		} else if !cmd.HasSubCommands() {
			require.NotContains(t, completed(t, words...), shell, cmd.CommandPath())
		}
	})
	require.Len(t, seen, len(offered))
	require.Contains(t, completed(t, "token", "balance", id("token", 1)), "treasury")
	require.Contains(t, completed(t, "cert", "show", "one.crt"), shell, "any number of files")
	require.NotContains(t, completed(t, "token", "show", id("token", 1)), "token_", "one is enough")

	roles := completed(t, "user", "appoint", "oscar", "--role")
	require.Contains(t, roles, "viewer")
	require.NotContains(t, roles, "MINTER", "that is a token's")
	require.NotContains(t, completed(t, "audit", "list", "--to"), "treasury", "that is a moment")
}

// TestEveryFileIsLeftToTheShell: a flag that names a file or a directory offers what is there, and no other does.
func TestEveryFileIsLeftToTheShell(t *testing.T) {
	file := regexp.MustCompile(`\b(file|directory|socket|PEM|\w+\.json|\w+\.toml)\b`)
	notOne := map[string]bool{"credential-name": true}
	seen := map[string]bool{}
	ours(func(cmd *cobra.Command, words []string) {
		cmd.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Value.Type() == "bool" {
				return
			}
			left := strings.Contains(completed(t, append(words, "--"+f.Name)...), ":0\n")
			seen[f.Name] = seen[f.Name] || left
			if file.MatchString(f.Usage) && !notOne[f.Name] {
				require.True(t, left, "%s --%s: %s", cmd.CommandPath(), f.Name, f.Usage)
			}
		})
	})
	for _, name := range []string{"key", "out", "share", "receive", "config", "document", "socket"} {
		require.True(t, seen[name], name)
	}
	for _, name := range []string{"amount", "reason", "name", "idempotency-key"} {
		require.False(t, seen[name], name)
	}
}
