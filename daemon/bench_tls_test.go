package daemon

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// tlsRound is for how long each kind of certificate is measured at a time, the kinds in turn.
const (
	tlsRound   = 500 * time.Millisecond
	tlsRounds  = 8
	tlsCallers = 8
)

// tlsHouse is a server as the API's listener is, whose certificates, and its callers', are all of one algorithm.
type tlsHouse struct {
	b      *testing.B
	addr   string
	client *tls.Config
	kept   *http.Client
}

func newTLSHouse(b *testing.B, alg pki.Algorithm) *tlsHouse {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	ca, err := pki.NewCA("root", alg)
	must(err)
	block, _ := pem.Decode(ca.Pair().Certificate)
	root, err := x509.ParseCertificate(block.Bytes)
	must(err)
	pair := func(p pki.Pair, err error) tls.Certificate {
		b.Helper()
		must(err)
		c, err := tls.X509KeyPair(p.Certificate, p.Key)
		must(err)
		return c
	}
	served, err := api.NewTLS(api.Trust{Certificates: []tls.Certificate{pair(ca.IssueServer("api", []string{"127.0.0.1"}, alg))},
		Roots: []*x509.Certificate{root}}, prometheus.NewRegistry())
	must(err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(err)
	answer := bytes.Repeat([]byte("x"), 1024) // an operation's JSON is as long
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(answer) }))
	must(s.Listener.Close())
	s.Listener, s.TLS = l, served.Config()
	s.EnableHTTP2 = true
	s.StartTLS()
	b.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(root)
	h := &tlsHouse{b: b, addr: l.Addr().String(), client: &tls.Config{RootCAs: roots, ServerName: "127.0.0.1",
		Certificates: []tls.Certificate{pair(ca.IssueClient("caller", alg))}}}
	h.kept = &http.Client{Transport: &http.Transport{TLSClientConfig: h.client.Clone(), ForceAttemptHTTP2: true}}
	b.Cleanup(h.kept.CloseIdleConnections)
	return h
}

// handshake is a whole one, both certificates verified: the first answer says that the server finished it.
func (h *tlsHouse) handshake() error {
	c, err := tls.Dial("tcp", h.addr, h.client)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	if _, err := io.WriteString(c, "HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 1))
	return err
}

// ask is one request on a connection that was there before.
func (h *tlsHouse) ask() error {
	r, err := h.kept.Get("https://" + h.addr)
	if err != nil {
		return err
	}
	defer func() { _ = r.Body.Close() }()
	_, err = io.Copy(io.Discard, r.Body)
	return err
}

// during is how often f was done in a round by all callers together.
func (h *tlsHouse) during(f func() error) int {
	h.b.Helper()
	var done atomic.Int64
	var failed atomic.Pointer[error]
	var callers sync.WaitGroup
	end := time.Now().Add(tlsRound)
	for range tlsCallers {
		callers.Go(func() {
			for time.Now().Before(end) {
				if err := f(); err != nil {
					failed.Store(&err)
					return
				}
				done.Add(1)
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		h.b.Fatal(*err)
	}
	return int(done.Load())
}

// BenchmarkTLS is what post-quantum certificates cost: full handshakes with certificates of ML-DSA-65 on both sides,
// and of P-256, and requests on connections that are kept, where there must be no difference. Callers and server share
// the machine; the kinds take turns, each beginning as often as the other. Requests are measured when all handshakes are
// over, for what these leave to be collected and closed would be counted against the requests that come next.
func BenchmarkTLS(b *testing.B) {
	houses := []*tlsHouse{newTLSHouse(b, pki.MLDSA65), newTLSHouse(b, pki.ECDSAP256)}
	turns := func(f func(h *tlsHouse) error) (done [2]int) {
		for round := range tlsRounds {
			for n := range houses {
				i := (round + n) % len(houses)
				runtime.GC()
				done[i] += houses[i].during(func() error { return f(houses[i]) })
			}
		}
		return done
	}
	for b.Loop() {
		handshakes := turns((*tlsHouse).handshake)
		turns((*tlsHouse).ask) // connections, and what they grow by, are there before
		requests := turns((*tlsHouse).ask)
		seconds := (tlsRounds * tlsRound).Seconds()
		b.ReportMetric(float64(handshakes[0])/seconds, "handshakes/s(ml-dsa-65)")
		b.ReportMetric(float64(handshakes[1])/seconds, "handshakes/s(p-256)")
		b.ReportMetric(float64(requests[0])/seconds, "kept-requests/s(ml-dsa-65)")
		b.ReportMetric(float64(requests[0])/float64(requests[1]), "kept-ratio(aim≥0.95)")
	}
	b.ReportMetric(0, "ns/op")
}
