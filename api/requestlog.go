package api

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// tell leaves one line of the request in the log: at info what changed something, at debug all else. Reads,
// refusals and repeated answers cost a caller nothing, so that with a line each at info anybody with a key could
// drive warnings out of a journal that takes so many lines a second; they are counted by the metrics.
//
// A line has ids, the route's template and figures. No path, query, header or body is in it.
func (s *Server) tell(c *gin.Context, r *request, took time.Duration) {
	status, level := c.Writer.Status(), slog.LevelDebug
	if r.route != nil && r.route.stores() && status < http.StatusBadRequest && c.Writer.Header().Get("Idempotency-Replayed") == "" {
		level = slog.LevelInfo
	}
	ctx := c.Request.Context()
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("request_id", r.id), slog.String("method", r.method(c)), slog.String("route", r.template()),
		slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000),
	}
	if r.problem != nil {
		attrs = append(attrs, slog.Int("code", r.problem.number))
	}
	if id := r.named(c, r.operation, "operationId", "op_"); id != "" {
		attrs = append(attrs, slog.String("operation", id))
	}
	if id := r.named(c, r.token, "tokenId", "token_"); id != "" {
		attrs = append(attrs, slog.String("token", id))
	}
	if r.caller != nil {
		attrs = append(attrs, slog.String("user", r.caller.Name), slog.String("credential", r.caller.CredentialID))
	}
	if id := r.span.ID(); id != "" {
		attrs = append(attrs, slog.String("trace_id", id))
	}
	s.log.LogAttrs(ctx, level, "api: request", attrs...)
}

// method is the request's, or other, as the metrics name it: it is the caller's text.
func (r *request) method(c *gin.Context) string {
	if !methods[c.Request.Method] {
		return "other"
	}
	return c.Request.Method
}

// about remembers what a change was of.
func (r *request) about(changed any) {
	switch v := changed.(type) {
	case *operation.Operation:
		r.operation, r.token = v.ID, v.TokenID
	case *registry.Token:
		r.token = v.ID
	}
}

// named is the id of what was changed, else that in the path, if it is one.
func (r *request) named(c *gin.Context, changed, param, prefix string) string {
	if id := c.Param(param); changed == "" && store.ValidID(prefix, id) {
		return id
	}
	return changed
}
