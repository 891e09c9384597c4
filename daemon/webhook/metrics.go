package webhook

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	backlog     prometheus.Gauge
	dispatching prometheus.Gauge
	events      prometheus.Counter
	attempts    *prometheus.CounterVec
	seconds     prometheus.Histogram
	dead        prometheus.Counter
	dropped     prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		backlog: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_webhook_backlog_deliveries",
			Help: "Deliveries that wait, where this process delivers; about a minute old."}),
		dispatching: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_webhook_dispatching",
			Help: "1 while this process is the one that delivers."}),
		events: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_webhook_events_total",
			Help: "Events that were taken from the outbox."}),
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_webhook_attempts_total",
			Help: "Attempts to deliver, by what became of them."}, []string{"outcome"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "mintwarden_webhook_attempt_seconds",
			Help: "Time that endpoints took.", Buckets: []float64{.005, .02, .05, .1, .25, .5, 1, 2.5, 5, 10}}),
		dead: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_webhook_dead_letters_total",
			Help: "Deliveries that had no attempt left."}),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_webhook_dropped_total",
			Help: "Events that were not kept for an endpoint because too much waits for it."}),
	}
	for _, o := range outcomes {
		m.attempts.WithLabelValues(string(o)) // a scrape shows all of them from the start
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.backlog, m.dispatching, m.events, m.attempts, m.seconds, m.dead, m.dropped} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("webhook: metrics: %w", err)
		}
	}
	return m, nil
}
