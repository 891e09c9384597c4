package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/policy"
)

// A shell waits for its completions; an appliance that takes longer gives none.
const completionTime = time.Second

// suggest completes from what the appliance lists, silently nothing where it
// does not answer. Shells evaluate the line again at the next word, so nothing
// is offered that means anything to one.
func (c *cli) suggest(from func(ctx context.Context, api *client.Client, yield func(id, what string))) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c.patience = -1
		c.err.w = io.Discard
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		var out []cobra.Completion
		if api, err := c.connect(); err == nil {
			from(ctx, api, func(id, what string) {
				if policy.CheckName(id) != nil {
					id, what = what, id // a name that is typed needs quotes: its id does
				}
				if policy.CheckName(id) == nil {
					out = append(out, cobra.CompletionWithDesc(id, printable(what)))
				}
			})
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

// suggestions is how many things of a kind are suggested at most, newest first.
const suggestions = 50

func (c *cli) vaultNames() cobra.CompletionFunc {
	return c.suggest(func(ctx context.Context, api *client.Client, yield func(id, what string)) {
		limit := suggestions
		if l, err := api.ListVaultAccounts(ctx, client.ListVaultAccountsParams{Limit: &limit}); err == nil {
			for _, v := range l.Data {
				yield(v.Name, v.ID)
			}
		}
	})
}

func (c *cli) policyNames() cobra.CompletionFunc {
	return c.suggest(func(ctx context.Context, api *client.Client, yield func(id, what string)) {
		limit := suggestions
		if l, err := api.ListPolicies(ctx, client.ListPoliciesParams{Limit: &limit}); err == nil {
			for _, p := range l.Data {
				yield(p.Name, p.ID)
			}
		}
	})
}

func (c *cli) userNames() cobra.CompletionFunc {
	return c.suggest(func(ctx context.Context, api *client.Client, yield func(id, what string)) {
		limit := suggestions
		if l, err := api.ListUsers(ctx, client.ListUsersParams{Limit: &limit}); err == nil {
			for _, u := range l.Data {
				yield(u.Name, u.Role)
			}
		}
	})
}

func (c *cli) tokenIDs() cobra.CompletionFunc {
	return c.suggest(func(ctx context.Context, api *client.Client, yield func(id, what string)) {
		limit := suggestions
		if l, err := api.ListTokens(ctx, client.ListTokensParams{Limit: &limit}); err == nil {
			for _, t := range l.Data {
				yield(t.ID, t.Symbol+" "+string(t.Status))
			}
		}
	})
}

// operationIDs are of operations in any status, or of those that wait for approvals.
func (c *cli) operationIDs(awaiting bool) cobra.CompletionFunc {
	return c.suggest(func(ctx context.Context, api *client.Client, yield func(id, what string)) {
		limit := suggestions
		p := client.ListTokenOperationsParams{Limit: &limit}
		if awaiting {
			p.Status = pointer(client.OperationStatusPENDINGAUTHORIZATION)
			if strings.HasPrefix(c.as, "approver-") {
				p.AwaitingApprovalBy = &c.as
			}
		}
		if l, err := api.ListTokenOperations(ctx, p); err == nil {
			for _, o := range l.Data {
				yield(o.OperationID, string(o.OperationType)+" "+string(o.Status))
			}
		}
	})
}

// firstOnly completes a command's first argument and offers nothing behind it.
func firstOnly(f cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return f(cmd, args, typed)
	}
}

func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// completions gives every argument and flag its completion. Files are offered
// for flags that name one, and nowhere else.
func (c *cli) completions(root *cobra.Command) {
	vaults, policies, tokens, operations := c.vaultNames(), c.policyNames(), c.tokenIDs(), c.operationIDs(false)
	awaiting := c.operationIDs(true)
	flags := map[string]cobra.CompletionFunc{
		"as": func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return identities(), cobra.ShellCompDirectiveNoFileComp
		},
		"role": fixed(roles()...), "fee": fixed("LOW", "MEDIUM", "HIGH"), "template": fixed(templateIDs()...),
		"vault": vaults, "to": vaults, "from": vaults, "subject": vaults, "account": vaults, "performed-by": vaults, "policy": policies, "token": tokens,
		"replaces": operations, "user": c.userNames(), "until": fixed("APPROVED", "SIGNED", "BROADCASTING", "CONFIRMING", "COMPLETED"),
	}
	files := map[string]bool{"key": true, "out": true, "rules": true, "charter1": true, "receipt": true}
	args := map[string]cobra.CompletionFunc{
		"mintwarden approve": awaiting, "mintwarden reject": awaiting, "mintwarden operation cancel": awaiting,
		"mintwarden operation show": operations, "mintwarden operation watch": operations,
		"mintwarden vault show":  vaults,
		"mintwarden policy show": policies, "mintwarden policy sign": policies, "mintwarden policy withdraw": policies,
		"mintwarden token show": tokens, "mintwarden token deploy": tokens, "mintwarden token mint": tokens, "mintwarden token burn": tokens,
		"mintwarden token grant": tokens, "mintwarden token revoke": tokens, "mintwarden token roles": tokens,
		"mintwarden token estimate": tokens, "mintwarden token transfer": tokens, "mintwarden token pause": tokens,
		"mintwarden token unpause": tokens, "mintwarden token freeze": tokens, "mintwarden token unfreeze": tokens,
		"mintwarden token allow": tokens, "mintwarden token disallow": tokens, "mintwarden token retire": tokens,
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		switch f := args[cmd.CommandPath()]; {
		case f != nil:
			cmd.ValidArgsFunction = firstOnly(f)
		case cmd.CommandPath() == "mintwarden token balance":
			cmd.ValidArgsFunction = func(cmd *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
				switch len(given) {
				case 0:
					return tokens(cmd, given, typed)
				case 1:
					return vaults(cmd, given, typed)
				}
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
		case cmd.ValidArgsFunction == nil && cmd.Name() != "help":
			cmd.ValidArgsFunction = cobra.NoFileCompletions
		}
		own := func(f *pflag.Flag) {
			complete, known := flags[f.Name]
			if f.Name == "from" && cmd.Name() == "list" || !known { // moments there
				complete = cobra.NoFileCompletions
			}
			if !files[f.Name] {
				_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // an error says that it has one
			}
		}
		cmd.LocalNonPersistentFlags().VisitAll(own)
		if !cmd.HasParent() {
			cmd.PersistentFlags().VisitAll(own)
		}
	}
	walk(root)
}

func templateIDs() []string {
	var out []string
	for _, t := range qrc20.Templates() {
		out = append(out, t.ID)
	}
	return out
}

// roles are those of any template, in their order.
func roles() []string {
	var out []string
	seen := map[string]bool{}
	for _, t := range qrc20.Templates() {
		for _, r := range t.Roles {
			if !seen[string(r)] {
				seen[string(r)] = true
				out = append(out, string(r))
			}
		}
	}
	return out
}
