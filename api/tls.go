package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// TLS is how the API is served: TLS 1.3 only, a client certificate required,
// X25519MLKEM768 preferred for the key exchange. What it shows and whom it
// trusts can be replaced while it serves. Safe for concurrent use.
type TLS struct {
	now        atomic.Pointer[trust]
	handshakes *prometheus.CounterVec
	offered    *prometheus.CounterVec
	refused    prometheus.Counter
	replaced   chan struct{} // holds one if a trust was replaced since it was last looked at
}

// NewTLS serves with t. What each handshake used is counted in reg, which also
// takes how long the certificates are good for.
func NewTLS(t Trust, reg prometheus.Registerer) (*TLS, error) {
	s := &TLS{
		handshakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_tls_handshakes_total",
			Help: "Finished TLS handshakes by key exchange and by the client certificate's algorithm.",
		}, []string{"key_exchange", "client_certificate"}),
		offered: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_tls_server_certificates_total",
			Help: "Server certificates shown to clients, by algorithm.",
		}, []string{"certificate"}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintwarden_tls_clients_refused_total",
			Help: "Clients turned away, or cut off while connected, because their certificate ended, was revoked, or is of a root that is trusted no more.",
		}),
		replaced: make(chan struct{}, 1),
	}
	if err := s.Replace(t); err != nil {
		return nil, err
	}
	for _, c := range []prometheus.Collector{s.handshakes, s.offered, s.refused, (*certificateDays)(s)} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("api: metrics: %w", err)
		}
	}
	return s, nil
}

// Replace serves with t from the next handshake on, and has those who are
// connected and not trusted by it cut off; the others notice nothing. A trust
// that does not hold changes nothing: certificates without their keys, a
// revocation list that no root signed or that is older than the one in use.
func (s *TLS) Replace(t Trust) error {
	next := &trust{Trust: t}
	if err := next.check(s.now.Load()); err != nil {
		return err
	}
	next.config = s.configOf(next)
	s.now.Store(next)
	select {
	case s.replaced <- struct{}{}:
	default:
	}
	return nil
}

// Config is what a listener serves with; it follows Replace.
func (s *TLS) Config() *tls.Config {
	c := s.now.Load().config.Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return s.now.Load().config, nil }
	return c
}

// configOf is the configuration for one trust. Sessions of another one are not
// resumed: each has ticket keys of its own.
func (s *TLS) configOf(t *trust) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  t.pool,
		NextProtos: []string{"h2", "http/1.1"},
		// Hybrid first; the others for clients that have no ML-KEM yet.
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			for i := range t.Certificates {
				// The name is the client's to verify; what must fit is the signature.
				if fits(hello, &t.Certificates[i]) {
					s.offered.WithLabelValues(algorithm(t.Certificates[i].Leaf)).Inc()
					return &t.Certificates[i], nil
				}
			}
			return nil, errors.New("api: the client supports the signature of none of the server's certificates")
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			if err := t.refusal(cs.PeerCertificates, time.Now()); err != nil {
				s.refused.Inc()
				return fmt.Errorf("api: %w", err)
			}
			client := "resumed"
			if len(cs.PeerCertificates) > 0 {
				client = algorithm(cs.PeerCertificates[0])
			}
			s.handshakes.WithLabelValues(cs.CurveID.String(), client).Inc()
			return nil
		},
	}
}

// fits tells whether the client can verify signatures by the certificate's key.
func fits(hello *tls.ClientHelloInfo, c *tls.Certificate) bool {
	nameless := *hello
	nameless.ServerName = "" // a certificate for another name is refused by the client, with a better reason
	return nameless.SupportsCertificate(c) == nil
}

func algorithm(c *x509.Certificate) string {
	switch c.PublicKeyAlgorithm {
	case x509.ECDSA:
		return "ecdsa"
	case x509.Ed25519:
		return "ed25519"
	case x509.RSA:
		return "rsa"
	case x509.MLDSA:
		return "ml-dsa"
	}
	return "other"
}

// certificateDays tells how long what is in use is good for.
type certificateDays TLS

var daysLeft = prometheus.NewDesc("mintwarden_certificate_days",
	"Days until a certificate or revocation list in use ends, below zero if it has: of the server, of the clients' roots, of the link and its roots, of what etcd is reached by, and until the next revocation list is due.",
	[]string{"use", "algorithm", "name"}, nil)

// CertificateDays is how long a certificate that is used for something else than
// this API is good for, as the API's own are told of.
func CertificateDays(use string, c *x509.Certificate) prometheus.Metric {
	return prometheus.MustNewConstMetric(daysLeft, prometheus.GaugeValue, time.Until(c.NotAfter).Hours()/24, use, algorithm(c), c.Subject.CommonName)
}

// Describe tells of the one metric.
func (*certificateDays) Describe(ch chan<- *prometheus.Desc) { ch <- daysLeft }

// Collect tells of what is in use now. Of two of one name the one that ends first
// counts.
func (d *certificateDays) Collect(ch chan<- prometheus.Metric) {
	t := d.now.Load()
	ends := map[[3]string]time.Time{}
	add := func(use, algorithm, name string, at time.Time) {
		k := [3]string{use, algorithm, name}
		if old, ok := ends[k]; !ok || at.Before(old) {
			ends[k] = at
		}
	}
	for _, c := range t.Certificates {
		add("server", algorithm(c.Leaf), c.Leaf.Subject.CommonName, c.Leaf.NotAfter)
	}
	for _, c := range t.Roots {
		add("client_ca", algorithm(c), c.Subject.CommonName, c.NotAfter)
	}
	for _, l := range t.Revocations {
		if !l.NextUpdate.IsZero() {
			add("revocation_list", l.SignatureAlgorithm.String(), l.Issuer.CommonName, l.NextUpdate)
		}
	}
	for k, at := range ends {
		ch <- prometheus.MustNewConstMetric(daysLeft, prometheus.GaugeValue, time.Until(at).Hours()/24, k[0], k[1], k[2])
	}
}
