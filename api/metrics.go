package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	panics   prometheus.Counter
	turned   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, w work, a *answers) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_api_requests_total",
			Help: "Requests by method, route of the document, HTTP status and error code (0: no error).",
		}, []string{"method", "route", "status", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "mintwarden_api_request_seconds",
			Help:    "Time from the request's first byte to its answer.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "route"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintwarden_api_panics_total", Help: "Requests whose handler panicked; each is a fault to report.",
		}),
		turned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mintwarden_api_shed_total",
			Help: "Requests, connections and answers turned away or cut off to protect the others, by reason.",
		}, []string{"reason"}),
	}
	for _, why := range sheds {
		m.turned.WithLabelValues(string(why))
	}
	all := []prometheus.Collector{m.requests, m.seconds, m.panics, m.turned}
	all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mintwarden_api_answer_bytes", Help: "Bytes of answers that callers have not taken yet.",
	}, func() float64 { return float64(a.bytes()) }))
	for _, b := range w.all() {
		labels := prometheus.Labels{"budget": b.kind}
		all = append(all, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mintwarden_api_in_flight", Help: "Requests under way, by budget.", ConstLabels: labels,
		}, func() float64 { return float64(b.underWay()) }), prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mintwarden_api_in_flight_limit", Help: "How many requests may be under way, by budget.", ConstLabels: labels,
		}, func() float64 { return float64(b.max) }))
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// watch shows the connections as a metric.
func (m *metrics) watch(reg prometheus.Registerer, c *connections) error {
	for state, name := range map[http.ConnState]string{http.StateNew: "new", http.StateActive: "active", http.StateIdle: "idle"} {
		err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "mintwarden_api_connections", ConstLabels: prometheus.Labels{"state": name},
			Help: "Open connections: new (no request yet), active (a request under way), idle.",
		}, func() float64 { return float64(c.count()[state]) }))
		if err != nil {
			return err
		}
	}
	return nil
}

// shed counts one that was turned away.
func (m *metrics) shed(why shed) { m.turned.WithLabelValues(string(why)).Inc() }

// methods that the API knows; any other is one label, or callers could make
// labels without end.
var methods = map[string]bool{"GET": true, "POST": true, "PUT": true, "PATCH": true, "DELETE": true, "HEAD": true, "OPTIONS": true}

func (m *metrics) request(method, route string, status int, code string, took time.Duration) {
	if !methods[method] {
		method = "other"
	}
	m.requests.WithLabelValues(method, route, strconv.Itoa(status), code).Inc()
	m.seconds.WithLabelValues(method, route).Observe(took.Seconds())
}
