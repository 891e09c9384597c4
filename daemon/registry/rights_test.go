package registry_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

func TestRoles(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	there, _ := h.serve()
	admin := h.admin(s)
	minter, err := s.CreateRole(t.Context(), admin, registry.RoleSpec{
		Name: "minter", Description: "mints, and sees what it minted", Permissions: []registry.Permission{registry.TokensMint, registry.TokensRead},
	}, nil)
	require.NoError(t, err)
	require.False(t, minter.BuiltIn())
	require.Equal(t, 1, h.audits("role.created"))

	_, p := h.person(s, admin, "mint-service", "minter")
	require.True(t, p.Allows(registry.TokensMint))
	require.True(t, p.Allows(registry.TokensRead))
	require.False(t, p.Allows(registry.TokensBurn))
	require.False(t, p.Allows(registry.AuditRead), "a role that was made carries what was named")

	require.Eventually(t, func() bool { _, n, err := there.AccessRoles(t.Context(), 50, 0); return err == nil && n == 7 }, waitLimit, waitStep)
	all, total, err := there.AccessRoles(t.Context(), 3, 0)
	require.NoError(t, err)
	require.Equal(t, 7, total)
	require.Equal(t, minter, all[0], "newest first, the built-in ones last")
	require.True(t, all[1].BuiltIn())
	none, _, err := there.AccessRoles(t.Context(), 3, 7)
	require.NoError(t, err)
	require.Empty(t, none)

	for name, c := range map[string]struct {
		spec registry.RoleSpec
		kind string
	}{
		"no name":             {registry.RoleSpec{Permissions: []registry.Permission{registry.TokensRead}}, registry.MissingField},
		"no permission":       {registry.RoleSpec{Name: "empty"}, registry.MissingField},
		"built in":            {registry.RoleSpec{Name: "admin", Permissions: []registry.Permission{registry.TokensRead}}, registry.Validation},
		"twice":               {registry.RoleSpec{Name: "minter", Permissions: []registry.Permission{registry.TokensRead}}, registry.Validation},
		"a path":              {registry.RoleSpec{Name: "../user/x", Permissions: []registry.Permission{registry.TokensRead}}, registry.Validation},
		"an unknown one":      {registry.RoleSpec{Name: "odd", Permissions: []registry.Permission{"tokens:print"}}, registry.Validation},
		"a permission twice":  {registry.RoleSpec{Name: "odd", Permissions: []registry.Permission{registry.TokensRead, registry.TokensRead}}, registry.Validation},
		"a long description":  {registry.RoleSpec{Name: "odd", Description: string(make([]byte, 2000)), Permissions: []registry.Permission{registry.TokensRead}}, registry.StringTooLong},
		"a bare star":         {registry.RoleSpec{Name: "odd", Permissions: []registry.Permission{"*"}}, registry.Validation},
		"everything by stars": {registry.RoleSpec{Name: "odd", Permissions: []registry.Permission{"*:*"}}, registry.Forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.CreateRole(t.Context(), admin, c.spec, nil)
			refused(t, err, c.kind)
		})
	}
}

// Who asks never approves, and who hands out rights has none of those that move
// tokens, whatever the role is called.
func TestNoRoleHasTwoDuties(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	admin := h.admin(s)
	for i, both := range [][]registry.Permission{
		{registry.TokensMint, registry.TransactionsApprove},
		{registry.TransactionsCreate, registry.TransactionsApprove},
		{"tokens:*", registry.TransactionsApprove},
		{"transactions:*"},
		{registry.TokensFreeze, registry.PoliciesSign},
		{registry.UsersWrite, registry.TransactionsApprove},
		{registry.RolesWrite, registry.SealUnseal},
		{"credentials:*", registry.TokensTransfer},
		{registry.CharterSign, registry.TransactionsApprove},
	} {
		_, err := s.CreateRole(t.Context(), admin, registry.RoleSpec{Name: registry.UserRole(fmt.Sprint("both-", i)), Permissions: both}, nil)
		message := breaks(t, err, registry.RuleDuties)
		require.Contains(t, message, "would both")
	}
	for _, r := range registry.UserRoles() {
		_, err := s.CreateRole(t.Context(), &registry.Principal{Actor: registry.SystemActor()}, registry.RoleSpec{Name: "like-" + r, Permissions: r.Permissions()[1:]}, nil)
		if r == registry.Viewer {
			refused(t, err, registry.MissingField)
			continue
		}
		require.NoError(t, err, "each built-in role has one duty: %s", r)
	}
}

