package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) transactionCommand() *cobra.Command {
	return group("transaction", "See transactions, the chain side of operations", `  mintwarden transaction list --status CONFIRMING
  mintwarden transaction export --format csv --as compliance-1 >transactions.csv`,
		c.transactionList(), c.transactionShow(), c.transactionExport())
}

// transactionFilter is what lists and exports are narrowed by.
type transactionFilter struct{ token, kind, status, by, wallet, network, from, to string }

func (f *transactionFilter) flags(cmd *cobra.Command) {
	s := cmd.Flags()
	s.StringVar(&f.token, "token", "", "only those of a token, token_…")
	s.StringVar(&f.kind, "type", "", "only of a type: DEPLOY_TOKEN, MINT, BURN, CANCEL, …")
	s.StringVar(&f.status, "status", "", "only in a status: CONFIRMING, COMPLETED, …")
	s.StringVar(&f.by, "requested-by", "", "only those that a person asked for")
	s.StringVar(&f.wallet, "wallet", "", "only those of a wallet, wallet_…")
	s.StringVar(&f.network, "network", "", "only those on a network")
	s.StringVar(&f.from, "from", "", "only those asked for at this moment or later, such as 2026-04-27T00:00:00Z")
	s.StringVar(&f.to, "to", "", "only those asked for before this moment")
}

// span reads the moments.
func (f *transactionFilter) span() (from, to *time.Time, err error) {
	for _, x := range []struct {
		flag, text string
		out        **time.Time
	}{{"from", f.from, &from}, {"to", f.to, &to}} {
		if x.text == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, x.text)
		if err != nil {
			return nil, nil, usagef("--%s is %q; it must be a time such as 2026-04-27T00:00:00Z", x.flag, x.text)
		}
		*x.out = &t
	}
	return from, to, nil
}

func (c *cli) transactionList() *cobra.Command {
	var filter transactionFilter
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List transactions, newest first",
		Example: "  mintwarden transaction list --token token_01J… --status COMPLETED", Args: none,
	}
	filter.flags(cmd)
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		from, to, err := filter.span()
		if err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.Transactions(ctx, client.ListTransactionsParams{TokenID: pointer(filter.token), OperationType: pointer(client.OperationType(filter.kind)),
			Status: pointer(client.OperationStatus(filter.status)), RequestedBy: pointer(filter.by), WalletID: pointer(filter.wallet), Network: pointer(filter.network), From: from, To: to}))
		if err != nil {
			return err
		}
		return c.show(listed[client.TransactionSummary]{all}, func() *rows {
			r := &rows{header: []string{"transaction", "type", "status", "nonce", "hash", "block", "wallet", "created"}, spare: []string{"wallet", "created"}}
			for _, t := range all {
				block := "–"
				if t.BlockNumber != nil {
					block = fmt.Sprint(*t.BlockNumber)
				}
				r.add(t.ID, string(t.OperationType), string(t.Status), text(t.Nonce), text(t.TransactionHash), block, t.WalletID, stamp(t.CreatedAt))
			}
			return r
		})
	})
}

func (c *cli) transactionShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show TRANSACTION", Short: "Show a transaction: its nonce, fees, block, and every version that was signed",
		Example: "  mintwarden transaction show txreq_01J…", Args: exactly(1, "one transaction id, txreq_…"),
	}
	return c.leafOf("txreq", cmd, func(ctx context.Context, api *client.Client, id string) error {
		t, err := api.GetTransaction(ctx, id)
		if err != nil {
			return err
		}
		return c.show(t, func() *rows { return transactionRows(t) })
	})
}

func transactionRows(t *client.Transaction) *rows {
	r := &rows{header: []string{"transaction", t.ID}}
	r.add("operation", t.OperationID)
	r.add("type", string(t.OperationType))
	r.add("status", string(t.Status))
	r.add("network", t.Network)
	r.add("wallet", beside(t.WalletID, t.WalletAddress))
	present := func(what string, v *string) {
		if v != nil {
			r.add(what, *v)
		}
	}
	present("token", t.TokenID)
	present("nonce", t.Nonce)
	present("hash", t.TransactionHash)
	if t.BlockNumber != nil {
		r.add("block", fmt.Sprintf("%d, %d confirmations", *t.BlockNumber, t.Confirmations))
	}
	present("gas limit", t.GasLimit)
	present("max fee a unit of gas", t.MaxFeePerGas)
	present("tip a unit of gas", t.MaxPriorityFeePerGas)
	r.add("fee cap", t.FeeCap)
	for _, v := range t.Replacements {
		r.add(fmt.Sprintf("version %d", v.Version), fmt.Sprintf("%s, max fee %s, tip %s", v.TransactionHash, v.MaxFeePerGas, v.MaxPriorityFeePerGas))
	}
	r.add("asked by", t.RequestedBy)
	present("attention", t.Attention)
	present("why", t.FailureReason)
	r.add("created", stamp(t.CreatedAt))
	return r
}

func (c *cli) transactionExport() *cobra.Command {
	var filter transactionFilter
	var format string
	cmd := &cobra.Command{
		Use: "export", Short: "Write every transaction to standard output, as CSV or JSON",
		Long: `Write every transaction to standard output, newest first, as CSV (RFC 4180) or as
one JSON array. It is written as it comes: after an error, what is there is not
the whole.`,
		Example: "  mintwarden transaction export --format csv --from 2026-04-01T00:00:00Z >april.csv", Args: none,
	}
	filter.flags(cmd)
	cmd.Flags().StringVar(&format, "format", "csv", "csv or json (default with --json: json)")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		if c.json && !cmd.Flags().Changed("format") {
			format = "json"
		}
		f := client.ExportTransactionsParamsFormat(format)
		if !f.Valid() {
			return usagef("--format is %q; it must be csv or json", format)
		}
		from, to, err := filter.span()
		if err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		var out io.Writer = c.out
		if f, ok := c.out.w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
			out = &shower{w: c.out}
		}
		return api.ExportTransactions(ctx, client.ExportTransactionsParams{Format: &f, TokenID: pointer(filter.token), OperationType: pointer(client.OperationType(filter.kind)),
			Status: pointer(client.OperationStatus(filter.status)), RequestedBy: pointer(filter.by), WalletID: pointer(filter.wallet), Network: pointer(filter.network), From: from, To: to}, out)
	})
}
