package daemon

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// apiCertificates reads the server's certificates and the roots of its clients.
func (p *parts) apiCertificates() ([]tls.Certificate, *x509.CertPool, error) {
	var certificates []tls.Certificate
	for _, c := range p.cfg.API.Certificates {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, nil, fmt.Errorf("daemon: api certificate %s: %w", c.Cert, err)
		}
		certificates = append(certificates, pair)
	}
	roots := x509.NewCertPool()
	for _, path := range p.cfg.API.ClientCA {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, nil, fmt.Errorf("daemon: client_ca: %w", err)
		}
		if !roots.AppendCertsFromPEM(text) {
			return nil, nil, fmt.Errorf("daemon: client_ca %s holds no certificate", path)
		}
	}
	return certificates, roots, nil
}
