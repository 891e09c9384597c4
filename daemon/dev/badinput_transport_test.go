package dev_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

// certificate is one that root signed, for a use, valid until then.
func certificate(t *testing.T, root tls.Certificate, use x509.ExtKeyUsage, until time.Time) tls.Certificate {
	t.Helper()
	issuer, err := x509.ParseCertificate(root.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "late"}, NotBefore: until.Add(-48 * time.Hour), NotAfter: until,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{use}, BasicConstraintsValid: true,
	}, issuer, key.Public(), root.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// testTLS: without TLS 1.3 and a client certificate of ours there is no HTTP at all.
func (e *edge) testTLS(t *testing.T) {
	pair := func(path string) tls.Certificate {
		p, err := tls.LoadX509KeyPair(filepath.Join(e.dir, path+".crt"), filepath.Join(e.dir, path+".key"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	foreign, err := pki.NewCA("somebody else", pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := foreign.IssueClient("dev-client", pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	stranger, err := tls.X509KeyPair(theirs.Certificate, theirs.Key)
	if err != nil {
		t.Fatal(err)
	}
	root := pair("pki/root-ecdsa")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(mustRead(t, filepath.Join(e.dir, "tls/ca.crt"))) {
		t.Fatal("tls/ca.crt holds no certificate")
	}
	for _, c := range []struct {
		name  string
		shown []tls.Certificate
		most  uint16
		alert string // empty: the connection is good
	}{
		{"ours", []tls.Certificate{pair("tls/client")}, tls.VersionTLS13, ""},
		{"ours, post-quantum", []tls.Certificate{pair("tls/pq/client")}, tls.VersionTLS13, ""},
		{"fresh", []tls.Certificate{certificate(t, root, x509.ExtKeyUsageClientAuth, time.Now().Add(time.Hour))}, tls.VersionTLS13, ""},
		{"none", nil, tls.VersionTLS13, "certificate required"},
		{"foreign", []tls.Certificate{stranger}, tls.VersionTLS13, "unknown certificate authority"},
		{"expired", []tls.Certificate{certificate(t, root, x509.ExtKeyUsageClientAuth, time.Now().Add(-time.Hour))}, tls.VersionTLS13, "expired certificate"},
		{"of a server only", []tls.Certificate{certificate(t, root, x509.ExtKeyUsageServerAuth, time.Now().Add(time.Hour))}, tls.VersionTLS13, "certificate"},
		{"TLS 1.2", []tls.Certificate{pair("tls/client")}, tls.VersionTLS12, "protocol version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := &tls.Config{MinVersion: tls.VersionTLS12, MaxVersion: c.most, RootCAs: roots}
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if len(c.shown) == 0 {
					return &tls.Certificate{}, nil
				}
				return &c.shown[0], nil // also where its issuer is none that the server asks for
			}
			transport := &http.Transport{TLSClientConfig: conf}
			defer transport.CloseIdleConnections()
			r, err := http.NewRequestWithContext(t.Context(), "GET", e.url+"/v1/openapi.json", nil)
			if err != nil {
				t.Fatal(err)
			}
			resp, err := (&http.Client{Transport: transport}).Do(r)
			if err == nil {
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			switch {
			case c.alert == "" && err != nil:
				t.Errorf("refused: %v", err)
			case c.alert != "" && err == nil:
				t.Errorf("answered %s", resp.Status)
			case c.alert != "" && !strings.Contains(err.Error(), c.alert):
				t.Errorf("refused with %v, want the alert %q", err, c.alert)
			}
		})
	}
}

// testKeys: missing, malformed, unknown, revoked, bound to others.
func (e *edge) testKeys(t *testing.T) {
	user := e.member(t, "keyed", "operator")
	good := e.bearers["keyed"]
	revoked := e.credential(t, "revoked", user, "")
	e.accepted(t, call{method: "DELETE", path: "/v1/credentials/" + revoked, as: "admin"}, http.StatusOK, nil)
	e.credential(t, "elsewhere", user, `,"cidrs":["192.0.2.0/24"]`)
	e.credential(t, "other certificate", user, fmt.Sprintf(`,"certificateFingerprints":[%q]`, strings.Repeat("ab", 32)))
	e.credential(t, "reader", user, `,"permissions":["tokens:read"]`)
	pem, err := os.ReadFile(filepath.Join(e.dir, "tls/client.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(pem, mustRead(t, filepath.Join(e.dir, "tls/client.key")))
	if err != nil {
		t.Fatal(err)
	}
	print := sha256.Sum256(pair.Certificate[0])
	e.credential(t, "bound", user, fmt.Sprintf(`,"certificateFingerprints":[%q],"cidrs":["127.0.0.0/8"]`, hex.EncodeToString(print[:])))
	e.accepted(t, call{method: "GET", path: "/v1/tokens", as: "bound"}, http.StatusOK, nil)

	last := good[:len(good)-1] + map[bool]string{true: "A", false: "B"}[good[len(good)-1] != 'A']
	authorization := func(values ...string) http.Header { return http.Header{"Authorization": values} }
	for _, c := range []struct {
		name   string
		as     string
		header http.Header
		want   want
	}{
		{"none", "none", nil, want{401, 1000, ""}},
		{"empty", "none", authorization("Bearer "), want{401, 1000, ""}},
		{"another scheme", "none", authorization("Basic " + good), want{401, 1000, ""}},
		{"no scheme", "none", authorization(good), want{401, 1000, ""}},
		{"malformed", "none", authorization("Bearer qcs_test_nonsense"), want{401, 1000, ""}},
		{"wrong secret", "none", authorization("Bearer " + last), want{401, 1000, ""}},
		{"cut off", "none", authorization("Bearer " + good[:len(good)-1]), want{401, 1000, ""}},
		{"unknown", "none", authorization("Bearer qcs_test_01JS0Z4M9GQ3V1T7T2B5C8D0EF_" + strings.Repeat("A", 43)), want{401, 1000, ""}},
		{"of a main network", "none", authorization("Bearer " + strings.Replace(good, "qcs_test_", "qcs_live_", 1)), want{401, 1000, ""}},
		{"twice", "none", authorization("Bearer "+good, "Bearer "+good), want{401, 1000, ""}},
		{"revoked", "revoked", nil, want{401, 1002, revoked}},
		{"from another address", "elsewhere", nil, want{403, 1001, "127.0.0.1"}},
		{"with another certificate", "other certificate", nil, want{403, 1001, hex.EncodeToString(print[:])}},
		{"narrowed", "reader", nil, want{403, 1001, "vaults:create"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := e.refused(t, call{method: "POST", path: "/v1/vault/accounts", as: c.as, header: c.header, body: `{"name":"never"}`}, c.want)
			if secret := good[len(good)-43:]; strings.Contains(p.Message, secret[:20]) {
				t.Errorf("the message holds the secret: %s", p.Message)
			}
		})
	}
}

func mustRead(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// testPermissions: every write by everybody who may not, whatever the body.
func (e *edge) testPermissions(t *testing.T) {
	op, token := "/v1/token-operations/"+e.operation, "/v1/tokens/"+e.tokenID
	for _, r := range []struct {
		method, path, permission string
		not                      []string
	}{
		{"POST", "/v1/tokens", "tokens:create", []string{"viewer", "admin", "approver-1", "custodian-1"}},
		{"PATCH", token, "tokens:create", []string{"viewer", "admin"}},
		{"POST", token + "/deploy", "tokens:deploy", []string{"viewer", "admin", "approver-1"}},
		{"POST", token + "/mint", "tokens:mint", []string{"viewer", "admin", "approver-1", "custodian-1"}},
		{"POST", token + "/burn", "tokens:burn", []string{"viewer", "admin", "approver-1"}},
		{"POST", token + "/roles/grant", "tokens:roles:grant", []string{"viewer", "admin", "approver-1"}},
		{"POST", token + "/roles/revoke", "tokens:roles:revoke", []string{"viewer", "admin", "approver-1"}},
		{"POST", op + "/approve", "transactions:approve", []string{"operator", "admin", "viewer", "custodian-1"}},
		{"POST", op + "/reject", "transactions:approve", []string{"operator", "admin", "viewer", "custodian-1"}},
		{"POST", op + "/cancel", "transactions:create", []string{"viewer", "admin", "approver-1", "custodian-1"}},
		{"POST", "/v1/vault/accounts", "vaults:create", []string{"viewer", "approver-1", "custodian-1"}},
		{"POST", "/v1/vault/accounts/" + e.vault + "/wallets", "wallets:create", []string{"viewer", "approver-1"}},
		{"POST", "/v1/policies", "policies:propose", []string{"viewer", "approver-1"}},
		{"PUT", "/v1/policies/" + e.policyID, "policies:propose", []string{"viewer", "approver-1"}},
		{"DELETE", "/v1/policies/" + e.policyID, "policies:propose", []string{"viewer", "approver-1"}},
		{"POST", "/v1/policies/" + e.policyID + "/sign", "policies:sign", []string{"viewer", "operator", "admin", "approver-1"}},
		{"POST", "/v1/users", "users:write", []string{"viewer", "operator", "approver-1", "custodian-1"}},
		{"POST", "/v1/credentials", "credentials:create", []string{"viewer", "operator", "approver-1", "custodian-1"}},
		{"DELETE", "/v1/credentials/cred_01JS0Z4M9GQ3V1T7T2B5C8D0EF", "credentials:revoke", []string{"viewer", "operator"}},
	} {
		for _, who := range r.not {
			t.Run(who+" "+r.permission, func(t *testing.T) {
				e.refused(t, call{method: r.method, path: r.path, as: who, key: draw()}, want{403, 1001, r.permission})
			})
		}
	}
}

// testReading: a key that may read one kind of resource reads no other.
func (e *edge) testReading(t *testing.T) {
	user := e.user(t, "viewer")
	for _, held := range []string{"wallets:read", "policies:read"} {
		e.credential(t, held, user, fmt.Sprintf(`,"permissions":[%q]`, held))
	}
	token := "/v1/tokens/" + e.tokenID
	for _, r := range []struct{ path, permission string }{
		{"/v1/token-templates", "tokens:read"}, {"/v1/token-templates/tpl_qrc20_v1", "tokens:read"}, {"/v1/tokens", "tokens:read"},
		{token, "tokens:read"}, {token + "/deployment", "tokens:read"}, {token + "/roles", "tokens:read"}, {token + "/balances/" + e.stranger, "tokens:read"},
		{"/v1/token-operations", "tokens:read"}, {"/v1/token-operations/" + e.operation, "tokens:read"},
		{"/v1/vault/accounts", "vaults:read"}, {"/v1/vault/accounts/" + e.vault, "vaults:read"}, {"/v1/vault/accounts/" + e.vault + "/wallets", "wallets:read"},
		{"/v1/wallets/" + e.wallet, "wallets:read"}, {"/v1/wallets/" + e.wallet + "/balance", "wallets:read"},
		{"/v1/policies", "policies:read"}, {"/v1/policies/" + e.policyID, "policies:read"}, {"/v1/charter", "charter:read"}, {"/v1/seal", "seal:read"},
		{"/v1/ledger", "audit:read"}, {"/v1/users", "users:read"}, {"/v1/users/" + user, "users:read"}, {"/v1/credentials", "credentials:read"},
		{"/v1/audit", "audit:read"}, {"/v1/audit/verify", "audit:read"},
	} {
		for _, held := range []string{"wallets:read", "policies:read"} {
			t.Run(held+" at "+r.path, func(t *testing.T) {
				c := call{method: "GET", path: r.path, as: held}
				if held == r.permission {
					e.accepted(t, c, http.StatusOK, nil)
					return
				}
				e.refused(t, c, want{403, 1001, r.permission})
			})
		}
	}
}
