package registry

import (
	"net/netip"
	"slices"
	"time"
)

// Actor is who asks for a change; it is written into the change's audit entry.
type Actor struct {
	// UserID is the user's id; empty for the appliance itself.
	UserID string
	// Name is the person's one name, the same in charter, approvals and audit;
	// "system" for the appliance itself.
	Name string
	// CredentialID is the credential that was presented; empty for the
	// appliance itself.
	CredentialID string
	// RequestID, IP and UserAgent are the HTTP request's; empty outside one.
	RequestID, IP, UserAgent string
	// System is true for what the appliance does of its own accord: workers,
	// the follower, the first start.
	System bool
}

// SystemActor is the appliance itself.
func SystemActor() Actor { return Actor{Name: "system", System: true} }

// Type is the audit entry's actorType.
func (a Actor) Type() string {
	if a.System {
		return "system"
	}
	return "user"
}

// Principal is an authenticated caller and what its credential lets it do.
type Principal struct {
	Actor
	// Role is the user's built-in role.
	Role UserRole
	// Permissions are what the credential carries, never more than the role.
	Permissions []Permission
	// Fingerprints binds the credential to client certificates: lower-case hex
	// SHA-256 of the DER. Empty: any certificate.
	Fingerprints []string
	// CIDRs binds the credential to client addresses. Empty: any address.
	CIDRs []netip.Prefix
	// ExpiresAt is from when on the credential is refused; zero for never.
	ExpiresAt time.Time
}

// Allows tells whether the credential carries the permission.
func (p *Principal) Allows(want Permission) bool {
	return slices.ContainsFunc(p.Permissions, func(held Permission) bool { return held.Covers(want) })
}

// AllowsAny tells whether the credential carries one of the permissions.
func (p *Principal) AllowsAny(want ...Permission) bool { return slices.ContainsFunc(want, p.Allows) }

// Admits answers nil if the credential may be used over a connection with this
// client certificate (lower-case hex SHA-256 of its DER) from this address,
// and otherwise a refusal of type FORBIDDEN that says which of the two is not
// bound to it.
func (p *Principal) Admits(fingerprint string, from netip.Addr) error {
	if len(p.Fingerprints) > 0 && !slices.Contains(p.Fingerprints, fingerprint) {
		return Refuse(Forbidden, "credential %s is bound to other client certificates than %s", p.CredentialID, fingerprint)
	}
	from = from.Unmap()
	if len(p.CIDRs) > 0 && !slices.ContainsFunc(p.CIDRs, func(c netip.Prefix) bool { return c.Contains(from) }) {
		return Refuse(Forbidden, "credential %s is bound to other addresses than %s", p.CredentialID, from)
	}
	return nil
}
