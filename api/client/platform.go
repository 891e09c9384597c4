package client

// Calls about vault accounts, wallets, policies, people and the logs.

import (
	"context"
	"net/http"
)

// CreateVaultAccount makes a vault account.
func (c *Client) CreateVaultAccount(ctx context.Context, body VaultAccountCreate, opts ...Option) (*VaultAccount, error) {
	return call[VaultAccount](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreateVaultAccountRequest(c.server, nil, body)
	})
}

// ListVaultAccounts answers one page of the vault accounts, newest first.
func (c *Client) ListVaultAccounts(ctx context.Context, params ListVaultAccountsParams) (*VaultAccountList, error) {
	return call[VaultAccountList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListVaultAccountsRequest(c.server, &params)
	})
}

// GetVaultAccount answers one vault account.
func (c *Client) GetVaultAccount(ctx context.Context, vaultAccountID string) (*VaultAccount, error) {
	return call[VaultAccount](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetVaultAccountRequest(c.server, vaultAccountID)
	})
}

// CreateWallet makes a wallet, whose key is made in the HSM.
func (c *Client) CreateWallet(ctx context.Context, vaultAccountID string, body WalletCreate, opts ...Option) (*Wallet, error) {
	return call[Wallet](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreateWalletRequest(c.server, vaultAccountID, nil, body)
	})
}

// ListWallets answers one page of a vault account's wallets, newest first.
func (c *Client) ListWallets(ctx context.Context, vaultAccountID string, params ListWalletsParams) (*WalletList, error) {
	return call[WalletList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListWalletsRequest(c.server, vaultAccountID, &params)
	})
}

// GetWallet answers one wallet.
func (c *Client) GetWallet(ctx context.Context, walletID string) (*Wallet, error) {
	return call[Wallet](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetWalletRequest(c.server, walletID)
	})
}

// GetWalletBalance answers a wallet's balance in its network's own currency.
func (c *Client) GetWalletBalance(ctx context.Context, walletID string) (*WalletBalance, error) {
	return call[WalletBalance](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetWalletBalanceRequest(c.server, walletID)
	})
}

// CreatePolicy proposes a new policy.
func (c *Client) CreatePolicy(ctx context.Context, body PolicyWrite, opts ...Option) (*Policy, error) {
	return call[Policy](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreatePolicyRequest(c.server, nil, body)
	})
}

// ListPolicies answers one page of the policies, newest first.
func (c *Client) ListPolicies(ctx context.Context, params ListPoliciesParams) (*PolicyList, error) {
	return call[PolicyList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListPoliciesRequest(c.server, &params)
	})
}

// GetPolicy answers one policy: the version in force with its open proposals.
func (c *Client) GetPolicy(ctx context.Context, policyID string) (*Policy, error) {
	return call[Policy](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetPolicyRequest(c.server, policyID)
	})
}

// ProposePolicyVersion proposes a policy's next version.
func (c *Client) ProposePolicyVersion(ctx context.Context, policyID string, body PolicyWrite, opts ...Option) (*Policy, error) {
	return call[Policy](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewProposePolicyVersionRequest(c.server, policyID, nil, body)
	})
}

// WithdrawPolicy withdraws a policy's open proposals, or proposes to retire it.
func (c *Client) WithdrawPolicy(ctx context.Context, policyID string, opts ...Option) (*Policy, error) {
	return call[Policy](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewWithdrawPolicyRequest(c.server, policyID, nil)
	})
}

// SignPolicy adds a custodian's signature to a proposal.
func (c *Client) SignPolicy(ctx context.Context, policyID string, body EnvelopeRequest, opts ...Option) (*Policy, error) {
	return call[Policy](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewSignPolicyRequest(c.server, policyID, nil, body)
	})
}

// SimulatePolicy asks what the policies would say of an operation that nobody asked for.
func (c *Client) SimulatePolicy(ctx context.Context, policyID string, body SimulationRequest, opts ...Option) (*Simulation, error) {
	return call[Simulation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewSimulatePolicyRequest(c.server, policyID, nil, body)
	})
}

// GetCharter answers the charter in force.
func (c *Client) GetCharter(ctx context.Context) (*Charter, error) {
	return call[Charter](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetCharterRequest(c.server)
	})
}

