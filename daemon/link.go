package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/api"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/link"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// sealer is what the rooms ask of the seal.
type sealer interface {
	registry.Sealer
	operation.Sealer
	auditlog.Sealer
}

// openLink makes what the rooms ask instead of our own seal; that is our own
// seal where the config names no peer.
func (p *parts) openLink() (sealer, error) {
	c := p.cfg.Link
	if !c.Configured() {
		return p.seal, nil
	}
	by, err := readIdentity(c, p.cfg.Appliance, p.cfg.API.ClientCA)
	if err != nil {
		return nil, err
	}
	p.link, err = link.Open(link.Config{Appliance: p.cfg.Appliance, Peers: c.Peers, Seal: p.seal, Law: func() *ledger.Fold { return p.registry.Fold() },
		Log: p.log, Metrics: p.reg, Tracer: p.tracer}, by)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	if err := p.reg.Register(linkDays{p.link}); err != nil {
		return nil, fmt.Errorf("daemon: metrics: %w", err)
	}
	p.closers = append(p.closers, p.link.Close)
	return p.link.Door(), nil
}

// readIdentity reads our own pair, the root of all appliances' pairs, and those
// of callers, which must be others.
func readIdentity(c config.Link, appliance string, callers []string) (*link.Identity, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("daemon: link.cert %s: %w", c.Cert, err)
	}
	roots, err := blocks(c.CA, "CERTIFICATE", x509.ParseCertificate)
	if err != nil {
		return nil, fmt.Errorf("daemon: link.ca: %w", err)
	}
	var others []*x509.Certificate
	for _, path := range callers {
		some, err := blocks(path, "CERTIFICATE", x509.ParseCertificate)
		if err != nil {
			return nil, fmt.Errorf("daemon: api.client_ca: %w", err)
		}
		others = append(others, some...)
	}
	by, err := link.NewIdentity(appliance, pair, roots, others)
	if err != nil {
		return nil, fmt.Errorf("daemon: link.cert %s, link.ca %s: %w", c.Cert, c.CA, err)
	}
	return by, nil
}

// followLink keeps both directions as the files are.
func (p *parts) followLink() (*reloader, error) {
	c, callers := p.cfg.Link, p.cfg.API.ClientCA
	r := &reloader{of: "link", files: append([]string{c.Cert, c.Key, c.CA}, callers...), log: p.log,
		load: func() (func() error, error) {
			by, err := readIdentity(c, p.cfg.Appliance, callers)
			return func() error { p.link.Take(by); return nil }, err
		}}
	return r, r.open(p.reg)
}

// linkServer is our end while it listens.
type linkServer struct {
	*http.Server
	listener net.Listener
}

func (s *linkServer) serve() error { return s.Serve(s.listener) }

// listenLink opens our end; nothing for an appliance that is alone.
func (p *parts) listenLink() (*linkServer, func(), error) {
	if p.link == nil {
		return nil, func() {}, nil
	}
	listener, err := net.Listen("tcp", p.cfg.Link.Listen)
	if err != nil {
		return nil, nil, fmt.Errorf("daemon: link: %w", err)
	}
	p.log.Info("link: listening for peers", "address", listener.Addr().String())
	return &linkServer{server(p.link.Handler(), p.log), tls.NewListener(listener, p.link.TLS())}, func() { _ = listener.Close() }, nil
}

// linkDays tells how long the link's certificates are good for. It describes
// nothing beforehand: the metric is the API's too.
type linkDays struct{ *link.Link }

// Describe says nothing.
func (linkDays) Describe(chan<- *prometheus.Desc) {}

// Collect tells of what is in use now.
func (d linkDays) Collect(ch chan<- prometheus.Metric) {
	by := d.Identity()
	ch <- api.CertificateDays("link", by.Certificate())
	seen := map[string]bool{}
	for _, c := range by.Roots() {
		if m := api.CertificateDays("link_ca", c); !seen[c.Subject.CommonName] {
			seen[c.Subject.CommonName] = true // two of one name would be one metric twice
			ch <- m
		}
	}
}
