package api

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// TLSConfig is how the API is served: TLS 1.3 only, a client certificate from
// one of roots required, X25519MLKEM768 preferred for the key exchange.
//
// certificates are tried in order and the first that the client can verify is
// used: ML-DSA-65 before its ECDSA P-256 twin. What each handshake used is
// counted in reg.
func TLSConfig(certificates []tls.Certificate, roots *x509.CertPool, reg prometheus.Registerer) (*tls.Config, error) {
	if len(certificates) == 0 || roots == nil {
		return nil, errors.New("api: a server certificate and roots for clients are needed")
	}
	for i := range certificates {
		if certificates[i].Leaf == nil {
			leaf, err := x509.ParseCertificate(certificates[i].Certificate[0])
			if err != nil {
				return nil, fmt.Errorf("api: server certificate %d: %w", i, err)
			}
			certificates[i].Leaf = leaf
		}
	}
	handshakes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintwarden_tls_handshakes_total",
		Help: "Finished TLS handshakes by key exchange and by the client certificate's algorithm.",
	}, []string{"key_exchange", "client_certificate"})
	offered := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintwarden_tls_server_certificates_total",
		Help: "Server certificates shown to clients, by algorithm.",
	}, []string{"certificate"})
	for _, c := range []prometheus.Collector{handshakes, offered} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("api: metrics: %w", err)
		}
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  roots,
		NextProtos: []string{"h2", "http/1.1"},
		// Hybrid first; the others for clients that have no ML-KEM yet.
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.X25519, tls.CurveP256},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			for i := range certificates {
				// The name is the client's to verify; what must fit is the signature.
				if fits(hello, &certificates[i]) {
					offered.WithLabelValues(algorithm(certificates[i].Leaf)).Inc()
					return &certificates[i], nil
				}
			}
			return nil, errors.New("api: the client supports the signature of none of the server's certificates")
		},
		VerifyConnection: func(cs tls.ConnectionState) error {
			client := "resumed"
			if len(cs.PeerCertificates) > 0 {
				client = algorithm(cs.PeerCertificates[0])
			}
			handshakes.WithLabelValues(cs.CurveID.String(), client).Inc()
			return nil
		},
	}, nil
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
