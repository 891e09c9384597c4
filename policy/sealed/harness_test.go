package sealed

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

// house is what all tests of this package share: a real etcd that asks for
// client certificates, and a real token.
var house struct {
	dir   string
	store StoreConfig
	token *softhsm.Token
	hsm   *hsm.Token
	calls *prometheus.Registry // of hsm
}

const testPIN = "unit-1234"

func TestMain(m *testing.M) {
	if dir := os.Getenv(asProgramEnv); dir != "" {
		os.Exit(asProgram(dir))
	}
	if what := os.Getenv(takeEnv); what != "" {
		os.Exit(takePublicHalves(what))
	}
	if what := os.Getenv(probeEnv); what != "" {
		os.Exit(runProbe(what))
	}
	code, err := runHouse(m)
	if err != nil {
		slog.Error("house", "error", err)
		code = 1
	}
	os.Exit(code)
}

func runHouse(m *testing.M) (code int, err error) {
	if house.dir, err = os.MkdirTemp("", "sealed"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(house.dir)) }()
	if house.token, err = softhsm.Create(context.Background(), filepath.Join(house.dir, "hsm"), "unit", []byte("so-pin-1"), []byte(testPIN)); err != nil {
		return 0, err
	}
	if err := os.Setenv(softhsm.EnvConf, house.token.ConfPath); err != nil {
		return 0, err
	}
	quiet := slog.New(slog.DiscardHandler)
	house.calls = prometheus.NewRegistry()
	if house.hsm, err = hsm.Open(context.Background(), house.token.Config(), []byte(testPIN), quiet, house.calls); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, house.hsm.Close()) }()
	stop, err := startEtcd()
	if err != nil {
		return 0, err
	}
	defer stop()
	return m.Run(), nil
}

// startEtcd starts etcd on a free loopback port and fills house.store.
func startEtcd() (stop func(), err error) {
	if err := issue(house.dir); err != nil {
		return nil, err
	}
	in := func(name string) string { return filepath.Join(house.dir, name) }
	cfg := embed.NewConfig()
	cfg.EnableGRPCGateway = false // as in production; its logger reads os.Stderr while testing sets it
	cfg.Dir, cfg.LogLevel = in("etcd"), "fatal"
	cfg.UnsafeNoFsync = true // tests kill seals, not etcd
	clients, peers := url.URL{Scheme: "https", Host: "127.0.0.1:0"}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	cfg.ListenPeerUrls = []url.URL{peers}
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: in("server.crt"), KeyFile: in("server.key"), TrustedCAFile: in("ca.crt"), ClientCertAuth: true}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return nil, err
	}
	<-e.Server.ReadyNotify()
	house.store = StoreConfig{Endpoints: []string{"https://" + e.Clients[0].Addr().String()}, CA: in("ca.crt"),
		Cert: in("client.crt"), Key: in("client.key"), ServerName: "etcd.test"}
	return e.Close, nil
}

// issue makes a CA, a server certificate and a client certificate in dir.
func issue(dir string) error {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, caKey.Public(), caKey)
	if err != nil {
		return err
	}
	if err := writePEM(filepath.Join(dir, "ca.crt"), "CERTIFICATE", der); err != nil {
		return err
	}
	for i, name := range []string{"server", "client"} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		leaf := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: "mintwarden-seal"},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, KeyUsage: x509.KeyUsageDigitalSignature,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			DNSNames:    []string{"etcd.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
		der, err := x509.CreateCertificate(rand.Reader, leaf, ca, key.Public(), caKey)
		if err != nil {
			return err
		}
		keyDER, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, name+".crt"), "CERTIFICATE", der); err != nil {
			return err
		}
		if err := writePEM(filepath.Join(dir, name+".key"), "PRIVATE KEY", keyDER); err != nil {
			return err
		}
	}
	return nil
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// openLog gives a fresh log: whatever an earlier test left is gone.
func openLog(t *testing.T, cfg StoreConfig) *logStore {
	t.Helper()
	s, err := openStore(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.close() })
	return s
}

func emptyLog(t *testing.T) {
	t.Helper()
	s := openLog(t, house.store)
	_, err := s.c.Delete(t.Context(), "/seal/", clientv3.WithPrefix())
	require.NoError(t, err)
	forgetAnchor(t)
}

// forgetAnchor makes the token that all tests share one that no ledger was
// written with.
func forgetAnchor(t testing.TB) {
	t.Helper()
	for {
		err := house.hsm.DestroyObject(t.Context(), anchorName)
		if errors.Is(err, hsm.ErrNotFound) {
			return
		}
		require.NoError(t, err)
	}
}

func newID(prefix string) string { return prefix + "_" + ulid.Make().String() }

// signatures is how often the token was asked to sign with a wallet's key.
func signatures(t *testing.T) float64 {
	t.Helper()
	return calls(t, "sign_dilithium3")
}

// calls is how often the token was used so.
func calls(t *testing.T, call string) float64 {
	t.Helper()
	families, err := house.calls.Gather()
	require.NoError(t, err)
	var n float64
	for _, f := range families {
		if f.GetName() != "mintwarden_hsm_calls_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == call {
				n += m.GetCounter().GetValue()
			}
		}
	}
	return n
}
