// Package daemon wires the rooms together and runs them: start, ready, drain,
// stop. It is the only package that knows everybody.
//
// # What it promises
//
// Nothing is served before the ledger's head is carried into the store, so no
// caller is told something older than what a seal has committed. A stop drains:
// no request is cut off within the grace, and what is left undone is resumed by
// the next start, because no state lives in memory alone. It may be killed at
// any moment.
//
// Where appliances share a store, what only the ledger's author can record is
// asked of the author's appliance, over the link of package link.
//
// # What it does not
//
// It decides nothing: policy and keys are the seal's, behind its socket.
package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/tx"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/callback"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/link"
	"github.com/mintwarden/mintwarden/daemon/metrics"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/reconciliation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/daemon/webhook"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// drainGrace is how long requests that are under way may take at a stop.
	drainGrace = 15 * time.Second
	// carryPatience is how long a start waits for the ledger's head to be carried in.
	carryPatience = 5 * time.Minute
)

// Options are what the caller of Run adds to the config.
type Options struct {
	Version string // of this build
	Log     *slog.Logger
	// Registry takes every room's metrics and is shown at /metrics; nil for a new one.
	Registry *prometheus.Registry
	// Etcd is the server behind the config's endpoint, if the caller of Run started it in this process, as dev
	// does: it is asked without a connection. Nil otherwise; the caller stops it.
	Etcd *store.Embedded
	// OnWallet hears of every wallet that becomes active; dev funds it there. May be nil.
	OnWallet func(context.Context, *registry.Wallet) error
	// Listen makes the listeners of API and monitor; nil for net.Listen.
	Listen func(network, address string) (net.Listener, error)
	// Ready is called once, when both listeners serve, with their addresses. May be nil.
	Ready func(apiAddr, monitorAddr net.Addr)
}

// Run starts the appliance's API and workers and serves until ctx is done or
// a part fails. It returns nil after a drained stop.
func Run(ctx context.Context, cfg *config.Config, o Options) error {
	pacing, stop := context.WithCancel(ctx)
	defer stop()
	go Pace(pacing)
	p, err := open(ctx, cfg, o)
	if err != nil {
		return err
	}
	defer p.close()
	return p.run(ctx)
}

// parts is the appliance while it runs.
type parts struct {
	cfg  *config.Config
	o    Options
	log  *slog.Logger
	reg  *prometheus.Registry
	etcd *store.Embedded // nil with an external cluster

	store      *store.Store
	seal       *seal.Client
	link       *link.Link // nil for an appliance that is alone
	chains     map[string]*chain.Client
	registry   *registry.Service
	operations *operation.Service
	reconciler *reconciliation.Service
	audit      *auditlog.Log
	webhooks   *webhook.Service
	callback   *callback.Service // nil for an appliance that does not sign for Qustody
	tracer     *trace.Tracer     // nil where nothing is traced

	closers []func()
}

func (p *parts) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
}

