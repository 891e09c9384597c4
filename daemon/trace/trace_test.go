package trace_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/daemon/trace/tracetest"
)

// enough is how long a test waits for what must come; nothing is measured by it.
const enough = 3 * time.Minute

type world struct {
	*trace.Tracer
	t         *testing.T
	collector *tracetest.Collector
	metrics   *prometheus.Registry
}

func open(t *testing.T, ratio float64) *world {
	t.Helper()
	return openLogged(t, ratio, t.Output())
}

func openLogged(t *testing.T, ratio float64, log io.Writer) *world {
	t.Helper()
	w := &world{t: t, collector: tracetest.Start(t), metrics: prometheus.NewRegistry()}
	var err error
	w.Tracer, err = trace.Open(trace.Config{Endpoint: w.collector.Endpoint(), Ratio: ratio, Service: "mintwardend", Version: "v1", Instance: "appliance-1",
		Word: func(error) string { return "other" }}, slog.New(slog.NewTextHandler(log, nil)), w.metrics)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// came are the spans that were exported by now, by name.
func (w *world) came() map[string]tracetest.Span {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), enough)
	defer cancel()
	if err := w.Flush(ctx); err != nil {
		w.t.Fatal(err)
	}
	spans := map[string]tracetest.Span{}
	for _, s := range w.collector.Spans() {
		spans[s.Name] = s
	}
	return spans
}

const (
	callers = "4bf92f3577b34da6a3ce929d0e0e4736"
	sampled = "00-" + callers + "-00f067aa0ba902b7-01"
	not     = "00-" + callers + "-00f067aa0ba902b7-00"
)

// One trace goes from a caller's over a request to steps that another process takes, by the stored text alone.
func TestOneTraceAcrossProcesses(t *testing.T) {
	w := open(t, 0)
	ctx, request := w.Serve(t.Context(), http.Header{"Traceparent": {sampled}, "Tracestate": {"secret=s3cret"}}, "POST /v1", time.Now())
	inner, submit := w.Root(ctx, "submit")
	submit.Set(trace.Operation, "op_1")
	kept := trace.Parent(inner)
	submit.End(nil)
	request.End(nil)
	w.came()

	after := open(t, 0) // as after a restart
	ctx, step := after.Step(t.Context(), kept, "step")
	_, call := trace.Call(ctx, "call")
	call.End(errors.New("s3cret"))
	step.Reached("COMPLETED", time.Now())
	step.End(nil)

	before, then := w.came(), after.came()
	for name, s := range map[string]tracetest.Span{"POST /v1": before["POST /v1"], "submit": before["submit"], "step": then["step"], "call": then["call"]} {
		if s.Trace != callers {
			t.Errorf("%s is of trace %q", name, s.Trace)
		}
	}
	if before["POST /v1"].Parent != "00f067aa0ba902b7" || before["submit"].Parent != before["POST /v1"].ID || then["step"].Parent != before["submit"].ID || then["call"].Parent != then["step"].ID {
		t.Errorf("the parents are other ones: %+v, %+v", before, then)
	}
	if c := then["call"]; c.Error != "other" || then["step"].Reached[0] != "COMPLETED" || c.Instance != "appliance-1" || c.Service != "mintwardend" {
		t.Errorf("got %+v", then)
	}
	for _, c := range []*tracetest.Collector{w.collector, after.collector} {
		if strings.Contains(string(c.Raw()), "s3cret") {
			t.Error("an error's text, or a caller's tracestate, was exported")
		}
	}
}

// A step of which nothing came is not exported, whatever it asked; one in another's trace links to who caused it.
func TestFruitlessStepsAreNotExported(t *testing.T) {
	w := open(t, 1)
	ctx, request := w.Serve(t.Context(), http.Header{}, "request", time.Now())
	for range 100 {
		ctx, step := w.Step(ctx, sampled, "fruitless")
		_, call := trace.Call(ctx, "asked")
		call.End(errors.New("sealed"))
		step.End(errors.New("sealed"))
	}
	ctx, step := w.Step(ctx, sampled, "fruitful")
	_, call := trace.Call(ctx, "answered")
	call.Keep()
	call.End(nil)
	step.End(nil)
	request.End(nil)
	spans := w.came()
	if len(w.collector.Spans()) != 3 || spans["fruitful"].Trace != callers || spans["answered"].Parent != spans["fruitful"].ID {
		t.Errorf("got %+v", w.collector.Spans())
	}
	if l := spans["fruitful"].Links; len(l) != 1 || l[0] != spans["request"].Trace {
		t.Errorf("it links to %v, the request is of %s", l, spans["request"].Trace)
	}
}

// Who continues a trace has decided whether it is kept; a text that is none begins another.
func TestWhoIsSampled(t *testing.T) {
	for _, c := range []struct {
		name   string
		ratio  float64
		header []string
		want   string // the trace; "" none, "new" another one
	}{
		{"off", 0, nil, ""},
		{"on", 1, nil, "new"},
		{"the caller's yes", 0, []string{sampled}, callers},
		{"the caller's no", 1, []string{not}, ""},
		{"nonsense", 1, []string{"00-zz-00f067aa0ba902b7-01"}, "new"},
		{"all zeros", 1, []string{"00-00000000000000000000000000000000-00f067aa0ba902b7-01"}, "new"},
		{"two", 1, []string{sampled, sampled}, "new"},
		{"long", 1, []string{sampled + strings.Repeat("-0", 1<<15)}, "new"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, c.ratio)
			ctx, s := w.Serve(t.Context(), http.Header{"Traceparent": c.header}, "request", time.Now())
			if text := trace.Parent(ctx); (text == "") != (c.want == "") {
				t.Errorf("kept is %q", text)
			}
			s.End(nil)
			got, came := w.came()["request"]
			switch {
			case came != (c.want != ""), c.want == callers && got.Trace != callers, c.want == "new" && (got.Trace == callers || len(got.Trace) != 32):
				t.Errorf("got %+v", got)
			}
		})
	}
}

