package callback

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// What becomes of a signature, as the metric has it.
const (
	outcomeTaken   = "taken"
	outcomeRefused = "refused"
)

type metrics struct {
	asking     prometheus.Gauge
	rounds     *prometheus.CounterVec
	taken      prometheus.Counter
	refused    *prometheus.CounterVec
	signatures *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		asking: prometheus.NewGauge(prometheus.GaugeOpts{Name: "mintwarden_callback_asking",
			Help: "1 while this process is the one that asks Qustody for work."}),
		rounds: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_callback_rounds_total",
			Help: "Times that Qustody was asked for work, by outcome."}, []string{"outcome"}),
		taken: prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_callback_taken_total",
			Help: "Transactions of Qustody's that became operations."}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_callback_refused_total",
			Help: "Transactions of Qustody's that were refused, each time, by reason."}, []string{"reason"}),
		signatures: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "mintwarden_callback_signatures_total",
			Help: "Signatures that Qustody took or refused, by outcome; refusals each time."}, []string{"outcome"}),
	}
	for _, r := range reasons { // a scrape shows all of them from the start
		m.refused.WithLabelValues(string(r))
	}
	for _, o := range []string{outcomeTaken, outcomeRefused} {
		m.signatures.WithLabelValues(o)
	}
	m.rounds.WithLabelValues("ok")
	m.rounds.WithLabelValues("failed")
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.asking, m.rounds, m.taken, m.refused, m.signatures} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("callback: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) round(err error) {
	if err != nil {
		m.rounds.WithLabelValues("failed").Inc()
		return
	}
	m.rounds.WithLabelValues("ok").Inc()
}
