// Package dev is `mintwardend dev`: the whole appliance in one command, with
// nothing installed but SoftHSM2.
//
// # What it promises
//
// A directory that it makes once and reopens for ever: an embedded etcd, a
// SoftHSM2 token, a devnet, two PKIs, demo users with keys of their own, the
// seal and the devnet as child processes, and the same daemon.Run that
// production runs. Started again on the same directory after any kind of end,
// SIGKILL of every process included, it has lost nothing. Children end with
// their parent. Two at once on one directory is refused.
//
// # What it does not
//
// It protects nothing: every key of every person lies in the directory. It
// refuses a directory that holds a production charter.
package dev

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/chain/devnet"
	"github.com/mintwarden/mintwarden/daemon"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	tenant     = "dev"
	tokenLabel = "mintwarden-dev"
	// confirmations of the devnet's network (formats.md).
	confirmations = 2
)

// Options are the flags of `mintwardend dev`.
type Options struct {
	Dir     string        // made or reopened
	API     string        // host:port of the API, default 127.0.0.1:8443; port 0 picks a free one
	Monitor string        // host:port of /metrics and health, default 127.0.0.1:9464
	RPC     string        // host:port of the devnet's JSON-RPC, default 127.0.0.1:8545
	Period  time.Duration // between blocks, default 1 s
	SealBin string        // path of mintwarden-seal; default: beside this program
	HSM     Token         // default: a SoftHSM2 token that dev makes
	Network string        // quantum or evm; default: what charter 1 says, else quantum
	Trace   string        // URL of an OTLP/HTTP collector on loopback; empty: nothing is traced
	Scheme  string        // of the network's signatures, dilithium3 or ml-dsa-65; default: what charter 1 says, else dilithium3

	// Retention is how long operations that are over stay in etcd, as a Go duration; empty: as serve has it.
	Retention string

	Version string
	Log     *slog.Logger
	Level   string    // of the log, for children: debug, info, warn or error
	Stdout  io.Writer // gets the one line «ready url=… dir=…»
	Stderr  io.Writer // gets what a person reads

	// held are those of API and monitor, by address, from the moment their ports were chosen until somebody
	// listens there: a map, for copies of the options share it.
	held map[string]net.Listener
}

// Run makes or reopens the directory and serves until ctx is done. It returns
// nil after a drained stop.
func Run(ctx context.Context, o Options) (err error) {
	d, err := openDirectory(o.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	err = o.complete()
	defer o.letGo()
	if err != nil {
		return err
	}
	pacing, stop := context.WithCancel(ctx)
	defer stop()
	go daemon.Pace(pacing)
	a := &appliance{directory: d, o: o, log: o.Log, metrics: prometheus.NewRegistry()}
	defer a.close()
	if err := a.open(ctx); err != nil {
		return err
	}
	return a.serve(ctx)
}

func (o *Options) complete() error {
	for _, f := range []struct {
		flag     string
		value    *string
		fallback string
	}{{"api", &o.API, "127.0.0.1:8443"}, {"monitor", &o.Monitor, "127.0.0.1:9464"}, {"rpc", &o.RPC, "127.0.0.1:8545"}} {
		if *f.value == "" {
			*f.value = f.fallback
		}
		l, err := pinPort(f.flag, *f.value)
		if err != nil {
			return err
		}
		*f.value = l.Addr().String()
		if f.value == &o.RPC { // which a child listens on
			_ = l.Close()
			continue
		}
		if o.held == nil {
			o.held = map[string]net.Listener{}
		}
		o.held[l.Addr().String()] = l
	}
	if err := o.HSM.check(); err != nil {
		return err
	}
	if o.Period == 0 {
		o.Period = devnet.DefaultPeriod
	}
	if o.SealBin == "" {
		program, err := self()
		if err != nil {
			return err
		}
		o.SealBin = filepath.Join(filepath.Dir(program), "mintwarden-seal")
	}
	return nil
}

// listen is net.Listen with the listeners that are held.
func (o *Options) listen(network, address string) (net.Listener, error) {
	if l, ok := o.held[address]; ok {
		delete(o.held, address)
		return l, nil
	}
	return net.Listen(network, address)
}

// letGo closes what is held still.
func (o *Options) letGo() {
	for _, l := range o.held {
		_ = l.Close()
	}
}

// pinPort turns port 0 into a free one, so that it stays the same while
// children come and go, and says at once, before anything is made, if somebody
// listens there. Where a child is to use the port another process may still take
// it before; the child's listener then fails and says so.
func pinPort(flag, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("dev: --%s %q is not host:port", flag, address)
	}
	ip := net.ParseIP(host)
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("dev: --%s %q is not on loopback; a development appliance is for this machine only", flag, address)
	}
	listen := net.Listen
	if port == "0" {
		listen = listenFree
	}
	l, err := listen("tcp", address)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("dev: %s is in use; choose another address with --%s, port 0 for any free one", address, flag)
	}
	if err != nil {
		return nil, fmt.Errorf("dev: --%s: %w", flag, err)
	}
	return l, nil
}

