package main

import (
	"context"
	"fmt"
	"math/big"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

// tokenHeld is what 'token balance' prints. Amounts are base units.
type tokenHeld struct {
	TokenID  string       `json:"tokenId"`
	Symbol   string       `json:"symbol"`
	Decimals int          `json:"decimals"`
	Balances []walletHeld `json:"balances"`
	Total    string       `json:"total"`
}

type walletHeld struct {
	Address  string `json:"address"`
	WalletID string `json:"walletId,omitzero"`
	Balance  string `json:"balance"`
}

func (c *cli) tokenBalance() *cobra.Command {
	cmd := &cobra.Command{
		Use: "balance TOKEN PARTY", Short: "Show what somebody holds of a token, read from the chain",
		Long: `Show what somebody holds of a token, read from the chain.

PARTY is 0x…, wallet_…, vault_… or a vault's name; a vault holds what all its
wallets on the token's network hold.`,
		Example: "  mintwarden token balance token_01J… treasury\n  mintwarden token balance token_01J… 0x…",
		Args:    exactly(2, "a token id, token_…, and a party: 0x…, wallet_…, vault_… or a vault's name"),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		if strings.HasPrefix(args[1], "0x") && elided(args[1]) {
			return usagef("%s: replace … by the rest of the address", args[1])
		}
		t, err := c.token(ctx, args[0])
		if err != nil {
			return err
		}
		whose, err := c.holders(ctx, t.Network, args[1])
		if err != nil {
			return err
		}
		out := tokenHeld{TokenID: t.ID, Symbol: t.Symbol, Decimals: t.Decimals, Balances: whose}
		sum := new(big.Int)
		for n := range whose {
			b, err := c.api.GetTokenBalance(ctx, t.ID, whose[n].Address)
			if err != nil {
				return err
			}
			held, ok := new(big.Int).SetString(b.Balance, 10)
			if !ok {
				return &client.AnswerError{HTTPStatus: 200, Err: fmt.Errorf("balance %q is no number", b.Balance)}
			}
			whose[n].Balance = b.Balance
			sum.Add(sum, held)
		}
		out.Total = sum.String()
		return c.show(out, func() *rows {
			r := &rows{header: []string{"address", "wallet", "balance", "base units"}, spare: []string{"base units", "wallet"}}
			in := unit{t.Symbol, t.Decimals}
			for _, w := range whose {
				r.add(w.Address, w.WalletID, in.of(w.Balance), w.Balance)
			}
			if len(whose) > 1 {
				r.add("total", "", in.of(out.Total), out.Total)
			}
			return r
		})
	})
}

// holders are a party's addresses on a network: wallets of ours by the verified
// ledger.
func (c *cli) holders(ctx context.Context, network, party string) ([]walletHeld, error) {
	if strings.HasPrefix(party, "0x") {
		return []walletHeld{{Address: party}}, nil
	}
	api, fold, err := c.verified(ctx)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(party, "wallet_") {
		if err := checkID("wallet", party); err != nil {
			return nil, err
		}
		w, ok := fold.Wallet(party)
		if !ok {
			return nil, refused("the ledger attests no wallet %s; 'mintwarden wallet list' shows them", party)
		}
		if w.Network != network {
			return nil, refused("wallet %s is on %s, the token on %s", party, w.Network, network)
		}
		return []walletHeld{{Address: w.Address.String(), WalletID: w.WalletID}}, nil
	}
	vault, err := c.vaultID(ctx, api, party)
	if err != nil {
		return nil, err
	}
	var out []walletHeld
	for _, w := range fold.Wallets() {
		if w.VaultAccountID == vault && w.Network == network {
			out = append(out, walletHeld{Address: w.Address.String(), WalletID: w.WalletID})
		}
	}
	if len(out) == 0 {
		return nil, refused("vault account %s has no wallet on %s; mintwarden wallet create --vault %s makes one", party, network, vault)
	}
	return out, nil
}
