package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (c *cli) explainCommand() *cobra.Command {
	var offline bool
	var at string
	cmd := &cobra.Command{
		Use:   "explain OPERATION",
		Short: "Say why an operation was decided as it was, from the verified ledger alone",
		Long: `Say why an operation was decided as it was, from the verified ledger alone.

The ledger is verified again from charter 1 on, and what the policies said is
worked out once more at the moment of the decision, rule by rule. If what is
recorded cannot be had from what was in force, it says so, and the exit code is 5:
then the seal that wrote it did not do what it must.

With --offline nobody is asked: what this machine has kept of the ledger is read.`,
		Example: `  mintwarden explain op_01J…
  mintwarden explain op_01J… --offline --charter1 sha256:…`,
		Args: exactly(1, "one operation id, op_…"),
	}
	f := cmd.Flags()
	f.BoolVar(&offline, "offline", false, "ask nobody; read the copy that is kept here")
	f.StringVar(&at, "at", "", "the moment to judge one that is not decided yet, RFC 3339 (default: that of the newest batch)")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		q := ledger.Question{OperationID: args[0]}
		if err := checkID("op", args[0]); err != nil {
			return err
		}
		if at != "" {
			moment, err := time.Parse(time.RFC3339, at)
			if err != nil {
				return usagef("--at %q: want RFC 3339, such as 2026-04-27T10:14:00Z", at)
			}
			q.At = moment.UTC()
		}
		return c.explain(ctx, q, offline)
	})
}

func (c *cli) explain(ctx context.Context, q ledger.Question, offline bool) error {
	root, err := c.root()
	if err != nil {
		return err
	}
	dir, err := c.kept(ctx, root, offline)
	if err != nil {
		return err
	}
	if !offline {
		q.Intent = c.intentOf(ctx, q.OperationID)
	}
	e, err := ledger.Explain(keptBatches(dir), root, q)
	var no *ledger.Refusal
	switch {
	case errors.Is(err, ledger.ErrUnknown):
		return refused("the ledger, as far as it is kept here, holds nothing of operation %s: nobody decided on it, or the policies refused it when it was asked for", q.OperationID)
	case errors.As(err, &no):
		return unverified("the copy of the ledger in %s does not verify: %w", dir, err)
	case err != nil:
		return err
	}
	if c.json {
		if err := c.showJSON(e); err != nil {
			return err
		}
	} else {
		for _, line := range e.Words() {
			c.out.printf("%s\n", wrapped(printable(line), c.out.width()))
		}
	}
	if e.Differs {
		return unverified("what is recorded of %s does not follow from what was in force: %s; trust nothing that this appliance signed, and call the custodians", q.OperationID, e.Why)
	}
	return nil
}

// kept is the directory of the copy that is rooted in charter 1's digest: brought
// up to date first, unless nobody is to be asked.
func (c *cli) kept(ctx context.Context, root policy.Digest, offline bool) (string, error) {
	if !offline {
		_, _, err := c.verified(ctx)
		return c.dir, err
	}
	base, err := stateHome()
	if err != nil {
		return "", err
	}
	known, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("verified copies of ledgers: %w", err)
	}
	for _, entry := range known {
		dir := filepath.Join(base, entry.Name())
		if h, err := readHead(dir); err == nil && h.Charter1 == root {
			return dir, nil
		}
	}
	return "", refused("no copy of the ledger with charter 1 %s is kept here; without --offline it is fetched", root)
}

// intentOf is what the appliance says an operation's intent is, for those that
// asked nobody, of which the ledger holds the digest alone. It is compared with
// that; nothing is believed.
func (c *cli) intentOf(ctx context.Context, id string) []byte {
	op, err := c.api.GetTokenOperation(ctx, id)
	if err != nil {
		return nil
	}
	return op.Intent
}

// keptBatches are the batches of a copy, as far as its head file says. They are
// not verified; whoever reads them does.
func keptBatches(dir string) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		h, err := readHead(dir)
		if err != nil {
			yield(nil, err)
			return
		}
		f, err := os.Open(filepath.Join(dir, ledgerFile))
		if err != nil {
			yield(nil, err)
			return
		}
		defer f.Close()
		in := bufio.NewReaderSize(io.LimitReader(f, h.Size), 1<<16)
		for {
			line, err := in.ReadBytes('\n')
			if errors.Is(err, io.EOF) && len(line) == 0 {
				return
			}
			if err != nil {
				yield(nil, unverified("the copy in %s was cut: %w", dir, err))
				return
			}
			if !yield(bytes.TrimSuffix(line, []byte{'\n'}), nil) {
				return
			}
		}
	}
}