// GetLedger answers a run of ledger batches.
func (c *Client) GetLedger(ctx context.Context, params GetLedgerParams) (*LedgerPage, error) {
	return call[LedgerPage](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetLedgerRequest(c.server, &params)
	})
}

// GetLedgerSnapshot answers one part of the snapshot that GetLedger names where the ledger's beginning is in the
// archive only.
func (c *Client) GetLedgerSnapshot(ctx context.Context, params GetLedgerSnapshotParams) (*LedgerSnapshotPart, error) {
	return call[LedgerSnapshotPart](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetLedgerSnapshotRequest(c.server, &params)
	})
}

// GetSeal answers the state of the seal.
func (c *Client) GetSeal(ctx context.Context) (*Seal, error) {
	return call[Seal](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetSealRequest(c.server)
	})
}

// ProposeCharter proposes the charter that follows the one in force.
func (c *Client) ProposeCharter(ctx context.Context, body CharterWrite, opts ...Option) (*Charter, error) {
	return call[Charter](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewProposeCharterRequest(c.server, nil, body)
	})
}

// SignCharter adds a custodian's signature to a proposed charter.
func (c *Client) SignCharter(ctx context.Context, body EnvelopeRequest, opts ...Option) (*Charter, error) {
	return call[Charter](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewSignCharterRequest(c.server, nil, body)
	})
}

// UnsealSeal hands in one custodian's share, which only the seal can read.
func (c *Client) UnsealSeal(ctx context.Context, body EnvelopeRequest, opts ...Option) (*Seal, error) {
	return call[Seal](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewUnsealSealRequest(c.server, nil, body)
	})
}

// SealSeal seals the appliance at once, on a custodian's signed document.
func (c *Client) SealSeal(ctx context.Context, body EnvelopeRequest, opts ...Option) (*Seal, error) {
	return call[Seal](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewSealSealRequest(c.server, nil, body)
	})
}

// Freeze stops a token, a person or an appliance on a custodian's signed document, or lets it go on on the
// threshold's.
func (c *Client) Freeze(ctx context.Context, body EnvelopeRequest, opts ...Option) (*Frozen, error) {
	return call[Frozen](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewFreezeRequest(c.server, nil, body)
	})
}

// ListUsers answers one page of the users, newest first.
func (c *Client) ListUsers(ctx context.Context, params ListUsersParams) (*UserList, error) {
	return call[UserList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListUsersRequest(c.server, &params)
	})
}

// CreateUser makes a user.
func (c *Client) CreateUser(ctx context.Context, body UserCreate, opts ...Option) (*User, error) {
	return call[User](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreateUserRequest(c.server, nil, body)
	})
}

// GetUser answers one user.
func (c *Client) GetUser(ctx context.Context, userID string) (*User, error) {
	return call[User](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetUserRequest(c.server, userID)
	})
}

// ListCredentials answers one page of the API keys, without their secrets.
func (c *Client) ListCredentials(ctx context.Context, params ListCredentialsParams) (*CredentialList, error) {
	return call[CredentialList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListCredentialsRequest(c.server, &params)
	})
}

// CreateCredential makes an API key. Only a first answer holds its secret: if Key is nil, an earlier answer was
// lost; revoke the key and make another.
func (c *Client) CreateCredential(ctx context.Context, body CredentialCreate, opts ...Option) (*CredentialCreated, error) {
	return call[CredentialCreated](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreateCredentialRequest(c.server, nil, body)
	})
}

// RevokeCredential revokes an API key.
func (c *Client) RevokeCredential(ctx context.Context, credentialID string, opts ...Option) (*Credential, error) {
	return call[Credential](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRevokeCredentialRequest(c.server, credentialID, nil)
	})
}

// ListAuditEntries answers one page of the audit log, newest first.
func (c *Client) ListAuditEntries(ctx context.Context, params ListAuditEntriesParams) (*AuditEntryList, error) {
	return call[AuditEntryList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListAuditEntriesRequest(c.server, &params)
	})
}

// VerifyAudit has the appliance check its whole audit log.
func (c *Client) VerifyAudit(ctx context.Context) (*AuditVerification, error) {
	return call[AuditVerification](ctx, c, read, nil, func() (*http.Request, error) {
		return NewVerifyAuditRequest(c.server)
	})
}
