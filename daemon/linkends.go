package daemon

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/config"
)

// ends is what both ends of the link know each other by.
type ends struct {
	pair  tls.Certificate
	own   []*x509.Certificate // the roots
	roots *x509.CertPool
}

// openEnds reads our own pair and the root of all, and refuses a pair that is
// another appliance's, and a root that is one of callers' too: whoever issues
// certificates to people could name one of them appliance:….
func openEnds(c config.Link, id string, callers []string) (*ends, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("daemon: link.cert %s: %w", c.Cert, err)
	}
	if name := pair.Leaf.Subject.CommonName; name != appliancePrefix+id {
		return nil, fmt.Errorf("daemon: link.cert %s names %q, this is %s%s", c.Cert, name, appliancePrefix, id)
	}
	own, err := blocks(c.CA, "CERTIFICATE", x509.ParseCertificate)
	if err != nil {
		return nil, fmt.Errorf("daemon: link.ca: %w", err)
	}
	roots := x509.NewCertPool()
	for _, root := range own {
		roots.AddCert(root)
	}
	for _, path := range callers {
		others, err := blocks(path, "CERTIFICATE", x509.ParseCertificate)
		if err != nil {
			return nil, fmt.Errorf("daemon: api.client_ca: %w", err)
		}
		for _, other := range others {
			if slices.ContainsFunc(own, func(c *x509.Certificate) bool {
				return bytes.Equal(c.RawSubjectPublicKeyInfo, other.RawSubjectPublicKeyInfo)
			}) {
				return nil, fmt.Errorf("daemon: link.ca %s holds the key of %q, a root of api.client_ca %s; appliances need a root of their own", c.CA, other.Subject.CommonName, path)
			}
		}
	}
	return &ends{pair, own, roots}, nil
}

// linkGroups are the link's key exchanges: both ends are ours, so the hybrid
// is the only one.
var linkGroups = []tls.CurveID{tls.X25519MLKEM768}

func (e *ends) server() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{e.pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: e.roots,
		NextProtos: []string{"h2", "http/1.1"}, CurvePreferences: linkGroups, SessionTicketsDisabled: true,
	}
}

// client verifies that who answers is the peer that was meant, and not merely
// one of us.
func (e *ends) client(peer string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{e.pair}, RootCAs: e.roots, CurvePreferences: linkGroups,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if name := cs.PeerCertificates[0].Subject.CommonName; name != appliancePrefix+peer {
				return fmt.Errorf("link: who answers for %s is %q", peer, name)
			}
			return nil
		},
	}
}

// trusts is nil of a peer that showed these certificates, the leaf first, and
// would be believed with them, for that use, at that time.
func (e *ends) trusts(shown []*x509.Certificate, use x509.ExtKeyUsage, at time.Time) error {
	between := x509.NewCertPool()
	for _, c := range shown[1:] {
		between.AddCert(c)
	}
	if _, err := shown[0].Verify(x509.VerifyOptions{Roots: e.roots, Intermediates: between, CurrentTime: at,
		KeyUsages: []x509.ExtKeyUsage{use}}); err != nil {
		return fmt.Errorf("the certificate of %.80q: %w", shown[0].Subject.CommonName, err)
	}
	return nil
}

// follow keeps both directions as the files are: what comes next is asked and
// answered with the new pair and roots, what is under way comes to its end.
func (l *link) follow(p *parts) (*reloader, error) {
	c := p.cfg.Link
	r := &reloader{of: "link", files: append([]string{c.Cert, c.Key, c.CA}, p.cfg.API.ClientCA...), log: p.log,
		load: func() (func() error, error) {
			e, err := openEnds(c, p.cfg.Appliance, p.cfg.API.ClientCA)
			return func() error { l.take(e); return nil }, err
		}}
	return r, r.open(p.reg)
}

func (l *link) take(e *ends) {
	l.ends.Store(e)
	l.door.take(e)
}

// linkDays tells how long the link's certificates are good for. It describes
// nothing beforehand: the metric is the API's too.
type linkDays struct{ *link }

// Describe says nothing.
func (linkDays) Describe(chan<- *prometheus.Desc) {}

// Collect tells of what is in use now.
func (d linkDays) Collect(ch chan<- prometheus.Metric) {
	e := d.ends.Load()
	ch <- api.CertificateDays("link", e.pair.Leaf)
	seen := map[string]bool{}
	for _, c := range e.own {
		if m := api.CertificateDays("link_ca", c); !seen[c.Subject.CommonName] {
			seen[c.Subject.CommonName] = true // two of one name would be one metric twice
			ch <- m
		}
	}
}
