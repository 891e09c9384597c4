package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// privileged is what every request has that needs approvals.
type privileged struct {
	performedBy, fee, replaces, key string
	wait                            bool
	sign                            consent
	asked                           expectation
}

func (p *privileged) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&p.performedBy, "performed-by", "", "wallet or vault that sends it (default: the token's vault)")
	f.StringVar(&p.fee, "fee", "MEDIUM", "fee strategy: LOW, MEDIUM or HIGH")
	f.StringVar(&p.replaces, "replaces", "", "a FAILED operation that this one does again, op_…")
	p.signFlags(cmd)
}

// signFlags are those of a request whose body is nothing to speak of.
func (p *privileged) signFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	keyFlag(f, &p.key)
	f.StringVar(&p.sign.key, "key", "", "your signing key, a PEM file or a pkcs11: URI, where the charter wants the requester's signature")
	f.BoolVar(&p.sign.yes, "yes", false, "sign without asking, if the appliance made of it just what you typed")
	f.BoolVar(&p.wait, "wait", false, "watch the operation to its end; exit code 6 if that is not COMPLETED")
}

func (p *privileged) check() error {
	switch client.FeeStrategy(p.fee) {
	case "", client.FeeStrategyLOW, client.FeeStrategyMEDIUM, client.FeeStrategyHIGH:
	default:
		return usagef("--fee %q: want LOW, MEDIUM or HIGH", p.fee)
	}
	if p.replaces != "" {
		return checkID("op", p.replaces)
	}
	return nil
}

// accepted shows what the API made of a request, and follows it if asked to.
func (c *cli) accepted(ctx context.Context, p *privileged, answer any, id string, replayed bool) error {
	if err := answered("op", id); err != nil {
		return err
	}
	var op *client.Operation
	if !c.json || p.sign.key != "" {
		var err error
		if op, err = c.signIfWanted(ctx, p, id); err != nil {
			return err
		}
	}
	if c.json && p.wait {
		return c.watch(ctx, id, nil)
	}
	if c.json {
		return c.showJSON(answer)
	}
	n := c.names(ctx)
	if p.wait {
		c.say("%s", id)
	} else {
		c.table(operationRows(ctx, n, op))
	}
	if replayed {
		c.say("This idempotency key was answered before; nothing was asked for again.")
	}
	c.waitsForApprovers(n, op)
	if p.wait {
		return c.watch(ctx, id, nil)
	}
	return nil
}

// signIfWanted signs an operation that was just asked for, where the charter wants
// that and a key is there. Who has none here is told how to do it later.
func (c *cli) signIfWanted(ctx context.Context, p *privileged, id string) (*client.Operation, error) {
	op, err := c.operation(ctx, id)
	if err != nil || !c.requestWanted(ctx, op) {
		return op, err
	}
	if p.sign.key != "" || c.as != "" {
		signed, err := c.signRequest(ctx, &p.sign, op, &p.asked)
		if err == nil {
			return signed, nil
		}
		return nil, fmt.Errorf("%s was asked for and is not signed: %w", id, err)
	}
	c.err.printf("The charter wants your own signature; until then nobody can approve it:\n  mintwarden operation sign %s --key FILE\n", id)
	return op, nil
}

// waitsForApprovers says who has to approve an operation, and how.
func (c *cli) waitsForApprovers(n *names, op *client.Operation) {
	if op.Status != client.OperationStatusPENDINGAUTHORIZATION {
		return
	}
	missing := op.RequiredApprovals - len(op.ApprovedBy)
	c.say("It waits for %s of %s:", count(missing, "approval"), text(op.ApprovalGroup))
	var members []string
	if n.fold != nil {
		charter, _ := n.fold.Charter()
		for group := range strings.SplitSeq(text(op.ApprovalGroup), ", ") {
			of, _ := charter.Group(group)
			members = append(members, of...)
		}
	}
	for _, line := range c.toPaste(n.fold, "mintwarden approve "+op.OperationID, members, append(op.ApprovedBy, op.RequestedBy), missing) {
		c.say("  %s", line)
	}
}

