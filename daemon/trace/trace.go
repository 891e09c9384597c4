// Package trace makes the spans of OpenTelemetry: one trace of an operation, from the request that asked for it
// to its end on the chain, whichever processes carried it and however often they were killed in between.
//
// # What it promises
//
// Without a [Tracer] nothing is made and nothing is paid: every function and method here takes a nil tracer, a
// nil span and a context without one, and does nothing. With one, whoever makes spans waits for nobody: a
// collector that is slow, dead or lying costs at most [maxSpans] spans of memory, and what comes beyond that is
// dropped and counted. A trace is continued by its parent's text (W3C traceparent), which [Parent] gives and
// which may be kept for years.
//
// A span says what happened, when, and to which operation. It has no field for anything else: no amount,
// address, person, reason or message, so no secret has a way in; an error is a word of a closed set.
//
// A step that is tried again and again is no span each time: what [Tracer.Step] begins is exported only if
// something came of it.
//
// # What it does not
//
// It decides nothing about whom to believe: a caller's traceparent is taken once the caller is known, and only
// its ids and whether it is sampled. Nothing that a trace says is proof; the audit log is.
package trace

import (
	"context"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	otel "go.opentelemetry.io/otel/trace"
)

// Key names what a span says. The zero value is none.
type Key string

// The keys, and nothing else. Those of HTTP and errors are OpenTelemetry's own.
const (
	Method    Key = "http.request.method"
	Route     Key = "http.route"
	Code      Key = "http.response.status_code"
	Request   Key = "mintwarden.request_id" // one that we drew; a caller's own is not told
	Operation Key = "mintwarden.operation"
	Type      Key = "mintwarden.operation_type"
	Status    Key = "mintwarden.status"
	Token     Key = "mintwarden.token"
	Wallet    Key = "mintwarden.wallet"
	Network   Key = "mintwarden.network"
	Hash      Key = "mintwarden.transaction_hash"
	Sequence  Key = "mintwarden.ledger_sequence"
	Appliance Key = "mintwarden.appliance"
	Peer      Key = "peer.service" // who was asked: mintwarden-seal, etcd, chain
)

// errorType is OpenTelemetry's name for the word that an error is.
const errorType = "error.type"

// Span is one thing that takes time. Its methods are safe for concurrent use and on nil.
type Span struct {
	tracer *Tracer
	span   otel.Span
	step   *Span // whose fate this one shares, if that is a step's; itself for a step

	mu    sync.Mutex
	kept  bool
	parts []func() // of a step: what ends the spans below it, if it is kept
}

type spanKey struct{}

// Of is the span that ctx is in, or nil.
func Of(ctx context.Context) *Span {
	s, _ := ctx.Value(spanKey{}).(*Span)
	return s
}

// format is how a trace goes from one process to the next. A tracestate, which is the caller's to fill, does not.
var format propagation.TraceContext

// Parent is the text by which the trace that ctx is in is continued; empty if nothing of it is kept.
func Parent(ctx context.Context) string {
	s := Of(ctx)
	if s == nil || !s.span.SpanContext().IsSampled() {
		return ""
	}
	c := propagation.MapCarrier{}
	format.Inject(otel.ContextWithSpan(context.Background(), s.span), c)
	return c["traceparent"]
}

// Inject tells whoever gets the request which trace it is of.
func Inject(ctx context.Context, h http.Header) {
	if parent := Parent(ctx); parent != "" {
		h.Set("traceparent", parent)
	}
}

// parent reads the text of a trace; ok is false if it is none.
func parent(text string) (otel.SpanContext, bool) {
	ctx := format.Extract(context.Background(), propagation.MapCarrier{"traceparent": text})
	c := otel.SpanContextFromContext(ctx)
	return c, c.IsValid()
}

// Serve begins the span of a request that came with headers h at a moment. Where the caller says which trace it
// is of, it is of that; whoever calls this knows the caller.
func (t *Tracer) Serve(ctx context.Context, h http.Header, name string, began time.Time) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	base := otel.ContextWithSpanContext(ctx, otel.SpanContext{})
	if texts := h.Values("traceparent"); len(texts) == 1 {
		if c, ok := parent(texts[0]); ok {
			base = otel.ContextWithRemoteSpanContext(ctx, c)
		}
	}
	return t.begin(ctx, base, nil, name, otel.WithSpanKind(otel.SpanKindServer), otel.WithTimestamp(began))
}

