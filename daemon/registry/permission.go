package registry

import (
	"slices"
	"strings"
)

// Permission is what a credential lets its holder ask for: "resource:verb",
// or "resource:part:verb". A held permission may end in "*", which covers
// everything below it, or begin with "*", which covers every resource.
type Permission string

// The permissions that routes ask for (spec: api, "Token resources" and
// "Platform resources").
const (
	TokensRead           Permission = "tokens:read"
	TokensCreate         Permission = "tokens:create"
	TokensDeploy         Permission = "tokens:deploy"
	TokensMint           Permission = "tokens:mint"
	TokensBurn           Permission = "tokens:burn"
	TokensTransfer       Permission = "tokens:transfer"
	TokensRolesGrant     Permission = "tokens:roles:grant"
	TokensRolesRevoke    Permission = "tokens:roles:revoke"
	TokensPause          Permission = "tokens:pause"
	TokensFreeze         Permission = "tokens:freeze"
	TokensAllowlistWrite Permission = "tokens:allowlist:write"

	VaultsRead          Permission = "vaults:read"
	VaultsCreate        Permission = "vaults:create"
	WalletsRead         Permission = "wallets:read"
	WalletsCreate       Permission = "wallets:create"
	TransactionsRead    Permission = "transactions:read"
	TransactionsCreate  Permission = "transactions:create"
	TransactionsApprove Permission = "transactions:approve"
	TransactionsExport  Permission = "transactions:export"
	PoliciesRead        Permission = "policies:read"
	PoliciesPropose     Permission = "policies:propose"
	PoliciesSign        Permission = "policies:sign"
	CharterRead         Permission = "charter:read"
	CharterPropose      Permission = "charter:propose"
	CharterSign         Permission = "charter:sign"
	SealRead            Permission = "seal:read"
	SealUnseal          Permission = "seal:unseal"
	SealSeal            Permission = "seal:seal"
	SealFreeze          Permission = "seal:freeze"
	UsersRead           Permission = "users:read"
	UsersWrite          Permission = "users:write"
	RolesRead           Permission = "roles:read"
	RolesWrite          Permission = "roles:write"
	CredentialsRead     Permission = "credentials:read"
	CredentialsCreate   Permission = "credentials:create"
	CredentialsRotate   Permission = "credentials:rotate"
	CredentialsRevoke   Permission = "credentials:revoke"
	WebhooksRead        Permission = "webhooks:read"
	WebhooksWrite       Permission = "webhooks:write"
	AuditRead           Permission = "audit:read"
)

// permissions is every permission that a route asks for, so that a misspelt
// one is refused when a credential is made and not when it is first missed.
var permissions = []Permission{
	TokensRead, TokensCreate, TokensDeploy, TokensMint, TokensBurn, TokensTransfer, TokensRolesGrant,
	TokensRolesRevoke, TokensPause, TokensFreeze, TokensAllowlistWrite, VaultsRead, VaultsCreate,
	WalletsRead, WalletsCreate, TransactionsRead, TransactionsCreate, TransactionsApprove,
	TransactionsExport, PoliciesRead, PoliciesPropose, PoliciesSign, CharterRead, CharterPropose,
	CharterSign, SealRead, SealUnseal, SealSeal, SealFreeze, UsersRead, UsersWrite, RolesRead,
	RolesWrite, CredentialsRead, CredentialsCreate, CredentialsRotate, CredentialsRevoke, WebhooksRead,
	WebhooksWrite, AuditRead,
}

// Covers tells whether holding p is enough where want is asked for; want may
// itself be a wildcard, and is covered only as a whole.
func (p Permission) Covers(want Permission) bool {
	if p == want {
		return true
	}
	held, asked := strings.Split(string(p), ":"), strings.Split(string(want), ":")
	for i, h := range held {
		if h == "*" && i > 0 && i == len(held)-1 {
			return len(asked) > i
		}
		if i >= len(asked) || h != asked[i] && (h != "*" || i > 0) {
			return false
		}
	}
	return len(held) == len(asked)
}

// Valid tells whether p is a permission that a route asks for, or a wildcard
// over at least one of them.
func (p Permission) Valid() bool { return slices.ContainsFunc(permissions, p.Covers) }

// covers tells whether one of the permissions held is enough for want.
func covers(held []Permission, want Permission) bool {
	return slices.ContainsFunc(held, func(p Permission) bool { return p.Covers(want) })
}

// expand is every permission that a route asks for and that held covers.
func expand(held []Permission) []Permission {
	var all []Permission
	for _, p := range permissions {
		if covers(held, p) {
			all = append(all, p)
		}
	}
	return all
}

// UserRole names a role: a set of permissions that users are given. Its methods
// know the built-in ones; those that an organization made for itself are the
// store's (see [Role]).
type UserRole string

// The built-in roles.
const (
	Viewer            UserRole = "viewer"
	Operator          UserRole = "operator"
	Approver          UserRole = "approver"
	Custodian         UserRole = "custodian"
	Admin             UserRole = "admin"
	ComplianceOfficer UserRole = "compliance_officer"
)

var rolePermissions = map[UserRole][]Permission{
	Viewer:            nil,
	Operator:          {"tokens:*", "vaults:*", "wallets:*", TransactionsCreate, PoliciesPropose},
	Approver:          {TransactionsApprove},
	Custodian:         {"policies:*", "charter:*", "seal:*"},
	Admin:             {"users:*", "roles:*", "credentials:*", "webhooks:*", "vaults:*", "wallets:*", PoliciesPropose, CharterPropose},
	ComplianceOfficer: {TokensFreeze, TokensAllowlistWrite, TransactionsExport},
}

// UserRoles lists the built-in roles by name.
func UserRoles() []UserRole {
	return []UserRole{Admin, Approver, ComplianceOfficer, Custodian, Operator, Viewer}
}

// Valid tells whether r is a built-in role.
func (r UserRole) Valid() bool { _, ok := rolePermissions[r]; return ok }

// Permissions are what the role carries; every role has the viewer's too. An
// invalid role carries nothing.
func (r UserRole) Permissions() []Permission {
	own, ok := rolePermissions[r]
	if !ok {
		return nil
	}
	return append([]Permission{"*:read"}, own...)
}