// appliance is the development appliance while it runs.
type appliance struct {
	*directory
	o   Options
	log *slog.Logger

	metrics  *prometheus.Registry
	etcd     *store.Embedded
	children []*child
	door     *seal.Client
	config   *config.Config
	network  policy.Network
	// bring brings the seal to where it signs, beside the start of what asks it; nil where it is there.
	bring func(context.Context) error
}

func (a *appliance) close() {
	if a.door != nil {
		_ = a.door.Close()
	}
	for i := len(a.children) - 1; i >= 0; i-- {
		a.children[i].close()
	}
	if a.etcd != nil {
		a.etcd.Close()
	}
}

// open starts what serve stands on: etcd, devnet, seal with charter 1.
func (a *appliance) open(ctx context.Context) error {
	if err := a.makeCertificates(); err != nil {
		return err
	}
	users, err := a.makeIdentities()
	if err != nil {
		return err
	}
	if a.network, err = a.chooseNetwork(a.o.Network, a.o.Scheme); err != nil {
		return err
	}
	a.o.Period = period(a.network, a.o.Period)
	token, err := a.token(ctx)
	if err != nil {
		return err
	}
	endpoint, err := freeEndpoint()
	if err != nil {
		return err
	}
	// With a long history each of them takes long to open. The seal opens its token meanwhile, and its connection
	// waits for etcd's.
	chain, err := a.startChain()
	if err != nil {
		return err
	}
	f, err := a.startSeal(ctx, token, "https://"+endpoint)
	if err != nil {
		return err
	}
	if err := a.startEtcd(ctx, endpoint); err != nil {
		return err
	}
	if err := chain(ctx); err != nil {
		return err
	}
	return a.configure(ctx, f, users)
}

func (a *appliance) startEtcd(ctx context.Context, address string) (err error) {
	a.etcd, err = store.StartEmbedded(ctx, store.EmbeddedConfig{Dir: a.path("etcd"), Addr: address,
		CAFile: a.path("pki", "root-mldsa.crt"), CertFile: a.path("pki", "etcd.crt"), KeyFile: a.path("pki", "etcd.key"),
		RootCert: a.path("pki", "etcd-root.crt"), RootKey: a.path("pki", "etcd-root.key")}, a.log)
	if err != nil {
		return fmt.Errorf("dev: %w", err)
	}
	return nil
}

// chainPatience is how long the devnet may take to open its chain.
const chainPatience = 30 * time.Second

// startChain starts the devnet; what it returns waits until that serves.
func (a *appliance) startChain() (wait func(context.Context) error, err error) {
	program, err := self()
	if err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	var once sync.Once
	a.children = append(a.children, startChild("devnet", []string{program, "devnet", "--kind", string(a.network.Kind), "--dir", a.path("chain"),
		"--rpc", a.o.RPC, "--period", a.o.Period.String(), "--log", a.o.Level, "--parent-pipe"}, environment(), a.log, func(line string) {
		if strings.HasPrefix(line, "ready ") {
			once.Do(func() { close(ready) })
		}
	}))
	return func(ctx context.Context) error {
		select {
		case <-ready:
			return nil
		case <-time.After(chainPatience):
			return fmt.Errorf("dev: the devnet does not serve on %s; see its messages above", a.o.RPC)
		case <-ctx.Done():
			return ctx.Err()
		}
	}, nil
}

// startSeal starts the seal, whose store need not be there yet, and returns its configuration.
func (a *appliance) startSeal(ctx context.Context, token *sealToken, store string) (*sealFile, error) {
	socket, err := a.socket("seal.sock")
	if err != nil {
		return nil, err
	}
	f := sealFile{Appliance: applianceID, State: a.path("seal"), Socket: socket, ParentPipe: true, Log: sealLog{a.o.Level},
		HSM: token.hsm,
		PIN: sealPIN{File: token.pin}, Sandbox: token.sandbox,
		Store: sealStore{Endpoints: []string{store}, CA: a.path("pki", "root-mldsa.crt"), Cert: a.path("pki", "etcd-seal.crt"), Key: a.path("pki", "etcd-seal.key")}}
	if known, err := a.readCharter1(); err != nil {
		return nil, err
	} else if known != nil {
		f.Charter1 = known.PayloadDigest()
	}
	if err := a.writeSealConfig(f); err != nil {
		return nil, err
	}
	a.children = append(a.children, startChild("seal", []string{a.o.SealBin, "--config", a.path("config", "seal.toml")},
		append(environment(), token.env...), a.log, nil))
	if a.door, err = seal.Dial(ctx, socket); err != nil {
		return nil, fmt.Errorf("dev: the seal: %w", err)
	}
	return &f, nil
}

