package registry_test

import (
	"encoding/json/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// Limits for what comes through a watch: no claim about how fast it is.
const (
	waitLimit = 3 * time.Minute
	waitStep  = 5 * time.Millisecond
)

// admins are the appliance's first ones, by name, with a key each.
func (h *house) admins(s *registry.Service, names ...string) map[string]*registry.Principal {
	h.t.Helper()
	first := registry.FirstUsers{Format: 1}
	keys := map[string]string{}
	for _, name := range names {
		b := registry.NewBearer(false)
		keys[name] = b.Key
		first.Users = append(first.Users, registry.FirstUser{
			ID: store.NewID("user_"), Name: name, Role: registry.Admin, Credential: registry.FirstCredential{ID: b.CredentialID, Hash: b.Hash},
		})
	}
	raw, err := json.Marshal(first)
	require.NoError(h.t, err)
	path := filepath.Join(h.t.TempDir(), "bootstrap.json")
	require.NoError(h.t, os.WriteFile(path, raw, 0o600))
	require.NoError(h.t, s.Bootstrap(h.t.Context(), path))
	all := map[string]*registry.Principal{}
	for _, name := range names {
		all[name] = h.caller(s, keys[name])
	}
	return all
}

// admin is the appliance's first and only admin.
func (h *house) admin(s *registry.Service) *registry.Principal {
	h.t.Helper()
	return h.admins(s, "admin")["admin"]
}

// caller is who shows a key.
func (h *house) caller(s *registry.Service, key string) *registry.Principal {
	h.t.Helper()
	p, err := s.Authenticate(h.t.Context(), key)
	require.NoError(h.t, err)
	return p
}

// person makes a user with a key.
func (h *house) person(s *registry.Service, by *registry.Principal, name string, role registry.UserRole, permissions ...registry.Permission) (*registry.User, *registry.Principal) {
	h.t.Helper()
	u, err := s.CreateUser(h.t.Context(), by, registry.UserSpec{Name: name, Role: role}, nil)
	require.NoError(h.t, err)
	key, _, err := s.CreateCredential(h.t.Context(), by, registry.CredentialSpec{UserID: u.ID, Permissions: permissions}, nil)
	require.NoError(h.t, err)
	return u, h.caller(s, key)
}

// breaks asserts that err is a refusal that rests on a rule of rights.
func breaks(t testing.TB, err error, rule string) string {
	t.Helper()
	message := refused(t, err, registry.Forbidden)
	var r *registry.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, rule, r.Details["rule"], message)
	return message
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	admin := h.admin(s)
	u, err := s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "operator", Role: registry.Operator}, nil)
	require.NoError(t, err)
	key, c, err := s.CreateCredential(t.Context(), admin, registry.CredentialSpec{
		UserID: u.ID, Label: "laptop", Fingerprints: []string{strings.Repeat("AB:", 31) + "AB"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
	}, nil)
	require.NoError(t, err)
	require.Regexp(t, `^qcs_test_[0-9A-HJKMNP-TV-Z]{26}_[A-Za-z0-9_-]{43}$`, key)

	p, err := s.Authenticate(t.Context(), key)
	require.NoError(t, err)
	require.Equal(t, "operator", p.Name)
	require.Equal(t, c.ID, p.CredentialID)
	require.True(t, p.Allows(registry.TokensMint))
	require.False(t, p.Allows(registry.CredentialsCreate))
	require.NoError(t, p.Admits(strings.Repeat("ab", 32), netip.MustParseAddr("127.0.0.1")))

	secret := key[len(key)-43:]
	for kv, err := range h.store.All(t.Context(), store.Root, nil) {
		require.NoError(t, err)
		require.NotContainsf(t, string(kv.Value), secret, "the secret stands in %s", kv.Key)
	}

	last := map[byte]string{'A': "B"}[key[len(key)-1]]
	if last == "" {
		last = "A"
	}
	for name, wrong := range map[string]string{
		"empty": "", "not ours": "Bearer x", "another secret": key[:len(key)-1] + last, "cut": key[:len(key)-1],
		"longer": key + "A", "unknown credential": registry.NewBearer(false).Key, "lower-case id": strings.ToLower(key),
		"a path": "qcs_test_../../user/00000000000000000_" + secret,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.Authenticate(t.Context(), wrong)
			message := refused(t, err, registry.Unauthorized)
			_, err = s.Authenticate(t.Context(), "")
			require.Equal(t, refused(t, err, registry.Unauthorized), message, "every unknown key gets the same answer")
			if wrong != "" {
				require.NotContains(t, message, wrong)
			}
		})
	}

	_, err = s.RevokeCredential(t.Context(), admin, c.ID, nil)
	require.NoError(t, err)
	_, err = s.Authenticate(t.Context(), key)
	refused(t, err, registry.APIKeyRevoked)
	_, err = s.RevokeCredential(t.Context(), admin, c.ID, nil)
	require.NoError(t, err)
	require.Equal(t, 1, h.audits("credential.revoked"), "a revoked one stays as it was")
	_, err = s.RevokeCredential(t.Context(), admin, store.NewID("cred_"), nil)
	refused(t, err, registry.NotFound)
}

