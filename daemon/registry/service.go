package registry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Sealer is the part of the seal's socket that the registry asks; *seal.Client
// is one. Every call repeated with the same arguments MUST give its first
// answer.
type Sealer interface {
	WalletCreate(context.Context, seal.WalletCreateRequest) (*seal.WalletResult, error)
	PolicyApply(context.Context, *policy.Envelope) (*seal.Recorded, error)
	CharterApply(context.Context, *policy.Envelope) (*seal.Recorded, error)
	BindingApply(context.Context, *policy.Envelope) (*seal.Recorded, error)
	Freeze(context.Context, seal.FreezeRequest) (*seal.Recorded, error)
	Unseal(context.Context, *policy.Envelope) (*seal.Status, error)
	Seal(context.Context, *policy.Envelope) (*seal.Status, error)
}

// Deps is what a registry stands on.
type Deps struct {
	Store *store.Store
	Seal  Sealer
	// Chains are the networks of the config, by name.
	Chains map[string]*chain.Client
	// Charter1 is the digest of charter 1, the root of all that is verified.
	Charter1 policy.Digest
	// Tenant is the organization's name in the config.
	Tenant string
	// Appliance is this appliance's id in the charter; empty where there is one
	// alone.
	Appliance string
	Log       *slog.Logger
	// Registerer takes the metrics of ledger and follower.
	Registerer prometheus.Registerer
	// OnWallet is called with every wallet when it becomes active, at least
	// once in its life and possibly more; nil for nothing. dev funds there.
	OnWallet func(context.Context, *Wallet) error
	// LastUseEvery is how often what was used since is looked over; 0 means a
	// minute (see [Service.Used]).
	LastUseEvery time.Duration
	// Now is the clock; nil for the system's.
	Now func() time.Time
}

// Service is the registry. Safe for concurrent use. Its lists and its
// authentication are fed by watches that [Service.Follow] runs.
type Service struct {
	store    *store.Store
	seal     Sealer
	chains   map[string]*chain.Client
	tenant   string
	id       string // of this appliance in the charter
	log      *slog.Logger
	now      func() time.Time
	onWallet func(context.Context, *Wallet) error
	metrics  *metrics

	tokens      *mirror[Token]
	vaults      *mirror[VaultAccount]
	wallets     *mirror[Wallet]
	users       *mirror[User]
	credentials *mirror[Credential]
	roles       *mirror[Role]
	uses        *uses
	pulse       *pulse
	policies    *mirror[policyHead]

	fold     *ledger.Fold
	carriers []func(context.Context, *ledger.Batch) error
	progress progress

	root    policy.Digest // charter 1's: what snapshots are verified from
	trimmed uint64        // the first sequence kept, by the latest trim record; the follower's alone

	rehearsals *rehearsals

	greeter *greeter
}

// New makes a registry over a store. Nothing is read before [Service.Follow].
func New(d Deps) (*Service, error) {
	if d.Store == nil || d.Seal == nil || d.Log == nil || d.Registerer == nil {
		return nil, errors.New("registry: store, seal, log and registerer are needed")
	}
	if !d.Charter1.Valid() {
		return nil, fmt.Errorf("registry: charter 1's digest %q is not sha256: and 64 hex digits", d.Charter1)
	}
	s := &Service{
		store: d.Store, seal: d.Seal, chains: d.Chains, tenant: d.Tenant, id: d.Appliance,
		log: d.Log, now: d.Now, onWallet: d.OnWallet,

		tokens:      newMirror[Token](store.TokenPrefix, ""),
		vaults:      newMirror[VaultAccount](store.VaultPrefix, ""),
		wallets:     newMirror[Wallet](store.WalletPrefix, ""),
		users:       newMirror[User](store.UserPrefix, ""),
		credentials: newMirror[Credential](store.CredentialPrefix, ""),
		roles:       newMirror[Role](rolePrefix, ""),
		uses:        newUses(d.LastUseEvery),
		pulse:       newPulse(),
		policies:    newMirror[policyHead](store.PolicyPrefix, policyHeadSuffix),

		fold:       ledger.NewFold(d.Charter1),
		rehearsals: newRehearsals(),
		greeter:    newGreeter(),
	}
	if s.now == nil {
		s.now = time.Now
	}
	m, err := newMetrics(d.Registerer, s)
	if err != nil {
		return nil, fmt.Errorf("registry: metrics: %w", err)
	}
	s.metrics = m
	s.root = d.Charter1
	s.progress.init()
	s.OnBatch(s.carry)
	return s, nil
}

// Tenant is the organization that this appliance serves.
func (s *Service) Tenant() string { return s.tenant }

// Suspended tells whether custodians stopped this appliance: then it does not
// hold what another one could do.
func (s *Service) Suspended() bool {
	return s.id != "" && s.fold.Frozen(policy.Subject{ApplianceID: s.id})
}

// Fold is the ledger as far as it has been followed. It is ahead of what is
// carried into the store by at most the batch that is being carried.
func (s *Service) Fold() *ledger.Fold { return s.fold }

// Chain is the client of a network; false if the config does not name it.
func (s *Service) Chain(network string) (*chain.Client, bool) {
	c, ok := s.chains[network]
	return c, ok
}

// second is the clock in UTC, cut to whole seconds as the API shows it.
func (s *Service) second() time.Time { return s.now().UTC().Truncate(time.Second) }
