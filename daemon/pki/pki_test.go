package pki_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/pki"
)

// Each algorithm's chain carries a real mutual TLS 1.3 connection; a client
// of a stranger's root is turned away.
func TestMutualTLS(t *testing.T) {
	for _, alg := range []pki.Algorithm{pki.MLDSA65, pki.ECDSAP256} {
		t.Run(alg.String(), func(t *testing.T) {
			ca := newCA(t, alg)
			server, err := ca.IssueServer("mintwarden", []string{"127.0.0.1", "localhost"}, alg)
			if err != nil {
				t.Fatal(err)
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(ca.Pair().Certificate)
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.TLS.PeerCertificates[0].Subject.CommonName)
			}))
			s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair(t, server)},
				ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: roots}
			s.StartTLS()
			defer s.Close()

			known, err := ca.IssueClient("back-end", alg)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := get(t, s.URL, roots, known); err != nil || body != "back-end" {
				t.Fatalf("known client: %q, %v", body, err)
			}
			foreign, err := newCA(t, alg).IssueClient("back-end", alg)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := get(t, s.URL, roots, foreign); err == nil {
				t.Fatal("a foreign client was let in")
			}
		})
	}
}

func TestLoadCARefusesAnotherKey(t *testing.T) {
	a, b := newCA(t, pki.ECDSAP256).Pair(), newCA(t, pki.ECDSAP256).Pair()
	_, err := pki.LoadCA(pki.Pair{Certificate: a.Certificate, Key: b.Key})
	if err == nil || !strings.Contains(err.Error(), "not the certificate's") {
		t.Fatalf("got %v", err)
	}
}

func TestLoadCARefusesALeaf(t *testing.T) {
	leaf, err := newCA(t, pki.ECDSAP256).IssueClient("x", pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pki.LoadCA(leaf); err == nil {
		t.Fatal("a leaf was taken as a root")
	}
}

func TestServerNeedsAHost(t *testing.T) {
	if _, err := newCA(t, pki.ECDSAP256).IssueServer("x", nil, pki.ECDSAP256); err == nil {
		t.Fatal("a server certificate without a host was made")
	}
}

func newCA(t *testing.T, alg pki.Algorithm) *pki.CA {
	t.Helper()
	ca, err := pki.NewCA("test root", alg)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func pair(t *testing.T, p pki.Pair) tls.Certificate {
	t.Helper()
	c, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func get(t *testing.T, url string, roots *x509.CertPool, client pki.Pair) (string, error) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{
		MinVersion: tls.VersionTLS13, RootCAs: roots, Certificates: []tls.Certificate{pair(t, client)}}}}
	defer c.CloseIdleConnections()
	answer, err := c.Get(url)
	if err != nil {
		return "", err
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	return string(body), err
}
