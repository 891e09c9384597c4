package api_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// authority is two roots, and a stranger's.
type authority struct {
	ecdsa, pq, stranger *pki.CA
	roots               *x509.CertPool
	trusted             []*x509.Certificate // the same
}

func newAuthority(t testing.TB) *authority {
	a := &authority{roots: x509.NewCertPool()}
	var err error
	a.ecdsa, err = pki.NewCA("test ECDSA", pki.ECDSAP256)
	require.NoError(t, err)
	a.pq, err = pki.NewCA("test ML-DSA", pki.MLDSA65)
	require.NoError(t, err)
	a.stranger, err = pki.NewCA("stranger", pki.ECDSAP256)
	require.NoError(t, err)
	for _, ca := range []*pki.CA{a.ecdsa, a.pq} {
		a.roots.AppendCertsFromPEM(ca.Pair().Certificate)
		a.trusted = append(a.trusted, keyPair(t, ca.Pair(), nil).Leaf)
	}
	return a
}

func keyPair(t testing.TB, p pki.Pair, err error) tls.Certificate {
	t.Helper()
	require.NoError(t, err)
	c, err := tls.X509KeyPair(p.Certificate, p.Key)
	require.NoError(t, err)
	return c
}

func TestTransport(t *testing.T) {
	s := sharedHouse(t).serve()
	get := func(conf *tls.Config) error {
		conf.RootCAs = s.pki.roots
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/v1/openapi.json", nil)
		require.NoError(t, err)
		resp, err := s.clientWith(conf).Do(req)
		if err == nil {
			resp.Body.Close()
			require.Equal(t, 200, resp.StatusCode)
		}
		return err
	}

	t.Run("ML-DSA and ECDSA clients", func(t *testing.T) {
		s := s.in(t)
		pq, err := s.pki.pq.IssueClient("test", pki.MLDSA65)
		require.NoError(t, get(&tls.Config{Certificates: []tls.Certificate{keyPair(t, pq, err)}}))
		require.NoError(t, get(&tls.Config{Certificates: []tls.Certificate{s.cert}}))
		require.NoError(t, testutil.GatherAndCompare(s.metrics, strings.NewReader(`
# HELP mintwarden_tls_handshakes_total Finished TLS handshakes by key exchange and by the client certificate's algorithm.
# TYPE mintwarden_tls_handshakes_total counter
mintwarden_tls_handshakes_total{client_certificate="ecdsa",key_exchange="X25519MLKEM768"} 1
mintwarden_tls_handshakes_total{client_certificate="ml-dsa",key_exchange="X25519MLKEM768"} 1
`), "mintwarden_tls_handshakes_total"))
	})
	t.Run("a client without ML-KEM", func(t *testing.T) {
		s := s.in(t)
		require.NoError(t, get(&tls.Config{Certificates: []tls.Certificate{s.cert}, CurvePreferences: []tls.CurveID{tls.X25519}}))
	})
	// TLS 1.3 refuses a client only after its handshake is done, so which error
	// the client sees of it is a matter of luck.
	t.Run("no certificate", func(t *testing.T) {
		require.Error(t, get(&tls.Config{}))
	})
	t.Run("a stranger's certificate", func(t *testing.T) {
		s := s.in(t)
		p, err := s.pki.stranger.IssueClient("test", pki.ECDSAP256)
		require.Error(t, get(&tls.Config{Certificates: []tls.Certificate{keyPair(t, p, err)}}))
	})
	t.Run("an expired certificate", func(t *testing.T) {
		s := s.in(t)
		require.Error(t, get(&tls.Config{Certificates: []tls.Certificate{s.pki.expired(t)}}))
	})
	t.Run("TLS 1.2", func(t *testing.T) {
		s := s.in(t)
		require.ErrorContains(t, get(&tls.Config{Certificates: []tls.Certificate{s.cert}, MinVersion: tls.VersionTLS12, MaxVersion: tls.VersionTLS12}), "protocol version")
	})
	t.Run("no TLS", func(t *testing.T) {
		s := s.in(t)
		resp, err := http.Get("http" + strings.TrimPrefix(s.url, "https") + "/v1/openapi.json")
		if err == nil {
			defer resp.Body.Close()
			require.Equal(t, 400, resp.StatusCode)
		}
	})
}

