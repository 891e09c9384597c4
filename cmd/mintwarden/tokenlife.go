package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) tokenRetire() *cobra.Command {
	var reason, key string
	cmd := &cobra.Command{
		Use: "retire TOKEN", Short: "End the appliance's work on a token, for good; the chain is not touched",
		Long: `End the appliance's work on a token, for good; the chain is not touched.

A retired token takes no privileged operation any more, save those that stop
things, with their approvals as before: revoke a role, pause, freeze, disallow.
It must have no operation under way.`,
		Example: `  mintwarden token retire token_01J… --reason "redeemed in full"`,
		Args:    exactly(1, "one token id, token_…"),
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	keyFlag(cmd.Flags(), &key)
	return c.leafOf("token", cmd, func(ctx context.Context, api *client.Client, id string) error {
		t, err := api.RetireToken(ctx, id, client.RetireRequest{Reason: pointer(reason)}, keyed(key)...)
		if err != nil {
			return err
		}
		return c.show(t, func() *rows { return tokenRows(ctx, c.names(ctx), t, nil, nil) })
	})
}

func (c *cli) tokenEstimate() *cobra.Command {
	var wallet string
	cmd := &cobra.Command{
		Use: "estimate TOKEN", Short: "Say what a token's deployment would cost now", Example: "  mintwarden token estimate token_01J…",
		Args: exactly(1, "one token id, token_…"),
	}
	cmd.Flags().StringVar(&wallet, "performed-by", "", "wallet that would send it, wallet_… (default: the token's vault's)")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("token", args[0]); err != nil {
			return err
		}
		if wallet != "" {
			if err := checkID("wallet", wallet); err != nil {
				return err
			}
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		e, err := api.EstimateTokenDeployment(ctx, args[0], client.DeploymentEstimateRequest{DeployerWalletID: pointer(wallet)})
		if err != nil {
			return err
		}
		fees := &client.FeeEstimate{Currency: e.Currency, GasLimit: e.GasLimit, Strategies: e.Strategies}
		if err := c.show(e, func() *rows { return estimateRows(fees) }); err != nil || c.json {
			return err
		}
		w := c.people()
		w.printf("Deployed next, the contract stands at %s.\n", printable(e.PredictedContractAddress))
		for _, warning := range e.Warnings {
			w.printf("%s\n", hanging("WARNING: ", printable(warning), w.width()))
		}
		return w.err
	})
}

// estimateRows are fees in the network's currency and, a unit of gas, in its
// base units.
func estimateRows(e *client.FeeEstimate) *rows {
	r := &rows{header: []string{"fee", "at most", "wei a unit of gas", "gas"}, spare: []string{"gas"}}
	for _, s := range e.Strategies {
		r.add(strings.ToLower(string(s.FeeStrategy)), tokens(s.MaxFee, policy.CurrencyDecimals)+" "+e.Currency, s.MaxFeePerGas, fmt.Sprint(e.GasLimit))
	}
	return r
}
