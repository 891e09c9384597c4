package api_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json/v2"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/pki"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

func bearer(key string) with { return header("Authorization", "Bearer "+key) }

// rule is which rule of rights a refusal names.
func (a answer) rule() string {
	a.t.Helper()
	var env api.ErrorEnvelope
	require.NoError(a.t, json.Unmarshal(a.body, &env), "%s", a.body)
	rule, _ := env.Error.Details["rule"].(string)
	return rule
}

func TestPeople(t *testing.T) {
	s := newHouse(t).serve()
	role := is[api.RoleDefinition](s.as("admin", "POST", "/v1/roles", `{"name":"minter","description":"mints","permissions":["tokens:mint","tokens:read"]}`, key("role")), 201)
	require.False(t, role.BuiltIn)
	require.Equal(t, "true", s.as("admin", "POST", "/v1/roles", `{"name":"minter","description":"mints","permissions":["tokens:mint","tokens:read"]}`, key("role")).header.Get("Idempotency-Replayed"))
	s.as("admin", "POST", "/v1/roles", `{"name":"minter","permissions":["tokens:read"]}`).fails(400, 1100)
	roles := is[api.RoleDefinitionList](s.as("viewer", "GET", "/v1/roles", ""), 200)
	require.Equal(t, 7, roles.Pagination.Total)
	require.Equal(t, role, roles.Data[0])
	require.Empty(t, is[api.RoleDefinitionList](s.as("viewer", "GET", "/v1/roles?offset=7", ""), 200).Data)
	s.as("operator", "POST", "/v1/roles", `{"name":"x","permissions":["tokens:read"]}`).fails(403, 1001)
	for _, name := range []string{"made-a", "made-b"} {
		is[api.RoleDefinition](s.as("admin", "POST", "/v1/roles", `{"name":"`+name+`","permissions":["tokens:read"]}`), 201)
	}
	require.Equal(t, "made-b", is[api.RoleDefinitionList](s.as("viewer", "GET", "/v1/roles", ""), 200).Data[0].Name, "newest first, within a second too")

	u := is[api.User](s.as("admin", "POST", "/v1/users", `{"name":"mint-service","role":"minter"}`), 201)
	s.as("admin", "POST", "/v1/users", `{"name":"other","role":"nobody"}`).fails(400, 1100)
	k := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+u.ID+`","label":"prod","expiresAt":"2099-01-01T00:00:00Z"}`), 201)
	is[api.TokenList](s.as("", "GET", "/v1/tokens", "", bearer(*k.Key)), 200)
	s.as("", "GET", "/v1/audit", "", bearer(*k.Key)).fails(403, 1001)
	read := is[api.Credential](s.as("viewer", "GET", "/v1/credentials/"+k.ID, ""), 200)
	require.NotNil(t, read.LastUsedAt)
	require.Equal(t, "2099-01-01T00:00:00Z", read.ExpiresAt.Format(time.RFC3339))
	s.as("viewer", "GET", "/v1/credentials/cred_x", "").fails(404, 1112)
	s.as("viewer", "GET", "/v1/credentials/"+store.NewID("cred_"), "").fails(404, 1112)
	s.as("admin", "POST", "/v1/credentials", `{"userId":"`+u.ID+`","expiresAt":"2001-01-01T00:00:00Z"}`).fails(400, 1100)
	s.as("admin", "POST", "/v1/credentials", `{"userId":"`+u.ID+`","expiresAt":"tomorrow"}`).fails(400, 1100)

	t.Run("suspended and back", func(t *testing.T) {
		s := s.in(t)
		require.Equal(t, api.UserStatusSUSPENDED, is[api.User](s.as("admin", "PATCH", "/v1/users/"+u.ID, `{"status":"SUSPENDED"}`, key("suspend")), 200).Status)
		s.as("", "GET", "/v1/tokens", "", bearer(*k.Key)).fails(401, 1002)
		raised := is[api.User](s.as("admin", "PATCH", "/v1/users/"+u.ID, `{"status":"ACTIVE","role":"viewer"}`), 200)
		require.NotNil(t, raised.KeysRevokedAt, "it reads more than a minter does")
		s.as("", "GET", "/v1/tokens", "", bearer(*k.Key)).fails(401, 1002)
		require.Equal(t, api.CredentialStatusREVOKED, is[api.Credential](s.as("viewer", "GET", "/v1/credentials/"+k.ID, ""), 200).Status)
		k = is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+u.ID+`","label":"prod","expiresAt":"2099-01-01T00:00:00Z"}`), 201)
		is[api.AuditEntryList](s.as("", "GET", "/v1/audit", "", bearer(*k.Key)), 200)
		s.as("admin", "PATCH", "/v1/users/"+u.ID, `{}`).fails(400, 1101)
		s.as("admin", "PATCH", "/v1/users/"+u.ID, `{"name":"another"}`).fails(400, 1100)
		s.as("admin", "PATCH", "/v1/users/"+u.ID, `{"status":"DELETED"}`).fails(400, 1100)
		s.as("admin", "PATCH", "/v1/users/user_x", `{"status":"ACTIVE"}`).fails(404, 1112)
	})
	t.Run("separation of duties", func(t *testing.T) {
		s := s.in(t)
		a := s.as("admin", "POST", "/v1/roles", `{"name":"both","permissions":["tokens:mint","transactions:approve"]}`)
		a.fails(403, 1001)
		require.Equal(t, registry.RuleDuties, a.rule())
		for _, role := range []string{"approver", "custodian", "operator"} {
			a = s.as("admin", "PATCH", "/v1/users/"+s.users["admin"], `{"role":"`+role+`"}`)
			a.fails(403, 1001)
			require.Equal(t, registry.RuleSelf, a.rule())
		}
		is[api.User](s.as("admin", "PATCH", "/v1/users/"+s.users["root"], `{"status":"SUSPENDED"}`), 200)
		own := strings.Split(s.keys["admin"], "_")[2]
		a = s.as("admin", "DELETE", "/v1/credentials/cred_"+own, "")
		a.fails(403, 1001)
		require.Equal(t, registry.RuleLastAdmin, a.rule())
		is[api.User](s.as("admin", "PATCH", "/v1/users/"+s.users["root"], `{"status":"ACTIVE"}`), 200)
	})
	t.Run("the secret is shown once", func(t *testing.T) {
		s := s.in(t)
		body := `{"userId":"` + u.ID + `","label":"once"}`
		first := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", body, key("once")), 201)
		again := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", body, key("once")), 201)
		require.Equal(t, first.ID, again.ID)
		require.Nil(t, again.Key)
		rotate := `{"credentialId":"` + first.ID + `"}`
		next := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials/rotate", rotate, key("next")), 201)
		require.Nil(t, is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials/rotate", rotate, key("next")), 201).Key)
		for kv, err := range s.store.All(t.Context(), store.Root, nil) {
			require.NoError(t, err)
			for _, secret := range []string{*first.Key, *next.Key} {
				require.NotContainsf(t, string(kv.Value), secret[len(secret)-43:], "the secret stands in %s", kv.Key)
			}
		}
	})
}

