// Package metrics is what the appliance shows to Prometheus as a whole: the
// registry that every room registers its own metrics with, and the seal's,
// which live in another process and are fetched at each scrape.
//
// It promises that a scrape always answers: a silent seal is
// mintwarden_seal_up 0, not an error. It promises nothing about how fresh the
// seal's figures are beyond that scrape, and it never shows a name that a
// caller chose as a label: rooms keep their labels to closed sets.
package metrics

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// sealPatience is how long a scrape waits for the seal: well under Prometheus'
// own default of 10 s, so that the rest is still delivered.
const sealPatience = 2 * time.Second

// Fill registers the process's own figures and mintwarden_build_info with r,
// the daemon's registry. It panics if they are there already.
func Fill(r prometheus.Registerer, version string) {
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "mintwarden_build_info",
		Help:        "Always 1; the labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()},
	})
	info.Set(1)
	r.MustRegister(info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
}

// Seal gathers the sealed process's metrics. Fetch returns them in
// Prometheus' text format; it is called once a scrape.
type Seal struct {
	Fetch func(context.Context) (string, error)
}

var _ prometheus.Gatherer = (*Seal)(nil)

// Gather implements prometheus.Gatherer. It never fails: what cannot be
// fetched or read is mintwarden_seal_up 0.
func (s *Seal) Gather() ([]*dto.MetricFamily, error) {
	ctx, cancel := context.WithTimeout(context.Background(), sealPatience)
	defer cancel()
	families, err := s.fetch(ctx)
	up := 1.0
	if err != nil {
		up, families = 0, nil
	}
	families = append(families, upFamily(up))
	return families, nil
}

func (s *Seal) fetch(ctx context.Context) ([]*dto.MetricFamily, error) {
	text, err := s.Fetch(ctx)
	if err != nil {
		return nil, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	byName, err := parser.TextToMetricFamilies(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("metrics: the seal's: %w", err)
	}
	var out []*dto.MetricFamily
	for name, f := range byName {
		if !strings.HasPrefix(name, "mintwarden_") {
			continue // the seal's Go and process figures would collide with ours
		}
		out = append(out, f)
	}
	return out, nil
}

func upFamily(v float64) *dto.MetricFamily {
	name, help, kind := "mintwarden_seal_up", "1 if the sealed process answered this scrape.", dto.MetricType_GAUGE
	return &dto.MetricFamily{Name: &name, Help: &help, Type: &kind,
		Metric: []*dto.Metric{{Gauge: &dto.Gauge{Value: &v}}}}
}
