package registry

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/policy/ledger"
)

// metrics are what an operator needs to know of the ledger and its follower.
type metrics struct {
	batchRecords  prometheus.Histogram
	batchBytes    prometheus.Histogram
	carryFailures prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, s *Service) (*metrics, error) {
	m := &metrics{
		batchRecords: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mintwarden_ledger_batch_records", Help: "Records in a batch of the ledger.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 12),
		}),
		batchBytes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "mintwarden_ledger_batch_bytes", Help: "Size of a batch of the ledger.",
			Buckets: prometheus.ExponentialBuckets(1024, 2, 11),
		}),
		carryFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "mintwarden_ledger_carry_failures_total", Help: "Tries to carry a batch into the store that failed and were made again.",
		}),
	}
	gauge := func(name, help string, read func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, read)
	}
	var errs error
	for _, c := range []prometheus.Collector{
		m.batchRecords, m.batchBytes, m.carryFailures, limitCollector{s.fold},
		gauge("mintwarden_ledger_sequence", "Sequence of the latest batch that was verified.", func() float64 { return float64(s.headSequence()) }),
		gauge("mintwarden_ledger_carried_sequence", "Sequence of the latest batch whose records all stand in the store.", func() float64 { return float64(s.Carried()) }),
		gauge("mintwarden_ledger_follower_up", "1 while the ledger verifies and its head at the start is carried in, else 0: see /readyz.", func() float64 {
			if s.Ready() != nil {
				return 0
			}
			return 1
		}),
	} {
		errs = errors.Join(errs, reg.Register(c))
	}
	return m, errs
}

func (m *metrics) batch(b *ledger.Batch, size int) {
	m.batchRecords.Observe(float64(len(b.Records)))
	m.batchBytes.Observe(float64(size))
}