func TestARotatedKey(t *testing.T) {
	s := newHouse(t).serve()
	made := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["viewer"]+`"}`), 201)
	works := func(key string) bool { return s.as("", "GET", "/v1/tokens", "", bearer(key)).status == 200 }
	rotate := func(id, grace string) api.CredentialCreated {
		return is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials/rotate", `{"credentialId":"`+id+`"`+grace+`}`), 201)
	}
	next := rotate(made.ID, `,"graceSeconds":3600`)
	require.True(t, works(*made.Key), "within the grace")
	require.True(t, works(*next.Key))
	old := is[api.Credential](s.as("viewer", "GET", "/v1/credentials/"+made.ID, ""), 200)
	require.Equal(t, next.ID, *old.ReplacedBy)
	require.NotNil(t, old.ExpiresAt)
	require.Equal(t, api.CredentialStatusACTIVE, old.Status)

	after := rotate(next.ID, `,"graceSeconds":1`)
	require.Eventually(t, func() bool { return !works(*next.Key) }, waitLimit, 10*time.Millisecond)
	require.Contains(t, s.as("", "GET", "/v1/tokens", "", bearer(*next.Key)).fails(401, 1002), "grace")
	require.Equal(t, api.CredentialStatusEXPIRED, is[api.Credential](s.as("viewer", "GET", "/v1/credentials/"+next.ID, ""), 200).Status)
	s.as("admin", "POST", "/v1/credentials/rotate", `{"credentialId":"`+next.ID+`"}`).fails(400, 1100)

	last := rotate(after.ID, "")
	s.as("", "GET", "/v1/tokens", "", bearer(*after.Key)).fails(401, 1002)
	require.True(t, works(*last.Key))
	s.as("admin", "POST", "/v1/credentials/rotate", `{"credentialId":"`+last.ID+`","graceSeconds":604801}`).fails(400, 1100)
	s.as("admin", "POST", "/v1/credentials/rotate", `{"credentialId":"cred_x"}`).fails(404, 1112)
	s.as("operator", "POST", "/v1/credentials/rotate", `{"credentialId":"`+last.ID+`"}`).fails(403, 1001)
}

