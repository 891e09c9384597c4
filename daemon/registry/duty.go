package registry

import "slices"

// A duty is a part in the appliance's work that no one who has another part may
// have too: who asks for an operation does not approve it, and who hands out
// rights has none of those that move tokens. The zero value is no duty: reading,
// proposing, exporting, webhooks.
type duty string

const (
	noDuty      duty = ""
	asks        duty = "ask for operations"
	approves    duty = "approve operations"
	governs     duty = "sign policies and charter or work the seal"
	administers duty = "administer users, roles and credentials"
)

var duties = map[Permission]duty{
	TokensCreate: asks, TokensDeploy: asks, TokensMint: asks, TokensBurn: asks, TokensTransfer: asks,
	TokensRolesGrant: asks, TokensRolesRevoke: asks, TokensPause: asks, TokensFreeze: asks,
	TokensAllowlistWrite: asks, TransactionsCreate: asks,

	TransactionsApprove: approves,

	PoliciesSign: governs, CharterSign: governs, SealUnseal: governs, SealSeal: governs, SealFreeze: governs,

	UsersWrite: administers, RolesWrite: administers, CredentialsCreate: administers,
	CredentialsRotate: administers, CredentialsRevoke: administers,
}

// The rules of who may have and give which rights. A refusal's details name the
// one that it rests on as "rule".
const (
	// RuleDuties: a role carries one duty at most.
	RuleDuties = "SEPARATION_OF_DUTIES"
	// RuleHeld: nobody gives what he does not have. Whoever may write roles
	// appoints others to duties that he himself is kept from.
	RuleHeld = "PERMISSION_NOT_HELD"
	// RuleSelf: nobody changes his own role or status, or draws himself a key
	// that carries more, is bound less or lives longer than the one that he shows.
	RuleSelf = "NOT_ONESELF"
	// RuleLastAdmin: there is always an active admin with a key that works.
	RuleLastAdmin = "LAST_ADMIN"
)

// against refuses what a rule of rights forbids.
func against(rule, format string, args ...any) *Refusal {
	r := Refuse(Forbidden, format, args...)
	r.Details = map[string]any{"rule": rule}
	return r
}

// oneDuty refuses permissions that are of two duties.
func oneDuty(role string, held []Permission) error {
	var first Permission
	for _, p := range expand(held) {
		d := duties[p]
		switch {
		case d == noDuty:
		case first == "":
			first = p
		case duties[first] != d:
			return against(RuleDuties, "role %s would both %s (%s) and %s (%s); duties are separate: make two roles and give them to two users",
				role, duties[first], first, d, p)
		}
	}
	return nil
}

// mayGive refuses permissions that the caller cannot give to others: he has
// them himself, or he may write roles and they belong to a duty that is not his.
// The right to administer is given only by who has it.
func (p *Principal) mayGive(what string, given []Permission) error {
	appoints := p.Allows(RolesWrite)
	for _, g := range expand(given) {
		if p.Allows(g) || appoints && duties[g] != administers {
			continue
		}
		return against(RuleHeld, "%s carries %s, which credential %s of %s does not; nobody gives what he does not have", what, g, p.CredentialID, p.Name)
	}
	return nil
}

// mayTake refuses to take from others the right to administer where the caller
// does not have it.
func (p *Principal) mayTake(what string, taken []Permission) error {
	i := slices.IndexFunc(expand(taken), func(t Permission) bool { return duties[t] == administers && !p.Allows(t) })
	if i < 0 {
		return nil
	}
	return against(RuleHeld, "%s carries %s, which credential %s of %s does not; who administers is changed by who may do as much", what, expand(taken)[i], p.CredentialID, p.Name)
}
