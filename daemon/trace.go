package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/daemon/config"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// openTracer makes what spans go through; nil where the config has no collector.
func openTracer(cfg *config.Config, version string, log *slog.Logger, reg prometheus.Registerer) (*trace.Tracer, error) {
	c := cfg.Trace
	if !c.Configured() {
		return nil, nil
	}
	t, err := trace.Open(trace.Config{Endpoint: c.Endpoint, CA: c.CA, Ratio: *c.SampleRatio, Service: "mintwardend", Version: version,
		Instance: cfg.Appliance, Word: wordOf}, log, reg)
	if err != nil {
		return nil, fmt.Errorf("daemon: %w", err)
	}
	return t, nil
}

// wordOf is an error as a span shows it: whose it is, or the seal's kind of it, and nothing of its text.
func wordOf(err error) string {
	if kind, ok := seal.KindOf(err); ok {
		return "seal_" + string(kind)
	}
	var refusal *registry.Refusal
	if errors.As(err, &refusal) {
		return "refused"
	}
	for _, of := range []struct {
		err  error
		word string
	}{
		{seal.ErrUnreachable, "seal_unreachable"}, {store.ErrConflict, "store_conflict"}, {store.ErrUnavailable, "store"},
		{chain.ErrUnavailable, "chain"}, {context.Canceled, "cancelled"}, {context.DeadlineExceeded, "timeout"},
	} {
		if errors.Is(err, of.err) {
			return of.word
		}
	}
	return "other"
}
