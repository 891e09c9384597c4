package registry_test

import (
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// desk is somebody who may draw, rotate and revoke keys, and else only read.
func (h *house) desk(s *registry.Service, admin *registry.Principal) *registry.Principal {
	h.t.Helper()
	_, err := s.CreateRole(h.t.Context(), admin, registry.RoleSpec{Name: "helpdesk", Permissions: []registry.Permission{
		"*:read", registry.CredentialsCreate, registry.CredentialsRotate, registry.CredentialsRevoke,
	}}, nil)
	require.NoError(h.t, err)
	_, desk := h.person(s, admin, "helpdesk-1", "helpdesk")
	return desk
}

// The helpdesk draws a viewer's key, or rotates one, keeps it, and the viewer becomes an admin.
func TestAttackAKeyDrawnBeforeAPromotionIsKept(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	there, _ := h.serve()
	admin := h.admin(s)
	desk := h.desk(s, admin)
	u, err := s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "reader", Role: registry.Viewer}, nil)
	require.NoError(t, err)
	draw := func(permissions ...registry.Permission) (string, *registry.Credential) {
		key, c, err := s.CreateCredential(t.Context(), desk, registry.CredentialSpec{UserID: u.ID, Permissions: permissions}, nil)
		require.NoError(t, err)
		return key, c
	}
	kept, keptAt := draw()
	_, turned := draw()
	rotated, rotatedAt, err := s.RotateCredential(t.Context(), desk, turned.ID, time.Hour, nil)
	require.NoError(t, err)
	explicit, _ := draw(registry.TokensRead)
	for range 120 { // more than one transaction has room for
		draw()
	}

	raised, err := s.UpdateUser(t.Context(), admin, u.ID, registry.UserPatch{Role: ptr(registry.Admin)}, nil)
	require.NoError(t, err)
	require.False(t, raised.RaisedAt.IsZero(), "the answer says so")
	for _, key := range []string{kept, rotated} {
		_, err := s.Authenticate(t.Context(), key)
		require.Contains(t, refused(t, err, registry.APIKeyRevoked), "revoked")
	}
	require.Eventually(t, func() bool {
		_, err := there.Authenticate(t.Context(), kept)
		return err != nil && strings.Contains(err.Error(), registry.APIKeyRevoked)
	}, waitLimit, waitStep)
	require.Equal(t, []registry.Permission{registry.TokensRead}, h.caller(s, explicit).Permissions, "what it carries is named")
	c, err := s.Credential(t.Context(), keptAt.ID)
	require.NoError(t, err)
	require.True(t, c.Revoked())
	require.Equal(t, admin.Name, c.RevokedBy)
	all, _, err := s.Credentials(t.Context(), u.ID, 200, 0)
	require.NoError(t, err)
	for _, c := range all {
		require.Equal(t, len(c.Permissions) == 0, c.Revoked(), c.ID)
	}
	_, _, err = s.RotateCredential(t.Context(), admin, rotatedAt.ID, 0, nil)
	require.Contains(t, refused(t, err, registry.Validation), "revoked")
	require.Equal(t, 1, h.audits("user.updated"))

	// A person keeps a way in: who appoints draws the new key, and losing rights revokes none.
	fresh, _, err := s.CreateCredential(t.Context(), admin, registry.CredentialSpec{UserID: u.ID}, nil)
	require.NoError(t, err)
	require.True(t, h.caller(s, fresh).Allows(registry.UsersWrite))
	_, err = s.UpdateUser(t.Context(), admin, u.ID, registry.UserPatch{Role: ptr(registry.Viewer)}, nil)
	require.NoError(t, err)
	require.False(t, h.caller(s, fresh).Allows(registry.UsersWrite))
	_, err = s.Authenticate(t.Context(), kept)
	refused(t, err, registry.APIKeyRevoked)
}

// The key is drawn while the role changes: it is the viewer's and dead, or an admin's and refused.
func TestAttackAKeyDrawnDuringAPromotion(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	there, _ := h.serve()
	admin := h.admin(s)
	desk := h.desk(s, admin)
	for _, name := range []string{"a", "b", "c", "d", "e", "f"} {
		u, err := s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "reader-" + name, Role: registry.Viewer}, nil)
		require.NoError(t, err)
		key := ""
		var drawing, raising error
		var wg sync.WaitGroup
		wg.Go(func() {
			key, _, drawing = there.CreateCredential(t.Context(), desk, registry.CredentialSpec{UserID: u.ID}, nil)
		})
		wg.Go(func() {
			_, raising = s.UpdateUser(t.Context(), admin, u.ID, registry.UserPatch{Role: ptr(registry.Admin)}, nil)
		})
		wg.Wait()
		require.NoError(t, raising)
		if drawing != nil {
			breaks(t, drawing, registry.RuleHeld)
			continue
		}
		require.Eventually(t, func() bool {
			_, err := s.Authenticate(t.Context(), key)
			return err != nil && strings.Contains(err.Error(), registry.APIKeyRevoked)
		}, waitLimit, waitStep)
	}
}

