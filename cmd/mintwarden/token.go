package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/mintwarden/mintwarden/api/client"
)

func (c *cli) tokenCommand() *cobra.Command {
	return group("token", "Create and deploy tokens, change their supply and roles, move, stop and regulate them", `  mintwarden token list
  mintwarden token mint token_01J… --amount 1000 --to treasury`,
		c.tokenCreate(), c.tokenList(), c.tokenShow(), c.tokenEstimate(), c.tokenDeploy(), c.tokenMint(), c.tokenBurn(), c.tokenTransfer(),
		c.tokenRole("grant", "to"), c.tokenRole("revoke", "from"), c.tokenRoles(), c.tokenBalance(), c.tokenPause("pause"), c.tokenPause("unpause"),
		c.tokenFreeze("freeze"), c.tokenFreeze("unfreeze"), c.tokenAllow(), c.tokenDisallow(), c.tokenRetire(),
		c.tokenImport(), c.tokenBind(), c.tokenReconciliation())
}

// newToken is what 'token create' is told.
type newToken struct {
	name, symbol, standard, template, network, vault, policy string
	description, maxSupply, initialSupply, key               string
	decimals                                                 int
	notMintable, notBurnable, baseUnits                      bool
	tags                                                     []string
}

func (c *cli) tokenCreate() *cobra.Command {
	var n newToken
	cmd := &cobra.Command{
		Use:   "create --name NAME --symbol SYMBOL --vault VAULT --policy POLICY",
		Short: "Define a token; nothing reaches a chain before it is deployed",
		Example: `  mintwarden token create --name "Example Institutional Token" --symbol EIT \
      --max-supply 1000000 --vault treasury --policy dev-default`,
		Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&n.name, "name", "", "the token's name")
	f.StringVar(&n.symbol, "symbol", "", "its symbol, such as EIT")
	f.StringVar(&n.vault, "vault", "", "vault account that administers it: vault_… or its name")
	f.StringVar(&n.policy, "policy", "", "policy that its operations need: pol_… or its name")
	f.StringVar(&n.standard, "standard", "QRC-20", "token standard")
	f.StringVar(&n.template, "template", "tpl_qrc20_v1", "contract template")
	f.StringVar(&n.network, "network", "", "network of the charter (default: its only one)")
	f.IntVar(&n.decimals, "decimals", 18, "decimals, 0 to 77")
	f.StringVar(&n.maxSupply, "max-supply", "", "most tokens that may ever exist (default: no limit)")
	f.StringVar(&n.initialSupply, "initial-supply", "", "tokens that the deployment mints to the vault (default: none)")
	f.BoolVar(&n.baseUnits, "base-units", false, "supplies are in base units, not in tokens")
	f.BoolVar(&n.notMintable, "not-mintable", false, "nobody can ever mint")
	f.BoolVar(&n.notBurnable, "not-burnable", false, "nobody can ever burn")
	f.StringVar(&n.description, "description", "", "what it is, for people")
	f.StringSliceVar(&n.tags, "tag", nil, "a tag; may be given several times")
	keyFlag(f, &n.key)
	required(cmd, "name", "symbol", "vault", "policy")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error { return c.createToken(ctx, &n) })
}

func (c *cli) createToken(ctx context.Context, n *newToken) error {
	if n.decimals < 0 || n.decimals > 77 {
		return usagef("--decimals %d: want 0 to 77", n.decimals)
	}
	body := client.TokenCreate{Standard: n.standard, TemplateID: n.template, Name: n.name, Symbol: n.symbol, Decimals: n.decimals,
		Description: pointer(n.description), SupplyPolicy: client.SupplyPolicy{Mintable: !n.notMintable, Burnable: !n.notBurnable}}
	for _, a := range []struct {
		flag, typed string
		to          **client.Amount
	}{{"max-supply", n.maxSupply, &body.SupplyPolicy.MaxSupply}, {"initial-supply", n.initialSupply, &body.InitialSupply}} {
		if a.typed == "" {
			continue
		}
		amount, err := baseUnits(a.flag, a.typed, n.decimals, n.baseUnits)
		if err != nil {
			return err
		}
		*a.to = pointer(amount.String())
	}
	if n.tags != nil {
		body.Tags = &n.tags
	}
	api, err := c.connect()
	if err != nil {
		return err
	}
	if body.Network, err = c.network(ctx, n.network); err != nil {
		return err
	}
	if body.Admin.VaultAccountID, err = c.vaultID(ctx, api, n.vault); err != nil {
		return err
	}
	if body.Admin.ApprovalPolicyID, err = c.policyID(ctx, api, n.policy); err != nil {
		return err
	}
	t, err := api.CreateToken(ctx, body, keyed(n.key)...)
	if err == nil {
		err = answered("token", t.ID)
	}
	if err != nil {
		return err
	}
	if err := c.show(t, func() *rows { return tokenRows(ctx, c.names(ctx), t, nil, nil) }); err != nil {
		return err
	}
	c.say("Next: mintwarden token deploy %s", t.ID)
	return nil
}

// network is the named one, or the charter's only one.
func (c *cli) network(ctx context.Context, name string) (string, error) {
	if name != "" {
		return name, nil
	}
	_, fold, err := c.verified(ctx)
	if err != nil {
		return "", err
	}
	charter, _ := fold.Charter()
	if len(charter.Networks) == 1 {
		return charter.Networks[0].Name, nil
	}
	var names []string
	for _, n := range charter.Networks {
		names = append(names, n.Name)
	}
	return "", usagef("--network is needed: the charter has %s", list(names))
}