func open(ctx context.Context, cfg *config.Config, o Options) (_ *parts, err error) {
	p := &parts{cfg: cfg, o: o, log: o.Log, reg: o.Registry, chains: map[string]*chain.Client{}}
	if p.reg == nil {
		p.reg = prometheus.NewRegistry()
	}
	metrics.Fill(p.reg, o.Version)
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if p.tracer, err = openTracer(cfg, o.Version, p.log, p.reg); err != nil {
		return nil, err
	}
	p.closers = append(p.closers, p.tracer.Close)
	if err := p.openStore(ctx); err != nil {
		return nil, err
	}
	p.seal, err = seal.Dial(ctx, cfg.Seal.Socket)
	if err != nil {
		return nil, fmt.Errorf("daemon: the seal at %s: %w", cfg.Seal.Socket, err)
	}
	p.closers = append(p.closers, func() { _ = p.seal.Close() })
	sealer, err := p.openLink()
	if err != nil {
		return nil, err
	}
	nodes := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "mintwarden_chain_nodes", Help: "Nodes that the configuration names."}, []string{"network"})
	if err := p.reg.Register(nodes); err != nil {
		return nil, fmt.Errorf("daemon: metrics: %w", err)
	}
	for _, n := range cfg.Networks {
		nodes.WithLabelValues(n.Name).Set(float64(len(n.RPCURLs)))
		c, err := chain.Dial(ctx, network(n), p.log, p.reg)
		if err != nil {
			return nil, fmt.Errorf("daemon: network %s: %w", n.Name, err)
		}
		p.closers = append(p.closers, c.Close)
		p.chains[n.Name] = c
	}
	p.registry, err = registry.New(registry.Deps{Store: p.store, Seal: sealer, Chains: p.chains,
		Charter1: policy.Digest(cfg.Charter1), Tenant: cfg.Tenant, Appliance: cfg.Appliance,
		Log: p.log, Registerer: p.reg, OnWallet: o.OnWallet})
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	if p.audit, err = p.openAudit(sealer); err != nil {
		return nil, err
	}
	archive, err := p.operationArchive()
	if err != nil {
		return nil, err
	}
	p.operations, err = operation.New(operation.Deps{Registry: p.registry, Store: p.store, Seal: sealer,
		Chains: p.chains, Log: p.log, Registerer: p.reg, TTL: cfg.Operation.TTL,
		MaxPending: cfg.Limits.MaxPending, Archive: archive, Tracer: p.tracer})
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	p.reconciler, err = reconciliation.New(reconciliation.Deps{Store: p.store, Registry: p.registry, Operations: p.operations,
		Seal: sealer, Chains: p.chains, Log: p.log, Registerer: p.reg})
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	if p.webhooks, err = p.openWebhooks(); err != nil {
		return nil, err
	}
	if p.callback, err = p.openCallback(); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *parts) openStore(ctx context.Context) error {
	c, embedded := p.cfg.Store, p.o.Etcd
	endpoints, name := c.Endpoints, c.ServerName
	if len(endpoints) == 0 {
		e := c.Embedded
		etcd, err := store.StartEmbedded(ctx, store.EmbeddedConfig{Dir: e.Dir, Addr: e.Listen, CAFile: c.CA,
			CertFile: e.ServerCert, KeyFile: e.ServerKey, RootCert: e.RootCert, RootKey: e.RootKey, QuotaBytes: c.QuotaBytes}, p.log)
		if err != nil {
			return fmt.Errorf("daemon: %w", err)
		}
		p.etcd, embedded = etcd, etcd
		p.closers = append(p.closers, etcd.Close)
		endpoints = []string{etcd.Endpoint()}
	}
	s, err := store.Open(ctx, store.Config{Embedded: embedded, Endpoints: endpoints, CAFile: c.CA, CertFile: c.Cert, KeyFile: c.Key,
		ServerName: name, QuotaBytes: c.QuotaBytes, Tenant: p.cfg.Tenant, Owner: p.cfg.Appliance}, p.log, p.reg)
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	p.closers = append(p.closers, func() { _ = s.Close() })
	p.store = s
	days, err := storeCertificates(c)
	if err != nil {
		return err
	}
	for _, c := range []prometheus.Collector{days, p.fences(), newestBackup{s}} {
		if err := p.reg.Register(c); err != nil {
			return fmt.Errorf("daemon: metrics: %w", err)
		}
	}
	if err := s.CheckRights(ctx); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if err := s.Restored(ctx); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	if err := s.CheckFormat(ctx); err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	return nil
}

func network(n config.Network) chain.Network {
	return chain.Network{Name: n.Name, Kind: tx.Kind(n.Kind), ChainID: n.ChainID, RPCURLs: n.RPCURLs,
		Confirmations: n.Confirmations, Scheme: tx.Scheme(n.Scheme), Currency: n.Currency, BlockPeriod: n.BlockPeriod,
		ResubmitAfter: n.ResubmitAfter}
}

// run follows the ledger, then serves, then works, until ctx is done.
func (p *parts) run(ctx context.Context) error {
	// Workers outlive the listeners by a moment, so that a request that is being drained is still carried.
	workers, stopWorkers := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorkers()
	g, failed := errgroup.WithContext(workers)
	g.Go(func() error { return part("the store's guard", p.store.WatchSpace(workers)) })
	g.Go(func() error { return part("the archive of operations", p.operations.KeepArchive(workers)) })
	g.Go(func() error { return part("the ledger's follower", p.registry.Follow(workers)) })
	carried := make(chan struct{})
	g.Go(func() error {
		select { // it reads every entry there is, for nothing that a start waits for
		case <-carried:
		case <-workers.Done():
		}
		return part("the audit log", p.audit.Run(workers))
	})
	if err := p.carried(ctx, failed); err != nil {
		stopWorkers()
		return errors.Join(err, g.Wait())
	}
	close(carried)
	if p.cfg.Bootstrap != "" {
		if err := p.registry.Bootstrap(ctx, p.cfg.Bootstrap); err != nil {
			stopWorkers()
			return errors.Join(fmt.Errorf("daemon: %w", err), g.Wait())
		}
	}
	g.Go(func() error { return part("the webhooks", p.webhooks.Run(workers)) })
	g.Go(func() error { return part("the operations' worker", p.operations.RunWorker(workers)) })
	g.Go(func() error { return part("the reconciliation", p.reconciler.Run(workers)) })
	if p.callback != nil {
		g.Go(func() error { return part("the signer for Qustody", p.callback.Run(workers)) })
	}
	if p.etcd != nil {
		g.Go(func() error {
			select {
			case err := <-p.etcd.Failed():
				return part("the embedded etcd", err)
			case <-workers.Done():
				return nil
			}
		})
	}
	err := p.serve(ctx, failed)
	stopWorkers()
	return errors.Join(err, g.Wait())
}

