package api_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"net/http"
	"net/http/httptrace"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// trust is what the fixture serves with.
func (s *server) trust() api.Trust {
	pq, err := s.pki.pq.IssueServer("mintwarden", []string{"127.0.0.1"}, pki.MLDSA65)
	classic, err2 := s.pki.ecdsa.IssueServer("mintwarden", []string{"127.0.0.1"}, pki.ECDSAP256)
	return api.Trust{Certificates: []tls.Certificate{keyPair(s.t, pq, err), keyPair(s.t, classic, err2)}, Roots: s.pki.trusted}
}

// visitor is a client with a connection that it keeps.
type visitor struct {
	t      testing.TB
	url    string
	client *http.Client
	key    string
}

func (s *server) visitor(cert tls.Certificate, proto string) *visitor {
	conf := &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{cert}, NextProtos: []string{proto}}
	tr := &http.Transport{TLSClientConfig: conf, ForceAttemptHTTP2: proto == "h2"}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &visitor{s.t, s.url, &http.Client{Transport: tr, Timeout: waitLimit}, s.keys["viewer"]}
}

// ask answers the status, whether the connection was there already, and which
// certificate the server showed on it.
func (v *visitor) ask() (status int, kept bool, serial string, err error) {
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { kept = i.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(v.t.Context(), trace), "GET", v.url+"/v1/tokens", nil)
	require.NoError(v.t, err)
	req.Header.Set("Authorization", "Bearer "+v.key)
	resp, err := v.client.Do(req)
	if err != nil {
		return 0, kept, "", err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, kept, resp.TLS.PeerCertificates[0].SerialNumber.String(), err
}

func (v *visitor) welcome(kept bool) string {
	v.t.Helper()
	status, was, serial, err := v.ask()
	require.NoError(v.t, err)
	require.Equal(v.t, 200, status)
	require.Equal(v.t, kept, was)
	return serial
}

// gone waits until the visitor is turned away on a new connection: the one that
// he kept was cut.
func (v *visitor) gone() {
	v.t.Helper()
	require.Eventually(v.t, func() bool { _, _, _, err := v.ask(); return err != nil }, waitLimit, 10*time.Millisecond)
}

func (s *server) client2(ca *pki.CA, alg pki.Algorithm) tls.Certificate {
	p, err := ca.IssueClient("visitor", alg)
	return keyPair(s.t, p, err)
}

func TestCertificatesAreReplacedWithoutADroppedConnection(t *testing.T) {
	for _, proto := range []string{"h2", "http/1.1"} {
		t.Run(proto, func(t *testing.T) {
			s := sharedHouse(t).serve()
			stays := s.visitor(s.cert, proto)
			before := stays.welcome(false)
			for range 5 {
				require.NoError(t, s.tls.Replace(s.trust()))
				require.Equal(t, before, stays.welcome(true), "the connection that was there")
			}
			require.NotEqual(t, before, s.visitor(s.cert, proto).welcome(false), "a new one sees the new certificate")
		})
	}
}

func TestARevokedCertificateIsCutOffWhileConnected(t *testing.T) {
	for _, alg := range []pki.Algorithm{pki.MLDSA65, pki.ECDSAP256} {
		t.Run(alg.String(), func(t *testing.T) {
			s := sharedHouse(t).serve()
			ca := map[pki.Algorithm]*pki.CA{pki.MLDSA65: s.pki.pq, pki.ECDSAP256: s.pki.ecdsa}[alg]
			lost, other := s.client2(ca, alg), s.client2(ca, alg)
			leaves, stays := s.visitor(lost, "http/1.1"), s.visitor(other, "h2")
			leaves.welcome(false)
			stays.welcome(false)
			list, err := ca.Revoke(nil, lost.Leaf)
			require.NoError(t, err)
			trust := s.trust()
			trust.Revocations = []*x509.RevocationList{parsed(t, list)}
			require.NoError(t, s.tls.Replace(trust))
			leaves.gone()
			stays.welcome(true)
			require.Positive(t, counterOf(t, s, "mintwarden_tls_clients_refused_total"))

			t.Run("and an older list does not let it in again", func(t *testing.T) {
				s := s.in(t)
				older := *trust.Revocations[0]
				older.RevokedCertificateEntries, older.ThisUpdate = nil, older.ThisUpdate.Add(-time.Hour)
				again := s.trust()
				again.Revocations = []*x509.RevocationList{&older}
				require.ErrorContains(t, s.tls.Replace(again), "older than the one in use")
				leaves.gone()
			})
			t.Run("nor is a stranger's list taken", func(t *testing.T) {
				s := s.in(t)
				foreign, err := s.pki.stranger.Revoke(nil)
				require.NoError(t, err)
				again := s.trust()
				again.Revocations = []*x509.RevocationList{parsed(t, foreign)}
				require.ErrorContains(t, s.tls.Replace(again), "signed by none")
				leaves.gone()
				stays.welcome(true)
			})
		})
	}
}

func parsed(t testing.TB, list []byte) *x509.RevocationList {
	l, err := pki.ParseList(list)
	require.NoError(t, err)
	return l
}

func counterOf(t testing.TB, s *server, name string) (sum float64) {
	families, err := s.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestARootThatIsTrustedNoMore(t *testing.T) {
	s := sharedHouse(t).serve()
	leaves, stays := s.visitor(s.client2(s.pki.pq, pki.MLDSA65), "h2"), s.visitor(s.cert, "h2")
	leaves.welcome(false)
	stays.welcome(false)
	trust := s.trust()
	trust.Roots = s.pki.trusted[:1] // ECDSA's
	require.NoError(t, s.tls.Replace(trust))
	leaves.gone()
	stays.welcome(true)
	require.Error(t, s.tls.Replace(api.Trust{Certificates: trust.Certificates}), "nobody could come in")
	require.Error(t, s.tls.Replace(api.Trust{Roots: trust.Roots}))
	stays.welcome(true)
}

// Whoever holds a connection on which nothing was asked yet asks nothing on it once his root is trusted no more: the others
// are cut off, and that one is seen by nobody before its first request.
func TestAttack_AConnectionWithoutARequestWhenItsRootWent(t *testing.T) {
	s := sharedHouse(t).serve()
	cert := s.client2(s.pki.pq, pki.MLDSA65)
	leaves := s.visitor(cert, "http/1.1")
	leaves.welcome(false)
	dialer := tls.Dialer{Config: &tls.Config{RootCAs: s.pki.roots, Certificates: []tls.Certificate{cert}, NextProtos: []string{"http/1.1"}}}
	silent, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "https://"))
	require.NoError(t, err)
	defer silent.Close()
	trust := s.trust()
	trust.Roots = s.pki.trusted[:1] // ECDSA's
	require.NoError(t, s.tls.Replace(trust))
	leaves.gone()
	req, err := http.NewRequestWithContext(t.Context(), "GET", s.url+"/v1/tokens", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+s.keys["viewer"])
	require.NoError(t, silent.SetDeadline(time.Now().Add(waitLimit)))
	if err := req.Write(silent); err != nil {
		return // it waited for its request for too long
	}
	resp, err := http.ReadResponse(bufio.NewReader(silent), req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	require.Equal(t, 401, resp.StatusCode)
}

// A certificate that ends while its client is connected ends the requests on
// that connection, at once.
func TestACertificateThatEndsWhileConnected(t *testing.T) {
	s := sharedHouse(t).serve()
	ca := keyPair(t, s.pki.ecdsa.Pair(), nil)
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	var v *visitor
	for life := 3 * time.Second; ; life *= 3 { // a busy machine may take longer for the first request
		der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
			SerialNumber: big.NewInt(8), Subject: pkix.Name{CommonName: "mayfly"}, KeyUsage: x509.KeyUsageDigitalSignature,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}, ca.Leaf, &k.PublicKey, ca.PrivateKey)
		require.NoError(t, err)
		v = s.visitor(tls.Certificate{Certificate: [][]byte{der}, PrivateKey: k}, "h2")
		if status, _, _, err := v.ask(); err == nil && status == 200 {
			break
		}
		require.Less(t, life, waitLimit, "it is not let in")
	}
	require.Eventually(t, func() bool { status, _, _, err := v.ask(); return err != nil || status == 401 }, waitLimit, 10*time.Millisecond)
	v.gone()
}

