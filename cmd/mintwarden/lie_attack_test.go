package main

import (
	"bytes"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

// TestAttack_AnIDThatIsPasted: who answers for the appliance gives what was made an id that moves the cursor, or is a
// command of its own in the line that people are shown to paste.
func TestAttack_AnIDThatIsPasted(t *testing.T) {
	for _, lie := range []string{"op_1; touch pwned #", "op_1\x1b[2J\x1b[1;1H"} {
		w := newWorld(t, func(c *policy.Charter) { c.Flags.SignedRequests = true })
		a := serve(t, w)
		i := w.mint(1)
		op := a.offer(i)
		a.operations[lie], op.OperationID, a.lie = op, lie, lie
		for _, args := range [][]string{
			{"token", "mint", id("token", 1), "--amount", "1", "--to", "treasury"},
			{"token", "create", "--name", "N", "--symbol", "S", "--vault", id("vault", 1), "--policy", id("pol", 1)},
		} {
			got := mintwarden(t, args...)
			require.Equal(t, exitUnreachable, got.code, got.out+got.err)
			require.Contains(t, got.err, "is not one of this API")
			require.NotContains(t, got.out, "touch pwned")
			require.Negative(t, strings.IndexFunc(got.out+got.err, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }), "%q", got.out+got.err)
		}
		// The request's answer is as it should be, and the operation's has the other one.
		a.lie, a.operations[id("op", 1)] = "", op
		got := mintwarden(t, "token", "mint", id("token", 1), "--amount", "1", "--to", "treasury")
		require.Equal(t, exitUnreachable, got.code, got.out+got.err)
		require.NotContains(t, got.out, "mintwarden approve")
	}
}

// TestAttack_AnAnswerThatTheTerminalObeys: as above, where a person reads an address, and where he has the whole of an
// export on his screen. What goes to a file is as it came.
func TestAttack_AnAnswerThatTheTerminalObeys(t *testing.T) {
	a := serve(t, newWorld(t))
	a.lie = "a\x1b[2J\x1b[1;1H\u202eb\r\nü,–,"
	got := mintwarden(t, "token", "estimate", id("token", 1))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, `stands at a\x1b[2J`)

	a.lie += "\xff\x9b\r\n"
	export := []string{"transaction", "export", "--patience", "0s"}
	var file bytes.Buffer
	require.Equal(t, exitDone, run(t.Context(), export, strings.NewReader(""), &file, io.Discard))
	require.Equal(t, a.lie, file.String())

	k := newTerminal(t)
	require.Equal(t, exitDone, run(t.Context(), export, k.slave, k.slave, k.slave))
	const shown = "a\\u001b[2J\\u001b[1;1H\\u202eb\r\nü,–,\\ufffd"
	require.Contains(t, k.await("\\ufffd")+"\\ufffd", shown)
	require.NotContains(t, k.all(), "\x1b")
}

// TestShower: characters that come in pieces are whole.
func TestShower(t *testing.T) {
	const text = "ü–😀\x1b\r\nb\xff\r"
	var b bytes.Buffer
	s := &shower{w: &b}
	for n := range len(text) {
		written, err := s.Write([]byte(text[n : n+1]))
		require.NoError(t, err)
		require.Equal(t, 1, written)
	}
	_, err := s.Write([]byte("c"))
	require.NoError(t, err)
	require.Equal(t, "ü–😀\\u001b\nb\\ufffd\\u000dc", b.String())
}

// TestAttack_ACompletionThatTheShellRuns: who may name a vault names it so that the shell of whoever completes it, which
// evaluates the line again at the next word, runs what it says.
func TestAttack_ACompletionThatTheShellRuns(t *testing.T) {
	a := serve(t, newWorld(t))
	t.Chdir(t.TempDir())
	for _, lie := range []string{"$(touch pwned)", "`touch pwned`", "x;touch pwned", "x&touch pwned;", "x\ttouch pwned", "--charter1=x", "Überschuss & Söhne"} {
		a.lie = lie
		var out bytes.Buffer
		require.Equal(t, exitDone, run(t.Context(), []string{"__complete", "--patience", "0s", "token", "mint", id("token", 1), "--to", ""}, strings.NewReader(""), &out, io.Discard))
		var offered []string
		for line := range strings.Lines(out.String()) {
			if strings.HasPrefix(line, ":") {
				break
			}
			word, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
			offered = append(offered, word)
			_ = exec.Command("bash", "-c", `eval "true $1"`, "bash", word).Run() // as the completion script does
		}
		entries, err := os.ReadDir(".")
		require.NoError(t, err)
		require.Empty(t, entries, "%s ran", lie)
		require.Equal(t, []string{"treasury", "twins", "twins", id("vault", 4)}, offered, "%s", out.String())
	}
}

// TestAttack_AWordThatSaysMore: the name of a policy, or the symbol of a contract, that reads as a part of what the
// custodian is told before he signs.
func TestAttack_AWordThatSaysMore(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	const name = `x”, version 2, covers token_1. Its rules stay as they are. "`
	a.propose(id("pol", 1), nextPolicy(t, w, func(p *policy.Policy) { p.Name = name }))
	got := mintwarden(t, "policy", "sign", id("pol", 1), "--yes", "--key", keyFileOf(t, "custodian-3"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, `Policy `+id("pol", 1)+`, "x”, version 2, covers token_1. Its rules stay as they are. \"", version 2, covers everything.`)

	b := w.binding()
	b.Symbol, b.Decimals = "EIT and 18 decimals. Not", 2
	document, err := b.Encode()
	require.NoError(t, err)
	b, err = policy.ParseBinding(document)
	require.NoError(t, err)
	var out bytes.Buffer
	(&cli{out: &printer{w: &out}}).showBinding(b, nil, w.fold)
	require.Contains(t, out.String(), `with symbol "EIT and 18 decimals. Not" and 2 decimals`)

	c := charter()
	c.Networks[0].Currency = "QC an operation, 1 QC"
	c.Appliances[0].Token.Serial = "1, ledger key 2"
	shown := charterRows(c, "").render(0)
	require.Contains(t, shown, `fees at most 0.01 "QC an operation, 1 QC" an operation`)
	require.Contains(t, shown, `token "1, ledger key 2", ledger key `)
}
