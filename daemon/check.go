package daemon

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// checkPatience is how long each thing that is asked may take to answer.
	checkPatience = 10 * time.Second
	// endsSoon is from when on a certificate that ends is told of, as the alert does.
	endsSoon = 14 * 24 * time.Hour
	// clockAhead is how far a chain's newest block may lie in this clock's future.
	clockAhead = 15 * time.Second
)

// CheckConfig says what is wrong with the config at path, asking nobody; nil if
// nothing is.
func CheckConfig(path string) error {
	_, err := config.Load(path)
	return err
}

// Check looks at all that the config at path names, as it is now, and writes a
// line about each thing to w, with what to do where something is wrong. It
// changes nothing, and may run beside the appliance. The error says how much is
// wrong; a warning is no error.
func Check(ctx context.Context, path string, w io.Writer) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	c := &checking{cfg: cfg, w: w, now: time.Now()}
	c.ok("config", "%s: nothing wrong", path)
	c.permissions(path)
	c.certificates()
	c.clock()
	c.history()
	for _, ask := range []func(context.Context){c.sealed, c.etcd, c.nodes, c.collector} {
		ask(ctx)
	}
	if c.err != nil {
		return fmt.Errorf("daemon: %w", c.err)
	}
	if c.wrong > 0 {
		return fmt.Errorf("daemon: %d of what was looked at is wrong", c.wrong)
	}
	return nil
}

// checking is one look at an appliance.
type checking struct {
	cfg   *config.Config
	w     io.Writer
	now   time.Time
	wrong int
	err   error // of writing
}

func (c *checking) line(mark, what, format string, args ...any) {
	text := strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", "; ")
	if _, err := fmt.Fprintf(c.w, "%-5s %-13s %s\n", mark, what, text); err != nil && c.err == nil {
		c.err = err
	}
}

func (c *checking) ok(what, format string, args ...any)   { c.line("ok", what, format, args...) }
func (c *checking) warn(what, format string, args ...any) { c.line("warn", what, format, args...) }
func (c *checking) bad(what, format string, args ...any) {
	c.wrong++
	c.line("WRONG", what, format, args...)
}

// permissions are of the file itself, which nobody else may write, and of the
// secrets that it names, which nobody else may read.
func (c *checking) permissions(path string) {
	const what = "permissions"
	before := c.wrong
	if info, err := os.Stat(path); err == nil && info.Mode().Perm()&0o022 != 0 {
		c.bad(what, "%s can be written by others (%s): chmod go-w %s", path, info.Mode(), path)
	}
	secrets := []string{c.cfg.Store.Key, c.cfg.Store.Embedded.ServerKey, c.cfg.Store.Embedded.RootKey, c.cfg.Link.Key, c.cfg.Webhooks.KeyFile}
	for _, pair := range c.cfg.API.Certificates {
		secrets = append(secrets, pair.Key)
	}
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		info, err := os.Stat(secret)
		switch {
		case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(secret, "/run/credentials/"):
			c.bad(what, "%s is not there: systemd makes it while the service runs, of /etc/mintwarden/credentials (systemctl status mintwarden)", secret)
		case err != nil:
			c.bad(what, "%v: put it there, or run this as root", err)
		case info.Mode().Perm()&0o007 != 0:
			c.bad(what, "%s can be reached by everybody (%s): chmod o= %s, and replace the key if others use this machine", secret, info.Mode(), secret)
		}
	}
	if c.wrong == before {
		c.ok(what, "nobody else reads a key or writes the configuration")
	}
}