func TestNobodyRaisesHimself(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	people := h.admins(s, "admin", "other")
	admin, other := people["admin"], people["other"]
	for _, role := range registry.UserRoles() {
		if role == registry.Admin {
			continue
		}
		_, err := s.UpdateUser(t.Context(), admin, admin.UserID, registry.UserPatch{Role: &role}, nil)
		require.Contains(t, breaks(t, err, registry.RuleSelf), "admin")
	}
	_, err := s.UpdateUser(t.Context(), admin, admin.UserID, registry.UserPatch{Status: ptr(registry.UserSuspended)}, nil)
	breaks(t, err, registry.RuleSelf)

	// Not by a key of his own either: one that was made narrow draws no wide one.
	key, _, err := s.CreateCredential(t.Context(), admin, registry.CredentialSpec{
		UserID: admin.UserID, Permissions: []registry.Permission{registry.CredentialsCreate, registry.CredentialsRotate, registry.CredentialsRead},
	}, nil)
	require.NoError(t, err)
	narrow := h.caller(s, key)
	_, _, err = s.CreateCredential(t.Context(), narrow, registry.CredentialSpec{UserID: admin.UserID}, nil)
	breaks(t, err, registry.RuleSelf)
	_, _, err = s.RotateCredential(t.Context(), narrow, admin.CredentialID, 0, nil)
	breaks(t, err, registry.RuleSelf)
	_, _, err = s.CreateCredential(t.Context(), narrow, registry.CredentialSpec{UserID: other.UserID}, nil)
	breaks(t, err, registry.RuleHeld)
	key, _, err = s.RotateCredential(t.Context(), narrow, narrow.CredentialID, 0, nil)
	require.NoError(t, err, "he may renew the one that he shows")
	require.False(t, h.caller(s, key).Allows(registry.UsersWrite))
}

func TestNobodyGivesWhatHeDoesNotHave(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	admin := h.admin(s)
	_, err := s.CreateRole(t.Context(), admin, registry.RoleSpec{Name: "helpdesk", Permissions: []registry.Permission{
		"*:read", registry.UsersWrite, registry.CredentialsCreate, registry.CredentialsRotate, registry.CredentialsRevoke,
	}}, nil)
	require.NoError(t, err)
	_, desk := h.person(s, admin, "helpdesk-1", "helpdesk")
	viewer, viewing := h.person(s, desk, "reader", registry.Viewer) // what he has
	approver, _ := h.person(s, admin, "approver-9", registry.Approver)

	for _, role := range []registry.UserRole{registry.Admin, registry.Operator, registry.Approver, registry.Custodian, registry.ComplianceOfficer} {
		_, err := s.CreateUser(t.Context(), desk, registry.UserSpec{Name: "friend", Role: role}, nil)
		breaks(t, err, registry.RuleHeld)
		_, err = s.UpdateUser(t.Context(), desk, viewer.ID, registry.UserPatch{Role: &role}, nil)
		breaks(t, err, registry.RuleHeld)
	}
	_, _, err = s.CreateCredential(t.Context(), desk, registry.CredentialSpec{UserID: approver.ID}, nil)
	require.Contains(t, breaks(t, err, registry.RuleHeld), "transactions:approve")
	_, _, err = s.CreateCredential(t.Context(), desk, registry.CredentialSpec{UserID: admin.UserID}, nil)
	breaks(t, err, registry.RuleHeld)
	_, _, err = s.RotateCredential(t.Context(), desk, admin.CredentialID, time.Hour, nil)
	breaks(t, err, registry.RuleHeld)
	_, err = s.UpdateUser(t.Context(), desk, admin.UserID, registry.UserPatch{Status: ptr(registry.UserSuspended)}, nil)
	breaks(t, err, registry.RuleHeld)
	_, err = s.UpdateUser(t.Context(), desk, approver.ID, registry.UserPatch{Status: ptr(registry.UserSuspended)}, nil)
	require.NoError(t, err, "stopping somebody is not giving")
	_, err = s.UpdateUser(t.Context(), desk, approver.ID, registry.UserPatch{Status: ptr(registry.UserActive)}, nil)
	breaks(t, err, registry.RuleHeld)
	_, err = s.CreateRole(t.Context(), desk, registry.RoleSpec{Name: "mine", Permissions: []registry.Permission{registry.RolesWrite}}, nil)
	require.Contains(t, refused(t, err, registry.Forbidden), "roles:write")

	// What a caller's permissions were when his request began counts for nothing:
	// the store is asked again.
	forged := *viewing
	forged.Permissions = registry.Admin.Permissions()
	_, err = s.CreateUser(t.Context(), &forged, registry.UserSpec{Name: "friend", Role: registry.Viewer}, nil)
	require.Contains(t, refused(t, err, registry.Forbidden), "users:write")
}