func TestRevocationReachesTheOtherAppliance(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	here, _ := h.serve()
	there, _ := h.serve()
	admin := h.admin(here)
	u, err := here.CreateUser(t.Context(), admin, registry.UserSpec{Name: "operator", Role: registry.Operator}, nil)
	require.NoError(t, err)
	key, c, err := here.CreateCredential(t.Context(), admin, registry.CredentialSpec{UserID: u.ID}, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := there.Authenticate(t.Context(), key); return err == nil }, waitLimit, waitStep)
	_, err = here.RevokeCredential(t.Context(), admin, c.ID, nil)
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := there.Authenticate(t.Context(), key); return err != nil }, waitLimit, waitStep)
	_, err = there.Authenticate(t.Context(), key)
	refused(t, err, registry.APIKeyRevoked)
}

func TestCredentialsNeverExceedTheRole(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	admin := h.admin(s)
	u, err := s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "operator", Role: registry.Operator}, nil)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		spec registry.CredentialSpec
		kind string
		says string
	}{
		"unknown user":       {registry.CredentialSpec{UserID: "user_x"}, registry.NotFound, "user_x"},
		"unknown permission": {registry.CredentialSpec{UserID: u.ID, Permissions: []registry.Permission{"tokens:mintt"}}, registry.Validation, "tokens:mintt"},
		"not of the role":    {registry.CredentialSpec{UserID: u.ID, Permissions: []registry.Permission{registry.TransactionsApprove}}, registry.Validation, "operator"},
		"a wider wildcard":   {registry.CredentialSpec{UserID: u.ID, Permissions: []registry.Permission{"policies:*"}}, registry.Validation, "policies:*"},
		"everything":         {registry.CredentialSpec{UserID: u.ID, Permissions: []registry.Permission{"*"}}, registry.Validation, "*"},
		"long label":         {registry.CredentialSpec{UserID: u.ID, Label: strings.Repeat("l", 65)}, registry.StringTooLong, "label"},
		"no fingerprint":     {registry.CredentialSpec{UserID: u.ID, Fingerprints: []string{"abcd"}}, registry.Validation, "abcd"},
		"host bits":          {registry.CredentialSpec{UserID: u.ID, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/8")}}, registry.Validation, "10.0.0.1/8"},
		"no network":         {registry.CredentialSpec{UserID: u.ID, CIDRs: []netip.Prefix{{}}}, registry.Validation, "host bits"},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := s.CreateCredential(t.Context(), admin, c.spec, nil)
			require.Contains(t, refused(t, err, c.kind), c.says)
		})
	}
	key, _, err := s.CreateCredential(t.Context(), admin, registry.CredentialSpec{UserID: u.ID, Permissions: []registry.Permission{registry.TokensMint, registry.TokensRead}}, nil)
	require.NoError(t, err)
	p, err := s.Authenticate(t.Context(), key)
	require.NoError(t, err)
	require.True(t, p.Allows(registry.TokensMint))
	require.False(t, p.Allows(registry.TokensBurn))

	_, err = s.UpdateUser(t.Context(), admin, u.ID, registry.UserPatch{Role: ptr(registry.Viewer)}, nil)
	require.NoError(t, err)
	p, err = s.Authenticate(t.Context(), key)
	require.NoError(t, err)
	require.False(t, p.Allows(registry.TokensMint), "what the role lost, its credentials lost")
	require.True(t, p.Allows(registry.TokensRead))
	_, err = s.UpdateUser(t.Context(), admin, u.ID, registry.UserPatch{Status: ptr(registry.UserSuspended)}, nil)
	require.NoError(t, err)
	_, err = s.Authenticate(t.Context(), key)
	refused(t, err, registry.APIKeyRevoked)
}

