package sealed

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	benchWallets = 4
	// benchOutstanding is the most that a charter lets wait for a confirmation, a wallet.
	benchOutstanding = 4096
	// benchLease is the author's; 10 s in production, unless its seal.toml says so.
	benchLease = 2 * time.Second
)

// benchmark is a seal with a token that four wallets perform, on an etcd of its
// own that fsyncs as in production.
type benchmark struct {
	*instance
	b       *testing.B
	room    *room
	store   *logStore
	wallets []*seal.WalletResult
}

func newBenchmark(b *testing.B, rules ...policy.Rule) *benchmark {
	b.Helper()
	return newSharedBenchmark(b, nil, rules...)
}

// newSharedBenchmark is newBenchmark under a charter that change had its hand on.
func newSharedBenchmark(b *testing.B, change func(*policy.Charter), rules ...policy.Rule) *benchmark {
	b.Helper()
	h := &benchmark{b: b, store: syncedStore(b)}
	h.store.lease = benchLease
	forgetAnchor(b)
	p := &people{}
	for _, alg := range algorithms {
		p.custodians, p.approvers = append(p.custodians, benchSigner(b, alg)), append(p.approvers, benchSigner(b, alg))
	}
	state := b.TempDir()
	before := h.newRoom("", state) // init comes before charter 1 is known
	me, err := before.Init(b.Context())
	h.must(err)
	h.must(before.journal.close())
	charter := p.charter(me, func(c *policy.Charter) {
		c.Limits = policy.Limits{MaxOutstanding: benchOutstanding, WalletsPerHour: 1000}
		c.Networks[0].DailyFee = policy.MaxAmount()
		if change != nil {
			change(c)
		}
	})
	first := h.sign(policy.DocCharter, charter, p.custodians...)
	h.room = h.newRoom(first.PayloadDigest(), state)
	h.run()
	h.instance = &instance{door: h.room, people: p, charter: charter, digest: first.PayloadDigest(), first: first}
	_, err = h.room.CharterApply(b.Context(), first)
	h.must(err)
	h.furnishAll(rules)
	return h
}

// furnishAll makes the wallets, a policy for all and a token that is on the chain already.
func (h *benchmark) furnishAll(rules []policy.Rule) {
	h.b.Helper()
	ctx, custodians := h.b.Context(), h.people.custodians[:2]
	binding := &policy.Binding{Format: 1, Instance: h.charter.Instance, Version: 1, TokenID: newID("token"), Network: testNetwork, ChainID: testChain,
		ContractAddress: tx.Address{7}, TemplateID: qrc20.Templates()[0].ID, Symbol: "EIT", Decimals: 18, Verified: true, CreatedAt: policy.Seconds(time.Now())}
	for range benchWallets {
		w, err := h.room.WalletCreate(ctx, seal.WalletCreateRequest{WalletID: newID("wallet"), VaultAccountID: newID("vault"),
			Network: testNetwork, Scheme: tx.Dilithium3, Label: "treasury"})
		h.must(err)
		h.wallets = append(h.wallets, w)
		binding.Performers = append(binding.Performers, w.WalletID)
	}
	slices.Sort(binding.Performers)
	pol := &policy.Policy{Format: 1, Instance: h.charter.Instance, ID: newID("pol"), Version: 1, Name: "bench", Scope: policy.Scope{All: true},
		CreatedAt: policy.Seconds(time.Now()), Rules: rules}
	e := h.sign(policy.DocPolicy, pol, custodians...)
	_, err := h.room.PolicyApply(ctx, e)
	h.must(err)
	h.policy = policy.PolicyRef{ID: pol.ID, Version: 1, Digest: e.PayloadDigest()}
	binding.PolicyID = pol.ID
	_, err = h.room.BindingApply(ctx, h.sign(policy.DocBinding, binding, custodians...))
	h.must(err)
	h.token = policy.Token{ID: binding.TokenID, ContractAddress: &binding.ContractAddress, TemplateID: binding.TemplateID, Symbol: "EIT", Decimals: 18}
}

