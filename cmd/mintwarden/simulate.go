package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
)

// simulation is what is supposed on the command line.
type simulation struct {
	operation, token, amount           string
	to, from, subject, role, performer string
	requester, at, proposal            string
	approvers, rejecters               []string
	baseUnits                          bool
}

func (c *cli) policySimulate() *cobra.Command {
	var s simulation
	cmd := &cobra.Command{
		Use:   "simulate POLICY --operation TYPE",
		Short: "Ask what the policies would say of an operation that nobody asked for",
		Long: `Ask what the policies would say of an operation that nobody asked for.

Every policy in scope judges, by what is charged and frozen at this moment or at
--at; with --proposal, a proposed version stands in for the one in force. Nothing
is recorded. This is the appliance's word.`,
		Example: `  mintwarden policy simulate dev-default --operation MINT --token token_01J… --amount 1000 --to treasury
  mintwarden policy simulate dev-default --operation MINT --token token_01J… --amount 1000 --to treasury \
      --requester operator --approvers approver-1,approver-2 --proposal sha256:…`,
		Args: exactly(1, "one policy: pol_… or its name"),
	}
	f := cmd.Flags()
	f.StringVar(&s.operation, "operation", "", "its type: MINT, BURN, TRANSFER, GRANT_ROLE, REVOKE_ROLE, PAUSE, …")
	f.StringVar(&s.token, "token", "", "the token, token_…")
	f.StringVar(&s.amount, "amount", "", "how many tokens, such as 1000 or 0.5")
	f.BoolVar(&s.baseUnits, "base-units", false, "the amount is in base units, not in tokens")
	f.StringVar(&s.to, "to", "", "who gets them: 0x…, wallet_…, vault_… or a vault's name")
	f.StringVar(&s.from, "from", "", "whose they are")
	f.StringVar(&s.subject, "subject", "", "whom a role or a freeze concerns")
	f.StringVar(&s.role, "role", "", "the role: ADMIN, MINTER, BURNER, PAUSER")
	f.StringVar(&s.performer, "performed-by", "", "wallet or vault that sends it (default: the token's vault)")
	f.StringVar(&s.requester, "requester", "", "who asks for it")
	f.StringSliceVar(&s.approvers, "approvers", nil, "who is taken to have approved, with commas between")
	f.StringSliceVar(&s.rejecters, "rejecters", nil, "who is taken to have rejected")
	f.StringVar(&s.at, "at", "", "the moment, RFC 3339 (default: now)")
	f.StringVar(&s.proposal, "proposal", "", "a proposed version of the policy, by its digest, in place of the one in force")
	required(cmd, "operation")
	return c.leaf(cmd, func(ctx context.Context, args []string) error { return c.simulate(ctx, &s, args[0]) })
}

func (c *cli) simulate(ctx context.Context, s *simulation, idOrName string) error {
	api, err := c.connect()
	if err != nil {
		return err
	}
	id, err := c.policyID(ctx, api, idOrName)
	if err != nil {
		return err
	}
	body, err := s.body(ctx, c, api)
	if err != nil {
		return err
	}
	said, err := api.SimulatePolicy(ctx, id, *body)
	if err != nil {
		return err
	}
	return c.show(said, func() *rows {
		r := &rows{header: []string{"policy", "rule", "says", "because"}}
		for _, o := range said.Rules {
			name := text(o.PolicyID)
			if o.PolicyVersion != nil {
				name = fmt.Sprintf("%s v%d", name, *o.PolicyVersion)
			}
			r.add(name, o.Rule, string(o.Outcome), o.Message)
		}
		r.add("", "all of them", string(said.Outcome), "at "+stamp(said.At))
		return r
	})
}

// body is the question as the API takes it.
func (s *simulation) body(ctx context.Context, c *cli, api *client.Client) (*client.SimulationRequest, error) {
	body := &client.SimulationRequest{OperationType: client.OperationType(s.operation), TokenID: pointer(s.token), Requester: pointer(s.requester),
		Proposal: pointer(s.proposal), Role: pointer(client.Role(s.role))}
	if s.at != "" {
		at, err := time.Parse(time.RFC3339, s.at)
		if err != nil {
			return nil, usagef("--at %q: want RFC 3339, such as 2026-04-27T10:14:00Z", s.at)
		}
		body.At = &at
	}
	for _, p := range []struct {
		typed string
		to    **client.Party
	}{{s.to, &body.Recipient}, {s.from, &body.From}, {s.subject, &body.Subject}} {
		if p.typed == "" {
			continue
		}
		party, err := c.party(ctx, api, p.typed)
		if err != nil {
			return nil, err
		}
		*p.to = &party
	}
	var err error
	if body.PerformedBy, err = c.performer(ctx, api, s.performer); err != nil {
		return nil, err
	}
	if len(s.approvers) > 0 {
		body.Approvers = &s.approvers
	}
	if len(s.rejecters) > 0 {
		body.Rejecters = &s.rejecters
	}
	return body, s.setAmount(ctx, api, body)
}

func (s *simulation) setAmount(ctx context.Context, api *client.Client, body *client.SimulationRequest) error {
	if s.amount == "" {
		return nil
	}
	decimals := 0
	if !s.baseUnits {
		if s.token == "" {
			return usagef("--amount is in tokens: name the token with --token, or say --base-units")
		}
		t, err := api.GetToken(ctx, s.token)
		if err != nil {
			return err
		}
		decimals = t.Decimals
	}
	amount, err := baseUnits("amount", s.amount, decimals, s.baseUnits)
	if err != nil {
		return err
	}
	body.Amount = pointer(amount.String())
	return nil
}
