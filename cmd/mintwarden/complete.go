package main

import (
	"cmp"
	"context"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/policy"
)

// completionTime is how long a shell waits for its completions; an appliance that takes longer gives none.
const completionTime = time.Second

// suggest completes from what the appliance lists, silently nothing where it
// does not answer. Shells evaluate the line again at the next word, so nothing
// is offered that means anything to one.
func (c *cli) suggest(from func(ctx context.Context, api *client.Client, yield func(id, what string))) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		c.patience = -1
		c.err.w = io.Discard
		ctx, cancel := context.WithTimeout(cmd.Context(), cmp.Or(c.tab, completionTime))
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

// offer completes from the first things of a list.
func offer[T any](c *cli, list func(*client.Client, context.Context) iter.Seq2[T, error], pair func(T) (id, what string)) cobra.CompletionFunc {
	return c.suggest(func(ctx context.Context, api *client.Client, yield func(id, what string)) {
		n := 0
		for v, err := range list(api, ctx) {
			if n++; err != nil || n > suggestions {
				return
			}
			yield(pair(v))
		}
	})
}

// walletIDs are of the verified ledger, newest first.
func (c *cli) walletIDs() cobra.CompletionFunc {
	return c.suggest(func(ctx context.Context, _ *client.Client, yield func(id, what string)) {
		if _, fold, err := c.verified(ctx); err == nil {
			all := fold.Wallets()
			slices.Reverse(all)
			for _, w := range all[:min(len(all), suggestions)] {
				yield(w.WalletID, w.Network+" "+w.Address.String())
			}
		}
	})
}

// operationIDs are of operations in any status, or of those that wait for approvals.
func (c *cli) operationIDs(awaiting bool) cobra.CompletionFunc {
	return offer(c, func(api *client.Client, ctx context.Context) iter.Seq2[client.OperationSummary, error] {
		var p client.ListTokenOperationsParams
		if awaiting {
			p.Status = pointer(client.OperationStatusPENDINGAUTHORIZATION)
			if strings.HasPrefix(c.as, "approver-") {
				p.AwaitingApprovalBy = &c.as
			}
		}
		return api.Operations(ctx, p)
	}, func(o client.OperationSummary) (id, what string) {
		return o.OperationID, string(o.OperationType) + " " + string(o.Status)
	})
}

// files leaves it to the shell.
func files(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveDefault
}

// arguments completes what stands behind a command, by the words that its help has for it, such as TOKEN.
func arguments(use string, kinds map[string]cobra.CompletionFunc) cobra.CompletionFunc {
	words := strings.Fields(use)[1:]
	if flags := slices.IndexFunc(words, func(w string) bool { return strings.HasPrefix(w, "-") }); flags >= 0 {
		words = words[:flags]
	}
	return func(cmd *cobra.Command, given []string, typed string) ([]cobra.Completion, cobra.ShellCompDirective) {
		next := len(given)
		if last := len(words) - 1; last >= 0 && strings.Contains(words[last], "…") {
			next = min(next, last)
		}
		if next < len(words) {
			if f := kinds[strings.Trim(words[next], "[…]")]; f != nil {
				return f(cmd, given, typed)
			}
		}
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
}

func fixed(words ...string) cobra.CompletionFunc {
	return cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)
}

// completions gives every argument and flag its completion. Files are offered
// for what names one, and nowhere else.
func (c *cli) completions(root *cobra.Command) {
	vaults := offer(c, (*client.Client).VaultAccounts, func(v client.VaultAccount) (id, what string) { return v.Name, v.ID })
	policies := offer(c, (*client.Client).Policies, func(p client.Policy) (id, what string) { return p.Name, p.ID })
	users := offer(c, (*client.Client).Users, func(u client.User) (id, what string) { return u.Name, u.Role })
	duties := offer(c, (*client.Client).Roles, func(r client.RoleDefinition) (id, what string) { return r.Name, r.Description })
	tokens := offer(c, func(api *client.Client, ctx context.Context) iter.Seq2[client.Token, error] {
		return api.Tokens(ctx, client.ListTokensParams{})
	}, func(t client.Token) (id, what string) { return t.ID, t.Symbol + " " + string(t.Status) })
	operations, awaiting, wallets := c.operationIDs(false), c.operationIDs(true), c.walletIDs()
	kinds := map[string]cobra.CompletionFunc{
		"TOKEN": tokens, "OPERATION": operations, "POLICY": policies, "VAULT": vaults, "PARTY": vaults, "USER": users, "WALLET": wallets,
		"CREDENTIAL": offer(c, func(api *client.Client, ctx context.Context) iter.Seq2[client.Credential, error] {
			return api.Credentials(ctx, client.ListCredentialsParams{})
		}, func(k client.Credential) (id, what string) { return k.ID, k.Label + " " + string(k.Status) }),
		"WEBHOOK": offer(c, (*client.Client).Webhooks, func(w client.Webhook) (id, what string) { return w.ID, w.URL }),
		"TRANSACTION": offer(c, func(api *client.Client, ctx context.Context) iter.Seq2[client.TransactionSummary, error] {
			return api.Transactions(ctx, client.ListTransactionsParams{})
		}, func(t client.TransactionSummary) (id, what string) {
			return t.ID, string(t.OperationType) + " " + string(t.Status)
		}),
		"FILE": files, "FILE.crt": files, "DIR": files,
	}
	flags := map[string]cobra.CompletionFunc{
		"as": func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return identities(), cobra.ShellCompDirectiveNoFileComp
		},
		"role": fixed(roles()...), "fee": fixed("LOW", "MEDIUM", "HIGH"), "template": fixed(templateIDs()...),
		"vault": vaults, "to": vaults, "from": vaults, "subject": vaults, "account": vaults, "performed-by": vaults, "policy": policies, "token": tokens,
		"replaces": operations, "user": users, "wallet": wallets, "until": fixed("APPROVED", "SIGNED", "BROADCASTING", "CONFIRMING", "COMPLETED"),
		"algorithm": fixed("ecdsa", "ml-dsa", "both"), "format": fixed("csv", "json"),
	}
	for _, name := range []string{"key", "share", "shares", "old-shares", "keys", "receive", "keep", "request", "out", "document", "charter", "first", "charter1", "rules",
		"receipt", "tiles", "config", "seal-config", "socket", "custody", "credential", "ca", "root-cert", "root-key"} {
		flags[name] = files
	}
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if cmd.ValidArgsFunction == nil && cmd.Name() != "help" {
			of := kinds
			if slices.Contains([]string{"approve", "reject", "cancel"}, cmd.Name()) {
				of = map[string]cobra.CompletionFunc{"OPERATION": awaiting}
			}
			cmd.ValidArgsFunction = arguments(cmd.Use, of)
		}
		own := func(f *pflag.Flag) {
			complete, known := flags[f.Name]
			switch {
			case f.Name == "role" && cmd.Parent().Name() == "user":
				complete = duties
			case (f.Name == "from" || f.Name == "to") && slices.Contains([]string{"audit", "transaction"}, cmd.Parent().Name()), !known: // moments there
				complete = cobra.NoFileCompletions
			}
			_ = cmd.RegisterFlagCompletionFunc(f.Name, complete) // an error says that it has one
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