// configure writes what serve goes by. That is rooted in charter 1, so a first start makes that first; else the seal
// is brought to where it signs beside the start of what asks it.
func (a *appliance) configure(ctx context.Context, f *sealFile, users *registry.FirstUsers) (err error) {
	bring := func(ctx context.Context) (policy.Digest, error) {
		if err := waitSeal(ctx, a.door, func(*seal.Status) bool { return true }); err != nil {
			return "", err
		}
		return a.firstStart(ctx, *f, users)
	}
	digest := f.Charter1
	if digest == "" {
		if digest, err = bring(ctx); err != nil {
			return err
		}
	} else {
		a.bring = func(ctx context.Context) error { _, err := bring(ctx); return err }
	}
	a.config, err = a.writeConfig(string(digest), f.Socket)
	return err
}

// writeConfig writes mintwarden.toml and reads it back as serve would.
func (a *appliance) writeConfig(charter1, socket string) (*config.Config, error) {
	c := config.Config{
		Appliance: applianceID, Tenant: tenant, Charter1: charter1, Bootstrap: a.path("config", "bootstrap.json"),
		API: config.API{Listen: a.o.API, ClientCA: []string{a.path("tls", "ca.crt")}, Certificates: []config.Certificate{
			{Cert: a.path("pki", "api-mldsa.crt"), Key: a.path("pki", "api-mldsa.key")},
			{Cert: a.path("pki", "api-ecdsa.crt"), Key: a.path("pki", "api-ecdsa.key")}}},
		Monitor: config.Monitor{Listen: a.o.Monitor},
		Seal:    config.Seal{Socket: socket},
		Store: config.Store{Endpoints: []string{a.etcd.Endpoint()}, CA: a.path("pki", "root-mldsa.crt"),
			Cert: a.path("pki", "etcd-mintwarden.crt"), Key: a.path("pki", "etcd-mintwarden.key")},
		Networks: []config.Network{{Name: a.network.Name, Kind: string(a.network.Kind), ChainID: a.network.ChainID,
			RPCURLs: []string{"http://" + a.o.RPC}, Confirmations: confirmations, Scheme: string(a.network.Scheme), Currency: a.network.Currency,
			Period: a.o.Period.String()}},
		Audit:     config.Audit{Dir: a.path("audit")},
		Operation: config.Operation{RetentionText: a.o.Retention},
		Trace:     config.Trace{Endpoint: a.o.Trace},
		Webhooks: config.Webhooks{KeyFile: a.path("config", "webhook.key"), AllowHTTP: true,
			AllowNetworks: []string{"127.0.0.0/8", "::1/128"}, CA: []string{a.path("tls", "ca.crt")}},
	}
	if err := a.makeWebhookKey(); err != nil {
		return nil, err
	}
	text, err := c.Encode()
	if err != nil {
		return nil, fmt.Errorf("dev: mintwarden.toml: %w", err)
	}
	if err := a.write(text, "config", "mintwarden.toml"); err != nil {
		return nil, err
	}
	return config.Load(a.path("config", "mintwarden.toml"))
}

// serve runs the daemon, sets up what a newcomer finds (once), and says ready.
func (a *appliance) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	serving := make(chan net.Addr, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- daemon.Run(ctx, a.config, daemon.Options{Version: a.o.Version, Log: a.log, Registry: a.metrics,
			Etcd:     a.etcd,
			Listen:   a.o.listen,
			OnWallet: a.fund,
			Ready:    func(api, _ net.Addr) { serving <- api }})
	}()
	brought := make(chan error, 1)
	go func() {
		var err error
		if a.bring != nil {
			err = a.bring(ctx)
		}
		brought <- err
	}()
	select {
	case err := <-ended:
		cancel()
		return errors.Join(err, ignoreStop(<-brought))
	case err := <-brought:
		if err != nil {
			cancel()
			return errors.Join(ignoreStop(err), <-ended)
		}
	}
	select {
	case err := <-ended:
		return err
	case address := <-serving:
		url := "https://" + address.String()
		err := a.welcome(ctx, url)
		if err != nil {
			cancel()
			if ctx.Err() != nil && errors.Is(err, context.Canceled) {
				err = nil // stopped while setting up: the next start goes on
			}
			return errors.Join(err, <-ended)
		}
		return <-ended
	}
}

// ignoreStop is err, or nil if it says only that a stop came.
func ignoreStop(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (a *appliance) welcome(ctx context.Context, url string) error {
	if err := a.setUp(ctx, url); err != nil {
		return err
	}
	if err := a.writeEnv(url); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(a.o.Stdout, "ready url=%s dir=%s\n", url, a.root); err != nil {
		return err
	}
	_, err := fmt.Fprintf(a.o.Stderr, "In another terminal: . '%s', then bin/mintwarden --help. Ctrl-C stops; the same command goes on.\n", a.path("env"))
	return err
}
