package main

import (
	"context"
	"fmt"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// names finds what people call the ids that they are shown. It serves reading
// only: a name that cannot be had leaves the id alone, and no decision may rest
// on one.
type names struct {
	fold   *ledger.Fold // nil where the ledger could not be verified
	api    *client.Client
	vaults map[string]string
	users  map[string]string
	tokens map[string]unit
}

// namesPage is how many names of a kind are fetched at most: the API's largest
// page. What is beyond stays an id.
const namesPage = 200

// unit is how a token's amounts are shown.
type unit struct {
	symbol   string
	decimals int
}

func (u unit) of(base string) string { return tokens(base, u.decimals) + " " + u.symbol }

// names is for output to people; the client must be connected. A ledger that
// does not verify is said on standard error: it is worth more than a name.
func (c *cli) names(ctx context.Context) *names {
	n := &names{api: c.api}
	_, fold, err := c.verified(ctx)
	switch {
	case err == nil:
		n.fold = fold
	case exitCode(err) == exitUnverified:
		c.err.printf("WARNING: %s\n", printable(err.Error()))
	}
	return n
}

// beside is an id with its name.
func beside(id, name string) string {
	if name == "" {
		return id
	}
	return fmt.Sprintf("%s (%s)", id, name)
}

func (n *names) vaultName(ctx context.Context, id string) string {
	if n.vaults == nil {
		n.vaults = map[string]string{}
		limit := namesPage
		if l, err := n.api.ListVaultAccounts(ctx, client.ListVaultAccountsParams{Limit: &limit}); err == nil {
			for _, v := range l.Data {
				n.vaults[v.ID] = v.Name
			}
		}
	}
	return n.vaults[id]
}

func (n *names) vault(ctx context.Context, id string) string {
	return beside(id, n.vaultName(ctx, id))
}

func (n *names) policy(id string) string {
	if n.fold != nil {
		if in, ok := n.fold.Policy(id); ok {
			return beside(id, in.Policy.Name)
		}
	}
	return id
}

// user knows the charter's persons, and whom the caller may list.
func (n *names) user(ctx context.Context, id string) string {
	if n.users == nil {
		n.users = map[string]string{}
		if n.fold != nil {
			charter, _ := n.fold.Charter()
			for _, p := range charter.Persons {
				for _, u := range p.Users {
					n.users[u] = p.Name
				}
			}
		}
		limit := namesPage
		if l, err := n.api.ListUsers(ctx, client.ListUsersParams{Limit: &limit}); err == nil {
			for _, u := range l.Data {
				n.users[u.ID] = u.Name
			}
		}
	}
	return beside(id, n.users[id])
}

// wallet is a wallet's id with the vault that it is of.
func (n *names) wallet(ctx context.Context, id string) string {
	if n.fold == nil {
		return id
	}
	w, ok := n.fold.Wallet(id)
	if !ok {
		return id
	}
	return beside(id, n.vaultName(ctx, w.VaultAccountID))
}

// address is an address with the wallet of ours that it is.
func (n *names) address(ctx context.Context, network, text string) string {
	a, err := tx.ParseAddress(text)
	if n.fold == nil || err != nil {
		return text
	}
	w, ok := n.fold.WalletByAddress(network, a)
	if !ok {
		return text
	}
	name := w.WalletID
	if vault := n.vaultName(ctx, w.VaultAccountID); vault != "" {
		name += " of " + vault
	}
	return beside(text, name)
}

// token is how a token's amounts are shown: by the ledger where it is deployed.
func (n *names) token(ctx context.Context, id string) (unit, bool) {
	if n.fold != nil {
		if b, ok := n.fold.Binding(id); ok {
			return unit{b.Symbol, int(b.Decimals)}, true
		}
	}
	if n.tokens == nil {
		n.tokens = map[string]unit{}
		limit := namesPage
		if l, err := n.api.ListTokens(ctx, client.ListTokensParams{Limit: &limit}); err == nil {
			for _, t := range l.Data {
				n.tokens[t.ID] = unit{t.Symbol, t.Decimals}
			}
		}
	}
	u, ok := n.tokens[id]
	return u, ok
}
