package reconciliation

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Freezer is the part of the seal's socket that reconciliation asks; *seal.Client is one. A token that is frozen
// already MUST stay so without an error.
type Freezer interface {
	Freeze(context.Context, seal.FreezeRequest) (*seal.Recorded, error)
}

// Registry is what reconciliation asks of tokens; *registry.Service is one.
type Registry interface {
	// Ready is nil once the ledger is followed: before, nobody knows what was authorized.
	Ready() error
	// WaitLog returns nil once all that the ledger holds now is carried into the store.
	WaitLog(ctx context.Context) error
	Token(ctx context.Context, id string) (*registry.Token, error)
	Tokens(ctx context.Context, f registry.TokenFilter, limit, offset int) ([]*registry.Token, int, error)
	TokenFrozen(id string) bool
	// ExternalHolders are the accounts that a token's binding lists as others'.
	ExternalHolders(id string) []tx.Address
}

// Operations is what reconciliation asks of operations; *operation.Service is one.
type Operations interface {
	// Get is one operation with its intent.
	Get(ctx context.Context, id string) (*operation.Operation, error)
	// OfTransactions are the ids of the operations that transactions were signed for, in the hashes' order; empty
	// at the place of one that is not ours.
	OfTransactions(ctx context.Context, hashes []tx.Hash) ([]string, error)
	// States are operations without intents, in the ids' order; nil at the place of one that is unknown.
	States(ctx context.Context, ids []string) ([]*operation.Operation, error)
	List(ctx context.Context, f operation.Filter, limit, offset int, cursor string) ([]*operation.Operation, int, string, error)
}

// Deps is what reconciliation stands on.
type Deps struct {
	Store      *store.Store
	Registry   Registry
	Operations Operations
	Seal       Freezer
	// Chains are the networks of the config, by name.
	Chains     map[string]*chain.Client
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time // nil: the system's clock
}

// Service is the reconciliation of this appliance. Safe for concurrent use.
type Service struct {
	store      *store.Store
	registry   Registry
	operations Operations
	seal       Freezer
	chains     map[string]*chain.Client
	log        *slog.Logger
	now        func() time.Time
	metrics    *metrics
}

// New makes the service. Nothing is looked at before [Service.Run].
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Registry == nil || d.Operations == nil || d.Seal == nil || d.Log == nil {
		return nil, errors.New("reconciliation: store, registry, operations, seal and log are needed")
	}
	s := &Service{store: d.Store, registry: d.Registry, operations: d.Operations, seal: d.Seal, chains: d.Chains, log: d.Log, now: d.Now}
	if s.now == nil {
		s.now = time.Now
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, err
	}
	s.metrics = m
	return s, nil
}

// fenceName is the right to reconcile, one process's at a time.
const fenceName = "reconciliation"

// Bounds of the pause between two looks at a network's head: half of the block period.
const (
	leastPause = 250 * time.Millisecond
	mostPause  = 5 * time.Second
	// faultPause is how long a network rests that could not be looked at.
	faultPause = 2 * time.Second
)

// Run reconciles while this process has the fence, until ctx ends; then it returns nil.
func (s *Service) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := s.store.While(ctx, fenceName, s.hold); err != nil && ctx.Err() == nil {
			s.log.Warn("reconciliation: waiting for its fence", "error", err)
			pause(ctx, faultPause)
		}
	}
	return nil
}

// hold works on every network until ctx ends.
func (s *Service) hold(ctx context.Context, fence *store.Fence) error {
	var networks sync.WaitGroup
	for name, c := range s.chains {
		networks.Go(func() { s.follow(ctx, newFront(s, fence, name, c)) })
	}
	networks.Wait()
	return nil
}

// follow looks at a network again and again.
func (s *Service) follow(ctx context.Context, f *front) {
	rest := min(max(f.chain.Network().BlockPeriod/2, leastPause), mostPause)
	for ctx.Err() == nil {
		err := f.pass(ctx)
		if err == nil {
			pause(ctx, rest)
			continue
		}
		if ctx.Err() == nil {
			s.log.Warn("reconciliation: a network could not be looked at whole; trying again", "network", f.network, "error", err)
			pause(ctx, max(rest, faultPause))
		}
	}
}

// pause waits for d or the end of ctx.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