// Root begins a span below the one that ctx is in, or the first one of a trace.
func (t *Tracer) Root(ctx context.Context, name string) (context.Context, *Span) {
	if t == nil || Of(ctx) != nil {
		return Call(ctx, name)
	}
	return t.begin(ctx, ctx, nil, name)
}

// Step begins a span of the trace that a text continues, which is exported only if it is kept. It links to the
// span that ctx is in, if that is another trace's.
func (t *Tracer) Step(ctx context.Context, text, name string) (context.Context, *Span) {
	c, ok := parent(text)
	if t == nil || !ok {
		return ctx, nil
	}
	var options []otel.SpanStartOption
	if from := Of(ctx); from != nil && from.span.SpanContext().TraceID() != c.TraceID() {
		options = append(options, otel.WithLinks(otel.Link{SpanContext: from.span.SpanContext()}))
	}
	ctx, s := t.begin(ctx, otel.ContextWithRemoteSpanContext(ctx, c), nil, name, options...)
	s.step = s
	return ctx, s
}

// Call begins a span below the one that ctx is in, and none if ctx is in none.
func Call(ctx context.Context, name string) (context.Context, *Span) {
	s := Of(ctx)
	if s == nil {
		return ctx, nil
	}
	return s.tracer.begin(ctx, otel.ContextWithSpan(ctx, s.span), s.step, name, otel.WithSpanKind(otel.SpanKindClient))
}

// begin makes a span below the one of base, in ctx.
func (t *Tracer) begin(ctx, base context.Context, step *Span, name string, o ...otel.SpanStartOption) (context.Context, *Span) {
	_, span := t.tracer.Start(base, name, o...)
	s := &Span{tracer: t, span: span, step: step}
	return context.WithValue(ctx, spanKey{}, s), s
}

// Set says something of a span. Empty values say nothing.
func (s *Span) Set(k Key, v string) {
	if s != nil && v != "" {
		s.span.SetAttributes(attribute.String(string(k), v))
	}
}

// SetInt says a number.
func (s *Span) SetInt(k Key, v int64) {
	if s != nil {
		s.span.SetAttributes(attribute.Int64(string(k), v))
	}
}

// Reached notes a state that the operation got to at a moment, and keeps the step.
func (s *Span) Reached(status string, at time.Time) {
	if s == nil {
		return
	}
	s.span.AddEvent("reached", otel.WithAttributes(attribute.String(string(Status), status)), otel.WithTimestamp(at))
	s.Keep()
}

// Keep has the step that the span is, or is below, exported: something came of it.
func (s *Span) Keep() {
	if s == nil || s.step == nil {
		return
	}
	s.step.mu.Lock()
	defer s.step.mu.Unlock()
	s.step.kept = true
}

// ID is the trace's, as logs show it; empty for a span that is not exported.
func (s *Span) ID() string {
	if s == nil || !s.span.SpanContext().IsSampled() {
		return ""
	}
	return s.span.SpanContext().TraceID().String()
}

// End ends a span with what came of it, nil for what was meant to.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetAttributes(attribute.String(errorType, s.tracer.word(err)))
		s.span.SetStatus(codes.Error, "") // a message could hold anything
	}
	if s.step == nil {
		s.span.End()
		return
	}
	at := otel.WithTimestamp(time.Now())
	end := func() { s.span.End(at) }
	s.step.mu.Lock()
	if s.step != s {
		if len(s.step.parts) < maxParts {
			s.step.parts = append(s.step.parts, end)
		}
		s.step.mu.Unlock()
		return
	}
	parts, kept := s.parts, s.kept
	s.parts = nil
	s.mu.Unlock()
	if !kept {
		return // a span that nobody ends is forgotten
	}
	for _, part := range parts {
		part()
	}
	end()
}

// maxParts is how many spans a step may have below it; a step asks a handful of questions.
const maxParts = 64
