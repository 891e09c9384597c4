package callback

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// DefaultPoll is how often Qustody is asked what waits for a signature.
	DefaultPoll = 5 * time.Second
	// longestPause is how long a round that failed is followed by none, at most.
	longestPause = time.Minute
	// maxPages bounds what one round reads of a list; of what waits for a signature the rest is for the next.
	maxPages = 10
	// maxQuestions is how many steps of the operations' worker may wait for Qustody at once. The worker's places are
	// everybody's: a Qustody that takes its time must not hold up operations that have nothing to do with it.
	maxQuestions = 4
	// credential stands for Qustody where operations that await approval are counted by key.
	credential = "callback"
)

// Prover is the part of the seal's socket that is asked here; *seal.Client is one.
type Prover interface {
	WalletProve(context.Context, seal.WalletProveRequest) (*seal.WalletProof, error)
}

// Wallet is one of ours that signs for Qustody.
type Wallet struct {
	ID      string // wallet_…
	VaultID string // Qustody's vault account that it is registered in
	AssetID string // Qustody's asset that it is registered for
	Label   string // may be empty
}

// Deps is what the signer stands on.
type Deps struct {
	Store      *store.Store
	Registry   *registry.Service
	Operations *operation.Service
	Seal       Prover
	Log        *slog.Logger
	Registerer prometheus.Registerer
	URL        string         // https, up to what stands before /transactions
	Key        string         // the API key, as Qustody gave it out
	Roots      *x509.CertPool // whom Qustody's certificate chains to; nil for the system's
	// Requester is the person in whose name Qustody's transactions are asked for: whoever it is approves none of
	// them, and signs their requests where the charter wants requests signed.
	Requester string
	Wallets   []Wallet
	Broadcast bool          // signed bytes are sent to our nodes, too
	Poll      time.Duration // 0: DefaultPoll
	Now       func() time.Time
}

// Service signs for Qustody. Safe for concurrent use.
type Service struct {
	store      *store.Store
	registry   *registry.Service
	operations *operation.Service
	seal       Prover
	log        *slog.Logger
	client     *client
	actor      registry.Actor
	wallets    []Wallet
	broadcast  bool
	poll       time.Duration
	now        func() time.Time
	metrics    *metrics
	page       int           // of Qustody's list, where the next round begins; work's alone
	slots      chan struct{} // holds a token for each question that a lane waits for
	refusals   *refusals     // of transactions
	failures   *refusals     // transactions of which nothing could be learned
	unposted   *refusals     // of signatures, by operation
}

// New makes the signer and makes it the operations' courier, so it must be called before their worker runs.
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Registry == nil || d.Operations == nil || d.Seal == nil || d.Log == nil {
		return nil, errors.New("callback: store, registry, operations, seal and log are needed")
	}
	if err := policy.CheckName(d.Requester); err != nil {
		return nil, fmt.Errorf("callback: requester: %w", err)
	}
	if len(d.Wallets) == 0 {
		return nil, errors.New("callback: no wallet signs for Qustody")
	}
	c, err := newClient(d.URL, d.Key, d.Roots)
	if err != nil {
		return nil, err
	}
	s := &Service{store: d.Store, registry: d.Registry, operations: d.Operations, seal: d.Seal, log: d.Log, client: c,
		actor:   registry.Actor{Name: d.Requester, CredentialID: credential},
		wallets: d.Wallets, broadcast: d.Broadcast, poll: d.Poll, now: d.Now,
		slots: make(chan struct{}, maxQuestions), refusals: newRefusals(), failures: newRefusals(), unposted: newRefusals()}
	if s.poll <= 0 {
		s.poll = DefaultPoll
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.metrics, err = newMetrics(d.Registerer); err != nil {
		return nil, err
	}
	d.Operations.Courier(s)
	return s, nil
}

// Run registers the wallets and asks Qustody for work until ctx ends, on one appliance of a store at a time.
// It ends with nil.
func (s *Service) Run(ctx context.Context) error {
	defer s.client.close()
	if err := s.registry.WaitReady(ctx); err != nil && ctx.Err() == nil {
		return err
	}
	for ctx.Err() == nil {
		if err := s.store.While(ctx, "callback", s.work); err != nil {
			s.rest(ctx, s.poll)
		}
	}
	return nil
}

// work runs rounds until ctx ends. Two appliances that do so at once, for a moment, do no harm: what a round
// writes is compared.
func (s *Service) work(ctx context.Context, _ *store.Fence) error {
	s.metrics.asking.Set(1)
	defer s.metrics.asking.Set(0)
	pause := s.poll
	for ctx.Err() == nil {
		err := s.round(ctx)
		if ctx.Err() != nil {
			break
		}
		s.metrics.round(err)
		if err == nil {
			pause = s.poll
		} else {
			s.log.Warn("callback: a round failed", "error", err, "pause", pause)
			pause = min(2*pause, max(longestPause, s.poll))
		}
		s.rest(ctx, pause)
	}
	return nil
}

// rest waits until the pause is over or ctx ended.
func (s *Service) rest(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// round registers what is not registered and takes what waits. One wallet's trouble holds up no other, and
// what was registered is worked for.
func (s *Service) round(ctx context.Context) error {
	var failed []error
	for _, w := range s.wallets {
		if err := s.registerWallet(ctx, w); err != nil {
			failed = append(failed, fmt.Errorf("wallet %s: %w", w.ID, err))
		}
	}
	return errors.Join(append(failed, s.takeAll(ctx))...)
}

// errCrowded sends a step away that would have to wait for others' questions; it is tried again.
var errCrowded = errors.New("callback: enough questions wait for Qustody already")

// enter takes a place among the questions that lanes wait for.
func (s *Service) enter() (leave func(), err error) {
	select {
	case s.slots <- struct{}{}:
		return func() { <-s.slots }, nil
	default:
		return nil, errCrowded
	}
}

// draft is an audit entry of what the signer did of its own accord.
func (s *Service) draft(action, resourceType, resourceID string, metadata map[string]any) audit.Draft {
	system := registry.SystemActor()
	return audit.Draft{ActorID: system.Name, ActorType: audit.System, Action: action, ResourceType: resourceType,
		ResourceID: resourceID, Metadata: metadata}
}

var _ operation.Courier = (*Service)(nil)