func TestTheLastAdminStays(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	people := h.admins(s, "admin", "other")
	admin, other := people["admin"], people["other"]
	suspend := registry.UserPatch{Status: ptr(registry.UserSuspended)}

	_, err := s.UpdateUser(t.Context(), admin, other.UserID, suspend, nil)
	require.NoError(t, err)
	_, err = s.UpdateUser(t.Context(), other, admin.UserID, suspend, nil)
	refused(t, err, registry.APIKeyRevoked)
	_, err = s.RevokeCredential(t.Context(), admin, admin.CredentialID, nil)
	require.Contains(t, breaks(t, err, registry.RuleLastAdmin), "another")

	_, err = s.UpdateUser(t.Context(), admin, other.UserID, registry.UserPatch{Status: ptr(registry.UserActive)}, nil)
	require.NoError(t, err)
	_, err = s.RevokeCredential(t.Context(), admin, other.CredentialID, nil)
	require.NoError(t, err)
	_, third := h.person(s, admin, "third", registry.Admin, registry.UsersRead, registry.UsersWrite)
	for name, patch := range map[string]registry.UserPatch{"suspended": suspend, "demoted": {Role: ptr(registry.Viewer)}} {
		_, err := s.UpdateUser(t.Context(), third, admin.UserID, patch, nil)
		message := refused(t, err, registry.Forbidden) // neither the one without a key nor the one with a narrow one works as an admin
		require.NotEmpty(t, message, name)
	}
	_, _, err = s.RotateCredential(t.Context(), admin, admin.CredentialID, 0, nil)
	require.NoError(t, err, "rotation leaves a key")
}

// Two admins who take each other away at the same moment, on two appliances:
// one stays.
func TestTwoAdminsAtOnceLeaveOne(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	here, _ := h.serve()
	there, _ := h.serve()
	people := h.admins(here, "a", "b")
	suspend, active := registry.UserPatch{Status: ptr(registry.UserSuspended)}, registry.UserPatch{Status: ptr(registry.UserActive)}
	for range 20 {
		errs := make([]error, 2)
		var wg sync.WaitGroup
		wg.Go(func() { _, errs[0] = here.UpdateUser(t.Context(), people["a"], people["b"].UserID, suspend, nil) })
		wg.Go(func() { _, errs[1] = there.UpdateUser(t.Context(), people["b"], people["a"].UserID, suspend, nil) })
		wg.Wait()
		require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v; %v", errs[0], errs[1])
		stays, gone := people["a"], people["b"]
		if errs[1] == nil {
			stays, gone = gone, stays
		}
		_, err := here.UpdateUser(t.Context(), stays, gone.UserID, active, nil)
		require.NoError(t, err)
	}
	keys := []string{people["a"].CredentialID, people["b"].CredentialID}
	errs := make([]error, 2)
	var wg sync.WaitGroup
	wg.Go(func() { _, errs[0] = here.RevokeCredential(t.Context(), people["a"], keys[0], nil) })
	wg.Go(func() { _, errs[1] = there.RevokeCredential(t.Context(), people["b"], keys[1], nil) })
	wg.Wait()
	require.True(t, (errs[0] == nil) != (errs[1] == nil), "%v; %v", errs[0], errs[1])
}

