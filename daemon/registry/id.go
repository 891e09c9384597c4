package registry

// Prefixes of the ids that this package draws (spec: api, "Conventions").
const (
	tokenPrefix      = "token_"
	vaultPrefix      = "vault_"
	walletPrefix     = "wallet_"
	userPrefix       = "user_"
	credentialPrefix = "cred_"
	policyPrefix     = "pol_"
)