// carried waits until what the ledger held at the start is in the store.
func (p *parts) carried(ctx, failed context.Context) error {
	wait, cancel := context.WithTimeout(ctx, carryPatience)
	defer cancel()
	stop := context.AfterFunc(failed, cancel)
	defer stop()
	if err := p.registry.WaitReady(wait); err != nil {
		return fmt.Errorf("daemon: the ledger was not carried into the store: %w", err)
	}
	return nil
}

// part names what ended; the end that a stop asked for is none.
func part(name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return nil
	}
	return fmt.Errorf("daemon: %s: %w", name, err)
}

// serve runs both listeners until ctx or failed is done, then drains them.
func (p *parts) serve(ctx, failed context.Context) error {
	apiTLS, certificates, err := p.openTLS()
	if err != nil {
		return err
	}
	handler, err := api.New(api.Deps{Registry: p.registry, Operations: p.operations, Audit: p.audit, Webhooks: p.webhooks, Store: p.store,
		Reconciliation: p.reconciler, Seal: p.seal, Log: p.log, Registerer: p.reg,
		NodeDown: func(err error) bool { return errors.Is(err, chain.ErrUnavailable) },
		Limits:   apiLimits(p.cfg.Limits), TLS: apiTLS, Tracer: p.tracer})
	if err != nil {
		return fmt.Errorf("daemon: %w", err)
	}
	listen := net.Listen
	if p.o.Listen != nil {
		listen = p.o.Listen
	}
	apiListener, err := listen("tcp", p.cfg.API.Listen)
	if err != nil {
		return fmt.Errorf("daemon: api: %w", err)
	}
	defer func() { _ = apiListener.Close() }()
	monitorListener, err := listen("tcp", p.cfg.Monitor.Listen)
	if err != nil {
		return fmt.Errorf("daemon: monitor: %w", err)
	}
	defer func() { _ = monitorListener.Close() }()

	peers, closePeers, err := p.listenLink()
	if err != nil {
		return err
	}
	defer closePeers()
	followed := []*reloader{certificates}
	if peers != nil {
		r, err := p.followLink()
		if err != nil {
			return err
		}
		followed = append(followed, r)
	}

	main := handler.HTTPServer()
	monitor := server(api.Monitor(prometheus.Gatherers{p.reg, &metrics.Seal{Fetch: p.sealMetrics}}, p.checks()), p.log)
	looking, stopLooking := context.WithCancel(failed)
	defer stopLooking()
	g, broken := errgroup.WithContext(failed)
	g.Go(func() error { return served("api", main.Serve(tls.NewListener(apiListener, main.TLSConfig))) })
	for _, r := range followed {
		g.Go(func() error { return r.run(looking) })
	}
	g.Go(func() error { return handler.Watch(looking) })
	g.Go(func() error { return served("monitor", monitor.Serve(monitorListener)) })
	if peers != nil {
		g.Go(func() error { return served("link", peers.serve()) })
	}
	p.log.Info("ready", "api", apiListener.Addr().String(), "monitor", monitorListener.Addr().String())
	if p.o.Ready != nil {
		p.o.Ready(apiListener.Addr(), monitorListener.Addr())
	}
	select {
	case <-ctx.Done():
		p.log.Info("stopping: draining requests")
	case <-broken.Done():
	}
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainGrace)
	defer cancel()
	err = errors.Join(main.Shutdown(grace), monitor.Shutdown(grace))
	if peers != nil {
		err = errors.Join(err, peers.Shutdown(grace))
	}
	stopLooking()
	return errors.Join(err, g.Wait())
}

// server is for monitoring and for other appliances, with the limits that a slow
// client runs into.
func server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      2 * time.Minute,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

func served(name string, err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("daemon: %s: %w", name, err)
}
