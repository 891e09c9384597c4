package api_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
)

func TestMonitor(t *testing.T) {
	var sealed atomic.Bool
	reg := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "mintwarden_test_total", Help: "A test."})
	reg.MustRegister(counter)
	counter.Inc()
	srv := httptest.NewServer(api.Monitor(reg, []api.Check{
		{Name: "store", Ready: func(context.Context) error { return nil }},
		{Name: "seal", Ready: func(context.Context) error {
			if sealed.Load() {
				return errors.New("the seal is sealed; custodians unseal it")
			}
			return nil
		}},
		{Name: "node", Ready: func(ctx context.Context) error {
			if sealed.Load() {
				<-ctx.Done() // a part that does not answer holds nobody up for long
				return ctx.Err()
			}
			return nil
		}},
	}))
	defer srv.Close()
	get := func(method, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, nil)
		require.NoError(t, err)
		resp, err := srv.Client().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	expect := func(path string, status int, body string) {
		t.Helper()
		gotStatus, got := get("GET", path)
		require.Equal(t, status, gotStatus)
		require.JSONEq(t, body, got)
	}
	expect("/healthz", 200, `{"status":"up"}`)
	expect("/readyz", 200, `{"ready":true,"reasons":[]}`)
	sealed.Store(true)
	expect("/readyz", 503, `{"ready":false,"reasons":[{"check":"seal","reason":"the seal is sealed; custodians unseal it"},{"check":"node","reason":"context deadline exceeded"}]}`)
	expect("/healthz", 200, `{"status":"up"}`)
	_, body := get("GET", "/metrics")
	require.Contains(t, body, "mintwarden_test_total 1")
	status, _ := get("POST", "/metrics")
	require.Equal(t, 405, status)
	status, _ = get("GET", "/v1/tokens")
	require.Equal(t, 404, status)
}

// TestRequestMetrics: routes are counted by the document's template, never by
// the path that a caller made up.
func TestRequestMetrics(t *testing.T) {
	s := sharedHouse(t).serve()
	s.as("viewer", "GET", "/v1/tokens/token_one", "").fails(404, 1112)
	s.as("viewer", "GET", "/v1/tokens/token_two", "").fails(404, 1112)
	s.as("viewer", "GET", "/v1/nonsense/1", "").fails(404, 1112)
	s.as("viewer", "GET", "/v1/nonsense/2", "").fails(404, 1112)
	s.as("viewer", "BREW", "/v1/tokens", "").fails(405, 1112)
	is[api.TokenList](s.as("viewer", "GET", "/v1/tokens", ""), 200)
	families, err := s.metrics.Gather()
	require.NoError(t, err)
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "mintwarden_api_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			name := ""
			for _, l := range m.GetLabel() {
				name += l.GetName() + "=" + l.GetValue() + " "
			}
			got[name] = m.GetCounter().GetValue()
		}
	}
	require.Equal(t, map[string]float64{
		"code=0 method=GET route=/v1/tokens status=200 ":              1,
		"code=1112 method=GET route=/v1/tokens/{tokenId} status=404 ": 2,
		"code=1112 method=GET route=unknown status=404 ":              2,
		"code=1112 method=other route=unknown status=405 ":            1,
	}, got)
}
