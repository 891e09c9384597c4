package store

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

const (
	// defaultQuota is what etcd's database may grow to, in bytes, before it refuses writes.
	defaultQuota = 8 << 30
	// serverQuota is that of an etcd that was told nothing.
	serverQuota = 2 << 30
	// compactAfter is how long old revisions are kept: a watch that was cut off for longer lists again. A
	// finished operation leaves dozens of keys and values that nobody asks for any more, and etcd keeps a word
	// of each in memory for as long.
	compactAfter = 2 * time.Minute
	// pagesHost is where etcd's HTTP pages listen, behind client certificates like the rest: another loopback
	// address than 127.0.0.1, so that the two listeners can be told apart.
	pagesHost = "127.0.0.2"
	// snapshotCount is after how many transactions etcd needs its log no more: what lies behind is read again
	// at a start, in a second for etcd's own 10,000. catchUpEntries is how many it keeps in memory for members
	// that lag, of whom there are none here; its own 5,000 are 70 MiB under load.
	snapshotCount  = 2000
	catchUpEntries = 100
	// walFiles and snapFiles are how many files of each etcd keeps beyond those that it needs; at a start it reads
	// them all, 64 MiB each: its own 5 take a second.
	walFiles, snapFiles = 2, 2
	// tick and election, in milliseconds: alone, a member waits out an election whenever it starts, between one
	// and two of them. There is nobody whose slowness could be taken for his end.
	tick, election = 20, 100
	// defragAbove is how much free space in the database, in MiB, makes a start defragment it: all that is in use
	// is copied, which takes longer than all else that a start does, and free pages are written to again anyway.
	// Near the quota it is done whatever the space (WatchSpace).
	defragAbove = 512
)

// EmbeddedConfig says where a single appliance keeps its etcd and who may speak to it. The certificates
// are the caller's (daemon/pki makes them for dev); common names are etcd users.
type EmbeddedConfig struct {
	Dir        string // data directory, ours alone; made with mode 0700
	Addr       string // loopback address and port to listen on; default 127.0.0.1:0, any free port
	CAFile     string // PEM; who signs the clients' certificates
	CertFile   string // PEM; the server's certificate, for the address's host
	KeyFile    string // PEM
	RootCert   string // PEM; a client certificate with the common name root, used for the set-up only
	RootKey    string // PEM
	ServerName string // name in the server's certificate; empty: the address's host

	QuotaBytes int64         // default 8 GiB
	StartLimit time.Duration // how long a start may take, replay of the log included; default 60 s
}

// Embedded is an etcd server in this process, for the one-box appliance. There, RBAC protects against
// mistakes only: the API and etcd are one process.
type Embedded struct {
	etcd     *embed.Etcd
	endpoint string
	quiet    *atomic.Bool // set while it stops
}

// StartEmbedded opens or makes the data directory, waits until etcd serves, and sets up its users (done
// again at each start, with the same result): root, mintwarden (reads and writes /mw/, reads /seal/) and
// mintwarden-seal (the reverse), by client certificate only. It survives SIGKILL: every answered write
// was fsynced.
func StartEmbedded(ctx context.Context, cfg EmbeddedConfig, log *slog.Logger) (*Embedded, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.QuotaBytes <= 0 {
		cfg.QuotaBytes = defaultQuota
	}
	if cfg.StartLimit <= 0 {
		cfg.StartLimit = time.Minute
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	quiet := new(atomic.Bool)
	c := embeddedConfig(cfg, zapLogger(log, quiet))
	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("store: embedded etcd in %s: %w", cfg.Dir, err)
	}
	x := &Embedded{etcd: e, quiet: quiet}
	for _, l := range e.Clients {
		if host, _, _ := net.SplitHostPort(l.Addr().String()); host != pagesHost {
			x.endpoint = "https://" + l.Addr().String()
		}
	}
	if err := x.ready(ctx, cfg, log); err != nil {
		x.Close()
		return nil, err
	}
	return x, nil
}

