package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// listChange is what a command is told that puts an account on one of a
// regulated token's lists, or takes it off.
type listChange struct {
	privileged
	account, subject string
}

func (l *listChange) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&l.account, "account", "", "whose account: 0x…, wallet_…, vault_… or a vault's name")
	f.StringVar(&l.subject, "subject", "", "the same as --account")
	cmd.MarkFlagsOneRequired("account", "subject")
	cmd.MarkFlagsMutuallyExclusive("account", "subject")
}

// who is the account, to be found again in the intent.
func (l *listChange) who(ctx context.Context, c *cli, api *client.Client) (client.Party, error) {
	p, err := c.party(ctx, api, l.account+l.subject)
	l.asked.party = p
	l.asked.names(l.account + l.subject)
	return p, err
}

// tokenFreeze is freeze or unfreeze.
func (c *cli) tokenFreeze(verb string) *cobra.Command {
	var l listChange
	var reason string
	cmd := &cobra.Command{
		Use: verb + " TOKEN --account PARTY",
		Short: map[string]string{
			"freeze":   "Ask for an account of a regulated token to be frozen",
			"unfreeze": "Ask for a frozen account to be released",
		}[verb],
		Example: "  mintwarden token " + verb + ` token_01J… --account 0x… --reason "court order 17"`,
		Args:    exactly(1, "one token id, token_…"),
	}
	l.privileged.flags(cmd)
	l.flags(cmd)
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the audit log")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		operation := map[string]policy.OperationType{"freeze": policy.OpFreeze, "unfreeze": policy.OpUnfreeze}[verb]
		return c.request(ctx, &l.privileged, operation, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			who, err := l.who(ctx, c, api)
			if err != nil {
				return nil, "", err
			}
			change := api.FreezeTokenAccount
			if verb == "unfreeze" {
				change = api.UnfreezeTokenAccount
			}
			a, err := change(ctx, args[0], client.AccountFreezeRequest{Subject: who, Reason: pointer(reason),
				FeeStrategy: pointer(client.FeeStrategy(l.fee)), Replaces: pointer(l.replaces), PerformedBy: by}, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

func (c *cli) tokenAllow() *cobra.Command {
	var l listChange
	cmd := &cobra.Command{
		Use: "allow TOKEN --account PARTY", Short: "Ask for an account to be put on a regulated token's allowlist",
		Example: "  mintwarden token allow token_01J… --account 0x…",
		Args:    exactly(1, "one token id, token_…"),
	}
	l.privileged.flags(cmd)
	l.flags(cmd)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.request(ctx, &l.privileged, policy.OpAllowlistAdd, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			who, err := l.who(ctx, c, api)
			if err != nil {
				return nil, "", err
			}
			a, err := api.AddTokenAllowlist(ctx, args[0], client.AllowlistRequest{Subject: &who,
				FeeStrategy: pointer(client.FeeStrategy(l.fee)), Replaces: pointer(l.replaces), PerformedBy: by}, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

func (c *cli) tokenDisallow() *cobra.Command {
	var l listChange
	cmd := &cobra.Command{
		Use: "disallow TOKEN --account PARTY", Short: "Ask for an account to be taken off a regulated token's allowlist",
		Long: `Ask for an account to be taken off a regulated token's allowlist.

What it holds stays where it is: it can neither be moved nor burned before the
account is on the list again. The token's vault sends it, for a MEDIUM fee.`,
		Example: "  mintwarden token disallow token_01J… --account 0x…",
		Args:    exactly(1, "one token id, token_…"),
	}
	l.signFlags(cmd)
	l.flags(cmd)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.request(ctx, &l.privileged, policy.OpAllowlistRemove, args[0], func(api *client.Client, _ *client.Performer, opts []client.Option) (any, string, error) {
			address, err := l.address(ctx, c, api, args[0])
			if err != nil {
				return nil, "", err
			}
			a, err := api.RemoveTokenAllowlist(ctx, args[0], address, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

// address is the one address of the account: this call takes nothing else.
func (l *listChange) address(ctx context.Context, c *cli, api *client.Client, tokenID string) (string, error) {
	who, err := l.who(ctx, c, api)
	if err != nil {
		return "", err
	}
	if who.Address != nil {
		return *who.Address, nil
	}
	t, err := api.GetToken(ctx, tokenID)
	if err != nil {
		return "", err
	}
	held, err := c.holders(ctx, t.Network, l.account+l.subject)
	if err != nil {
		return "", err
	}
	if len(held) > 1 {
		return "", usagef("%s has %d wallets on %s; name one, wallet_… or 0x…", l.account+l.subject, len(held), t.Network)
	}
	return held[0].Address, nil
}
