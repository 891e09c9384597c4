package daemon

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/daemon/config"
)

// storeCertificate is one that etcd is reached by, or that the embedded one shows.
type storeCertificate struct {
	use string // as the metric has it
	*x509.Certificate
}

// storeCertificates reads those that the configuration names. A start takes them into use, and nothing later.
func storeCertificates(c config.Store) (storeDays, error) {
	var all storeDays
	for _, f := range []struct{ use, path string }{
		{"store", c.Cert}, {"store_ca", c.CA}, {"store_server", c.Embedded.ServerCert}, {"store_root", c.Embedded.RootCert},
	} {
		if f.path == "" {
			continue
		}
		text, err := os.ReadFile(f.path)
		if err != nil {
			return nil, fmt.Errorf("daemon: %s: %w", f.use, err)
		}
		for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
			if block.Type != "CERTIFICATE" {
				continue // its key, in one file with it
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("daemon: %s: %s: %w", f.use, f.path, err)
			}
			all = append(all, storeCertificate{f.use, cert})
		}
	}
	return all, nil
}

// storeDays tells how long they are good for. It describes nothing beforehand: the metric is the API's too.
type storeDays []storeCertificate

// Describe says nothing.
func (storeDays) Describe(chan<- *prometheus.Desc) {}

// Collect tells, of two of one name, of the one that ends first.
func (d storeDays) Collect(ch chan<- prometheus.Metric) {
	type name struct {
		use, name string
		algorithm x509.PublicKeyAlgorithm
	}
	told := map[name]bool{}
	for _, c := range slices.SortedFunc(slices.Values(d), func(a, b storeCertificate) int { return a.NotAfter.Compare(b.NotAfter) }) {
		if n := (name{c.use, c.Subject.CommonName, c.PublicKeyAlgorithm}); !told[n] {
			told[n] = true
			ch <- api.CertificateDays(c.use, c.Certificate)
		}
	}
}
