package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// zapLogger lets etcd, which logs through zap, log through ours. Its chatter at info level is ours at
// debug; so is everything once quiet is set, for a server that is being stopped calls its own end an error, and
// always what came to its end because whoever asked for it gave it up (its client "retries" such a call, by its own
// word, and warns of each: a hundred times at a stop).
func zapLogger(log *slog.Logger, quiet *atomic.Bool) *zap.Logger {
	return zap.New(&slogCore{log.With("part", "etcd"), quiet})
}

// slogCore is a zapcore.Core over slog. Safe for concurrent use.
type slogCore struct {
	log   *slog.Logger
	quiet *atomic.Bool
}

var _ zapcore.Core = (*slogCore)(nil)

func (c *slogCore) level(l zapcore.Level) slog.Level {
	switch {
	case c.quiet.Load():
		return slog.LevelDebug
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	}
	return slog.LevelDebug
}

func (c *slogCore) Enabled(l zapcore.Level) bool {
	return c.log.Enabled(context.Background(), c.level(l))
}

func (c *slogCore) With(fields []zapcore.Field) zapcore.Core {
	return &slogCore{c.log.With(attributes(fields)...), c.quiet}
}

func (c *slogCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c *slogCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	level := c.level(e.Level)
	if slices.ContainsFunc(fields, givenUp) || slices.ContainsFunc(fields, notYet) {
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, e.Message, attributes(fields)...)
	return nil
}

// givenUp tells of an error that it is a cancellation, which only the caller's own side makes: an etcd that is
// gone, slow or stopping is Unavailable or DeadlineExceeded.
func givenUp(f zapcore.Field) bool {
	err, ok := f.Interface.(error)
	return ok && f.Type == zapcore.ErrorType && (errors.Is(err, context.Canceled) || status.Code(err) == codes.Canceled)
}

// notYet tells of an error that it is a new etcd's, which may look for its database's version before the first write
// has brought one to the disk. It looks again seconds later.
func notYet(f zapcore.Field) bool {
	err, ok := f.Interface.(error)
	return ok && f.Type == zapcore.ErrorType && err.Error() == "cannot detect storage schema version: missing term information"
}

func (c *slogCore) Sync() error { return nil }

func attributes(fields []zapcore.Field) []any {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	out := make([]any, 0, len(m.Fields))
	for k, v := range m.Fields {
		out = append(out, slog.Any(k, v))
	}
	return out
}
