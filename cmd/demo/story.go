package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mintwarden/mintwarden/api/client"
)

const (
	vault = "treasury"
	// unit is one EIT in base units: 18 decimals.
	unit = "000000000000000000"
)

// story is the main job while it is being told.
type story struct {
	ctx       context.Context
	appliance *appliance
	operator  *client.Client

	vault, partner *client.VaultAccount
	treasury, desk client.Wallet // of the two vaults
	token          *client.Token
	shown          bool // what an approver sees, once whole
}

func newStory(ctx context.Context, a *appliance) (*story, error) {
	operator, err := a.as("operator")
	if err != nil {
		return nil, err
	}
	return &story{ctx: ctx, appliance: a, operator: operator}, nil
}

func (s *story) close() { s.operator.Close() }

// tell does the main job step by step; the first figure that is not as
// expected ends it.
func (s *story) tell() error {
	for _, step := range []struct {
		title string
		do    func() error
	}{
		{"Vaults and their wallets (keys made in the HSM)", s.vaults},
		{"Create the token", s.create},
		{"Deploy it: two of three approvers", s.deploy},
		{"Mint 1,000 EIT: two of three", s.mint},
		{"The same request again, with the same Idempotency-Key", s.replay},
		{"Burn 500 EIT", s.burn},
		{"Grant MINTER to a second vault", s.grant},
		{"Revoke it", s.revoke},
		{"A mint that policy refuses", s.refused},
		{"A mint that an approver rejects", s.rejected},
		{"What the chain says now", s.table},
	} {
		heading(step.title)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", strings.ToLower(step.title[:1])+step.title[1:], err)
		}
	}
	return nil
}

func (s *story) vaults() error {
	for v, err := range s.operator.VaultAccounts(s.ctx) {
		if err != nil {
			return err
		}
		if v.Name == vault {
			s.vault = &v
		}
	}
	if s.vault == nil {
		return fmt.Errorf("no vault %q", vault)
	}
	for w, err := range s.operator.Wallets(s.ctx, s.vault.ID) {
		if err != nil {
			return err
		}
		s.treasury = w
	}
	say("%s %s, wallet %s (%s, %s)", s.vault.ID, s.vault.Name, s.treasury.Address, s.treasury.Scheme, s.treasury.Protection)
	var err error
	if s.partner, err = s.operator.CreateVaultAccount(s.ctx, client.VaultAccountCreate{Name: "minting-desk"}); err != nil {
		return err
	}
	w, err := s.operator.CreateWallet(s.ctx, s.partner.ID, client.WalletCreate{Network: s.treasury.Network})
	if err != nil {
		return err
	}
	s.desk = *w
	say("%s %s, wallet %s (%s, %s)", s.partner.ID, s.partner.Name, s.desk.Address, s.desk.Scheme, s.desk.Protection)
	return nil
}

func (s *story) create() error {
	var policy string
	for p, err := range s.operator.Policies(s.ctx) {
		if err != nil {
			return err
		}
		if p.Name == "dev-default" {
			policy = p.ID
		}
	}
	cap := "10000000" + unit
	var err error
	s.token, err = s.operator.CreateToken(s.ctx, client.TokenCreate{Standard: "QRC-20", TemplateID: "tpl_qrc20_v1",
		Name: "Example Institutional Token", Symbol: "EIT", Decimals: 18, Network: s.treasury.Network,
		SupplyPolicy: client.SupplyPolicy{Mintable: true, Burnable: true, MaxSupply: &cap},
		Admin:        client.TokenAdmin{VaultAccountID: s.vault.ID, ApprovalPolicyID: policy}})
	if err != nil {
		return err
	}
	say("%s %s (%s), status %s, policy %s", s.token.ID, s.token.Name, s.token.Symbol, s.token.Status, policy)
	return expect("status", string(s.token.Status), "DRAFT")
}

func (s *story) deploy() error {
	op, err := s.operator.DeployToken(s.ctx, s.token.ID, client.DeployRequest{})
	if err != nil {
		return err
	}
	if err := s.carry(op.OperationID, "approver-1", "approver-2"); err != nil {
		return err
	}
	d, err := s.operator.GetTokenDeployment(s.ctx, s.token.ID)
	if err != nil {
		return err
	}
	if d.ContractAddress == nil {
		return errors.New("deployed, and no contract address")
	}
	say("contract %s", *d.ContractAddress)
	return nil
}

