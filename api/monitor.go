package api

import (
	"context"
	"encoding/json/v2"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Check is one thing that must hold for the appliance to be ready.
type Check struct {
	// Name is one word: seal, store, ledger, node.
	Name string
	// Ready answers nil, or why not, in words without a secret.
	Ready func(context.Context) error
}

// checkTimeout bounds each check of a readiness probe: a part that does not
// answer is not ready.
const checkTimeout = 3 * time.Second

// readiness is the body of GET /readyz.
type readiness struct {
	Ready bool `json:"ready"`
	// Reasons say what is not ready, by check, in the order of the checks.
	Reasons []reason `json:"reasons"`
}

type reason struct {
	Check  string `json:"check"`
	Reason string `json:"reason"`
}

// Monitor answers the second listener, on loopback or a monitoring network,
// without TLS and without keys: GET /metrics, GET /healthz (the process is up),
// GET /readyz (200, or 503 with the reasons).
func Monitor(metrics prometheus.Gatherer, checks []Check) http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{
		// A broken collector costs its own metrics, not everybody's.
		ErrorHandling: promhttp.ContinueOnError,
	}))
	m.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "up"})
	})
	m.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		res := probe(r.Context(), checks)
		status := http.StatusOK
		if !res.Ready {
			status = http.StatusServiceUnavailable
		}
		writeJSON(w, status, res)
	})
	return m
}

// probe asks every check at once.
func probe(ctx context.Context, checks []Check) readiness {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	errs := make([]error, len(checks))
	var wg sync.WaitGroup
	for i, c := range checks {
		wg.Go(func() { errs[i] = c.Ready(ctx) })
	}
	wg.Wait()
	res := readiness{Ready: true, Reasons: []reason{}}
	for i, err := range errs {
		if err != nil {
			res.Ready = false
			res.Reasons = append(res.Reasons, reason{checks[i].Name, err.Error()})
		}
	}
	return res
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The caller went away if this fails; there is nobody left to tell.
	_ = json.MarshalWrite(w, v, json.Deterministic(true))
}