// expired is a client certificate of the right root that ended yesterday.
func (a *authority) expired(t *testing.T) tls.Certificate {
	pair := a.ecdsa.Pair()
	ca, err := tls.X509KeyPair(pair.Certificate, pair.Key)
	require.NoError(t, err)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "late"}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(-24 * time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, ca.Leaf, &k.PublicKey, ca.PrivateKey)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}
}

// A wiring that forgets mTLS must not open the door.
func TestHandlerWithoutCertificate(t *testing.T) {
	h := sharedHouse(t)
	handler, err := api.New(h.deps())
	require.NoError(t, err)
	req := httptest.NewRequestWithContext(t.Context(), "GET", "/v1/tokens", nil)
	req.Header.Set("Authorization", "Bearer "+h.keys["viewer"])
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, req)
	require.Equal(t, 401, w.Code)
}

func TestKeys(t *testing.T) {
	s := sharedHouse(t).serve()
	bearer := func(v ...string) with { return header("Authorization", v...) }

	for name, change := range map[string]with{
		"none":         func(*http.Request) {},
		"empty":        bearer(""),
		"no scheme":    bearer(s.keys["viewer"]),
		"other scheme": bearer("Basic " + s.keys["viewer"]),
		"malformed":    bearer("Bearer qcs_test_x"),
		"unknown":      bearer("Bearer " + s.keys["viewer"][:len(s.keys["viewer"])-1] + "~"),
		"wrong secret": bearer("Bearer " + flipLast(s.keys["viewer"])),
		"two":          bearer("Bearer "+s.keys["viewer"], "Bearer "+s.keys["operator"]),
	} {
		t.Run(name, func(t *testing.T) { s.in(t).as("", "GET", "/v1/tokens", "", change).fails(401, 1000) })
	}
	t.Run("scheme in any case", func(t *testing.T) {
		s := s.in(t)
		is[api.TokenList](s.as("", "GET", "/v1/tokens", "", bearer("bEaReR "+s.keys["viewer"])), 200)
	})
	t.Run("permission", func(t *testing.T) {
		s := s.in(t)
		for _, c := range []struct{ user, method, path, body string }{
			{"viewer", "POST", "/v1/tokens", "{}"},
			{"approver-1", "POST", "/v1/tokens/token_x/mint", "{}"},
			{"operator", "POST", "/v1/token-operations/op_x/approve", "{}"},
			{"operator", "POST", "/v1/policies/pol_x/sign", "{}"},
			{"operator", "POST", "/v1/credentials", "{}"},
			{"custodian-1", "POST", "/v1/users", "{}"},
			{"admin", "POST", "/v1/tokens/token_x/deploy", ""},
		} {
			require.Contains(t, s.as(c.user, c.method, c.path, c.body).fails(403, 1001), "lacks the permission")
		}
	})
	t.Run("revoked", func(t *testing.T) {
		s := s.in(t)
		k := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["viewer"]+`","label":"short-lived"}`), 201)
		require.NotNil(t, k.Key)
		own := bearer("Bearer " + *k.Key)
		is[api.TokenList](s.as("", "GET", "/v1/tokens", "", own), 200)
		require.Equal(t, api.CredentialStatusREVOKED, is[api.Credential](s.as("admin", "DELETE", "/v1/credentials/"+k.ID, ""), 200).Status)
		s.as("", "GET", "/v1/tokens", "", own).fails(401, 1002)
		for _, c := range is[api.CredentialList](s.as("admin", "GET", "/v1/credentials?limit=200", ""), 200).Data {
			require.NotContains(t, c.Label, *k.Key)
		}
	})
	t.Run("bound to another certificate", func(t *testing.T) {
		s := s.in(t)
		other := strings.Repeat("ab", 32)
		k := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["viewer"]+`","certificateFingerprints":["`+other+`"]}`), 201)
		require.Contains(t, s.as("", "GET", "/v1/tokens", "", bearer("Bearer "+*k.Key)).fails(403, 1001), "certificate")
	})
	t.Run("bound to this certificate", func(t *testing.T) {
		s := s.in(t)
		sum := sha256.Sum256(s.cert.Certificate[0])
		k := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["viewer"]+`","certificateFingerprints":["`+hex.EncodeToString(sum[:])+`"]}`), 201)
		is[api.TokenList](s.as("", "GET", "/v1/tokens", "", bearer("Bearer "+*k.Key)), 200)
	})
	t.Run("bound to another network", func(t *testing.T) {
		s := s.in(t)
		k := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["viewer"]+`","cidrs":["10.0.0.0/8"]}`), 201)
		require.Contains(t, s.as("", "GET", "/v1/tokens", "", bearer("Bearer "+*k.Key)).fails(403, 1001), "address")
	})
	t.Run("fewer permissions than its user", func(t *testing.T) {
		s := s.in(t)
		k := is[api.CredentialCreated](s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["operator"]+`","permissions":["tokens:read"]}`), 201)
		is[api.TokenList](s.as("", "GET", "/v1/tokens", "", bearer("Bearer "+*k.Key)), 200)
		s.as("", "GET", "/v1/audit", "", bearer("Bearer "+*k.Key)).fails(403, 1001)
		s.as("admin", "POST", "/v1/credentials", `{"userId":"`+s.users["viewer"]+`","permissions":["tokens:mint"]}`).fails(400, 1100)
	})
}