// certificates are those that this appliance shows, and whom it trusts by them.
func (c *checking) certificates() {
	const what = "certificates"
	trust, err := trustFiles{c.cfg.API}.load()
	if err != nil {
		c.bad(what, "%v: renew it by mintwarden cert, or put the right file there", err)
	} else {
		for _, pair := range trust.Certificates {
			c.ends("api", pair.Leaf)
		}
		for _, root := range trust.Roots {
			c.ends("client_ca", root)
		}
		for _, list := range trust.Revocations {
			if !list.NextUpdate.IsZero() && list.NextUpdate.Before(c.now) {
				c.bad(what, "client_crl: the revocation list of %s was due on %s: nobody of that root is let in until there is a newer one", list.Issuer.CommonName, list.NextUpdate.UTC().Format(time.DateOnly))
			}
		}
		if _, err := api.NewTLS(trust, prometheus.NewRegistry()); err != nil {
			c.bad(what, "%v", err)
		}
	}
	days, err := storeCertificates(c.cfg.Store)
	if err != nil {
		c.bad(what, "%v", err)
	}
	for _, cert := range days {
		c.ends(cert.use, cert.Certificate)
	}
	if !c.cfg.Link.Configured() {
		return
	}
	by, err := readIdentity(c.cfg.Link, c.cfg.Appliance, c.cfg.API.ClientCA)
	if err != nil {
		c.bad(what, "%v", err)
		return
	}
	c.ends("link", by.Certificate())
	for _, root := range by.Roots() {
		c.ends("link.ca", root)
	}
}

func (c *checking) ends(use string, cert *x509.Certificate) {
	name, day := cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.DateOnly)
	how := "it is taken in without a restart"
	if strings.HasPrefix(use, "store") {
		how = "it is taken in by a restart"
	}
	switch {
	case c.now.Before(cert.NotBefore):
		c.bad("certificates", "%s: %s is not good before %s: is the clock right?", use, name, cert.NotBefore.UTC().Format(time.RFC3339))
	case c.now.After(cert.NotAfter):
		c.bad("certificates", "%s: %s ended on %s: renew it (mintwarden cert renew); %s", use, name, day, how)
	case cert.NotAfter.Sub(c.now) < endsSoon:
		c.warn("certificates", "%s: %s ends on %s: renew it (mintwarden cert renew); %s", use, name, day, how)
	default:
		c.ok("certificates", "%s: %s, good until %s", use, name, day)
	}
}

// clock is what the kernel says of it: whether something keeps it right.
func (c *checking) clock() {
	var t unix.Timex
	switch _, err := unix.Adjtimex(&t); {
	case err != nil:
		c.warn("clock", "the kernel does not say whether it is kept right: %v", err)
	case t.Status&unix.STA_UNSYNC != 0:
		c.warn("clock", "nothing keeps it right (%s): start chrony or systemd-timesyncd, then timedatectl", c.now.UTC().Format(time.RFC3339))
	default:
		c.ok("clock", "kept right, %s", c.now.UTC().Format(time.RFC3339))
	}
}

// history is the disk that what is over moves to.
func (c *checking) history() {
	const what = "history"
	dir := c.cfg.Audit.Dir
	if dir == "" {
		c.warn(what, "no audit.dir: there are no receipts, and nothing that is over ever leaves etcd")
		return
	}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.warn(what, "%s is not there: the first start makes it; on a later one, bring it back from another appliance or a backup first", dir)
	case err != nil:
		c.bad(what, "%v: run this as root", err)
	case !info.IsDir():
		c.bad(what, "%s is no directory: name another audit.dir", dir)
	case c.cfg.Operation.Retention > 0 && c.cfg.Operation.Retention < c.cfg.Operation.TTL:
		c.warn(what, "operation.retention (%s) is shorter than operation.ttl (%s): whoever decides late brings an operation back into etcd for a while", c.cfg.Operation.Retention, c.cfg.Operation.TTL)
	default:
		c.ok(what, "%s; operations that are over leave etcd for it: %s; audit entries: %s", dir, stays(c.cfg.Operation.Retention), stays(c.cfg.Audit.Retention))
	}
}

// stays is a retention in words.
func stays(d time.Duration) string {
	if d == 0 {
		return "never"
	}
	return "after " + d.String()
}

