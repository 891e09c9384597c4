package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) walletCancelNonce() *cobra.Command {
	var p privileged
	var nonce string
	cmd := &cobra.Command{
		Use: "cancel-nonce WALLET --nonce N", Short: "Ask for a nonce to be used up by a transaction that does nothing",
		Long: `Ask for a nonce of a wallet to be used up by a transaction that does nothing, so
that those behind it can go on. It is the wallet's next one, or one that a
recovery left open. People approve it as any other operation.`,
		Example: "  mintwarden wallet cancel-nonce wallet_01J… --nonce 7 --wait", Args: exactly(1, "one wallet id, wallet_…"),
	}
	f := cmd.Flags()
	f.StringVar(&nonce, "nonce", "", "the nonce, a decimal number (required)")
	f.StringVar(&p.fee, "fee", "MEDIUM", "fee strategy: LOW, MEDIUM or HIGH")
	f.StringVar(&p.replaces, "replaces", "", "a FAILED operation that this one does again, op_…")
	keyFlag(f, &p.key)
	f.BoolVar(&p.wait, "wait", false, "watch the operation to its end; exit code 6 if that is not COMPLETED")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("wallet", args[0]); err != nil {
			return err
		}
		if n, err := strconv.ParseUint(nonce, 10, 64); err != nil || strconv.FormatUint(n, 10) != nonce {
			return usagef("--nonce is %q; it must be a decimal number", nonce)
		}
		if err := p.check(); err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		replayed := false
		opts := []client.Option{client.WithReplayed(&replayed)}
		if p.key != "" {
			opts = append(opts, client.WithIdempotencyKey(p.key))
		}
		body := client.CancelNonceRequest{Nonce: nonce, FeeStrategy: pointer(client.FeeStrategy(p.fee)), Replaces: pointer(p.replaces)}
		answer, err := api.CancelWalletNonce(ctx, args[0], body, opts...)
		if err != nil {
			return err
		}
		p.asked = expectation{operation: policy.OpCancel, nonce: nonce, replaces: p.replaces, performer: client.Party{Type: client.PartyTypeWalletID, WalletID: &args[0]}}
		return c.accepted(ctx, &p, answer, answer.OperationID, replayed)
	})
}
