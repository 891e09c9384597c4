package operation

import (
	"fmt"
	"slices"
	"time"

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

// openCollector counts open operations by status, and tells how long the oldest has been in it, when it is asked.
type openCollector struct{ x *index }

var (
	openDesc   = prometheus.NewDesc("mintwarden_open_operations", "Operations that are not over, by status.", []string{"status"}, nil)
	oldestDesc = prometheus.NewDesc("mintwarden_oldest_operation_seconds", "Longest time that an operation has been in its status now; 0 if none is in it.", []string{"status"}, nil)
)

func (c *openCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- openDesc
	ch <- oldestDesc
}

func (c *openCollector) Collect(ch chan<- prometheus.Metric) {
	n, since := c.x.ages()
	now := time.Now()
	for i, s := range statuses {
		if s.Terminal() || s == Submitted {
			continue
		}
		age := 0.0
		if !since[i].IsZero() {
			age = max(0, now.Sub(since[i]).Seconds())
		}
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(n[i]), string(s))
		ch <- prometheus.MustNewConstMetric(oldestDesc, prometheus.GaugeValue, age, string(s))
	}
}

// ages counts open operations by status's place in Statuses, and tells when the one that has been in it for
// longest came there; zero if none is in it.
func (x *index) ages() (n [len(tally{}.status)]int, since [len(tally{}.status)]time.Time) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	n = x.tally.status
	for _, e := range x.open {
		i, at := slices.Index(statuses, e.op.Status), e.op.History[len(e.op.History)-1].At
		if since[i].IsZero() || at.Before(since[i]) {
			since[i] = at
		}
	}
	return n, since
}
