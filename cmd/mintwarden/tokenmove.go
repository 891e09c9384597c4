package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) tokenTransfer() *cobra.Command {
	var s supplyChange
	var from string
	cmd := &cobra.Command{
		Use: "transfer TOKEN --amount TOKENS --from PARTY --to PARTY", Short: "Ask for tokens to be moved",
		Long: `Ask for tokens to be moved.

A wallet or vault of ours that the tokens come from sends the transfer itself.
Anybody else's tokens are moved by the token's vault, or by --performed-by, out of
the allowance that their holder gave it.`,
		Example: `  mintwarden token transfer token_01J… --amount 25 --from treasury --to 0x…`,
		Args:    exactly(1, "one token id, token_…"),
	}
	s.flags(cmd, "to", "who gets them")
	cmd.Flags().StringVar(&from, "from", "", "whose they are: 0x…, wallet_…, vault_… or a vault's name")
	required(cmd, "from")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if s.performedBy == "" && !strings.HasPrefix(from, "0x") {
			s.performedBy = from
		}
		return c.request(ctx, &s.privileged, policy.OpTransfer, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			amount, to, err := s.values(ctx, c, api, args[0])
			if err != nil {
				return nil, "", err
			}
			source, err := c.party(ctx, api, from)
			if err != nil {
				return nil, "", err
			}
			s.asked.source = source
			s.asked.names(from)
			a, err := api.TransferToken(ctx, args[0], client.TransferRequest{Amount: amount, From: source, To: to,
				FeeStrategy: pointer(client.FeeStrategy(s.fee)), Replaces: pointer(s.replaces), PerformedBy: by}, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

// tokenPause is pause or unpause.
func (c *cli) tokenPause(verb string) *cobra.Command {
	var p privileged
	cmd := &cobra.Command{
		Use:     verb + " TOKEN",
		Short:   map[string]string{"pause": "Ask for every movement of a token to be stopped", "unpause": "Ask for a paused token to be let go on"}[verb],
		Example: "  mintwarden token " + verb + " token_01J…",
		Args:    exactly(1, "one token id, token_…"),
	}
	p.flags(cmd)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		operation := map[string]policy.OperationType{"pause": policy.OpPause, "unpause": policy.OpUnpause}[verb]
		return c.request(ctx, &p, operation, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			change := api.PauseToken
			if verb == "unpause" {
				change = api.UnpauseToken
			}
			a, err := change(ctx, args[0], client.PauseRequest{FeeStrategy: pointer(client.FeeStrategy(p.fee)), Replaces: pointer(p.replaces), PerformedBy: by}, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}
