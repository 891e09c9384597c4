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
	}
	for _, c := range []prometheus.Collector{m.seconds, m.errors} {
		if err := register(reg, c); err != nil {
			return nil, err
		}
	}
	return m, nil
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