func (h *benchmark) must(err error) {
	h.b.Helper()
	if err != nil {
		h.b.Fatal(err)
	}
}

func (h *benchmark) sign(document string, d interface{ Encode() ([]byte, error) }, by ...*policy.Signer) *policy.Envelope {
	h.b.Helper()
	payload, err := d.Encode()
	h.must(err)
	e, err := policy.Sign(policy.PayloadType(document), payload, by...)
	h.must(err)
	return e
}

func benchSigner(b *testing.B, alg policy.Algorithm) *policy.Signer {
	b.Helper()
	private, _, err := policy.GenerateKeyPEM(alg)
	if err != nil {
		b.Fatal(err)
	}
	s, err := policy.LoadSignerPEM(private)
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func (h *benchmark) newRoom(charter1 policy.Digest, state string) *room {
	h.b.Helper()
	return h.newRoomOf(testAppliance, charter1, state)
}

func (h *benchmark) newRoomOf(appliance string, charter1 policy.Digest, state string) *room {
	h.b.Helper()
	j, err := openJournal(state)
	h.must(err)
	r, err := newRoom(roomConfig{appliance: appliance, charter1: charter1, unsealKey: []byte("unseal"), tokenLabel: "unit",
		token: house.hsm, store: h.store, journal: j, clock: systemClock,
		log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()})
	h.must(err)
	return r
}

func (h *benchmark) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.room.run(ctx) }()
	h.b.Cleanup(func() {
		cancel()
		h.must(errors.Join(<-ended, h.room.journal.close()))
	})
}

// syncedStore is a connection to an etcd that this benchmark has for itself. The
// tests' own does without fsync, which would flatter whoever commits most often.
func syncedStore(b *testing.B) *logStore {
	b.Helper()
	in := func(name string) string { return filepath.Join(house.dir, name) }
	cfg := embed.NewConfig()
	cfg.EnableGRPCGateway = false // as in production
	cfg.Dir, cfg.LogLevel = b.TempDir(), "fatal"
	clients, peers := url.URL{Scheme: "https", Host: "127.0.0.1:0"}, url.URL{Scheme: "http", Host: "127.0.0.1:0"}
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{clients}, []url.URL{clients}
	cfg.ListenPeerUrls = []url.URL{peers}
	// As daemon/store has it: gRPC is served natively where etcd's pages have a listener of their own.
	cfg.ListenClientHttpUrls = []url.URL{{Scheme: "https", Host: "127.0.0.2:0"}}
	cfg.ClientTLSInfo = transport.TLSInfo{CertFile: in("server.crt"), KeyFile: in("server.key"), TrustedCAFile: in("ca.crt"), ClientCertAuth: true}
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(e.Close)
	<-e.Server.ReadyNotify()
	sc := house.store
	for _, l := range e.Clients {
		if host, _, _ := net.SplitHostPort(l.Addr().String()); host == "127.0.0.1" {
			sc.Endpoints = []string{"https://" + l.Addr().String()}
		}
	}
	s, err := openStore(b.Context(), sc)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.close() })
	return s
}

// each does f(0) to f(n-1) by that many clients at once, every one of which
// takes the next when it has its answer. It returns how long that took, and how
// long each did.
func each(b *testing.B, clients, n int, f func(k int) error) (time.Duration, []time.Duration) {
	b.Helper()
	took := make([]time.Duration, n)
	var next atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range clients {
		all.Go(func() {
			for k := int(next.Add(1) - 1); k < n && !b.Failed(); k = int(next.Add(1) - 1) {
				began := time.Now()
				if err := f(k); err != nil {
					b.Errorf("%d: %v", k, err)
				}
				took[k] = time.Since(began)
			}
		})
	}
	all.Wait()
	whole := time.Since(start)
	if b.Failed() {
		b.FailNow()
	}
	return whole, took
}

// processor is the processor time that this process has used.
func processor() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // its only error is a wrong argument
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// quantile is in milliseconds.
func quantile(took []time.Duration, q float64) float64 {
	slices.Sort(took)
	return took[min(len(took)-1, int(float64(len(took))*q))].Seconds() * 1000
}
