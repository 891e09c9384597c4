package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// tlsDesk is the API's TLS over files that a test rewrites.
type tlsDesk struct {
	t    *testing.T
	dir  string
	ca   *pki.CA
	p    *parts
	r    *reloader
	addr string
}

func newTLSDesk(t *testing.T) *tlsDesk {
	ca, err := pki.NewCA("root", pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	d := &tlsDesk{t: t, dir: t.TempDir(), ca: ca}
	d.put("ca.crt", ca.Pair().Certificate)
	d.server()
	d.revoke(nil)
	d.p = &parts{reg: prometheus.NewRegistry(), log: slog.New(slog.DiscardHandler), cfg: &config.Config{API: config.API{
		Certificates: []config.Certificate{{Cert: d.path("server.crt"), Key: d.path("server.key")}},
		ClientCA:     []string{d.path("ca.crt")}, ClientCRL: []string{d.path("crl.pem")},
	}}}
	served, r, err := d.p.openTLS()
	d.r = r
	if err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", served.Config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func(c net.Conn) { defer c.Close(); _, _ = io.Copy(c, c) }(c)
		}
	}()
	d.addr = l.Addr().String()
	return d
}

func (d *tlsDesk) path(name string) string { return filepath.Join(d.dir, name) }

func (d *tlsDesk) put(name string, text []byte) {
	d.t.Helper()
	if err := os.WriteFile(d.path(name), text, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

func (d *tlsDesk) server() pki.Pair {
	d.t.Helper()
	p, err := d.ca.IssueServer("mintwarden", []string{"127.0.0.1"}, pki.ECDSAP256)
	if err != nil {
		d.t.Fatal(err)
	}
	d.put("server.crt", p.Certificate)
	d.put("server.key", p.Key)
	return p
}

func (d *tlsDesk) revoke(old []byte, leaves ...*x509.Certificate) []byte {
	d.t.Helper()
	list, err := d.ca.Revoke(old, leaves...)
	if err != nil {
		d.t.Fatal(err)
	}
	d.put("crl.pem", list)
	return list
}

func (d *tlsDesk) client() (tls.Certificate, *x509.Certificate) {
	d.t.Helper()
	p, err := d.ca.IssueClient("caller", pki.ECDSAP256)
	if err != nil {
		d.t.Fatal(err)
	}
	c, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		d.t.Fatal(err)
	}
	return c, c.Leaf
}

// echo dials, and says what the server showed and whether it answered.
func (d *tlsDesk) echo(c tls.Certificate) (serial string, err error) {
	d.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(d.ca.Pair().Certificate)
	conn, err := tls.Dial("tcp", d.addr, &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{c}})
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		d.t.Fatal(err)
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		return "", err
	}
	_, err = conn.Read(make([]byte, 1))
	return conn.ConnectionState().PeerCertificates[0].SerialNumber.String(), err
}

func (d *tlsDesk) failing(want float64, says string) {
	d.t.Helper()
	d.r.reload()
	if got := testutil.ToFloat64(d.r.failed); got != want || !strings.Contains(d.r.said, says) {
		d.t.Fatalf("failing %v, said %q", got, d.r.said)
	}
}

// What a file's owner does to it, half done and wrong included: the appliance
// goes on with what it had, says so, and takes the rest when it is whole.
func TestCertificatesFollowTheirFiles(t *testing.T) {
	d := newTLSDesk(t)
	caller, leaf := d.client()
	before, err := d.echo(caller)
	if err != nil {
		t.Fatal(err)
	}
	goesOn := func() {
		t.Helper()
		if serial, err := d.echo(caller); err != nil || serial != before {
			t.Fatalf("serial %s, %v; want %s", serial, err, before)
		}
	}
	d.failing(0, "")
	goesOn()

	next := d.server()
	d.put("server.key", []byte("half written"))
	d.failing(1, "server.crt")
	goesOn()
	d.failing(1, "server.crt") // and it is tried again
	d.put("server.key", next.Key)
	d.failing(0, "")
	if serial, err := d.echo(caller); err != nil || serial == before {
		t.Fatalf("the new certificate is not shown: %s, %v", serial, err)
	} else {
		before = serial
	}

	stranger, err := pki.NewCA("stranger", pki.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := stranger.Revoke(nil)
	if err != nil {
		t.Fatal(err)
	}
	mine, err := os.ReadFile(d.path("crl.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"signed by none": foreign, "holds no X509 CRL": []byte("nothing"), "a CERTIFICATE stands among": d.ca.Pair().Certificate} {
		d.put("crl.pem", text)
		d.failing(1, name)
		goesOn()
	}
	if err := os.Remove(d.path("crl.pem")); err != nil {
		t.Fatal(err)
	}
	d.failing(1, "crl.pem") // a list that is gone does not let anybody in again
	goesOn()

	d.revoke(mine, leaf)
	d.failing(0, "")
	if _, err := d.echo(caller); err == nil {
		t.Fatal("a revoked certificate was let in")
	}
	other, _ := d.client()
	if serial, err := d.echo(other); err != nil || serial != before {
		t.Fatalf("another caller: %s, %v", serial, err)
	}
	d.put("crl.pem", foreign)
	d.failing(1, "signed by none")
	if _, err := d.echo(caller); err == nil {
		t.Fatal("a list that cannot be taken let a revoked certificate in")
	}
}
