package main

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

func (c *cli) policyPropose() *cobra.Command {
	var name, file, vault, token, next, key string
	cmd := &cobra.Command{
		Use:   "propose --rules FILE",
		Short: "Propose a policy, or with --policy its next version",
		Long: `Propose a policy, or with --policy its next version.

FILE (- for standard input) holds a JSON array of rules. It is in force once
enough custodians have signed it with 'mintwarden policy sign'. A next version
replaces the whole one before: rules that you do not repeat are gone.`,
		Example: `  echo '[{"type":"REQUIRE_APPROVAL","minApprovers":2,"approverGroup":"approvers"},
         {"type":"MAX_AMOUNT","amount":"1000000000000000000000"}]' > rules.json
  mintwarden policy propose --name mint-conservative --token token_01J… --rules rules.json
  mintwarden policy propose --policy dev-default --rules rules.json`,
		Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&file, "rules", "", "file of rules, or - for standard input")
	f.StringVar(&name, "name", "", "the policy's name (default with --policy: the same)")
	f.StringVar(&vault, "vault", "", "covers operations of a vault only: vault_… or its name")
	f.StringVar(&token, "token", "", "covers operations on a token only, token_…")
	f.StringVar(&next, "policy", "", "the policy to change: pol_… or its name")
	keyFlag(f, &key)
	required(cmd, "rules")
	cmd.MarkFlagsMutuallyExclusive("vault", "token")
	cmd.MarkFlagsOneRequired("name", "policy")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		body := client.PolicyWrite{Name: name, TokenID: pointer(token)}
		if err := c.readRules(file, &body.Rules); err != nil {
			return err
		}
		api, err := c.connect()
		if err != nil {
			return err
		}
		if vault != "" {
			id, err := c.vaultID(ctx, api, vault)
			if err != nil {
				return err
			}
			body.VaultAccountID = &id
		}
		var p *client.Policy
		if next == "" {
			p, err = api.CreatePolicy(ctx, body, keyed(key)...)
		} else {
			p, err = c.proposeNext(ctx, next, body, keyed(key))
		}
		if err != nil {
			return err
		}
		if c.json {
			return c.showJSON(p)
		}
		c.say("%s version %d is %s: %d of %d custodians signed", p.ID, p.Version, p.Status, len(p.SignedBy), p.RequiredSignatures)
		c.say("digest %s", p.DocumentDigest)
		if err := c.showProposed(ctx, p); err != nil {
			return err
		}
		c.waitsForCustodians(ctx, p.ID, p.SignedBy, p.RequiredSignatures)
		return nil
	})
}

// showProposed shows what was just proposed as custodians will see it, where the
// ledger can be verified here.
func (c *cli) showProposed(ctx context.Context, served *client.Policy) error {
	fold := c.names(ctx).fold
	if fold == nil {
		return nil
	}
	open, err := openProposals(served)
	if err != nil {
		return err
	}
	for n := range open {
		if string(open[n].Digest) == served.DocumentDigest {
			return c.showProposal(&open[n], fold)
		}
	}
	return nil
}

// waitsForCustodians says who has to sign a proposal, and how.
func (c *cli) waitsForCustodians(ctx context.Context, id string, signed []string, required int) {
	c.say("It waits for the signatures of custodians:")
	var members []string
	n := c.names(ctx)
	if n.fold != nil {
		charter, _ := n.fold.Charter()
		for _, m := range charter.Custodians.Members {
			members = append(members, m.Name)
		}
	}
	for _, line := range c.toPaste(n.fold, "mintwarden policy sign "+id, members, signed, required-len(signed)) {
		c.say("  %s", line)
	}
}

// proposeNext keeps name and scope of the version in force where none are given.
func (c *cli) proposeNext(ctx context.Context, idOrName string, body client.PolicyWrite, opts []client.Option) (*client.Policy, error) {
	api, fold, err := c.verified(ctx)
	if err != nil {
		return nil, err
	}
	id, err := c.policyID(ctx, api, idOrName)
	if err != nil {
		return nil, err
	}
	in, ok := fold.Policy(id)
	if !ok {
		return nil, refused("policy %s was never in force by the ledger, so there is no version to follow; propose it as a new one", id)
	}
	if body.Name == "" {
		body.Name = in.Policy.Name
	}
	if body.VaultAccountID == nil && body.TokenID == nil {
		body.VaultAccountID, body.TokenID = pointer(in.Policy.Scope.VaultAccountID), pointer(in.Policy.Scope.TokenID)
	}
	return api.ProposePolicyVersion(ctx, id, body, opts...)
}

// readRules reads a file of rules and checks them as far as they go by themselves.
func (c *cli) readRules(file string, into *[]client.PolicyRule) error {
	in := c.in
	if file != "-" {
		f, err := os.Open(file)
		if err != nil {
			return usagef("--rules: %w", err)
		}
		defer f.Close()
		in = f
	}
	held, err := io.ReadAll(io.LimitReader(in, policy.MaxDocument+1))
	if err != nil {
		return usagef("--rules %s: %w", file, err)
	}
	if err := misspelled(held); err != nil {
		return usagef("--rules %s: %w", file, err)
	}
	if _, err := policy.ParseRules(held); err != nil {
		return usagef("--rules %s: %w", file, err)
	}
	if err := json.Unmarshal(held, into, json.RejectUnknownMembers(true)); err != nil {
		return usagef("--rules %s: %w", file, err)
	}
	return nil
}

// misspelled names the two slips that a first file of rules has most often; what
// else is wrong the parser finds.
func misspelled(held []byte) error {
	if v := jsontext.Value(held); v.Kind() == '{' {
		return errors.New("it holds one object; want an array of rules, [{…}], also of one")
	}
	var rules []map[string]jsontext.Value
	if json.Unmarshal(held, &rules) != nil {
		return nil
	}
	for n, rule := range rules {
		for _, member := range []string{"aboveAmount", "amount", "perDay", "perOperation"} {
			if v := rule[member]; v.Kind() == '0' {
				return fmt.Errorf("rule %d: %s is the number %s; want a string of base units, \"%s\": JSON numbers are not exact", n+1, member, v, v)
			}
		}
	}
	return nil
}
