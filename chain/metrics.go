package chain

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are one network's; each carries the label network.
type metrics struct {
	reg        prometheus.Registerer // nil: registered nowhere
	collectors []prometheus.Collector

	number    prometheus.Gauge
	usable    prometheus.Gauge
	latency   *prometheus.HistogramVec // by method
	faults    *prometheus.CounterVec   // by method and kind
	headTime  atomic.Int64             // Unix seconds; 0 before the first head
	beginning time.Time                // what the age counts from until then
}

func newMetrics(reg prometheus.Registerer, network string) (*metrics, error) {
	m := &metrics{beginning: time.Now()}
	m.number = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mintwarden_chain_head_number", Help: "Number of the newest block that a node told."})
	m.usable = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "mintwarden_chain_nodes_usable", Help: "Nodes that answer, are of the chain, and whose newest block is neither old nor of a time that has not come."})
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mintwarden_chain_head_age_seconds", Help: "Time since the newest block's own time; since the start while none is known."}, m.age)
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "mintwarden_chain_rpc_seconds", Help: "Time until a node answered, errors too.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2.5, 11)}, []string{"method"})
	m.faults = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintwarden_chain_rpc_errors_total", Help: "Questions without a good answer; kind rpc: the node answered with an error."},
		[]string{"method", "kind"})
	m.collectors = []prometheus.Collector{m.number, m.usable, age, m.latency, m.faults}
	if reg == nil {
		return m, nil
	}
	m.reg = prometheus.WrapRegistererWith(prometheus.Labels{"network": network}, reg)
	for i, c := range m.collectors {
		if err := m.reg.Register(c); err != nil {
			m.collectors = m.collectors[:i]
			m.unregister()
			return nil, fmt.Errorf("chain: metrics of network %q: %w", network, err)
		}
	}
	return m, nil
}

func (m *metrics) unregister() {
	if m.reg == nil {
		return
	}
	for _, c := range m.collectors {
		m.reg.Unregister(c)
	}
}

func (m *metrics) age() float64 {
	if at := m.headTime.Load(); at != 0 {
		return time.Since(time.Unix(at, 0)).Seconds()
	}
	return time.Since(m.beginning).Seconds()
}

func (m *metrics) saw(h Head) {
	m.number.Set(float64(h.Number))
	m.headTime.Store(h.Time.Unix())
}

func (m *metrics) asked(method string, start time.Time, err error) {
	m.latency.WithLabelValues(method).Observe(time.Since(start).Seconds())
	if err != nil {
		m.faults.WithLabelValues(method, faultKind(err)).Inc()
	}
}