// second is another appliance on the same etcd.
func (h *house) second(change ...func(*api.Deps)) *server {
	h.t.Helper()
	own, log := h.open(), storetest.Logger(h.t)
	other, err := registry.New(registry.Deps{
		Store: own, Seal: h.room, Chains: h.chains, Charter1: h.charter1, Tenant: "test", Log: log, Registerer: registerer(),
	})
	require.NoError(h.t, err)
	ops, err := operation.New(operation.Deps{Store: own, Registry: other, Seal: h.room, Chains: h.chains, Log: log, Registerer: registerer(), MaxPending: h.maxPending})
	require.NoError(h.t, err)
	h.run(other.Follow)
	h.run(ops.RunWorker)
	require.NoError(h.t, other.WaitReady(h.t.Context()))
	return h.serve(append([]func(*api.Deps){func(d *api.Deps) { d.Registry, d.Operations, d.Store = other, ops, own }}, change...)...)
}

// A key revoked on one appliance ends on the other one too, on the connection
// on which it was good a moment ago.
func TestARevokedKeyEndsOnAKeptConnectionOfTheOtherAppliance(t *testing.T) {
	h := newHouse(t)
	here, there := h.serve(), h.second()
	for range 5 {
		k := is[api.CredentialCreated](here.as("admin", "POST", "/v1/credentials", `{"userId":"`+h.users["viewer"]+`"}`), 201)
		ask := func() (int, bool) {
			reused := false
			trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { reused = i.Reused }}
			a := there.as("", "GET", "/v1/tokens", "", bearer(*k.Key), func(r *http.Request) { *r = *r.WithContext(httptrace.WithClientTrace(r.Context(), trace)) })
			return a.status, reused
		}
		require.Eventually(t, func() bool { status, _ := ask(); return status == 200 }, waitLimit, time.Millisecond)
		is[api.Credential](here.as("admin", "DELETE", "/v1/credentials/"+k.ID, ""), 200)
		revoked := time.Now()
		require.Eventually(t, func() bool {
			status, reused := ask()
			require.True(t, reused)
			return status == 401
		}, waitLimit, time.Millisecond)
		t.Logf("revoked there %s after it was here", time.Since(revoked))
		there.as("", "GET", "/v1/tokens", "", bearer(*k.Key)).fails(401, 1002)
	}
	is[api.User](here.as("admin", "PATCH", "/v1/users/"+h.users["operator"], `{"status":"SUSPENDED"}`), 200)
	require.Eventually(t, func() bool { return there.as("operator", "GET", "/v1/tokens", "").status == 401 }, waitLimit, time.Millisecond)
}

// A key that is bound to a certificate and a network is no use to who stole it,
// and his attempts spend nothing of its owner's quota.
func TestAStolenKeyFromElsewhere(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{PerSecond: 1, Burst: 10} })
	sum := sha256.Sum256(s.cert.Certificate[0])
	k := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials",
		`{"userId":"`+s.users["viewer"]+`","certificateFingerprints":["`+hex.EncodeToString(sum[:])+`"],"cidrs":["127.0.0.2/32"]}`), 201)
	p, err := s.pki.ecdsa.IssueClient("thief", pki.ECDSAP256)
	thief := keyPair(t, p, err)
	client := func(cert tls.Certificate, address string) *server {
		c := *s
		c.client = &http.Client{Timeout: waitLimit, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{cert}}, ForceAttemptHTTP2: true,
			DialContext: func(ctx context.Context, network, to string) (net.Conn, error) {
				d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
				return d.DialContext(ctx, network, to)
			},
		}}
		t.Cleanup(c.client.CloseIdleConnections)
		return &c
	}
	elsewhere, home := client(thief, "127.0.0.2"), client(s.cert, "127.0.0.2")
	require.Contains(t, elsewhere.as("", "GET", "/v1/tokens", "", bearer(*k.Key)).fails(403, 1001), "certificate")
	require.Contains(t, s.as("", "GET", "/v1/tokens", "", bearer(*k.Key)).fails(403, 1001), "address")
	for range 50 {
		require.Contains(t, []int{403, 429}, elsewhere.as("", "GET", "/v1/tokens", "", bearer(*k.Key)).status)
	}
	require.Nil(t, is[api.Credential](s.as("admin", "GET", "/v1/credentials/"+k.ID, ""), 200).LastUsedAt, "it was never used where it is bound to")
	for range 8 {
		is[api.TokenList](home.as("", "GET", "/v1/tokens", "", bearer(*k.Key)), 200)
	}
}
