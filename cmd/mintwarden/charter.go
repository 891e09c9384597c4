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
	return group("charter", "See who is who, propose changes, sign them; stop a token, a person or an appliance", `  mintwarden charter show
  mintwarden charter propose --charter charter.json
  mintwarden charter sign --key ~/keys/custodian.pem
  mintwarden charter freeze --person bob --key ~/keys/custodian.pem`,
		c.charterShow(), c.charterPropose(), c.charterSign(), c.charterFreeze(), c.charterUnfreeze(), c.charterAdmit())
}

// charterSeen is what --json prints of charter show.
type charterSeen struct {
	Charter   *policy.Charter   `json:"charter"`
	Digest    policy.Digest     `json:"digest"`
	Proposals []charterProposal `json:"proposals"`
}

func (c *cli) charterShow() *cobra.Command {
	var next bool
	cmd := &cobra.Command{
		Use: "show", Short: "Show the charter in force, from the verified ledger, and proposals",
		Long: `Show the charter in force, from the verified ledger, and proposals.

With --next it prints the charter's next version as a document that changes
nothing yet: edit it and give it to 'mintwarden charter propose'.`,
		Example: `  mintwarden charter show --charter1 sha256:…
  mintwarden charter show --next > charter.json`, Args: none,
	}
	cmd.Flags().BoolVar(&next, "next", false, "print the next version's document, to be edited")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, fold, err := c.verified(ctx)
		if err != nil {
			return err
		}
		charter, digest := fold.Charter()
		if next {
			return c.showJSON(nextCharter(charter, digest))
		}
		served, err := api.GetCharter(ctx)
		if err != nil {
			return err
		}
		s := charterSeen{Charter: charter, Digest: digest}
		if s.Proposals, err = charterProposals(served); err != nil {
			return err
		}
		return c.show(s, func() *rows {
			r := charterRows(charter, digest)
			for _, p := range s.Proposals {
				r.add(fmt.Sprintf("proposed version %d", p.Charter.Version), fmt.Sprintf("%s; signed by %d of %d", p.Digest, len(p.SignedBy), charter.Custodians.Threshold))
				for _, words := range policy.CharterDifference(charter, p.Charter) {
					r.add("", words)
				}
			}
			return r
		})
	})
}

// nextCharter is the next version with nothing changed yet.
func nextCharter(inForce *policy.Charter, digest policy.Digest) *policy.Charter {
	next := *inForce
	next.Version, next.Replaces = inForce.Version+1, &digest
	return &next
}

// charterRows is the whole of a charter: custodians sign the first one by it.
func charterRows(ch *policy.Charter, digest policy.Digest) *rows {
	r := &rows{header: []string{"charter", fmt.Sprintf("%s, version %d, %s", ch.Instance, ch.Version, ch.Environment)}}
	r.add("digest", string(digest))
	r.add("tenant", ch.TenantID)
	for _, n := range ch.Networks {
		r.add("network "+n.Name, fmt.Sprintf("%s, chain id %d, %s; fees at most %s %s an operation, %s %s a wallet and day", n.Kind, n.ChainID, n.Scheme,
			policy.Units(n.DefaultMaxFee, policy.CurrencyDecimals), policy.Word(n.Currency), policy.Units(n.DailyFee, policy.CurrencyDecimals), policy.Word(n.Currency)))
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
		r.add("appliance "+a.ID, fmt.Sprintf("token %s, ledger key %s, unseal key %s", policy.Word(a.Token.Serial), a.LedgerKey.KeyID(), policy.DigestOf(a.UnsealKey)))
		for _, key := range slices.Sorted(maps.Keys(a.Token.CheckValues)) {
			r.add("check value", key+": "+a.Token.CheckValues[key])
		}
	}
	r.add("intents live", fmt.Sprintf("at most %s", ch.MaxIntentLifetime()))
	r.add("unconfirmed", fmt.Sprintf("at most %d transactions a wallet", ch.MaxOutstanding()))
	r.add("clocks", fmt.Sprintf("may be off by %s", ch.MaxClockSkew()))
	r.add("new wallets", fmt.Sprintf("at most %d an hour, %d in all", ch.WalletsPerHour(), ch.WalletsTotal()))
	for _, f := range []struct {
		what string
		is   bool
	}{
		{"requesters sign what they ask for", ch.Flags.SignedRequests},
		{"every person's and custodian's key is post-quantum", ch.Flags.RequirePostQuantum},
		{"a PIN that no TPM seals may unseal", ch.Flags.HostKeyAccepted},
		{"a software token may stand in for an HSM", ch.Flags.SoftwareTokenAccepted},
	} {
		r.add(f.what, map[bool]string{true: "yes", false: "no"}[f.is])
	}
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
