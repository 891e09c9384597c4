package registry_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

func TestPermissionCovers(t *testing.T) {
	for _, c := range []struct {
		held, want registry.Permission
		covers     bool
	}{
		{"tokens:mint", "tokens:mint", true},
		{"tokens:mint", "tokens:burn", false},
		{"tokens:*", "tokens:mint", true},
		{"tokens:*", "tokens:roles:grant", true},
		{"tokens:roles:*", "tokens:roles:grant", true},
		{"tokens:roles:*", "tokens:mint", false},
		{"tokens:*", "tokens", false},
		{"tokens:*", "vaults:read", false},
		{"*:read", "audit:read", true},
		{"*:read", "tokens:create", false},
		{"*:read", "tokens:roles:read", false},
		{"tokens:read", "tokens:*", false},
		{"tokens:*", "tokens:roles:*", true},
		{"tokens", "tokens:read", false},
		{"tokens:read:more", "tokens:read", false},
		{"", "tokens:read", false},
	} {
		require.Equalf(t, c.covers, c.held.Covers(c.want), "%q covers %q", c.held, c.want)
	}
}

func TestRolesCarryWhatTheSpecSays(t *testing.T) {
	has := func(r registry.UserRole, p registry.Permission) bool {
		return (&registry.Principal{Permissions: r.Permissions()}).Allows(p)
	}
	for _, r := range registry.UserRoles() {
		require.Truef(t, has(r, registry.TokensRead), "every role has the viewer's: %s", r)
		require.Truef(t, has(r, registry.AuditRead), "every role has the viewer's: %s", r)
	}
	for _, c := range []struct {
		role registry.UserRole
		perm registry.Permission
		has  bool
	}{
		{registry.Viewer, registry.TokensMint, false},
		{registry.Operator, registry.TokensMint, true},
		{registry.Operator, registry.TokensRolesGrant, true},
		{registry.Operator, registry.WalletsCreate, true},
		{registry.Operator, registry.PoliciesPropose, true},
		{registry.Operator, registry.PoliciesSign, false},
		{registry.Operator, registry.TransactionsApprove, false},
		{registry.Operator, registry.CredentialsCreate, false},
		{registry.Approver, registry.TransactionsApprove, true},
		{registry.Approver, registry.TransactionsCreate, false},
		{registry.Custodian, registry.PoliciesSign, true},
		{registry.Custodian, registry.SealFreeze, true},
		{registry.Custodian, registry.TransactionsApprove, false},
		{registry.Admin, registry.CredentialsCreate, true},
		{registry.Admin, registry.CharterPropose, true},
		{registry.Admin, registry.CharterSign, false},
		{registry.Admin, registry.TokensMint, false},
		{registry.ComplianceOfficer, registry.TokensFreeze, true},
		{registry.ComplianceOfficer, registry.TokensMint, false},
	} {
		require.Equalf(t, c.has, has(c.role, c.perm), "%s has %s", c.role, c.perm)
	}
	require.Empty(t, registry.UserRole("").Permissions(), "the zero value carries nothing")
	require.Empty(t, registry.UserRole("root").Permissions())
}

func TestPrincipalIsBoundToCertificateAndAddress(t *testing.T) {
	p := &registry.Principal{Fingerprints: []string{"aa"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	require.NoError(t, p.Admits("aa", netip.MustParseAddr("10.1.2.3")))
	require.NoError(t, p.Admits("aa", netip.MustParseAddr("::ffff:10.1.2.3")), "an IPv4 address in IPv6 clothes")
	refused(t, p.Admits("bb", netip.MustParseAddr("10.1.2.3")), registry.Forbidden)
	refused(t, p.Admits("", netip.MustParseAddr("10.1.2.3")), registry.Forbidden)
	refused(t, p.Admits("aa", netip.MustParseAddr("192.0.2.1")), registry.Forbidden)
	refused(t, p.Admits("aa", netip.Addr{}), registry.Forbidden)
	require.NoError(t, (&registry.Principal{}).Admits("bb", netip.Addr{}), "bound to nothing")
}
