package store

import (
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	seconds *prometheus.HistogramVec
	errors  *prometheus.CounterVec

	size, inUse, quota, short prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mintwarden_store_request_seconds", Help: "Time that a request to etcd took.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5},
		}, []string{"request"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_store_errors_total", Help: "Requests to etcd that failed; a refused comparison is none.",
		}, []string{"request"}),
		size:  gauge("mintwarden_store_size_bytes", "Size of etcd's database on its disk, of the fullest member."),
		inUse: gauge("mintwarden_store_in_use_bytes", "What of etcd's database is not free."),
		quota: gauge("mintwarden_store_quota_bytes", "Size at which etcd refuses every write."),
		short: gauge("mintwarden_store_short", "1 while etcd is so near its quota that nothing new is taken, or full."),
	}
	for _, c := range []prometheus.Collector{m.seconds, m.errors, m.size, m.inUse, m.quota, m.short} {
		if err := register(reg, c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

// space shows how full etcd is.
func (m *metrics) space(s Space, short bool) {
	m.size.Set(float64(s.Size))
	m.inUse.Set(float64(s.InUse))
	m.quota.Set(float64(s.Quota))
	m.short.Set(0)
	if short {
		m.short.Set(1)
	}
}

// register takes c; two stores on one registry (serve's and a test's, say) would share the first one's
// metrics by mistake, so that is an error like any other.
func register(reg prometheus.Registerer, c prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	if err := reg.Register(c); err != nil {
		var already prometheus.AlreadyRegisteredError
		if errors.As(err, &already) {
			return fmt.Errorf("store: one registry cannot serve two stores: %w", err)
		}
		return fmt.Errorf("store: metrics: %w", err)
	}
	return nil
}

// start begins a measurement; the function that it returns ends it.
func (m *metrics) start(request string) func(error) {
	t := time.Now()
	return func(err error) {
		m.seconds.WithLabelValues(request).Observe(time.Since(t).Seconds())
		if err != nil {
			m.errors.WithLabelValues(request).Inc()
		}
	}
}