func TestDaysLeftAreAMetric(t *testing.T) {
	s := sharedHouse(t).serve()
	n, err := testutil.GatherAndCount(s.metrics, "mintwarden_certificate_days")
	require.NoError(t, err)
	require.Equal(t, 4, n, "two of the server, two roots")
	for _, ca := range []*pki.CA{s.pki.ecdsa, s.pki.pq} {
		list, err := ca.Revoke(nil)
		require.NoError(t, err)
		trust := s.trust()
		trust.Revocations = []*x509.RevocationList{parsed(t, list)}
		require.NoError(t, s.tls.Replace(trust))
		n, err = testutil.GatherAndCount(s.metrics, "mintwarden_certificate_days")
		require.NoError(t, err)
		require.Equal(t, 5, n)
	}
	families, err := s.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "mintwarden_certificate_days" {
			for _, m := range f.GetMetric() {
				require.Greater(t, m.GetGauge().GetValue(), 89.0)
			}
		}
	}
}

// files writes what a program needs to call the API: an ECDSA certificate of its
// own, and the root of the server's chain that it knows.
func (s *server) files(root *pki.CA) (dir string) {
	s.t.Helper()
	dir = s.t.TempDir()
	p, err := s.pki.ecdsa.IssueClient("program", pki.ECDSAP256)
	require.NoError(s.t, err)
	for name, text := range map[string][]byte{"ca.crt": root.Pair().Certificate, "client.crt": p.Certificate, "client.key": p.Key} {
		require.NoError(s.t, os.WriteFile(filepath.Join(dir, name), text, 0o600))
	}
	return dir
}

