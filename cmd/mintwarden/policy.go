package main

import (
	"context"
	"fmt"
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

func (c *cli) policyWithdraw() *cobra.Command {
	var key string
	cmd := &cobra.Command{
		Use: "withdraw POLICY", Short: "Withdraw a policy that is not in force yet, or propose to retire one that is",
		Long: `Withdraw a policy that is not in force yet, or propose to retire one that is.

A policy in force stays in force until enough custodians have signed its
retirement with 'mintwarden policy sign'.`,
		Example: "  mintwarden policy withdraw mint-conservative", Args: exactly(1, "one policy: pol_… or its name"),
	}
	keyFlag(cmd.Flags(), &key)
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