// keyFlag is --idempotency-key.
func keyFlag(f *pflag.FlagSet, key *string) {
	f.StringVar(key, "idempotency-key", "", "makes a repeated call the same call")
}

// keyed is the option of --idempotency-key.
func keyed(key string) []client.Option {
	if key == "" {
		return nil
	}
	return []client.Option{client.WithIdempotencyKey(key)}
}

func required(cmd *cobra.Command, flags ...string) {
	for _, f := range flags {
		if err := cmd.MarkFlagRequired(f); err != nil {
			panic(err) // a name that the command does not have: a fault of the program
		}
	}
}

func tokenRows(ctx context.Context, n *names, t *client.Token, supply *string, paused *bool) *rows {
	r := &rows{header: []string{"token", t.ID}}
	r.add("name", t.Name)
	r.add("symbol", t.Symbol)
	r.add("status", string(t.Status))
	r.add("standard, template", t.Standard+", "+t.TemplateID)
	r.add("network", t.Network)
	r.add("contract", text(t.ContractAddress))
	r.add("decimals", fmt.Sprint(t.Decimals))
	if supply != nil {
		r.add("total supply", tokens(*supply, t.Decimals)+" "+t.Symbol+" ("+*supply+")")
	}
	if t.SupplyPolicy.MaxSupply != nil && *t.SupplyPolicy.MaxSupply != "0" {
		r.add("max supply", tokens(*t.SupplyPolicy.MaxSupply, t.Decimals)+" "+t.Symbol)
	}
	r.add("mintable, burnable", fmt.Sprintf("%v, %v", t.SupplyPolicy.Mintable, t.SupplyPolicy.Burnable))
	if paused != nil {
		r.add("paused", fmt.Sprint(*paused))
	}
	r.add("vault account", n.vault(ctx, t.AdminVaultAccountID))
	r.add("policy", n.policy(t.ApprovalPolicyID))
	if t.Description != "" {
		r.add("description", t.Description)
	}
	if len(t.Tags) > 0 {
		r.add("tags", strings.Join(t.Tags, ", "))
	}
	r.add("created", stamp(t.CreatedAt))
	return r
}

func (c *cli) tokenList() *cobra.Command {
	var status, network, vault string
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List tokens, newest first", Example: "  mintwarden token list --status DEPLOYED", Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&status, "status", "", "only DRAFT, DEPLOYING, DEPLOYED, PAUSED, RETIRED or FAILED ones")
	f.StringVar(&network, "network", "", "only those of a network")
	f.StringVar(&vault, "vault", "", "only those that a vault account administers: vault_… or its name")
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		filter := client.ListTokensParams{Status: pointer(client.TokenStatus(status)), Network: pointer(network)}
		if vault != "" {
			id, err := c.vaultID(ctx, api, vault)
			if err != nil {
				return err
			}
			filter.AdminVaultAccountID = &id
		}
		all, err := upTo(limit, api.Tokens(ctx, filter))
		if err != nil {
			return err
		}
		return c.show(listed[client.Token]{all}, func() *rows {
			r := &rows{header: []string{"token", "symbol", "name", "status", "network", "contract"}, spare: []string{"network", "contract"}}
			for _, t := range all {
				r.add(t.ID, t.Symbol, t.Name, string(t.Status), t.Network, text(t.ContractAddress))
			}
			return r
		})
	})
}

func (c *cli) tokenShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show TOKEN", Short: "Show a token, with supply and pause read from the chain", Example: "  mintwarden token show token_01J…",
		Args: exactly(1, "one token id, token_…"),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		t, err := c.token(ctx, args[0])
		if err != nil {
			return err
		}
		return c.show(t, func() *rows {
			plain := client.Token{ID: t.ID, Name: t.Name, Symbol: t.Symbol, Status: t.Status, Standard: t.Standard, TemplateID: t.TemplateID,
				Network: t.Network, ContractAddress: t.ContractAddress, Decimals: t.Decimals, SupplyPolicy: t.SupplyPolicy,
				AdminVaultAccountID: t.AdminVaultAccountID, ApprovalPolicyID: t.ApprovalPolicyID, Description: t.Description, Tags: t.Tags, CreatedAt: t.CreatedAt}
			return tokenRows(ctx, c.names(ctx), &plain, t.TotalSupply, t.Paused)
		})
	})
}

// token asks for a token by id.
func (c *cli) token(ctx context.Context, id string) (*client.TokenDetail, error) {
	if err := checkID("token", id); err != nil {
		return nil, err
	}
	api, err := c.connect()
	if err != nil {
		return nil, err
	}
	return api.GetToken(ctx, id)
}

func (c *cli) tokenRoles() *cobra.Command {
	cmd := &cobra.Command{
		Use: "roles TOKEN", Short: "List the holders of a token's roles, read from the chain", Example: "  mintwarden token roles token_01J…",
		Args: exactly(1, "one token id, token_…"),
	}
	return c.leafOf("token", cmd, func(ctx context.Context, api *client.Client, id string) error {
		held, err := api.ListTokenRoles(ctx, id)
		if err != nil {
			return err
		}
		return c.show(held, func() *rows {
			r := &rows{header: []string{"role", "holder"}}
			for _, role := range held.Roles {
				if len(role.Holders) == 0 {
					r.add(string(role.Role), "nobody")
				}
				for _, h := range role.Holders {
					r.add(string(role.Role), h)
				}
			}
			return r
		})
	})
}