func TestRotate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	now := time.Now()
	var mu sync.Mutex
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	pass := func(d time.Duration) { mu.Lock(); defer mu.Unlock(); now = now.Add(d) }
	s, _ := h.open(func(d *registry.Deps) { d.Now = clock })
	require.NoError(t, s.WaitReady(soon(t)))
	admin := h.admin(s)
	u, err := s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "operator", Role: registry.Operator}, nil)
	require.NoError(t, err)
	spec := registry.CredentialSpec{UserID: u.ID, Label: "ci", Permissions: []registry.Permission{registry.TokensMint}, ExpiresAt: now.Add(90 * 24 * time.Hour)}
	key, old, err := s.CreateCredential(t.Context(), admin, spec, nil)
	require.NoError(t, err)
	pass(80 * 24 * time.Hour)

	t.Run("refused", func(t *testing.T) {
		for _, grace := range []time.Duration{-time.Second, registry.MaxGrace + time.Second} {
			_, _, err := s.RotateCredential(t.Context(), admin, old.ID, grace, nil)
			refused(t, err, registry.Validation)
		}
		_, _, err := s.RotateCredential(t.Context(), admin, store.NewID("cred_"), 0, nil)
		refused(t, err, registry.NotFound)
		_, _, err = s.RotateCredential(t.Context(), admin, "cred_x", 0, nil)
		refused(t, err, registry.NotFound)
	})
	fresh, next, err := s.RotateCredential(t.Context(), admin, old.ID, time.Hour, nil)
	require.NoError(t, err)
	require.NotEqual(t, key, fresh)
	require.Equal(t, []any{"ci", u.ID, old.Permissions}, []any{next.Label, next.UserID, next.Permissions})
	require.Equal(t, spec.ExpiresAt.UTC().Truncate(time.Second), next.ExpiresAt, "rotating does not renew")

	pass(59 * time.Minute)
	require.Equal(t, old.ID, h.caller(s, key).CredentialID, "within the grace")
	require.Equal(t, next.ID, h.caller(s, fresh).CredentialID)
	_, _, err = s.RotateCredential(t.Context(), admin, old.ID, time.Hour, nil)
	require.Contains(t, refused(t, err, registry.Validation), next.ID)
	pass(2 * time.Minute)
	_, err = s.Authenticate(t.Context(), key)
	require.Contains(t, refused(t, err, registry.APIKeyRevoked), next.ID)
	h.caller(s, fresh)

	last, at, err := s.RotateCredential(t.Context(), admin, next.ID, 0, nil)
	require.NoError(t, err)
	_, err = s.Authenticate(t.Context(), fresh)
	require.Contains(t, refused(t, err, registry.APIKeyRevoked), "revoked")
	h.caller(s, last)
	require.Equal(t, 2, h.audits("credential.rotated"))

	pass(91 * 24 * time.Hour)
	_, err = s.Authenticate(t.Context(), last)
	require.Contains(t, refused(t, err, registry.APIKeyRevoked), "expired")
	_, _, err = s.RotateCredential(t.Context(), admin, at.ID, 0, nil)
	require.Contains(t, refused(t, err, registry.Validation), "expired")
	_, _, err = s.CreateCredential(t.Context(), admin, registry.CredentialSpec{UserID: u.ID, ExpiresAt: clock()}, nil)
	require.Contains(t, refused(t, err, registry.Validation), "future")
}

func TestLastUseIsWrittenRarelyAndReadEverywhere(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, stop := h.open(func(d *registry.Deps) { d.LastUseEvery = 10 * time.Millisecond })
	require.NoError(t, s.WaitReady(soon(t)))
	there, _ := h.serve()
	admin := h.admin(s)
	at, err := there.LastUsed(t.Context(), admin.CredentialID)
	require.NoError(t, err)
	require.Zero(t, at)
	began := time.Now().Truncate(time.Second)
	for range 10_000 {
		s.Used(admin.CredentialID)
	}
	at, err = s.LastUsed(t.Context(), admin.CredentialID)
	require.NoError(t, err)
	require.False(t, at.Before(began))
	require.Eventually(t, func() bool {
		at, err := there.LastUsed(t.Context(), admin.CredentialID)
		return err == nil && !at.Before(began)
	}, waitLimit, waitStep)
	writes := 0
	for c := range h.store.Watch(t.Context(), "/mw/credential-use/", 1) {
		require.NoError(t, c.Err)
		writes += len(c.Events)
		break
	}
	require.Less(t, writes, 5, "ten thousand uses")
	stop()
}
