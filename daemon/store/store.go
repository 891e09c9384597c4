// Package store is the appliance's state in etcd: the connection, the layout of keys, and Tx, the one
// transaction in which a change, the audit entry and the events that tell of it and the idempotency record
// that answers for it are written together or not at all (design.md, “One transaction”).
//
// It promises that
//
//   - what Get, List and Watch return was committed by a quorum (reads are linearizable);
//   - Commit either wrote everything or nothing, and ErrUnavailable is its only error after which the
//     outcome is unknown;
//   - a write guarded by a Fence never succeeds after another holder took the fence over;
//   - every call ends within the request timeout, save Watch and Fence, which end with their context.
//
// It does not promise that a value is still current when the caller looks at it: a decision that depends
// on a value compares its revision in the Tx that rests on it. It does not know what the values mean.
package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// Config says where etcd is and who we are.
type Config struct {
	// Embedded is the etcd of this process, which is then called without a connection, as the user whose
	// certificate CertFile is; nil: the one behind Endpoints.
	Embedded  *Embedded
	Endpoints []string // https://host:port, at least one
	CAFile    string   // PEM; who may have signed the servers' certificates
	CertFile  string   // PEM; our client certificate: its common name is our etcd user
	KeyFile   string   // PEM
	// ServerName is the name that the servers' certificate must hold; empty: the endpoint's host.
	ServerName string

	Tenant string // the organization's name, in every audit entry
	// Owner is this appliance's name. A fence that an earlier process of the same owner left behind is
	// taken over at once instead of after its lease. Empty: every process is an owner of its own.
	Owner string

	// QuotaBytes is etcd's quota where it does not tell it itself, as servers before 3.6; default 2 GiB, which
	// is etcd's own.
	QuotaBytes int64

	DialTimeout    time.Duration // default 5 s
	RequestTimeout time.Duration // of one request; default 5 s
}

// Store is a connection to etcd. All methods are safe for concurrent use.
type Store struct {
	cfg     Config
	client  *clientv3.Client
	log     *slog.Logger
	metrics *metrics
	group   group
	looks   looks
	space   atomic.Pointer[Space] // as last seen; nil before the first look

	leaseMu   sync.Mutex
	idemLease clientv3.LeaseID
	idemUntil time.Time
	idemCount int // records under idemLease

	sessionMu sync.Mutex
	session   *session
	claims    claims
}

// Open connects and makes sure that etcd answers. The error is ErrUnavailable when it does not within the
// dial timeout.
func Open(ctx context.Context, cfg Config, log *slog.Logger, reg prometheus.Registerer) (*Store, error) {
	if len(cfg.Endpoints) == 0 && cfg.Embedded == nil {
		return nil, errors.New("store: no endpoint")
	}
	if cfg.DialTimeout <= 0 {
		cfg.DialTimeout = 5 * time.Second
	}
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = 5 * time.Second
	}
	if cfg.QuotaBytes <= 0 {
		cfg.QuotaBytes = serverQuota
	}
	if cfg.Owner == "" {
		cfg.Owner = NewID("proc_")
	}
	c, err := connect(cfg, log)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(reg)
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	s := &Store{cfg: cfg, client: c, log: log, metrics: m}
	s.group.s, s.looks.s = s, s
	dctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	if _, err := c.Get(dctx, LedgerCarried); err != nil {
		_ = c.Close()
		return nil, wrap(ctx, fmt.Sprintf("dial %v", cfg.Endpoints), err)
	}
	return s, nil
}

func connect(cfg Config, log *slog.Logger) (*clientv3.Client, error) {
	if cfg.Embedded != nil {
		certificate, err := leaf(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, err
		}
		return inProcess(cfg.Embedded.etcd.Server, certificate), nil
	}
	t, err := clientTLS(cfg.CAFile, cfg.CertFile, cfg.KeyFile, cfg.ServerName)
	if err != nil {
		return nil, err
	}
	return newClient(cfg.Endpoints, t, cfg.DialTimeout, log)
}

// Close gives up every fence and disconnects.
func (s *Store) Close() error {
	s.sessionMu.Lock()
	if s.session != nil {
		s.session.close()
		s.session = nil
	}
	s.sessionMu.Unlock()
	err := s.client.Close()
	if s.cfg.Embedded != nil {
		return nil // a client without a connection always says that it was cancelled
	}
	return err
}

// Tenant is the organization that the appliance serves.
func (s *Store) Tenant() string { return s.cfg.Tenant }

func newClient(endpoints []string, t *tls.Config, dial time.Duration, log *slog.Logger) (*clientv3.Client, error) {
	c, err := clientv3.New(clientv3.Config{
		Endpoints:            endpoints,
		TLS:                  t,
		DialTimeout:          dial,
		DialKeepAliveTime:    10 * time.Second,
		DialKeepAliveTimeout: 5 * time.Second,
		MaxCallSendMsgSize:   2 << 20,
		MaxCallRecvMsgSize:   64 << 20,
		Logger:               zapLogger(log, new(atomic.Bool)),
		DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
			// etcd comes back within a second of a restart; grpc's own backoff would leave us waiting for two minutes.
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: dial,
		})},
	})
	if err != nil {
		return nil, fmt.Errorf("store: %v: %w", endpoints, err)
	}
	return c, nil
}

func clientTLS(caFile, certFile, keyFile, serverName string) (*tls.Config, error) {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("store: CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("store: CA: no certificate in %s", caFile)
	}
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("store: client certificate %s: %w", certFile, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: pool, Certificates: []tls.Certificate{pair}}
	if serverName != "" {
		pinName(c, serverName)
	}
	return c, nil
}

// pinName has the server's certificate checked against name. etcd's client sets the endpoint's host in
// place of tls.Config.ServerName, so what is named in the config would otherwise be checked by nobody.
func pinName(c *tls.Config, name string) {
	c.InsecureSkipVerify = true // VerifyConnection does all of it
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("store: etcd shows no certificate")
		}
		between := x509.NewCertPool()
		for _, more := range s.PeerCertificates[1:] {
			between.AddCert(more)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: name, Roots: c.RootCAs, Intermediates: between,
			KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		return err
	}
}