// Without a tracer nothing is made, and nothing fails.
func TestOff(t *testing.T) {
	var off *trace.Tracer
	ctx, s := off.Serve(t.Context(), http.Header{"Traceparent": {sampled}}, "request", time.Now())
	ctx, r := off.Root(ctx, "root")
	ctx, st := off.Step(ctx, sampled, "step")
	ctx, c := trace.Call(ctx, "call")
	for _, s := range []*trace.Span{s, r, st, c} {
		s.Set(trace.Operation, "op_1")
		s.SetInt(trace.Sequence, 1)
		s.Reached("SIGNED", time.Now())
		s.Keep()
		if s != nil || s.ID() != "" {
			t.Error("a span was made")
		}
		s.End(errors.New("x"))
	}
	h := http.Header{}
	trace.Inject(ctx, h)
	if len(h) != 0 || trace.Parent(ctx) != "" {
		t.Errorf("told on: %v", h)
	}
	off.Close()
}

// A collector that hangs, refuses or is not there delays nobody; what waits for it is bounded, what is lost is
// counted, and it is used again as soon as it answers.
func TestCollectorThatDoesNotTake(t *testing.T) {
	for name, fail := range map[string]func(*tracetest.Collector){
		"hangs":   (*tracetest.Collector).Hang,
		"refuses": func(c *tracetest.Collector) { c.Refuse(http.StatusServiceUnavailable) },
		"says no": func(c *tracetest.Collector) { c.Refuse(http.StatusUnauthorized) },
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, 1)
			fail(w.collector)
			const made = 20_000 // many times what may wait
			for i := range made {
				_, s := w.Serve(t.Context(), http.Header{}, "request", time.Now())
				s.End(nil)
				if i%100 == 0 && w.gauge() > 4096 {
					t.Fatalf("%v spans wait", w.gauge())
				}
			}
			w.collector.Answer()
			for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
				_, s := w.Serve(t.Context(), http.Header{}, "again", time.Now())
				s.End(nil)
				if _, came := w.came()["again"]; came {
					break
				}
				if time.Since(begun) > enough {
					t.Fatal("it is not used again")
				}
			}
			if w.count("dropped")+w.count("failed") == 0 {
				t.Error("nothing was lost: the test looks at too little")
			}
			if sum := w.count("dropped") + w.count("failed") + w.count("exported"); sum < made {
				t.Errorf("%v of %d are accounted for", sum, made)
			}
		})
	}
}

func (w *world) count(outcome string) float64 {
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.Metric {
			if f.GetName() == "mintwarden_trace_spans_total" && m.Label[0].GetValue() == outcome {
				return m.Counter.GetValue()
			}
		}
	}
	w.t.Fatalf("no count of %s", outcome)
	return 0
}

func (w *world) gauge() float64 {
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "mintwarden_trace_waiting_spans" {
			return f.Metric[0].Gauge.GetValue()
		}
	}
	w.t.Fatal("no gauge")
	return 0
}

// listener hears what is logged, and nothing may be once it has gone.
type listener struct {
	t    *testing.T
	gone atomic.Bool
}

func (l *listener) Write(line []byte) (int, error) {
	if l.gone.Load() {
		l.t.Errorf("said after the end: %s", line)
	}
	return len(line), nil
}

// A stop waits for a dead collector a moment only, and what it did not wait for says nothing later.
func TestCloseWithACollectorThatHangs(t *testing.T) {
	said := &listener{t: t}
	w := openLogged(t, 1, said)
	w.collector.Hang()
	_, s := w.Serve(t.Context(), http.Header{}, "request", time.Now())
	s.End(nil)
	closed := make(chan struct{})
	go func() { defer close(closed); w.Close() }()
	select {
	case <-closed:
	case <-time.After(enough):
		t.Fatal("it waits for the collector")
	}
	said.gone.Store(true)
	w.collector.Answer()
	for begun := time.Now(); w.count("failed")+w.count("exported") == 0; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > enough {
			t.Fatal("what was under way does not end")
		}
	}
}

// What cannot be is refused at once, without telling what an URL may hold.
func TestOpenRefuses(t *testing.T) {
	for name, c := range map[string]trace.Config{
		"no endpoint": {}, "no URL": {Endpoint: "://s3cret"}, "no such root": {Endpoint: "https://a/v1/traces", CA: "/nonexistent"},
		"no root": {Endpoint: "https://a/v1/traces", CA: "trace_test.go"},
	} {
		_, err := trace.Open(c, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
		if err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if problems, err := testutil.GatherAndLint(open(t, 1).metrics); err != nil || len(problems) > 0 {
		t.Errorf("metrics: %v %v", problems, err)
	}
}
