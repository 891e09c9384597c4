package sealed

import (
	"crypto/x509"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// certificates are those by which etcd is reached. As a collector they tell how long they
// are good for, at each question.
type certificates []*x509.Certificate

var certificateDays = prometheus.NewDesc("mintwarden_seal_certificate_days",
	"Days until a certificate by which the seal reaches etcd ends, below zero if it has.", []string{"name"}, nil)

// Describe tells of the one metric.
func (certificates) Describe(ch chan<- *prometheus.Desc) { ch <- certificateDays }

// Collect tells of each name; of two of one name the one that ends first counts.
func (c certificates) Collect(ch chan<- prometheus.Metric) {
	ends := map[string]time.Time{}
	for _, cert := range c {
		name := cert.Subject.CommonName
		if had, ok := ends[name]; !ok || cert.NotAfter.Before(had) {
			ends[name] = cert.NotAfter
		}
	}
	for name, at := range ends {
		ch <- prometheus.MustNewConstMetric(certificateDays, prometheus.GaugeValue, time.Until(at).Hours()/24, name)
	}
}
