package reconciliation

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events    *prometheus.CounterVec
	behind    *prometheus.GaugeVec
	disagrees *prometheus.GaugeVec
	pending   *prometheus.GaugeVec
	denied    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_reconciliation_events_total", Help: "Events of tokens' contracts by what explains them, as this process looked at them.",
		}, []string{"network", "outcome"}),
		behind: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mintwarden_reconciliation_behind_blocks", Help: "Blocks that are final and whose events were not looked at yet, of the token that is furthest behind.",
		}, []string{"network"}),
		disagrees: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mintwarden_reconciliation_disagreeing_tokens", Help: "Tokens of which the chain tells otherwise than operations do.",
		}, []string{"network"}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "mintwarden_reconciliation_pending_tokens", Help: "Tokens with an event that nobody authorized and that two nodes have not agreed on yet.",
		}, []string{"network"}),
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_reconciliation_denied_events_total", Help: "Events that a node told and most nodes say are not in the chain.",
		}, []string{"network"}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.events, m.behind, m.disagrees, m.pending, m.denied} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("reconciliation: metrics: %w", err)
		}
	}
	return m, nil
}
