package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (c *cli) vaultCommand() *cobra.Command {
	return group("vault", "Make and see vault accounts", "  mintwarden vault list", c.vaultCreate(), c.vaultList(), c.vaultShow())
}

func vaultRow(r *rows, v *client.VaultAccount) {
	r.add(v.ID, v.Name, string(v.Status), stamp(v.CreatedAt))
}

func vaultRows(all ...client.VaultAccount) *rows {
	r := &rows{header: []string{"vault account", "name", "status", "created"}}
	for n := range all {
		vaultRow(r, &all[n])
	}
	return r
}

func (c *cli) vaultCreate() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "create NAME", Short: "Make a vault account", Example: "  mintwarden vault create minting-desk", Args: exactly(1, "one name"),
	}
	keyFlag(cmd.Flags(), &key)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		v, err := api.CreateVaultAccount(ctx, client.VaultAccountCreate{Name: args[0]}, keyed(key)...)
		if err != nil {
			return err
		}
		return c.show(v, func() *rows { return vaultRows(*v) })
	})
}

func (c *cli) vaultList() *cobra.Command {
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List vault accounts, newest first", Example: "  mintwarden vault list", Args: none}
	limitFlag(cmd, &limit)
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		all, err := upTo(limit, api.VaultAccounts(ctx))
		if err != nil {
			return err
		}
		return c.show(listed[client.VaultAccount]{all}, func() *rows { return vaultRows(all...) })
	})
}

func (c *cli) vaultShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show VAULT", Short: "Show a vault account; its wallets are in 'mintwarden wallet list --vault VAULT'",
		Example: "  mintwarden vault show treasury", Args: exactly(1, "one vault account: vault_… or its name"),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		id, err := c.vaultID(ctx, api, args[0])
		if err != nil {
			return err
		}
		v, err := api.GetVaultAccount(ctx, id)
		if err != nil {
			return err
		}
		return c.show(v, func() *rows { return vaultRows(*v) })
	})
}

func (c *cli) walletCommand() *cobra.Command {
	return group("wallet", "Make and see wallets, whose keys are made in the HSM", "  mintwarden wallet list --vault treasury",
		c.walletCreate(), c.walletList(), c.walletShow(), c.walletCancelNonce())
}

// walletSeen is a wallet as list and show print it: facts of the verified
// ledger, and in show what the appliance adds.
type walletSeen struct {
	WalletID       string `json:"walletId"`
	VaultAccountID string `json:"vaultAccountId"`
	Network        string `json:"network"`
	Scheme         string `json:"scheme"`
	Address        string `json:"address"`
	PublicKey      []byte `json:"publicKey"`
	Label          string `json:"label,omitzero"`
	Protection     string `json:"protection,omitzero"`
	Balance        string `json:"balance,omitzero"` // of the network's own currency, in its 10^-18
	Currency       string `json:"currency,omitzero"`
}

func attested(w *ledger.WalletRecord) walletSeen {
	return walletSeen{WalletID: w.WalletID, VaultAccountID: w.VaultAccountID, Network: w.Network, Scheme: string(w.Scheme),
		Address: w.Address.String(), PublicKey: w.PublicKey}
}

func (c *cli) walletCreate() *cobra.Command {
	var vault, network, label, scheme, key string
	cmd := &cobra.Command{
		Use: "create --vault VAULT", Short: "Make a wallet with a key in the HSM",
		Example: "  mintwarden wallet create --vault minting-desk --label hot", Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&vault, "vault", "", "vault account it is of: vault_… or its name")
	f.StringVar(&network, "network", "", "network of the charter (default: its only one)")
	f.StringVar(&label, "label", "", "a name for people")
	f.StringVar(&scheme, "scheme", "", "signature scheme (default: the network's)")
	keyFlag(f, &key)
	required(cmd, "vault")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		body := client.WalletCreate{Label: pointer(label), Scheme: pointer(client.Scheme(scheme))}
		if body.Network, err = c.network(ctx, network); err != nil {
			return err
		}
		id, err := c.vaultID(ctx, api, vault)
		if err != nil {
			return err
		}
		w, err := api.CreateWallet(ctx, id, body, keyed(key)...)
		if err != nil {
			return err
		}
		return c.show(w, func() *rows {
			r := &rows{header: []string{"wallet", w.ID}}
			r.add("vault account", c.names(ctx).vault(ctx, w.VaultAccountID))
			r.add("address", w.Address)
			r.add("network, scheme", w.Network+", "+string(w.Scheme))
			r.add("protection", string(w.Protection))
			return r
		})
	})
}

