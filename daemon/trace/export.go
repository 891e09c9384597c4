package trace

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	otel "go.opentelemetry.io/otel/trace"
)

const (
	// maxSpans is how many ended spans wait for the collector at most, some 1 KiB each, those under way to it
	// included.
	maxSpans = 4096
	// batch is how many spans go to the collector at once.
	batch = 512
	// patience is how long the collector may take for a batch, tries included; what it did not take then is lost.
	patience = 10 * time.Second
	// firstRetry and lastRetry bound the pause between two tries of a batch.
	firstRetry, lastRetry = 500 * time.Millisecond, 4 * time.Second
	// every is how long a span waits for others before it goes.
	every = time.Second
	// closing is how long a stop waits for what was not exported yet.
	closing = 2 * time.Second
	// maxSaid bounds what is logged of a collector's words, in bytes.
	maxSaid = 300
)

// Limits of one span: whatever a fault in a room adds, a span stays small.
var limits = sdk.SpanLimits{AttributeValueLengthLimit: 128, AttributeCountLimit: 16, EventCountLimit: 16, LinkCountLimit: 4,
	AttributePerEventCountLimit: 4, AttributePerLinkCountLimit: 1}

// Config is where spans go.
type Config struct {
	Endpoint string  // URL of an OTLP/HTTP collector, with the path; https, or http on loopback
	CA       string  // PEM file of the roots of its certificate; empty: the system's
	Ratio    float64 // of the traces that begin here, 0 to 1; who continues one has decided already
	Service  string  // service.name
	Version  string
	Instance string // service.instance.id: the appliance
	// Word makes a word of a closed set of an error. It must not let the error's text through.
	Word func(error) string
}

// Tracer begins spans and exports them. Nil is one that does not. Safe for concurrent use.
type Tracer struct {
	tracer   otel.Tracer
	provider *sdk.TracerProvider
	exporter *exporter
	word     func(error) string
}

// Open begins to export to a collector, which need not be there yet. The errors are of the configuration.
func Open(c Config, log *slog.Logger, reg prometheus.Registerer) (*Tracer, error) {
	at, err := url.Parse(c.Endpoint)
	if err != nil || at.Host == "" {
		return nil, errors.New("trace: the endpoint is no URL") // it may hold a secret
	}
	client, err := collector(c.CA)
	if err != nil {
		return nil, err
	}
	e := &exporter{log: log, at: at.Host}
	if err := e.register(reg); err != nil {
		return nil, fmt.Errorf("trace: metrics: %w", err)
	}
	// What the environment could say of the collector is said here.
	e.to, err = otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(at.String()), otlptracehttp.WithHTTPClient(client),
		otlptracehttp.WithHeaders(map[string]string{}), otlptracehttp.WithTimeout(patience), otlptracehttp.WithCompression(otlptracehttp.NoCompression),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: firstRetry, MaxInterval: lastRetry, MaxElapsedTime: patience}))
	if err != nil {
		return nil, fmt.Errorf("trace: %w", err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", c.Service), attribute.String("service.version", c.Version),
		attribute.String("service.instance.id", c.Instance))
	batches := sdk.NewBatchSpanProcessor(e, sdk.WithMaxQueueSize(maxSpans), sdk.WithMaxExportBatchSize(batch),
		sdk.WithBatchTimeout(every), sdk.WithExportTimeout(patience))
	provider := sdk.NewTracerProvider(sdk.WithSampler(sdk.ParentBased(sdk.TraceIDRatioBased(c.Ratio))), sdk.WithResource(about),
		sdk.WithRawSpanLimits(limits), sdk.WithSpanProcessor(&bounded{batches, e}))
	return &Tracer{tracer: provider.Tracer("github.com/mintwarden/mintwarden"), provider: provider, exporter: e, word: c.Word}, nil
}

