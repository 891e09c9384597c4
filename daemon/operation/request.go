package operation

import (
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// PartyType says which field of a Party counts. The zero value is invalid.
type PartyType string

const (
	PartyAddress PartyType = "address"
	PartyWallet  PartyType = "walletId"
	PartyVault   PartyType = "vaultAccountId" // its oldest active wallet on the token's network
)

// Party names an account on the chain. Exactly the field that Type names is set.
type Party struct {
	Type           PartyType
	Address        string // as the caller wrote it
	WalletID       string
	VaultAccountID string
}

// Request is what a caller asks for. Fields that the type does not use are nil or empty; amounts and
// addresses are as the caller wrote them, for their refusal has its place in spec/api.md's order of checks.
type Request struct {
	Type        policy.OperationType
	TokenID     string
	Amount      *string // base units; nil: absent
	Recipient   *Party  // MINT, TRANSFER
	From        *Party  // BURN, TRANSFER
	Subject     *Party  // roles, freezing, allowlist
	Role        string  // GRANT_ROLE, REVOKE_ROLE
	PerformedBy *Party  // nil: the token's admin vault account
	Reason      string  // FREEZE, UNFREEZE: why, for the audit log
	FeeStrategy FeeStrategy
	Replaces    string        // a FAILED operation of the same token and type; empty: none
	IntentTTL   time.Duration // 0: the configured operation TTL

	// DEPLOY_TOKEN only.
	DeployerWalletID string // empty: the admin vault account's wallet
	ConstructorArgs  *ConstructorArgs
}

// ConstructorArgs repeat a token's own values; what is given must equal them, for approvers and binding go
// by the token.
type ConstructorArgs struct {
	Name, Symbol       *string
	Decimals           *int
	Cap, InitialSupply *string // base units
	Mintable, Burnable *bool
}
