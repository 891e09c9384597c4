package pki_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

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

// What a machine issues whose clock is wrong, or whose root is over, nobody ever takes; nothing is good for longer than
// its root.
func TestIssuesWithinItsRoot(t *testing.T) {
	now := time.Now()
	root := func(from, to time.Time) *pki.CA {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "acme"}, NotBefore: from, NotAfter: to,
			IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		ca, err := pki.LoadCA(pki.Pair{Certificate: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			Key: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})})
		if err != nil {
			t.Fatal(err)
		}
		return ca
	}
	const day = 24 * time.Hour
	for says, ca := range map[string]*pki.CA{
		"set the clock right first": root(now.Add(day), now.Add(100*day)),
		"make new ones":             root(now.Add(-100*day), now.Add(-day)),
	} {
		if _, err := ca.IssueClient("back-end", pki.ECDSAP256); err == nil || !strings.Contains(err.Error(), says) {
			t.Fatalf("got %v, want %q", err, says)
		}
	}
	ends := now.Add(30 * day).Truncate(time.Second)
	ca := root(now.Add(-100*day), ends)
	issued, err := ca.IssueServer("api", []string{"127.0.0.1"}, pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := pki.ParseCertificate(issued.Certificate)
	if err != nil {
		t.Fatal(err)
	}
	if !leaf.NotAfter.Equal(ends) {
		t.Fatalf("it ends at %s, its root at %s", leaf.NotAfter, ends)
	}
}
