package main

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func (c *cli) policyCommand() *cobra.Command {
	return group("policy", "See policies, propose changes and sign them", `  mintwarden policy list
  mintwarden policy propose --name mint-conservative --rules rules.json
  mintwarden policy sign pol_01J… --key ~/keys/custodian.pem`,
		c.policyList(), c.policyShow(), c.policyPropose(), c.policySign(), c.policySimulate(), c.policyWithdraw())
}

// policySeen is a policy as list and show print it: the version in force by the
// verified ledger, and what the appliance says is proposed.
type policySeen struct {
	ID        string         `json:"id"`
	InForce   bool           `json:"inForce"`
	Policy    *policy.Policy `json:"policy"` // null while none is in force
	Digest    policy.Digest  `json:"digest,omitzero"`
	Proposals []proposal     `json:"proposals"`
}

// proposal is a version that is not in force yet.
type proposal struct {
	Policy             *policy.Policy `json:"policy"`
	Digest             policy.Digest  `json:"digest"`
	SignedBy           []string       `json:"signedBy"` // by the appliance's word
	RequiredSignatures int            `json:"requiredSignatures"`
	document           []byte
}

func (p *proposal) words() string {
	if p.Policy.Retired {
		return "retirement proposed"
	}
	return "proposed"
}

// openProposals reads a policy's open proposals. What the appliance says in
// words must be what the document says that custodians sign.
func openProposals(p *client.Policy) ([]proposal, error) {
	versions := []client.Policy{}
	if p.Proposals != nil {
		versions = append(versions, *p.Proposals...)
	}
	out := []proposal{}
	for _, v := range append(versions, *p) {
		if v.Status != client.PolicyStatusPENDINGAUTHORIZATION {
			continue
		}
		doc, err := policy.ParsePolicy(v.Document)
		if err != nil {
			return nil, unverified("what the appliance serves as a proposal of policy %s is none: %w", p.ID, err)
		}
		digest := policy.DigestOf(v.Document)
		if digest != policy.Digest(v.DocumentDigest) || doc.ID != p.ID {
			return nil, unverified("the appliance serves policy %s with digest %s as a proposal of %s with digest %s", doc.ID, digest, p.ID, v.DocumentDigest)
		}
		known := false
		for _, have := range out { // a policy that was never in force is its own newest proposal
			known = known || have.Digest == digest
		}
		if !known {
			out = append(out, proposal{doc, digest, v.SignedBy, v.RequiredSignatures, v.Document})
		}
	}
	return out, nil
}

// seen joins what the ledger and the appliance say of a policy; either may know nothing.
func seen(id string, fold *ledger.Fold, p *client.Policy) (policySeen, error) {
	s := policySeen{ID: id, Proposals: []proposal{}}
	if in, ok := fold.Policy(id); ok {
		s.InForce, s.Policy, s.Digest = !in.Policy.Retired, in.Policy, in.Digest
	}
	if p == nil {
		return s, nil
	}
	var err error
	s.Proposals, err = openProposals(p)
	return s, err
}

func (c *cli) policyList() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List policies: those in force, from the verified ledger, and proposals", Example: "  mintwarden policy list", Args: none,
	}
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		api, fold, err := c.verified(ctx)
		if err != nil {
			return err
		}
		var all []policySeen
		listedBy := map[string]bool{}
		for p, err := range api.Policies(ctx) {
			if err != nil {
				return err
			}
			s, err := seen(p.ID, fold, &p)
			if err != nil {
				return err
			}
			if !listedBy[p.ID] && (s.Policy != nil || len(s.Proposals) > 0) {
				all = append(all, s)
			}
			listedBy[p.ID] = true
		}
		for _, in := range fold.Policies() {
			if !listedBy[in.Policy.ID] {
				s, err := seen(in.Policy.ID, fold, nil)
				if err != nil {
					return err
				}
				all = append(all, s)
			}
		}
		return c.show(listed[policySeen]{all}, func() *rows {
			r := &rows{header: []string{"policy", "name", "version", "scope", "status", "rules"}}
			for _, s := range all {
				s.list(r, fold)
			}
			return r
		})
	})
}

func (s *policySeen) list(r *rows, fold *ledger.Fold) {
	if s.Policy != nil {
		status := "in force"
		if !s.InForce {
			status = "retired"
		}
		listVersion(r, s.Policy, status, fold)
	}
	for _, p := range s.Proposals {
		listVersion(r, p.Policy, fmt.Sprintf("%s, %d of %d signed", p.words(), len(p.SignedBy), p.RequiredSignatures), fold)
	}
}