func (c *cli) walletList() *cobra.Command {
	var vault string
	cmd := &cobra.Command{
		Use: "list", Short: "List wallets, from the verified ledger; labels are the appliance's word", Example: "  mintwarden wallet list --vault treasury", Args: none,
	}
	cmd.Flags().StringVar(&vault, "vault", "", "only those of a vault account: vault_… or its name")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, fold, err := c.verified(ctx)
		if err != nil {
			return err
		}
		id := ""
		if vault != "" {
			if id, err = c.vaultID(ctx, api, vault); err != nil {
				return err
			}
		}
		all := []walletSeen{}
		for _, w := range fold.Wallets() {
			if id == "" || w.VaultAccountID == id {
				all = append(all, attested(w))
			}
		}
		if err := labelled(ctx, api, all); err != nil {
			return err
		}
		return c.show(listed[walletSeen]{all}, func() *rows {
			r := &rows{header: []string{"wallet", "label", "vault", "vault account", "network", "scheme", "address"},
				spare: []string{"scheme", "network", "vault account"}}
			n := c.names(ctx)
			for _, w := range all {
				r.add(w.WalletID, text(&w.Label), n.vaultName(ctx, w.VaultAccountID), w.VaultAccountID, w.Network, w.Scheme, w.Address)
			}
			return r
		})
	})
}

// labelled adds the labels, which are the appliance's word and on no ledger.
func labelled(ctx context.Context, api *client.Client, all []walletSeen) error {
	labels, asked := map[string]string{}, map[string]bool{}
	for n := range all {
		vault := all[n].VaultAccountID
		if !asked[vault] {
			asked[vault] = true
			for w, err := range api.Wallets(ctx, vault) {
				if err != nil {
					return err
				}
				labels[w.ID] = w.Label
			}
		}
		all[n].Label = labels[all[n].WalletID]
	}
	return nil
}

func (c *cli) walletShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show WALLET", Short: "Show a wallet: what the verified ledger attests, and its balance",
		Example: "  mintwarden wallet show wallet_01J…", Args: exactly(1, "one wallet id, wallet_…"),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if err := checkID("wallet", args[0]); err != nil {
			return err
		}
		api, fold, err := c.verified(ctx)
		if err != nil {
			return err
		}
		said, err := api.GetWallet(ctx, args[0])
		if err != nil {
			return err
		}
		record, ok := fold.Wallet(args[0])
		if !ok {
			return unverified("the ledger attests no wallet %s, whatever the appliance says", args[0])
		}
		w := attested(record)
		if said.Address != w.Address || said.VaultAccountID != w.VaultAccountID || said.Network != w.Network {
			return unverified("wallet %s is %s of %s on %s by the ledger; the appliance says %s of %s on %s", w.WalletID,
				w.Address, w.VaultAccountID, w.Network, said.Address, said.VaultAccountID, said.Network)
		}
		balance, err := api.GetWalletBalance(ctx, args[0])
		if err != nil {
			return err
		}
		w.Label, w.Protection, w.Balance, w.Currency = said.Label, string(said.Protection), balance.Balance, balance.Currency
		return c.show(w, func() *rows {
			r := &rows{header: []string{"wallet", w.WalletID}}
			r.add("vault account", c.names(ctx).vault(ctx, w.VaultAccountID))
			r.add("network, scheme", w.Network+", "+w.Scheme)
			r.add("address", w.Address)
			r.add("label", w.Label)
			r.add("protection", w.Protection)
			r.add("balance", tokens(w.Balance, 18)+" "+w.Currency)
			return r
		})
	})
}