func TestUsersHaveOneName(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	admin := h.admin(s)
	u, err := s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "approver-1", Role: registry.Approver}, nil)
	require.NoError(t, err)
	_, err = s.CreateUser(t.Context(), admin, registry.UserSpec{Name: "approver-1", Role: registry.Viewer}, nil)
	require.Contains(t, refused(t, err, registry.Validation), "approver-1")
	for _, spec := range []registry.UserSpec{{Name: "", Role: registry.Viewer}, {Name: "a"}} {
		_, err = s.CreateUser(t.Context(), admin, spec, nil)
		refused(t, err, registry.MissingField)
	}
	for _, spec := range []registry.UserSpec{{Name: "system", Role: registry.Viewer}, {Name: "a b", Role: registry.Viewer}, {Name: "a", Role: "root"}, {Name: "a", Role: "../user/x"}} {
		_, err = s.CreateUser(t.Context(), admin, spec, nil)
		refused(t, err, registry.Validation)
	}
	all, total, err := s.Users(t.Context(), 50, 0)
	require.NoError(t, err)
	require.Equal(t, 2, total)
	require.Equal(t, u, all[0])
	_, err = s.UpdateUser(t.Context(), admin, u.ID, registry.UserPatch{}, nil)
	refused(t, err, registry.MissingField)
	_, err = s.UpdateUser(t.Context(), admin, store.NewID("user_"), registry.UserPatch{Role: ptr(registry.Viewer)}, nil)
	refused(t, err, registry.NotFound)
}

func TestBootstrapIsTakenOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	path := filepath.Join(t.TempDir(), "bootstrap.json")
	require.NoError(t, s.Bootstrap(t.Context(), path), "no file is no error")
	require.Zero(t, h.audits("user.bootstrapped"))

	first, second := registry.NewBearer(false), registry.NewBearer(false)
	adminID, operatorID := store.NewID("user_"), store.NewID("user_")
	require.NoError(t, os.WriteFile(path, []byte(`{"format":1,"users":[
		{"id":"`+adminID+`","name":"admin","role":"admin","credential":{"id":"`+first.CredentialID+`","hash":"`+first.Hash+`","label":"first"}},
		{"id":"`+operatorID+`","name":"operator","role":"operator","credential":{"id":"`+second.CredentialID+`","hash":"`+second.Hash+`","label":""}}]}`), 0o600))
	for range 3 {
		require.NoError(t, s.Bootstrap(t.Context(), path))
	}
	require.Equal(t, 2, h.audits("user.bootstrapped"))
	require.Eventually(t, func() bool { _, err := s.Authenticate(t.Context(), first.Key); return err == nil }, waitLimit, waitStep)
	p, err := s.Authenticate(t.Context(), second.Key)
	require.NoError(t, err)
	require.Equal(t, operatorID, p.UserID)
	_, err = s.CreateUser(t.Context(), h.caller(s, first.Key), registry.UserSpec{Name: "operator", Role: registry.Operator}, nil)
	refused(t, err, registry.Validation)
}

func TestBootstrapRefusesWhatItCannotMean(t *testing.T) {
	user, cred, hash := store.NewID("user_"), store.NewID("cred_"), registry.NewBearer(false).Hash
	good := `{"format":1,"users":[{"id":"` + user + `","name":"admin","role":"admin","credential":{"id":"` + cred + `","hash":"` + hash + `","label":""}}]}`
	_, err := registry.ParseFirstUsers([]byte(good))
	require.NoError(t, err)
	for name, bad := range map[string]string{
		"empty":          "",
		"no users":       `{"format":1,"users":[]}`,
		"another format": strings.Replace(good, `"format":1`, `"format":2`, 1),
		"unknown member": strings.Replace(good, `"label":""`, `"label":"","x":1`, 1),
		"repeated":       strings.Replace(good, `"format":1`, `"format":1,"format":1`, 1),
		"trailing":       good + good,
		"unknown role":   strings.Replace(good, `"role":"admin"`, `"role":"root"`, 1),
		"a bad id":       strings.Replace(good, user, "user_1", 1),
		"a bad hash":     strings.Replace(good, hash, "plain secret", 1),
		"too long":       good + strings.Repeat(" ", 64<<10),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := registry.ParseFirstUsers([]byte(bad))
			require.ErrorIs(t, err, registry.ErrBootstrap)
		})
	}
}

func FuzzParseFirstUsers(f *testing.F) {
	f.Add([]byte(`{"format":1,"users":[]}`))
	f.Add([]byte(`{"format":1,"users":[{"id":"user_01JS0Z4M9GQ3V1T7T2B5C8D0EF","name":"admin","role":"admin","credential":{"id":"cred_01JS0Z4M9GQ3V1T7T2B5C8D0EF","hash":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","label":""}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		users, err := registry.ParseFirstUsers(b)
		if err == nil && len(users.Users) == 0 {
			t.Fatal("nobody was taken without an error")
		}
	})
}