func listVersion(r *rows, p *policy.Policy, status string, fold *ledger.Fold) {
	id, name, version, scope := p.ID, p.Name, fmt.Sprint(p.Version), scopeWords(p.Scope)
	all := rulesWords(p, fold)
	if p.Retired {
		all = []string{"none any more"}
	}
	for _, words := range all {
		r.add(id, name, version, scope, status, words)
		id, name, version, scope, status = "", "", "", "", ""
	}
}

// rulesWords shows amounts in units where the policy is of one token.
func rulesWords(p *policy.Policy, fold *ledger.Fold) []string {
	var symbol string
	var decimals uint8
	if b, ok := fold.Binding(p.Scope.TokenID); ok {
		symbol, decimals = b.Symbol, b.Decimals
	}
	out := make([]string, len(p.Rules))
	for n := range p.Rules {
		out[n] = p.Rules[n].Words(symbol, decimals)
	}
	return out
}

func scopeWords(s policy.Scope) string {
	if s.All {
		return "everything"
	}
	return s.TokenID + s.VaultAccountID
}

func (c *cli) policyShow() *cobra.Command {
	cmd := &cobra.Command{
		Use: "show POLICY", Short: "Show a policy: in force, from the verified ledger, and proposals",
		Example: "  mintwarden policy show dev-default", Args: exactly(1, "one policy: pol_… or its name"),
	}
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, fold, err := c.verified(ctx)
		if err != nil {
			return err
		}
		id, err := c.policyID(ctx, api, args[0])
		if err != nil {
			return err
		}
		p, err := api.GetPolicy(ctx, id)
		if err != nil {
			return err
		}
		s, err := seen(id, fold, p)
		if err != nil {
			return err
		}
		return c.show(s, func() *rows {
			r := &rows{header: []string{"policy", id}}
			if s.Policy != nil {
				showVersion(r, s.Policy, s.Digest, map[bool]string{true: "in force", false: "retired"}[s.InForce], fold)
			}
			for _, p := range s.Proposals {
				status := fmt.Sprintf("%s; signed by %d of %d", p.words(), len(p.SignedBy), p.RequiredSignatures)
				if len(p.SignedBy) > 0 {
					status += ": " + list(p.SignedBy)
				}
				showVersion(r, p.Policy, p.Digest, status, fold)
			}
			if s.Policy == nil && len(s.Proposals) == 0 {
				r.add("name", p.Name)
				r.add("status", fmt.Sprintf("%s; it was never in force", p.Status))
			}
			return r
		})
	})
}

func showVersion(r *rows, p *policy.Policy, digest policy.Digest, status string, fold *ledger.Fold) {
	r.add(fmt.Sprintf("version %d", p.Version), status)
	r.add("  name", p.Name)
	r.add("  scope", scopeWords(p.Scope))
	r.add("  digest", string(digest))
	r.add("  created", stamp(p.CreatedAt))
	if p.Retired {
		return // it judges nothing any more
	}
	for n, words := range rulesWords(p, fold) {
		r.add(fmt.Sprintf("  rule %d, %s", n+1, p.Rules[n].Type), words)
	}
}

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
	f.StringVar(&key, "idempotency-key", "", "makes a repeated call the same call")
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

func (c *cli) policyWithdraw() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "withdraw POLICY", Short: "Withdraw a policy that is not in force yet, or propose to retire one that is",
		Long: `Withdraw a policy that is not in force yet, or propose to retire one that is.

A policy in force stays in force until enough custodians have signed its
retirement with 'mintwarden policy sign'.`,
		Example: "  mintwarden policy withdraw mint-conservative", Args: exactly(1, "one policy: pol_… or its name"),
	}
	cmd.Flags().StringVar(&key, "idempotency-key", "", "makes a repeated call the same call")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		api, err := c.connect()
		if err != nil {
			return err
		}
		id, err := c.policyID(ctx, api, args[0])
		if err != nil {
			return err
		}
		p, err := api.WithdrawPolicy(ctx, id, keyed(key)...)
		if err != nil {
			return err
		}
		if c.json {
			return c.showJSON(p)
		}
		open, err := openProposals(p)
		if err != nil {
			return err
		}
		open = slices.DeleteFunc(open, func(v proposal) bool { return !v.Policy.Retired })
		if len(open) == 0 {
			c.say("%s: its open proposals are withdrawn", p.ID)
		}
		for _, v := range open {
			c.say("%s: its retirement is proposed, digest %s", p.ID, v.Digest)
			c.waitsForCustodians(ctx, p.ID, v.SignedBy, v.RequiredSignatures)
		}
		return nil
	})
}
