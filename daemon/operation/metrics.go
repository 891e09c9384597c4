package operation

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/policy"
)

type metrics struct {
	transitions *prometheus.CounterVec
	dwell       *prometheus.HistogramVec
	verdicts    *prometheus.CounterVec
	alarms      *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, x *index) (*metrics, error) {
	m := &metrics{
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_operations_total", Help: "Operations that this process took to a status.",
		}, []string{"type", "status"}),
		dwell: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "mintwarden_operation_state_seconds", Help: "Time that operations stayed in a status before they left it.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400},
		}, []string{"type", "status"}),
		verdicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_verdicts_total", Help: "Verdicts of policy by the rule that was reported, as this process judged them or heard them from the seal.",
		}, []string{"stage", "rule", "outcome"}),
		alarms: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_operation_alarms_total", Help: "Operations that a person should look at.",
		}, []string{"alarm"}),
	}
	m.alarms.WithLabelValues(nonceStolen)
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.transitions, m.dwell, m.verdicts, m.alarms, &openCollector{x}} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("operation: metrics: %w", err)
		}
	}
	return m, nil
}

// moved counts the transitions between two states of an operation; before is nil for a new one.
func (m *metrics) moved(before, after *Operation) {
	n := 0
	if before != nil {
		n = len(before.History)
	}
	for i := n; i < len(after.History); i++ {
		step := after.History[i]
		m.transitions.WithLabelValues(string(after.Type), string(step.Status)).Inc()
		if i > 0 {
			last := after.History[i-1]
			m.dwell.WithLabelValues(string(after.Type), string(last.Status)).Observe(step.At.Sub(last.At).Seconds())
		}
	}
}

func (m *metrics) judged(stage string, v policy.Verdict) {
	rule := ""
	if v.Reported != nil {
		rule = string(v.Reported.Rule)
	}
	outcome := v.Outcome
	if outcome == "" {
		outcome = policy.Deny
	}
	m.verdicts.WithLabelValues(stage, rule, string(outcome)).Inc()
}

// openCollector counts open operations by status when it is asked.
type openCollector struct{ x *index }

var openDesc = prometheus.NewDesc("mintwarden_open_operations", "Operations that are not over, by status.", []string{"status"}, nil)

func (c *openCollector) Describe(ch chan<- *prometheus.Desc) { ch <- openDesc }

func (c *openCollector) Collect(ch chan<- prometheus.Metric) {
	var n [len(tally{}.status)]int
	c.x.ask(func(t *tally) { n = t.status })
	for i, s := range statuses {
		if !s.Terminal() && s != Submitted {
			ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(n[i]), string(s))
		}
	}
}