// collector is how the collector is reached: by its own roots, no proxy, no redirect.
func collector(ca string) (*http.Client, error) {
	trust := &tls.Config{MinVersion: tls.VersionTLS13}
	if ca != "" {
		text, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("trace: ca: %w", err)
		}
		if trust.RootCAs = x509.NewCertPool(); !trust.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("trace: ca: %s holds no certificate", ca)
		}
	}
	return &http.Client{
		Transport:     &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true, MaxConnsPerHost: 2, IdleConnTimeout: time.Minute},
		Timeout:       patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a collector does not redirect") },
	}, nil
}

// Probe asks whether a collector takes spans, by giving it none.
func Probe(ctx context.Context, c Config) error {
	client, err := collector(c.CA)
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	q, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Endpoint, http.NoBody) // an empty message is an empty body
	if err != nil {
		return errors.New("trace: the endpoint is no URL")
	}
	q.Header.Set("Content-Type", "application/x-protobuf")
	answer, err := client.Do(q)
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("trace: it answers %s", answer.Status)
	}
	return nil
}

// Close exports what it can in [closing], and no more after that; nothing is logged after it.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.exporter.say(slog.LevelWarn, "trace: the last spans were not exported", "error", short(err))
		t.exporter.hush()
		_ = t.exporter.to.Shutdown(ctx) // ends what is under way, which would end with this process otherwise
	}
}

// Flush exports what has ended so far, for tests.
func (t *Tracer) Flush(ctx context.Context) error { return t.provider.ForceFlush(ctx) }

// bounded hands ended spans on while there is room for them.
type bounded struct {
	sdk.SpanProcessor
	e *exporter
}

// OnEnd implements sdk.SpanProcessor. It never blocks.
func (b *bounded) OnEnd(s sdk.ReadOnlySpan) {
	if !s.SpanContext().IsSampled() {
		return
	}
	if b.e.waiting.Add(1) > maxSpans {
		b.e.waiting.Add(-1)
		b.e.spans.WithLabelValues("dropped").Inc()
		return
	}
	b.SpanProcessor.OnEnd(s)
}

// exporter counts what the collector takes, and says when it stops and when it takes again.
type exporter struct {
	to      sdk.SpanExporter
	at      string // host and port
	waiting atomic.Int64
	failing atomic.Bool
	spans   *prometheus.CounterVec

	mu  sync.Mutex
	log *slog.Logger // nil: whoever is told has gone
}

// say logs, until hush.
func (e *exporter) say(level slog.Level, message string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.log != nil {
		e.log.Log(context.Background(), level, message, args...)
	}
}

// hush ends what is said: an export that a stop did not wait for outlives it.
func (e *exporter) hush() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.log = nil
}

func (e *exporter) register(reg prometheus.Registerer) error {
	e.spans = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "mintwarden_trace_spans_total",
		Help: "Ended spans, by what became of them: exported, failed (the collector did not take them), dropped (too many waited).",
	}, []string{"outcome"})
	for _, outcome := range []string{"exported", "failed", "dropped"} {
		e.spans.WithLabelValues(outcome)
	}
	if err := reg.Register(e.spans); err != nil {
		return err
	}
	return reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "mintwarden_trace_waiting_spans", Help: "Ended spans that wait for the collector.",
	}, func() float64 { return float64(e.waiting.Load()) }))
}

// ExportSpans implements sdk.SpanExporter. What fails is told here, so that it is an error to nobody.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := e.to.ExportSpans(ctx, spans)
	n := len(spans)
	e.waiting.Add(-int64(n))
	if err != nil {
		if !e.failing.Swap(true) {
			e.say(slog.LevelWarn, "trace: the collector takes no spans; nothing waits for it", "collector", e.at, "error", short(err))
		}
		e.spans.WithLabelValues("failed").Add(float64(n))
		return nil
	}
	e.spans.WithLabelValues("exported").Add(float64(n))
	if e.failing.Swap(false) {
		e.say(slog.LevelInfo, "trace: the collector takes spans again", "collector", e.at)
	}
	return nil
}

// Shutdown implements sdk.SpanExporter.
func (e *exporter) Shutdown(ctx context.Context) error { return e.to.Shutdown(ctx) }

// short is an error's text without the length that a collector may give it.
func short(err error) string {
	text := err.Error()
	return text[:min(len(text), maxSaid)]
}
