package hsm

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	calls    *prometheus.CounterVec
	errors   *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	sessions prometheus.Gauge
	stuck    prometheus.Gauge
	seen     sync.Map // call name to *callMetrics: a look-up by label costs more
}

// callMetrics are those of one call name.
type callMetrics struct {
	calls   prometheus.Counter
	latency prometheus.Observer
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_hsm_calls_total",
			Help: "Uses of the token by call."}, []string{"call"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_hsm_errors_total",
			Help: "Failed uses of the token by call and class of error."}, []string{"call", "class"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "mintwarden_hsm_call_duration_seconds",
			Help:    "Time from request to answer of the token, waiting for a session included.",
			Buckets: prometheus.ExponentialBuckets(0.0001, 2.5, 12)}, []string{"call"}),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_hsm_sessions_count",
			Help: "Open sessions, those of stuck calls included."}),
		stuck: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_hsm_stuck_calls_count",
			Help: "Calls that did not come back within the call timeout."}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.calls, m.errors, m.latency, m.sessions, m.stuck} {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

func (m *metrics) observe(call string, start time.Time, err error) {
	seen, ok := m.seen.Load(call)
	if !ok {
		seen, _ = m.seen.LoadOrStore(call, &callMetrics{m.calls.WithLabelValues(call), m.latency.WithLabelValues(call)})
	}
	of := seen.(*callMetrics)
	of.calls.Inc()
	of.latency.Observe(time.Since(start).Seconds())
	if err != nil {
		m.errors.WithLabelValues(call, errorLabel(err)).Inc()
	}
}

func errorLabel(err error) string {
	if c := classIn(err); c != 0 {
		return c.String()
	}
	switch {
	case errors.Is(err, ErrBusy):
		return "busy"
	case errors.Is(err, ErrStuck):
		return "stuck"
	case errors.Is(err, errUnsettled):
		return "unsettled"
	case errors.Is(err, ErrNotFound):
		return "not_found"
	case errors.Is(err, ErrMismatch), errors.Is(err, ErrNotAuthentic):
		return "mismatch"
	}
	return "other"
}