func TestCurl(t *testing.T) {
	s := sharedHouse(t).serve()
	dir := s.files(s.pki.ecdsa)
	out, err := exec.CommandContext(t.Context(), "curl", "--silent", "--show-error", "--cacert", dir+"/ca.crt", "--cert", dir+"/client.crt", "--key", dir+"/client.key",
		"--header", "Authorization: Bearer "+s.keys["viewer"], "--write-out", "\n%{http_code} %{http_version}", s.url+"/v1/tokens").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "\n200 2")
}

// sClient asks for /v1/openapi.json and answers all that openssl printed.
func (s *server) sClient(openssl []string, dir string, flags ...string) string {
	s.t.Helper()
	args := append(openssl[1:], append([]string{"s_client", "-connect", strings.TrimPrefix(s.url, "https://"), "-CAfile", dir + "/ca.crt", "-verify_return_error",
		"-cert", dir + "/client.crt", "-key", dir + "/client.key", "-ign_eof", "-alpn", "http/1.1"}, flags...)...)
	ctx, cancel := context.WithTimeout(s.t.Context(), waitLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, openssl[0], args...)
	cmd.Stdin = strings.NewReader("GET /v1/openapi.json HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s", out)
	return string(out)
}

// A client that can do nothing but P-256, in its signatures as in its key
// exchange, is shown the ECDSA chain.
func TestAClientThatCanOnlyDoP256(t *testing.T) {
	s := sharedHouse(t).serve()
	out := s.sClient([]string{"openssl"}, s.files(s.pki.ecdsa), "-groups", "P-256", "-sigalgs", "ECDSA+SHA256")
	require.Contains(t, out, "HTTP/1.1 200 OK")
	require.Contains(t, out, "Peer signature type: ECDSA")
	require.Contains(t, out, "Server Temp Key: ECDH, prime256v1")
	require.Contains(t, out, "Verification: OK")
}

// OpenSSL 3.5 and later knows ML-DSA and ML-KEM: it is shown the post-quantum
// chain. Debian 12 has 3.0, so Debian 13's is unpacked beside it, with the C
// library that it needs. Its own certificate is ECDSA's: 3.5.7 answers a request
// that names signature_algorithms_cert, as Go's server does, with no ML-DSA one.
func TestOpenSSL35(t *testing.T) {
	if os.Getenv("MINTWARDEN_LONG") == "" {
		t.Skip("long: it fetches Debian 13's openssl; MINTWARDEN_LONG=1 runs it")
	}
	s := sharedHouse(t).serve()
	openssl := trixie(t)
	out := s.sClient(openssl, s.files(s.pki.pq))
	for _, wanted := range []string{"HTTP/1.1 200 OK", "Peer signature type: mldsa65", "X25519MLKEM768", "Verification: OK"} {
		require.Contains(t, out, wanted)
	}
	// The same program, kept from ML-DSA, is shown the twin.
	out = s.sClient(openssl, s.files(s.pki.ecdsa), "-sigalgs", "ECDSA+SHA256")
	require.Contains(t, out, "HTTP/1.1 200 OK")
	require.Contains(t, strings.ToLower(out), "peer signature type: ecdsa")
}

// trixie is how Debian 13's openssl is run here.
func trixie(t *testing.T) []string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{"lists/partial", "cache/archives/partial", "root"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	for name, text := range map[string]string{"status": "", "sources.list": "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian trixie main\n"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	apt := func(args ...string) {
		own := []string{"-o", "Dir::Etc::sourcelist=" + dir + "/sources.list", "-o", "Dir::Etc::sourceparts=/dev/null", "-o", "Dir::Etc::preferencesparts=/dev/null",
			"-o", "Dir::State=" + dir, "-o", "Dir::State::lists=" + dir + "/lists", "-o", "Dir::State::status=" + dir + "/status", "-o", "Dir::Cache=" + dir + "/cache",
			"-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none"}
		cmd := exec.CommandContext(t.Context(), "apt-get", append(own, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	apt("update")
	apt("download", "openssl", "libssl3t64", "libc6", "libzstd1", "zlib1g")
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	require.NoError(t, err)
	require.Len(t, packages, 5)
	for _, p := range packages {
		out, err := exec.CommandContext(t.Context(), "dpkg-deb", "-x", p, filepath.Join(dir, "root")).CombinedOutput()
		require.NoError(t, err, "%s", out)
	}
	root := filepath.Join(dir, "root")
	return []string{root + "/usr/lib64/ld-linux-x86-64.so.2", "--library-path", root + "/usr/lib/x86_64-linux-gnu", root + "/usr/bin/openssl"}
}
