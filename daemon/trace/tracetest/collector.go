// Package tracetest is a collector for tests: it takes OTLP over HTTP as OpenTelemetry's own does, decodes it by
// OpenTelemetry's own module, and keeps what it got, the bytes too.
package tracetest

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"
)

// Span is one that came in.
type Span struct {
	Trace, ID, Parent string // lower-case hex; an empty parent is none
	Name              string
	Service, Instance string
	Begin, End        time.Time
	Attributes        map[string]string
	Reached           []string // the states of its events, in order
	Links             []string // traces
	Error             string   // error.type
}

// Collector takes spans. Safe for concurrent use.
type Collector struct {
	*httptest.Server
	mu    sync.Mutex
	spans []Span
	raw   []byte
	hold  chan struct{} // requests wait until it is closed; nil: they do not
	code  int           // what is answered instead of 200, if it is set
	asked int
}

// Start listens on loopback until the test ends.
func Start(t *testing.T) *Collector {
	c := &Collector{}
	c.Server = httptest.NewServer(http.HandlerFunc(c.take))
	t.Cleanup(func() {
		c.Answer()
		c.Close()
	})
	return c
}

// Endpoint is the URL that spans go to.
func (c *Collector) Endpoint() string { return c.URL + "/v1/traces" }

// Hang lets no request end until Answer.
func (c *Collector) Hang() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = make(chan struct{})
}

// Refuse answers everything with a status code until Answer.
func (c *Collector) Refuse(code int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.code = code
}

// Answer takes spans again.
func (c *Collector) Answer() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hold != nil {
		close(c.hold)
	}
	c.hold, c.code = nil, 0
}

func (c *Collector) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	hold, code := c.hold, c.code
	c.asked++
	c.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-r.Context().Done():
		}
	}
	if code != 0 {
		http.Error(w, "not now", code)
		return
	}
	var q collectorpb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &q)
	}
	if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		http.Error(w, "no spans", http.StatusBadRequest)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, body...)
	for header, values := range r.Header { // what a collector is told beside the spans
		c.raw = append(c.raw, "\n"+header+": "+strings.Join(values, ",")...)
	}
	for _, of := range q.ResourceSpans {
		about := texts(of.Resource.GetAttributes())
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				span := Span{Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId), Name: s.Name,
					Service: about["service.name"], Instance: about["service.instance.id"], Attributes: texts(s.Attributes),
					Begin: time.Unix(0, int64(s.StartTimeUnixNano)), End: time.Unix(0, int64(s.EndTimeUnixNano))}
				span.Error = span.Attributes["error.type"]
				for _, e := range s.Events {
					span.Reached = append(span.Reached, texts(e.Attributes)["mintwarden.status"])
				}
				for _, l := range s.Links {
					span.Links = append(span.Links, hex.EncodeToString(l.TraceId))
				}
				c.spans = append(c.spans, span)
			}
		}
	}
	w.Header().Set("Content-Type", "application/x-protobuf")
}

func texts(kvs []*commonpb.KeyValue) map[string]string {
	m := map[string]string{}
	for _, kv := range kvs {
		switch v := kv.Value.GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			m[kv.Key] = v.StringValue
		default:
			m[kv.Key] = strings.TrimSpace(kv.Value.String())
		}
	}
	return m
}

// Spans are those that came in so far, by when they began.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := slices.Clone(c.spans)
	slices.SortStableFunc(out, func(a, b Span) int { return a.Begin.Compare(b.Begin) })
	return out
}

// OfOperation are the spans of the trace in which an operation was asked for.
func (c *Collector) OfOperation(id string) []Span {
	all := c.Spans()
	i := slices.IndexFunc(all, func(s Span) bool { return s.Name == "operation.submit" && s.Attributes["mintwarden.operation"] == id })
	if i < 0 {
		return nil
	}
	trace := all[i].Trace
	return slices.DeleteFunc(all, func(s Span) bool { return s.Trace != trace })
}

// Raw is every byte that came in and was taken.
func (c *Collector) Raw() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.raw)
}

// Asked is how many requests came.
func (c *Collector) Asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}