// inTokens is an error with the token's amounts in whole tokens, if it is a
// refusal that holds any.
func (c *cli) inTokens(ctx context.Context, err error, tokenID string) error {
	var no *client.Error
	if !errors.As(err, &no) || len(amountsOf(no.Type, no.Details)) == 0 || c.json {
		return err
	}
	t, unknown := c.api.GetToken(ctx, tokenID)
	if unknown != nil {
		return err
	}
	return &unitsError{no, unit{t.Symbol, t.Decimals}}
}

// request is the frame of a privileged request on a token: checks, client,
// performer, then the call itself.
func (c *cli) request(ctx context.Context, p *privileged, operation policy.OperationType, tokenID string,
	call func(api *client.Client, by *client.Performer, opts []client.Option) (answer any, id string, err error)) error {
	if err := checkID("token", tokenID); err != nil {
		return err
	}
	if err := p.check(); err != nil {
		return err
	}
	p.asked.operation, p.asked.token, p.asked.replaces = operation, tokenID, p.replaces
	api, err := c.connect()
	if err != nil {
		return err
	}
	by, err := c.performer(ctx, api, p.performedBy)
	if err != nil {
		return err
	}
	if by != nil {
		p.asked.performer = client.Party{Type: client.PartyType(by.Type), WalletID: by.WalletID, VaultAccountID: by.VaultAccountID}
		p.asked.names(p.performedBy)
	}
	var replayed bool
	answer, id, err := call(api, by, append(keyed(p.key), client.WithReplayed(&replayed)))
	if err != nil {
		return c.inTokens(ctx, err, tokenID)
	}
	return c.accepted(ctx, p, answer, id, replayed)
}

