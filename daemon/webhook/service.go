package webhook

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/store"
)

const (
	// DefaultRetention is how long finished deliveries stay in the store.
	DefaultRetention = 7 * 24 * time.Hour
	// DefaultMaxBacklog is how many deliveries may wait for one endpoint: about a gigabyte in the store.
	DefaultMaxBacklog = 250_000
	// backlogs is how many backlogs all endpoints may have together before each is held to an equal part of them.
	backlogs = 4
)

// Deps is what webhooks stand on.
type Deps struct {
	Store      *store.Store
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Key encrypts secrets: KeySize bytes, the same on every appliance of a store. Nil: no endpoint can be made.
	Key []byte
	// Plain tells whether http:// is taken beside https://; nil for never. For dev.
	Plain func() bool
	// Networks are those beside the public Internet to which deliveries may go.
	Networks []netip.Prefix
	// Roots are whom endpoints' certificates chain to; nil for the system's.
	Roots      *x509.CertPool
	Retention  time.Duration // of finished deliveries in the store; 0: DefaultRetention
	Archive    Archive       // where they are then
	MaxBacklog int           // for one endpoint; 0: DefaultMaxBacklog
	Resolver   *net.Resolver // nil: the system's
	// Now and After are the clock; nil: the system's.
	Now   func() time.Time
	After func(time.Duration) <-chan time.Time
}

// Service is the webhooks of this appliance. Safe for concurrent use.
type Service struct {
	store      *store.Store
	log        *slog.Logger
	vault      *vault // nil without a key
	guard      *guard
	roots      *x509.CertPool
	plain      func() bool
	retention  time.Duration
	maxBacklog int64
	together   int64 // deliveries that may wait for all endpoints before one is held to its part
	now        func() time.Time
	after      func(time.Duration) <-chan time.Time
	metrics    *metrics
	archive    *archive.Archive // nil without a directory
	shelf      *shelf
	scan       int         // how many deliveries are looked at at once, where not all are wanted
	began      atomic.Bool // deliveries were archived, and we have no directory for them
}

// New makes the service. Nothing is delivered until Run; the archive's directory is this process's until that ends.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Log == nil {
		return nil, errors.New("webhook: store and log are needed")
	}
	s := &Service{store: d.Store, log: d.Log, roots: d.Roots, plain: d.Plain, retention: d.Retention, maxBacklog: int64(d.MaxBacklog),
		now: d.Now, after: d.After, guard: &guard{allowed: d.Networks, resolver: d.Resolver}, scan: mostScanned}
	var err error
	if d.Key != nil {
		if s.vault, err = newVault(d.Key); err != nil {
			return nil, err
		}
	}
	if s.metrics, err = newMetrics(d.Registerer); err != nil {
		return nil, err
	}
	if s.plain == nil {
		s.plain = func() bool { return false }
	}
	if s.retention <= 0 {
		s.retention = DefaultRetention
	}
	if s.maxBacklog <= 0 {
		s.maxBacklog = DefaultMaxBacklog
	}
	s.together = backlogs * max(s.maxBacklog, DefaultMaxBacklog)
	if s.guard.resolver == nil {
		s.guard.resolver = net.DefaultResolver
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.after == nil {
		s.after = time.After
	}
	return s, s.openArchive(d)
}

// moment is now as it is stored: UTC, whole milliseconds.
func (s *Service) moment() time.Time { return s.now().UTC().Truncate(time.Millisecond) }
