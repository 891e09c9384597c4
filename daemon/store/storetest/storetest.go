// Package storetest gives tests a real embedded etcd with certificates of its own, as httptest gives them
// a real HTTP server. It is imported by tests only.
package storetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Server is an embedded etcd and the certificates to reach it.
type Server struct {
	*store.Embedded
	Config store.EmbeddedConfig // to start another one on the same directory
	dir    string
	tb     testing.TB
}

// Start runs an etcd until the test ends, with a configuration that change may edit.
func Start(tb testing.TB, change ...func(*store.EmbeddedConfig)) *Server {
	tb.Helper()
	dir := tb.TempDir()
	writeCertificates(tb, dir)
	s := &Server{dir: dir, tb: tb, Config: store.EmbeddedConfig{
		Dir: filepath.Join(dir, "etcd"), CAFile: filepath.Join(dir, "ca.crt"),
		CertFile: filepath.Join(dir, "server.crt"), KeyFile: filepath.Join(dir, "server.key"),
		RootCert: filepath.Join(dir, "root.crt"), RootKey: filepath.Join(dir, "root.key"),
	}}
	for _, f := range change {
		f(&s.Config)
	}
	s.Restart()
	tb.Cleanup(func() { s.Close() })
	return s
}

// Restart starts etcd again on the same directory, on the port that it had.
func (s *Server) Restart() {
	s.tb.Helper()
	e, err := store.StartEmbedded(context.Background(), s.Config, Logger(s.tb))
	if err != nil {
		s.tb.Fatal(err)
	}
	s.Embedded = e
	s.Config.Addr = e.Endpoint()[len("https://"):]
}

// ClientConfig is how a client with user's certificate connects.
func (s *Server) ClientConfig(user string) store.Config {
	return store.Config{
		Endpoints: []string{s.Endpoint()}, CAFile: s.Config.CAFile, Tenant: "test",
		CertFile: filepath.Join(s.dir, user+".crt"), KeyFile: filepath.Join(s.dir, user+".key"),
	}
}

// Open connects as user; the connection is closed when the test ends.
func (s *Server) Open(user string) *store.Store {
	s.tb.Helper()
	return s.OpenConfig(s.ClientConfig(user))
}

// OpenConfig connects; the connection is closed when the test ends.
func (s *Server) OpenConfig(cfg store.Config) *store.Store {
	s.tb.Helper()
	st, err := store.Open(context.Background(), cfg, Logger(s.tb), nil)
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { _ = st.Close() })
	return st
}

// InProcess is how this process itself asks the etcd in it, as user, without a connection. A server that
// was restarted is another one: the store that it opens does not follow.
func (s *Server) InProcess(user string) store.Config {
	c := s.ClientConfig(user)
	c.Embedded = s.Embedded
	return c
}

// Root is a client with all rights, over the socket, as an operator's etcdctl is.
func (s *Server) Root() *clientv3.Client {
	s.tb.Helper()
	ca, err := os.ReadFile(s.Config.CAFile)
	if err != nil {
		s.tb.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(s.Config.RootCert, s.Config.RootKey)
	if err != nil {
		s.tb.Fatal(err)
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Endpoint()}, Logger: zap.NewNop(),
		TLS: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}})
	if err != nil {
		s.tb.Fatal(err)
	}
	s.tb.Cleanup(func() { _ = c.Close() })
	return c
}

// Compact has etcd forget every value that is not the newest, and returns once it has.
func (s *Server) Compact() {
	s.tb.Helper()
	c := s.Root()
	at, err := c.Get(context.Background(), "/", clientv3.WithCountOnly())
	if err == nil {
		_, err = c.Compact(context.Background(), at.Header.Revision, clientv3.WithCompactPhysical())
	}
	if err != nil {
		s.tb.Fatal(err)
	}
}

// Open starts an etcd and uses it as serve does.
func Open(tb testing.TB) *store.Store {
	tb.Helper()
	s := Start(tb)
	return s.OpenConfig(s.InProcess(store.UserServe))
}

// Logger writes warnings and errors to the standard error, where a failing test shows them.
func Logger(testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
}

func writeCertificates(tb testing.TB, dir string) {
	tb.Helper()
	caKey := key(tb)
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der := sign(tb, ca, ca, &caKey.PublicKey, caKey)
	write(tb, filepath.Join(dir, "ca.crt"), "CERTIFICATE", der)
	for i, cn := range []string{"server", "root", store.UserServe, store.UserSeal} {
		k := key(tb)
		c := &x509.Certificate{
			SerialNumber: big.NewInt(int64(i) + 2), Subject: pkix.Name{CommonName: cn}, KeyUsage: x509.KeyUsageDigitalSignature,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		}
		if cn == "server" {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
			c.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
		}
		write(tb, filepath.Join(dir, cn+".crt"), "CERTIFICATE", sign(tb, c, ca, &k.PublicKey, caKey))
		p, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			tb.Fatal(err)
		}
		write(tb, filepath.Join(dir, cn+".key"), "PRIVATE KEY", p)
	}
}

func key(tb testing.TB) *ecdsa.PrivateKey {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func sign(tb testing.TB, c, parent *x509.Certificate, pub *ecdsa.PublicKey, by *ecdsa.PrivateKey) []byte {
	der, err := x509.CreateCertificate(rand.Reader, c, parent, pub, by)
	if err != nil {
		tb.Fatal(err)
	}
	return der
}

func write(tb testing.TB, path, kind string, der []byte) {
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		tb.Fatal(err)
	}
}
