package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) charterCommand() *cobra.Command {
	return group("charter", "See who is who: networks, custodians, persons, groups, appliances", "  mintwarden charter show", c.charterShow())
}

func (c *cli) charterShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show", Short: "Show the charter in force, from the verified ledger", Example: "  mintwarden charter show --charter1 sha256:…", Args: none,
	}
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		_, fold, err := c.verified(ctx)
		if err != nil {
			return err
		}
		charter, digest := fold.Charter()
		return c.show(struct {
			Charter *policy.Charter `json:"charter"`
			Digest  policy.Digest   `json:"digest"`
		}{charter, digest}, func() *rows { return charterRows(charter, digest) })
	})
}

func charterRows(ch *policy.Charter, digest policy.Digest) *rows {
	r := &rows{header: []string{"charter", fmt.Sprintf("%s, version %d, %s", ch.Instance, ch.Version, ch.Environment)}}
	r.add("digest", string(digest))
	r.add("tenant", ch.TenantID)
	for _, n := range ch.Networks {
		r.add("network "+n.Name, fmt.Sprintf("%s, chain id %d, %s; fees at most %s %s an operation, %s %s a wallet and day", n.Kind, n.ChainID, n.Scheme,
			policy.Units(n.DefaultMaxFee, policy.CurrencyDecimals), n.Currency, policy.Units(n.DailyFee, policy.CurrencyDecimals), n.Currency))
	}
	r.add("custodians", fmt.Sprintf("%d of %d sign a change", ch.Custodians.Threshold, len(ch.Custodians.Members)))
	for _, m := range ch.Custodians.Members {
		r.add("custodian "+m.Name, keysWords(m.Keys))
	}
	for _, p := range ch.Persons {
		r.add("person "+p.Name, keysWords(p.Keys)+"; users "+strings.Join(p.Users, ", "))
	}
	for _, g := range slices.Sorted(maps.Keys(ch.Groups)) {
		r.add("group "+g, strings.Join(ch.Groups[g], ", "))
	}
	for _, a := range ch.Appliances {
		r.add("appliance "+a.ID, fmt.Sprintf("token %s, ledger key %s", a.Token.Serial, a.LedgerKey.KeyID()))
	}
	r.add("intents live", fmt.Sprintf("at most %s", ch.MaxIntentLifetime()))
	r.add("unconfirmed", fmt.Sprintf("at most %d transactions a wallet", ch.MaxOutstanding()))
	return r
}

func keysWords(keys []policy.PublicKey) string {
	if len(keys) == 0 {
		return "no key"
	}
	var out []string
	for _, k := range keys {
		out = append(out, fmt.Sprintf("%s %s", k.Algorithm(), k.KeyID()))
	}
	return strings.Join(out, ", ")
}