func (c *cli) tokenDeploy() *cobra.Command {
	var p privileged
	cmd := &cobra.Command{
		Use: "deploy TOKEN", Short: "Ask for a token's deployment", Example: "  mintwarden token deploy token_01J…",
		Args: exactly(1, "one token id, token_…"),
	}
	p.flags(cmd)
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.request(ctx, &p, policy.OpDeployToken, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			body := client.DeployRequest{FeeStrategy: pointer(client.FeeStrategy(p.fee)), Replaces: pointer(p.replaces), PerformedBy: by}
			if by != nil && by.WalletID != nil { // a deployment names its wallet in a field of its own
				body.DeployerWalletID, body.PerformedBy = by.WalletID, nil
			}
			a, err := api.DeployToken(ctx, args[0], body, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

// supplyChange is what mint and burn are told.
type supplyChange struct {
	privileged
	amount, party string
	baseUnits     bool
}

func (s *supplyChange) flags(cmd *cobra.Command, partyFlag, whose string) {
	s.privileged.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&s.amount, "amount", "", "how many tokens, such as 1000 or 0.5")
	f.BoolVar(&s.baseUnits, "base-units", false, "the amount is in base units, not in tokens")
	f.StringVar(&s.party, partyFlag, "", whose+": 0x…, wallet_…, vault_… or a vault's name")
	required(cmd, "amount", partyFlag)
}

// values reads the amount, which needs the token's decimals, and the party.
func (s *supplyChange) values(ctx context.Context, c *cli, api *client.Client, tokenID string) (string, client.Party, error) {
	decimals := 0
	if !s.baseUnits {
		t, err := api.GetToken(ctx, tokenID)
		if err != nil {
			return "", client.Party{}, err
		}
		decimals = t.Decimals
		s.asked.decimals = &decimals
	}
	amount, err := baseUnits("amount", s.amount, decimals, s.baseUnits)
	if err != nil {
		return "", client.Party{}, err
	}
	party, err := c.party(ctx, api, s.party)
	s.asked.amount, s.asked.party = amount.String(), party
	s.asked.names(s.party)
	return amount.String(), party, err
}

func (c *cli) tokenMint() *cobra.Command {
	var s supplyChange
	cmd := &cobra.Command{
		Use: "mint TOKEN --amount TOKENS --to PARTY", Short: "Ask for new tokens",
		Example: `  mintwarden token mint token_01J… --amount 1000 --to treasury
  mintwarden token mint token_01J… --amount 0.5 --to 0x… --wait`,
		Args: exactly(1, "one token id, token_…"),
	}
	s.flags(cmd, "to", "who gets them")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.request(ctx, &s.privileged, policy.OpMint, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			amount, to, err := s.values(ctx, c, api, args[0])
			if err != nil {
				return nil, "", err
			}
			a, err := api.MintToken(ctx, args[0], client.MintRequest{Amount: amount, Recipient: to, FeeStrategy: pointer(client.FeeStrategy(s.fee)),
				Replaces: pointer(s.replaces), PerformedBy: by}, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

func (c *cli) tokenBurn() *cobra.Command {
	var s supplyChange
	cmd := &cobra.Command{
		Use: "burn TOKEN --amount TOKENS --from PARTY", Short: "Ask for tokens to be burned",
		Example: "  mintwarden token burn token_01J… --amount 500 --from treasury",
		Args:    exactly(1, "one token id, token_…"),
	}
	s.flags(cmd, "from", "whose they are")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		return c.request(ctx, &s.privileged, policy.OpBurn, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			amount, from, err := s.values(ctx, c, api, args[0])
			if err != nil {
				return nil, "", err
			}
			a, err := api.BurnToken(ctx, args[0], client.BurnRequest{Amount: amount, From: from, FeeStrategy: pointer(client.FeeStrategy(s.fee)),
				Replaces: pointer(s.replaces), PerformedBy: by}, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

// tokenRole is grant or revoke; partyFlag reads well with the verb.
func (c *cli) tokenRole(verb, partyFlag string) *cobra.Command {
	var p privileged
	var role, party, subject string
	cmd := &cobra.Command{
		Use:     fmt.Sprintf("%s TOKEN --role ROLE --%s PARTY", verb, partyFlag),
		Short:   map[string]string{"grant": "Ask for a role to be granted", "revoke": "Ask for a role to be revoked"}[verb],
		Example: fmt.Sprintf("  mintwarden token %s token_01J… --role MINTER --%s minting-desk", verb, partyFlag),
		Args:    exactly(1, "one token id, token_…"),
	}
	p.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&role, "role", "", "a role of the token's template, such as "+list(roles()))
	f.StringVar(&party, partyFlag, "", "whose role it is: 0x…, wallet_…, vault_… or a vault's name")
	f.StringVar(&subject, "subject", "", "the same as --"+partyFlag)
	required(cmd, "role")
	cmd.MarkFlagsOneRequired(partyFlag, "subject")
	cmd.MarkFlagsMutuallyExclusive(partyFlag, "subject")
	return c.leaf(cmd, func(ctx context.Context, args []string) error {
		operation := map[string]policy.OperationType{"grant": policy.OpGrantRole, "revoke": policy.OpRevokeRole}[verb]
		return c.request(ctx, &p, operation, args[0], func(api *client.Client, by *client.Performer, opts []client.Option) (any, string, error) {
			who, err := c.party(ctx, api, party+subject)
			if err != nil {
				return nil, "", err
			}
			p.asked.role, p.asked.party = role, who
			p.asked.names(party + subject)
			body := client.RoleChangeRequest{Role: client.Role(role), Subject: who, FeeStrategy: pointer(client.FeeStrategy(p.fee)),
				Replaces: pointer(p.replaces), PerformedBy: by}
			change := api.GrantTokenRole
			if verb == "revoke" {
				change = api.RevokeTokenRole
			}
			a, err := change(ctx, args[0], body, opts...)
			if err != nil {
				return nil, "", err
			}
			return a, a.OperationID, nil
		})
	})
}

func limitFlag(cmd *cobra.Command, limit *int) {
	cmd.Flags().IntVar(limit, "limit", 50, "at most so many; 0: all")
}

// upTo takes the first items of a list; a limit of 0 takes all.
func upTo[T any](limit int, items iter.Seq2[T, error]) ([]T, error) {
	if limit < 0 {
		return nil, usagef("--limit %d: want 0 or more", limit)
	}
	all := []T{}
	for item, err := range items {
		if err != nil {
			return nil, err
		}
		if all = append(all, item); len(all) == limit {
			break
		}
	}
	return all, nil
}
