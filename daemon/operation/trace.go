package operation

import (
	"context"
	"errors"
	"sync"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// traces continues the traces of operations: each one's text stands in the store beside its state, so that a
// process which comes later, here or on another appliance, goes on with it. Nil where nothing is traced.
type traces struct {
	tracer *trace.Tracer
	store  *store.Store
	index  *index

	mu    sync.Mutex
	texts map[string]string // of open operations; empty for one without a trace
}

func newTraces(t *trace.Tracer, s *store.Store, x *index) *traces {
	if t == nil {
		return nil
	}
	ts := &traces{tracer: t, store: s, index: x, texts: map[string]string{}}
	x.onChange(func(o *Operation) {
		if o.closed() {
			ts.mu.Lock()
			defer ts.mu.Unlock()
			delete(ts.texts, o.ID)
		}
	})
	return ts
}

// submit begins what a request for an operation is in the trace of that request, or of its own.
func (ts *traces) submit(ctx context.Context) (context.Context, *trace.Span) {
	if ts == nil {
		return ctx, nil
	}
	return ts.tracer.Root(ctx, "operation.submit")
}

// keep writes with a new operation how its trace goes on.
func (ts *traces) keep(ctx context.Context, t *store.Tx, id string) {
	if ts == nil {
		return
	}
	if text := trace.Parent(ctx); text != "" {
		t.PutIfAbsent(store.OpTrace(id), []byte(text))
	}
}

// step begins a step of an operation in its trace. It is exported if the operation changes under it, or if
// something was asked of the seal or the chain and done.
func (ts *traces) step(ctx context.Context, o *Operation, name string) (context.Context, *trace.Span) {
	if ts == nil {
		return ctx, nil
	}
	ctx, span := ts.tracer.Step(ctx, ts.text(ctx, o.ID), name)
	describe(span, o)
	return ctx, span
}

// text is how an operation's trace goes on. A store that does not tell is no reason to wait: the step is not traced.
func (ts *traces) text(ctx context.Context, id string) string {
	ts.mu.Lock()
	text, known := ts.texts[id]
	ts.mu.Unlock()
	if known {
		return text
	}
	b, _, _, err := ts.store.Get(ctx, store.OpTrace(id))
	if err != nil {
		return ""
	}
	ts.mu.Lock()
	ts.texts[id] = string(b)
	ts.mu.Unlock()
	if _, open := ts.index.get(id); !open {
		ts.mu.Lock()
		delete(ts.texts, id)
		ts.mu.Unlock()
	}
	return string(b)
}

func describe(span *trace.Span, o *Operation) {
	span.Set(trace.Operation, o.ID)
	span.Set(trace.Type, string(o.Type))
	span.Set(trace.Token, o.TokenID)
	span.Set(trace.Wallet, o.WalletID)
	span.Set(trace.Network, o.Network)
}

// reached tells the span that ctx is in of the states that o got to since before (nil: it is new).
func reached(ctx context.Context, before, o *Operation) {
	span := trace.Of(ctx)
	if span == nil {
		return
	}
	n := 0
	if before != nil {
		n = len(before.History)
		if len(o.History) == n {
			span.Keep()
		}
	}
	for _, s := range o.History[min(n, len(o.History)):] {
		span.Reached(string(s.Status), s.At)
	}
	if o.TransactionHash != nil {
		span.Set(trace.Hash, o.TransactionHash.String())
	}
}

// stepName is what a lane does for an operation in a status.
func stepName(s Status) string {
	switch s {
	case PendingAuthorization:
		return "operation.recheck"
	case Approved, PendingSignature, Queued:
		return "operation.sign"
	case Broadcasting, Confirming:
		return "operation.confirm"
	}
	return "operation.settle"
}

// traced is a step in its operation's trace. What failed is exported the first time, not each time it is tried
// again: while the seal is sealed every operation tries.
func (l *lane) traced(o *Operation, f func(context.Context) error) func(context.Context) error {
	ts := l.s.traces
	if ts == nil {
		return f
	}
	l.mu.Lock()
	again, failed := l.retry[o.ID]
	repeated := failed && again.status == o.Status
	l.mu.Unlock()
	return func(ctx context.Context) error {
		ctx, span := ts.step(ctx, o, stepName(o.Status))
		err := f(ctx)
		if err != nil && !repeated && !errors.Is(err, errNothingNew) && ctx.Err() == nil {
			span.Keep()
		}
		span.End(err)
		return err
	}
}

// tracedSealer is the seal, each question to it a span: it is another process, and has no network to export by.
type tracedSealer struct{ seal Sealer }

func (t tracedSealer) Decide(ctx context.Context, e *policy.Envelope) (*seal.Recorded, error) {
	return asked(ctx, "seal.decide", func(ctx context.Context) (*seal.Recorded, error) { return t.seal.Decide(ctx, e) }, recordedAt)
}

func (t tracedSealer) Cancel(ctx context.Context, operationID, reason string) (*seal.Recorded, error) {
	return asked(ctx, "seal.cancel", func(ctx context.Context) (*seal.Recorded, error) { return t.seal.Cancel(ctx, operationID, reason) }, recordedAt)
}

func (t tracedSealer) Authorize(ctx context.Context, q seal.AuthorizeRequest) (*seal.AuthorizeResult, error) {
	return asked(ctx, "seal.authorize", func(ctx context.Context) (*seal.AuthorizeResult, error) { return t.seal.Authorize(ctx, q) },
		func(r *seal.AuthorizeResult) uint64 { return r.Sequence })
}

func (t tracedSealer) Bump(ctx context.Context, q seal.BumpRequest) (*seal.BumpResult, error) {
	return asked(ctx, "seal.bump", func(ctx context.Context) (*seal.BumpResult, error) { return t.seal.Bump(ctx, q) },
		func(r *seal.BumpResult) uint64 { return r.Sequence })
}

func (t tracedSealer) Settle(ctx context.Context, q seal.SettleRequest) (*seal.Recorded, error) {
	return asked(ctx, "seal.settle", func(ctx context.Context) (*seal.Recorded, error) { return t.seal.Settle(ctx, q) }, recordedAt)
}

func recordedAt(r *seal.Recorded) uint64 { return r.Sequence }

func asked[R any](ctx context.Context, name string, ask func(context.Context) (*R, error), sequence func(*R) uint64) (*R, error) {
	ctx, span := trace.Call(ctx, name)
	span.Set(trace.Peer, "mintwarden-seal")
	r, err := ask(ctx)
	if err == nil {
		span.SetInt(trace.Sequence, int64(sequence(r)))
		span.Keep()
	}
	span.End(err)
	return r, err
}
