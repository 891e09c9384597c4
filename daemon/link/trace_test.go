package link

import (
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/daemon/trace/tracetest"
)

// kindOfSeal is an error as a span shows it.
func kindOfSeal(err error) string { return "seal_" + string(kindOf(err)) }

// What one appliance asks another on an operation's behalf is of that operation's trace, at both ends.
func TestATraceGoesOverTheLink(t *testing.T) {
	w := newTown(t, "appliance-1", "appliance-2")
	one, two := w.box("appliance-1"), w.box("appliance-2")
	two.knows(one)
	two.follows("appliance-1")
	collector := tracetest.Start(t)
	tracer := func(instance string) *trace.Tracer {
		tr, err := trace.Open(trace.Config{Endpoint: collector.Endpoint(), Ratio: 1, Service: "mintwardend", Instance: instance, Word: kindOfSeal},
			slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		require.NoError(t, err)
		t.Cleanup(tr.Close)
		return tr
	}
	here, there := tracer("appliance-2"), tracer("appliance-1")
	one.link.handler.tracer = there

	ctx, request := here.Serve(t.Context(), http.Header{}, "request", time.Now())
	_, err := two.door.Cancel(ctx, "op_1", "because of a secret")
	require.NoError(t, err)
	one.seal.mu.Lock()
	one.seal.sealed = true
	one.seal.mu.Unlock()
	_, err = two.door.Cancel(ctx, "op_1", "because of a secret")
	require.Error(t, err)
	request.End(nil)
	require.NoError(t, here.Flush(t.Context()))
	require.NoError(t, there.Flush(t.Context()))

	byName := map[string][]tracetest.Span{}
	for _, s := range collector.Spans() {
		byName[s.Name] = append(byName[s.Name], s)
	}
	require.Len(t, byName["link.cancel"], 2)
	require.Len(t, byName["serve.cancel"], 2)
	for n, asked := range byName["link.cancel"] {
		taken := byName["serve.cancel"][n]
		require.Equal(t, byName["request"][0].Trace, taken.Trace)
		require.Equal(t, byName["request"][0].ID, asked.Parent)
		require.Equal(t, asked.ID, taken.Parent)
		require.Equal(t, [2]string{"appliance-2", "appliance-1"}, [2]string{asked.Instance, taken.Instance})
	}
	require.Equal(t, "seal_sealed", byName["serve.cancel"][1].Error)
	require.NotContains(t, string(collector.Raw()), "secret")
}