func flipLast(s string) string {
	last := byte('A')
	if s[len(s)-1] == last {
		last = 'Q'
	}
	return s[:len(s)-1] + string(last)
}

func TestRateLimit(t *testing.T) {
	s := sharedHouse(t).serve(func(d *api.Deps) { d.Limits = api.Limits{PerSecond: 1, Burst: 3} })
	for range 3 {
		is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
	}
	a := s.as("viewer", "GET", "/v1/tokens", "")
	a.fails(429, 1604)
	require.NotEmpty(t, a.header.Get("Retry-After"))
	require.Equal(t, `"default";q=3;w=3`, a.header.Get("RateLimit-Policy"))
	require.Contains(t, a.header.Get("RateLimit"), `"default";r=0;`)
	is[api.TokenList](s.as("operator", "GET", "/v1/tokens", ""), 200) // another key's bucket
	t.Run("guessing keys", func(t *testing.T) {
		s := s.in(t)
		seen := map[int]bool{}
		for range 5 {
			a := s.as("", "GET", "/v1/tokens", "", header("Authorization", "Bearer nonsense"))
			seen[a.status] = true
		}
		require.Equal(t, map[int]bool{401: true, 429: true}, seen)
	})
}

func TestLargeBodyIsAnswered(t *testing.T) {
	s := sharedHouse(t).serve()
	for _, size := range []int{1<<20 + 1, 2 << 20, 8 << 20} {
		for _, proto := range []string{"h2", "http/1.1"} {
			conf := &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{s.cert}, NextProtos: []string{proto}}
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: proto == "h2"}, Timeout: 30 * time.Second}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			req, err := http.NewRequestWithContext(ctx, "POST", s.url+"/v1/tokens", bytes.NewReader(make([]byte, size)))
			require.NoError(t, err)
			req.Header.Set("Authorization", "Bearer "+s.keys["operator"])
			old := s.client
			s.client = client
			s.do(req).fails(413, 1111)
			s.client = old
			client.CloseIdleConnections()
			cancel()
		}
	}
}

func TestPanicIsInternal(t *testing.T) {
	s := newHouse(t).serve()
	s.room.set(func() { s.room.panics = true })
	a := s.as("operator", "POST", "/v1/vault/accounts", `{"name":"treasury"}`)
	message := a.fails(500, 1600)
	require.Contains(t, message, a.header.Get("Request-Id"))
	require.NotContains(t, string(a.body), "secret")
	require.NotContains(t, string(a.body), ".go")
	s.room.set(func() { s.room.panics = false })
	is[api.VaultAccount](s.as("operator", "POST", "/v1/vault/accounts", `{"name":"treasury"}`), 201)
}
