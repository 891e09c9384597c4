package operation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/archive"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// DefaultTTL is how long an operation may wait for approvals and a signature when nothing else is asked.
const DefaultTTL = 24 * time.Hour

// MaxPending is how many operations of one key may wait for approvals at once (spec/api.md, “pending”).
const MaxPending = 64

// Sealer is the part of the seal's socket that operations ask; *seal.Client is one. Every call repeated
// with the same arguments MUST give its first answer.
type Sealer interface {
	Decide(context.Context, *policy.Envelope) (*seal.Recorded, error)
	Cancel(ctx context.Context, operationID, reason string) (*seal.Recorded, error)
	Authorize(context.Context, seal.AuthorizeRequest) (*seal.AuthorizeResult, error)
	Bump(context.Context, seal.BumpRequest) (*seal.BumpResult, error)
	Settle(context.Context, seal.SettleRequest) (*seal.Recorded, error)
}

// Deps is what operations stand on.
type Deps struct {
	Store    *store.Store
	Registry *registry.Service
	Seal     Sealer
	// Chains are the networks of the config, by name.
	Chains     map[string]*chain.Client
	Log        *slog.Logger
	Registerer prometheus.Registerer
	TTL        time.Duration    // 0: DefaultTTL
	MaxPending int              // 0: MaxPending
	Now        func() time.Time // nil: the system's clock
	Archive    Archive
	Tracer     *trace.Tracer // nil: nothing is traced
}

// Service is the operations of this appliance. Safe for concurrent use.
type Service struct {
	store      *store.Store
	registry   *registry.Service
	seal       Sealer
	chains     map[string]*chain.Client
	log        *slog.Logger
	ttl        time.Duration
	maxPending int
	reserved   reservations
	now        func() time.Time
	metrics    *metrics
	index      *index
	archive    *archive.Archive // nil where operations stay in the store
	heads      *heads
	glances    *glances
	endings    *endings
	courier    Courier // nil: nobody else's transactions are signed
	papers     *papers
	traces     *traces
	rules      atomic.Uint64 // counts what the ledger recorded of charter, policies and freezes
	askers     sync.Map      // asker → registry.Actor: who caused a record of the ledger that is on its way
}

// New makes the service and registers it with the registry's follower, so it must be called before that
// runs. Lists and submissions wait until RunWorker has read the operations.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Registry == nil || d.Seal == nil || d.Log == nil {
		return nil, errors.New("operation: store, registry, seal and log are needed")
	}
	s := &Service{
		store: d.Store, registry: d.Registry, seal: d.Seal, chains: d.Chains, log: d.Log, ttl: d.TTL,
		maxPending: d.MaxPending, now: d.Now, index: newIndex(d.Store, d.Log), heads: newHeads(d.Chains, d.Log),
		papers: newPapers(), endings: newEndings(),
	}
	s.glances = newGlances(s.heads)
	// What another appliance saw mined makes this one forget what it was told before, as what it saw itself does.
	s.index.mined = func(o *Operation) { s.heads.passed(o.Network, o.BlockNumber+1) }
	if s.traces = newTraces(d.Tracer, d.Store, s.index); s.traces != nil {
		s.seal = tracedSealer{d.Seal}
	}
	if s.ttl <= 0 {
		s.ttl = DefaultTTL
	}
	if s.maxPending <= 0 {
		s.maxPending = MaxPending
	}
	if s.now == nil {
		s.now = time.Now
	}
	m, err := newMetrics(d.Registerer, s.index)
	if err != nil {
		return nil, err
	}
	s.metrics = m
	if err := s.openArchive(d.Archive, d.Registerer); err != nil {
		return nil, err
	}
	d.Registry.OnBatch(s.carry)
	return s, nil
}

// commit writes a changed operation, with the events that tell of it, and takes it in. o was read at rev, in
// state before.
func (s *Service) commit(ctx context.Context, t *store.Tx, o *Operation, rev int64, before *Operation) error {
	if before != nil && rev == 0 {
		// It is in the archive: it comes back first, and the caller looks again.
		if err := s.revive(ctx, o.ID); err != nil {
			return err
		}
		return &store.ConflictError{Key: store.OpState(o.ID)}
	}
	o.vacate(t)
	wasClosed := before != nil && before.closed()
	o.emit(t, before)
	o.stage(t, rev, wasClosed)
	at, err := s.committed(ctx, t)
	if err != nil {
		return err
	}
	s.metrics.moved(before, o)
	reached(ctx, before, o)
	s.index.put(o, at)
	return nil
}

// committed commits t, as a span of whatever it is done for.
func (s *Service) committed(ctx context.Context, t *store.Tx) (int64, error) {
	ctx, span := trace.Call(ctx, "store.commit")
	span.Set(trace.Peer, "etcd")
	at, err := t.Commit(ctx)
	span.End(err)
	return at, err
}

// lostRace reports whether a commit failed only because somebody else changed what it compared.
func lostRace(err error) bool {
	return errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrIdempotencyLost)
}
