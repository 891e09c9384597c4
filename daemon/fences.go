package daemon

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// scrapePatience is how long a scrape waits for the store: as for the seal.
const scrapePatience = 2 * time.Second

// fences tells at each scrape which of the fences that there must be somebody has, this appliance or another one, by
// the store's word. While that does not come it tells nothing.
type fences struct {
	store *store.Store
	names []string
}

var fenceHeld = prometheus.NewDesc("mintwarden_fence_held", "1 while an appliance has the right to do this, which one has at a time, by the store's word.", []string{"fence"}, nil)

// fences are those that an appliance of this configuration waits for; a wallet's lane comes and goes with its operations.
func (p *parts) fences() fences {
	c, names := p.cfg, []string{"audit-sequencer", "reconciliation", "webhook-dispatcher"}
	if c.Callback.Configured() {
		names = append(names, "callback")
	}
	if c.Audit.Dir != "" {
		names = append(names, "archivist/delivery")
		if c.Operation.Retention > 0 {
			names = append(names, "archivist/operation")
		}
	}
	return fences{p.store, names}
}

// Describe implements prometheus.Collector.
func (fences) Describe(ch chan<- *prometheus.Desc) { ch <- fenceHeld }

// Collect asks for each of them.
func (f fences) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapePatience)
	defer cancel()
	for _, name := range f.names {
		_, _, there, err := f.store.Get(ctx, store.FencePrefix+name)
		if err != nil {
			return
		}
		held := 0.0
		if there {
			held = 1
		}
		ch <- prometheus.MustNewConstMetric(fenceHeld, prometheus.GaugeValue, held, name)
	}
}
