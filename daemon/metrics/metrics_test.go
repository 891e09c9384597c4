package metrics_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mintwarden/mintwarden/daemon/metrics"
)

func TestSealMetricsAreMerged(t *testing.T) {
	s := &metrics.Seal{Fetch: func(context.Context) (string, error) {
		return "# TYPE mintwarden_ledger_sequence gauge\nmintwarden_ledger_sequence 7\n# TYPE go_goroutines gauge\ngo_goroutines 3\n", nil
	}}
	own := prometheus.NewRegistry()
	metrics.Fill(own, "v1")
	both := prometheus.Gatherers{own, s}
	want := "# HELP mintwarden_seal_up 1 if the sealed process answered this scrape.\n# TYPE mintwarden_seal_up gauge\nmintwarden_seal_up 1\n"
	if err := testutil.GatherAndCompare(both, strings.NewReader(want), "mintwarden_seal_up"); err != nil {
		t.Error(err)
	}
	if n, err := testutil.GatherAndCount(both, "mintwarden_ledger_sequence"); err != nil || n != 1 {
		t.Errorf("%d of the seal's metrics, %v", n, err)
	}
}

func TestSilentSealIsDown(t *testing.T) {
	for name, fetch := range map[string]func(context.Context) (string, error){
		"no answer": func(context.Context) (string, error) { return "", errors.New("no socket") },
		"nonsense":  func(context.Context) (string, error) { return "{{{", nil },
	} {
		t.Run(name, func(t *testing.T) {
			want := "# HELP mintwarden_seal_up 1 if the sealed process answered this scrape.\n# TYPE mintwarden_seal_up gauge\nmintwarden_seal_up 0\n"
			err := testutil.GatherAndCompare(&metrics.Seal{Fetch: fetch}, strings.NewReader(want), "mintwarden_seal_up")
			if err != nil {
				t.Error(err)
			}
		})
	}
}