// embeddedConfig is etcd's own configuration. Nobody listens on its peer URL: there are no peers.
func embeddedConfig(cfg EmbeddedConfig, log *zap.Logger) *embed.Config {
	peer := url.URL{Scheme: "http", Host: "127.0.0.1:2380"}
	client := url.URL{Scheme: "https", Host: cfg.Addr}
	c := embed.NewConfig()
	c.Name = "mintwarden"
	c.Dir = cfg.Dir
	c.ListenPeerUrls, c.AdvertisePeerUrls = nil, []url.URL{peer}
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{client}, []url.URL{client}
	c.InitialCluster = c.Name + "=" + peer.String()
	// With a listener of its own for etcd's HTTP pages, gRPC is served natively on the other: over net/http
	// it is slower, and a busy watch starves (etcd issue 15402).
	c.ListenClientHttpUrls = []url.URL{{Scheme: "https", Host: pagesHost + ":0"}}
	c.ClientTLSInfo = transport.TLSInfo{CertFile: cfg.CertFile, KeyFile: cfg.KeyFile, TrustedCAFile: cfg.CAFile, ClientCertAuth: true}
	c.TlsMinVersion = "TLS1.3"
	c.EnableGRPCGateway = false // it would act with the server's certificate instead of the caller's
	c.AutoCompactionMode = embed.CompactorModePeriodic
	c.AutoCompactionRetention = compactAfter.String()
	c.BootstrapDefragThresholdMegabytes = defragAbove
	c.SnapshotCount, c.SnapshotCatchUpEntries = snapshotCount, catchUpEntries
	c.MaxWalFiles, c.MaxSnapFiles = walFiles, snapFiles
	c.TickMs, c.ElectionMs = tick, election
	c.QuotaBackendBytes = cfg.QuotaBytes
	c.MaxRequestBytes = 3 << 19 // 1.5 MiB, etcd's own default, above our MaxTxBytes
	c.MaxTxnOps = 128
	c.LogLevel = "info"
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	return c
}

// Endpoint is the address for Config.Endpoints.
func (x *Embedded) Endpoint() string { return x.endpoint }

// Failed delivers the error with which the server ended by itself.
func (x *Embedded) Failed() <-chan error { return x.etcd.Err() }

// Defragment gives the database's free pages back to the disk. Every request waits until it is done; it needs
// as much of the disk as is in use, beside what is there.
func (x *Embedded) Defragment() error {
	if err := x.etcd.Server.Backend().Defrag(); err != nil {
		return fmt.Errorf("store: embedded etcd: %w", err)
	}
	return nil
}

// Close stops the server; what was answered stays.
func (x *Embedded) Close() {
	x.quiet.Store(true)
	x.etcd.Close()
}

func (x *Embedded) ready(ctx context.Context, cfg EmbeddedConfig, log *slog.Logger) error {
	limited, cancel := context.WithTimeout(ctx, cfg.StartLimit)
	defer cancel()
	select {
	case <-x.etcd.Server.ReadyNotify():
	case err := <-x.etcd.Err():
		return fmt.Errorf("store: embedded etcd: %w", err)
	case <-limited.Done():
		if ctx.Err() != nil {
			return fmt.Errorf("store: embedded etcd: %w", ctx.Err())
		}
		return fmt.Errorf("%w: embedded etcd in %s did not start within %s", ErrUnavailable, cfg.Dir, cfg.StartLimit)
	}
	if usersSetUp(x.etcd.Server.AuthStore()) {
		return nil
	}
	t, err := clientTLS(cfg.CAFile, cfg.RootCert, cfg.RootKey, cfg.ServerName)
	if err != nil {
		return err
	}
	root, err := newClient([]string{x.endpoint}, t, cfg.StartLimit, log)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	if err := setUpUsers(limited, root); err != nil {
		return wrap(ctx, "setting up etcd's users", err)
	}
	return nil
}
