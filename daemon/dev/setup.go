package dev

import (
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

const (
	vaultName     = "treasury"
	policyName    = "dev-default"
	approverGroup = "approvers"
	// maxAmount and dailyLimit of dev-default, in base units: 1 and 10 million tokens of 18 decimals.
	maxAmount  = "1000000000000000000000000"
	dailyLimit = "10000000000000000000000000"
)

// setUp makes what a newcomer finds: a vault with a wallet, and a policy in
// force. It asks the API like everybody else and makes only what is missing,
// so a start that follows a crash goes on.
func (a *appliance) setUp(ctx context.Context, url string) error {
	operator, err := a.as("operator", url)
	if err != nil {
		return err
	}
	defer operator.Close()
	if err := a.makeVault(ctx, operator); err != nil {
		return fmt.Errorf("dev: vault %s: %w", vaultName, err)
	}
	if err := a.makePolicy(ctx, operator, url); err != nil {
		return fmt.Errorf("dev: policy %s: %w", policyName, err)
	}
	return nil
}

// as is a client that calls as one of the demo identities.
func (d *directory) as(name, url string) (*client.Client, error) {
	for _, i := range identities() {
		if i.name != name {
			continue
		}
		c, err := client.New(client.Config{URL: url, CAFile: d.path("tls", "pq", "ca.crt"), CertFile: d.path("tls", "pq", "client.crt"),
			KeyFile: d.path("tls", "pq", "client.key"), APIKeyFile: d.path(i.files + ".apikey"), UserAgent: "mintwardend-dev",
			Poll: 50 * time.Millisecond})
		if err != nil {
			return nil, fmt.Errorf("dev: %w", err)
		}
		return c, nil
	}
	return nil, fmt.Errorf("dev: no identity %q", name)
}

func (a *appliance) makeVault(ctx context.Context, operator *client.Client) error {
	var vault *client.VaultAccount
	for v, err := range operator.VaultAccounts(ctx) {
		if err != nil {
			return err
		}
		if v.Name == vaultName {
			vault = &v
		}
	}
	if vault == nil {
		made, err := operator.CreateVaultAccount(ctx, client.VaultAccountCreate{Name: vaultName}, client.WithIdempotencyKey("dev-vault"))
		if err != nil {
			return err
		}
		vault = made
	}
	for _, err := range operator.Wallets(ctx, vault.ID) {
		return err // nil: it has one
	}
	label := vaultName
	_, err := operator.CreateWallet(ctx, vault.ID, client.WalletCreate{Network: a.network.Name, Label: &label},
		client.WithIdempotencyKey("dev-wallet"))
	return err
}

func (a *appliance) makePolicy(ctx context.Context, operator *client.Client, url string) error {
	var proposed *client.Policy
	for p, err := range operator.Policies(ctx) {
		if err != nil {
			return err
		}
		if p.Name != policyName {
			continue
		}
		if p.Status == client.PolicyStatusACTIVE {
			return nil
		}
		proposed = &p
	}
	if proposed == nil {
		made, err := operator.CreatePolicy(ctx, defaultPolicy(), client.WithIdempotencyKey("dev-policy"))
		if err != nil {
			return err
		}
		proposed = made
	}
	for _, i := range signing(registry.Custodian) {
		if proposed.Status == client.PolicyStatusACTIVE {
			return nil
		}
		signed, err := a.signPolicy(ctx, i, proposed, url)
		var refused *client.Error
		if errors.As(err, &refused) && refused.Type == "APPROVAL_DUPLICATE" {
			continue // signed before the crash
		}
		if err != nil {
			return fmt.Errorf("%s: %w", i.name, err)
		}
		proposed = signed
	}
	if proposed.Status != client.PolicyStatusACTIVE {
		return fmt.Errorf("it is %s after every custodian signed it", proposed.Status)
	}
	return nil
}

func (a *appliance) signPolicy(ctx context.Context, i identity, p *client.Policy, url string) (*client.Policy, error) {
	s, err := a.signer(i)
	if err != nil {
		return nil, err
	}
	e, err := policy.Sign(policy.PayloadType("policy"), p.Document, s)
	if err != nil {
		return nil, err
	}
	var wire client.Envelope
	if err := json.Unmarshal(e.Encode(), &wire); err != nil {
		return nil, err
	}
	c, err := a.as(i.name, url)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.SignPolicy(ctx, p.ID, client.EnvelopeRequest{Envelope: wire})
}

// defaultPolicy is dev-default: it asks two of the three approvers and bounds
// amounts, so that a newcomer sees each kind of answer.
func defaultPolicy() client.PolicyWrite {
	two, group, most, daily, start, end := 2, approverGroup, maxAmount, dailyLimit, "00:00", "24:00"
	days := []client.PolicyRuleDays{client.PolicyRuleDaysMON, client.PolicyRuleDaysTUE, client.PolicyRuleDaysWED,
		client.PolicyRuleDaysTHU, client.PolicyRuleDaysFRI, client.PolicyRuleDaysSAT, client.PolicyRuleDaysSUN}
	return client.PolicyWrite{Name: policyName, Rules: []client.PolicyRule{
		{Type: client.PolicyRuleTypeREQUIREAPPROVAL, MinApprovers: &two, ApproverGroup: &group},
		{Type: client.PolicyRuleTypeMAXAMOUNT, Amount: &most},
		{Type: client.PolicyRuleTypeDAILYLIMIT, Amount: &daily},
		{Type: client.PolicyRuleTypeTIMEWINDOW, Days: &days, Start: &start, End: &end},
	}}
}
