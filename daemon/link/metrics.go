package link

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// metrics count what is passed on and what is taken.
type metrics struct {
	requests *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintwarden_link_requests_total",
		Help: "Requests between appliances: passed to the ledger's author, or taken from a peer, by operation and outcome.",
	}, []string{"direction", "appliance", "op", "outcome"})}
	return m, reg.Register(m.requests)
}

func (m *metrics) passed(op seal.Op, peer string, err error) {
	m.requests.WithLabelValues("passed", peer, string(op), outcomeOf(err)).Inc()
}

func (m *metrics) taken(op seal.Op, peer string, err error) {
	m.requests.WithLabelValues("taken", peer, string(op), outcomeOf(err)).Inc()
}

// outcomeOf is a word for an error: the seal's kind of it, if it is the seal's.
func outcomeOf(err error) string {
	if err == nil {
		return "ok"
	}
	if kind, ok := seal.KindOf(err); ok {
		return string(kind)
	}
	return "unreachable"
}