// sealed asks the seal, and what it says of its token.
func (c *checking) sealed(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	socket := c.cfg.Seal.Socket
	client, err := seal.Dial(ctx, socket)
	if err != nil {
		c.bad("seal", "%s: %v: systemctl status mintwarden-seal", socket, err)
		return
	}
	defer func() { _ = client.Close() }()
	s, err := client.Status(ctx)
	if err != nil {
		c.bad("seal", "%s: %v: systemctl status mintwarden-seal; journalctl -u mintwarden-seal", socket, err)
		return
	}
	if s.ApplianceID != "" && s.ApplianceID != c.cfg.Appliance {
		c.bad("seal", "it is %s's, this file says %s: make appliance the same in seal.toml and mintwarden.toml", s.ApplianceID, c.cfg.Appliance)
	} else if err := notReady(s, 0); err != nil {
		c.bad("seal", "%v: see the operations guide, MintwardenSealed and MintwardenTokenLost", err)
	} else {
		c.ok("seal", "unsealed, at batch %d, version %s", s.Sequence, s.Version)
	}
	if s.HSM.Serial == "" {
		c.bad("hsm", "no token %q: is it plugged in, is its daemon up? The seal takes it up by itself", s.HSM.Label)
	} else {
		c.ok("hsm", "token %q, serial %s", s.HSM.Label, s.HSM.Serial)
	}
}

// etcd is asked as the daemon asks it: for what it reads, and for rights that it must not have.
func (c *checking) etcd(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	conf, advice := c.cfg.Store, "etcdctl endpoint health; its certificate and ours must be of store.ca"
	endpoints := conf.Endpoints
	if len(endpoints) == 0 {
		endpoints, advice = []string{"https://" + conf.Embedded.Listen}, "it is embedded and answers while the daemon runs: systemctl status mintwarden; df -h "+conf.Embedded.Dir
	}
	s, err := store.Open(ctx, store.Config{Endpoints: endpoints, CAFile: conf.CA, CertFile: conf.Cert, KeyFile: conf.Key, ServerName: conf.ServerName,
		Tenant: c.cfg.Tenant}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		c.bad("etcd", "%v: %s", err, advice)
		return
	}
	defer func() { _ = s.Close() }()
	if err := s.CheckRights(ctx); err != nil {
		c.bad("etcd", "%v: mintwardend check --print-etcd-setup", err)
		return
	}
	c.ok("etcd", "%s answers, and its rights are as they must be", strings.Join(endpoints, ", "))
}

// nodes are asked for their newest block, whose time is held against the clock.
func (c *checking) nodes(ctx context.Context) {
	for _, n := range c.cfg.Networks {
		c.node(ctx, n)
	}
}

func (c *checking) node(ctx context.Context, n config.Network) {
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	what := "node"
	client, err := chain.Dial(ctx, network(n), nil, nil)
	if err != nil {
		c.bad(what, "%s: %v: name nodes of the chain that the charter names", n.Name, err)
		return
	}
	defer client.Close()
	head, err := client.Head(ctx)
	switch age := time.Since(head.Time); {
	case err != nil:
		c.bad(what, "%s: %v: bring a node back, or add one to rpc_urls", n.Name, err)
	case age < -clockAhead:
		c.bad(what, "%s: block %d is of %s, which is still to come: is this clock slow, or the node's fast? timedatectl", n.Name, head.Number, head.Time.UTC().Format(time.RFC3339))
	case age > 20*n.BlockPeriod+clockAhead:
		c.warn(what, "%s: block %d is %s old: is the node in sync?", n.Name, head.Number, age.Round(time.Second))
	default:
		c.ok(what, "%s: block %d, %s old", n.Name, head.Number, age.Round(time.Second))
	}
}

// collector is asked whether it takes spans. Nothing depends on it, so that it is away is no fault.
func (c *checking) collector(ctx context.Context) {
	t := c.cfg.Trace
	if !t.Configured() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if err := trace.Probe(ctx, trace.Config{Endpoint: t.Endpoint, CA: t.CA}); err != nil {
		c.warn("trace", "%s: %v: spans are lost meanwhile, nothing else is; is the collector up, and its certificate of trace.ca?", t.Endpoint, err)
		return
	}
	c.ok("trace", "%s takes spans", t.Endpoint)
}