const mintKey = "demo-mint-1"

func (s *story) mintRequest(tokens string) client.MintRequest {
	return client.MintRequest{Amount: tokens + unit, Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &s.treasury.ID}}
}

func (s *story) mint() error {
	op, err := s.operator.MintToken(s.ctx, s.token.ID, s.mintRequest("1000"), client.WithIdempotencyKey(mintKey))
	if err != nil {
		return err
	}
	if err := s.carry(op.OperationID, "approver-2", "approver-3"); err != nil {
		return err
	}
	return s.figures("1000", "1000")
}

func (s *story) replay() error {
	var replayed bool
	op, err := s.operator.MintToken(s.ctx, s.token.ID, s.mintRequest("1000"), client.WithIdempotencyKey(mintKey), client.WithReplayed(&replayed))
	if err != nil {
		return err
	}
	say("answered again: %s, status %s as it was then; nothing was executed", op.OperationID, op.Status)
	if !replayed {
		return errors.New("the answer was not a replay")
	}
	return s.figures("1000", "1000")
}

func (s *story) burn() error {
	op, err := s.operator.BurnToken(s.ctx, s.token.ID, client.BurnRequest{Amount: "500" + unit,
		From: client.Party{Type: client.PartyTypeWalletID, WalletID: &s.treasury.ID}})
	if err != nil {
		return err
	}
	if err := s.carry(op.OperationID, "approver-1", "approver-3"); err != nil {
		return err
	}
	return s.figures("500", "500")
}

func (s *story) roleChange() client.RoleChangeRequest {
	return client.RoleChangeRequest{Role: "MINTER", Subject: client.Party{Type: client.PartyTypeVaultAccountID, VaultAccountID: &s.partner.ID}}
}

func (s *story) grant() error {
	op, err := s.operator.GrantTokenRole(s.ctx, s.token.ID, s.roleChange())
	if err != nil {
		return err
	}
	if err := s.carry(op.OperationID, "approver-1", "approver-2"); err != nil {
		return err
	}
	return s.minters(s.treasury.Address, s.desk.Address)
}

func (s *story) revoke() error {
	op, err := s.operator.RevokeTokenRole(s.ctx, s.token.ID, s.roleChange())
	if err != nil {
		return err
	}
	if err := s.carry(op.OperationID, "approver-2", "approver-3"); err != nil {
		return err
	}
	return s.minters(s.treasury.Address)
}

func (s *story) refused() error {
	_, err := s.operator.MintToken(s.ctx, s.token.ID, s.mintRequest("2000000"))
	var refusal *client.Error
	if !errors.As(err, &refusal) {
		return fmt.Errorf("2,000,000 EIT above MAX_AMOUNT was not refused: %w", errors.Join(err, errors.New("no refusal")))
	}
	say("%d %s: %s", refusal.Code, refusal.Type, refusal.Message)
	return expect("error", refusal.Type, "POLICY_DENIED")
}

func (s *story) rejected() error {
	op, err := s.operator.MintToken(s.ctx, s.token.ID, s.mintRequest("250"))
	if err != nil {
		return err
	}
	say("%s asked for", op.OperationID)
	if _, err := s.appliance.cli(s.ctx, "reject", op.OperationID, "--reason", "not agreed with treasury", "--yes", "--as", "approver-2"); err != nil {
		return err
	}
	end, err := s.operator.WaitOperation(s.ctx, op.OperationID, client.Done, s.progress())
	if err != nil {
		return err
	}
	if err := expect("status", string(end.Status), "REJECTED"); err != nil {
		return err
	}
	return s.figures("500", "500")
}

// carry has approvers approve an operation at the CLI and watches it to its
// end, which must be COMPLETED.
func (s *story) carry(id string, approvers ...string) error {
	say("%s asked for", id)
	for _, a := range approvers {
		out, err := s.appliance.cli(s.ctx, "approve", id, "--yes", "--as", a)
		if err != nil {
			return err
		}
		s.approved(a, strings.TrimSpace(out))
	}
	end, err := s.operator.WaitOperation(s.ctx, id, client.Done, s.progress())
	if err != nil {
		return err
	}
	if end.FailureReason != nil {
		say("%s", *end.FailureReason)
	}
	return expect("status", string(end.Status), "COMPLETED")
}