// A demoted admin's key still names what he had; the helpdesk rotates it, and he is promoted again.
func TestAttackARotatedKeyWakesWithTheRole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	admin := h.admin(s)
	desk := h.desk(s, admin)
	u, p := h.person(s, admin, "second", registry.Admin, registry.UsersWrite, registry.UsersRead)
	_, asleep := h.person(s, admin, "third", registry.Admin, registry.UsersWrite)
	for _, id := range []string{u.ID, asleep.UserID} {
		_, err := s.UpdateUser(t.Context(), admin, id, registry.UserPatch{Role: ptr(registry.Viewer)}, nil)
		require.NoError(t, err)
	}
	key, next, err := s.RotateCredential(t.Context(), desk, p.CredentialID, 0, nil)
	require.NoError(t, err)
	require.Equal(t, []registry.Permission{registry.UsersRead}, next.Permissions)
	_, _, err = s.RotateCredential(t.Context(), desk, asleep.CredentialID, 0, nil)
	refused(t, err, registry.Validation) // and not a key of all that the role carries
	_, err = s.UpdateUser(t.Context(), admin, u.ID, registry.UserPatch{Role: ptr(registry.Admin)}, nil)
	require.NoError(t, err)
	require.False(t, h.caller(s, key).Allows(registry.UsersWrite))
}

// Whoever stole a key that is bound, or soon over, draws himself one that is neither.
func TestAttackABoundKeyDrawsItselfAnUnboundOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	admin := h.admin(s)
	ours, other := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	until := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	spec := registry.CredentialSpec{
		UserID: admin.UserID, Fingerprints: []string{ours}, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, ExpiresAt: until,
	}
	key, c, err := s.CreateCredential(t.Context(), admin, spec, nil)
	require.NoError(t, err)
	bound := h.caller(s, key)
	for name, loosen := range map[string]func(*registry.CredentialSpec){
		"no certificate":        func(c *registry.CredentialSpec) { c.Fingerprints = nil },
		"another certificate":   func(c *registry.CredentialSpec) { c.Fingerprints = []string{other} },
		"one certificate more":  func(c *registry.CredentialSpec) { c.Fingerprints = []string{ours, other} },
		"no network":            func(c *registry.CredentialSpec) { c.CIDRs = nil },
		"another network":       func(c *registry.CredentialSpec) { c.CIDRs = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")} },
		"a wider network":       func(c *registry.CredentialSpec) { c.CIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} },
		"every network of IPv6": func(c *registry.CredentialSpec) { c.CIDRs = append(c.CIDRs, netip.MustParsePrefix("::/0")) },
		"no end":                func(c *registry.CredentialSpec) { c.ExpiresAt = time.Time{} },
		"a later end":           func(c *registry.CredentialSpec) { c.ExpiresAt = until.Add(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			wide := spec
			loosen(&wide)
			_, _, err := s.CreateCredential(t.Context(), bound, wide, nil)
			breaks(t, err, registry.RuleSelf)
		})
	}
	_, _, err = s.RotateCredential(t.Context(), bound, admin.CredentialID, 0, nil)
	breaks(t, err, registry.RuleSelf) // another, unbound key of his own
	narrow := spec
	narrow.CIDRs, narrow.ExpiresAt = []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, until.Add(-time.Minute)
	_, _, err = s.CreateCredential(t.Context(), bound, narrow, nil)
	require.NoError(t, err)
	_, next, err := s.RotateCredential(t.Context(), bound, c.ID, 0, nil)
	require.NoError(t, err)
	require.Equal(t, until, next.ExpiresAt, "rotating does not renew")
	require.Equal(t, []any{c.Fingerprints, c.CIDRs}, []any{next.Fingerprints, next.CIDRs})
}

// Who may only revoke keys locks the admins out.
func TestAttackTheHelpdeskRevokesAnAdminsKeys(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	people := h.admins(s, "admin", "other")
	desk := h.desk(s, people["admin"])
	_, err := s.RevokeCredential(t.Context(), desk, people["other"].CredentialID, nil)
	require.Contains(t, breaks(t, err, registry.RuleHeld), "users:write")
	h.stays(s, people["other"])
	_, reader := h.person(s, people["admin"], "reader", registry.Viewer)
	_, err = s.RevokeCredential(t.Context(), desk, reader.CredentialID, nil)
	require.NoError(t, err)
	_, err = s.RevokeCredential(t.Context(), desk, desk.CredentialID, nil)
	require.NoError(t, err, "one's own")
	_, err = s.RevokeCredential(t.Context(), people["admin"], people["other"].CredentialID, nil)
	require.NoError(t, err)
}

func (h *house) stays(s *registry.Service, p *registry.Principal) {
	h.t.Helper()
	c, err := s.Credential(h.t.Context(), p.CredentialID)
	require.NoError(h.t, err)
	require.False(h.t, c.Revoked())
}
