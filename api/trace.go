package api

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/trace"
)

// trace begins the request's span, once its caller is known and may ask: nobody else makes spans, or has a
// traceparent believed. Who the caller is, and what he sent, is in none.
func (s *Server) trace(c *gin.Context, r *request) {
	ctx, span := s.tracer.Serve(c.Request.Context(), c.Request.Header, c.Request.Method+" "+r.template(), r.began)
	if span == nil {
		return
	}
	span.Set(trace.Method, c.Request.Method)
	span.Set(trace.Route, r.template())
	if store.ValidID("req_", r.id) {
		span.Set(trace.Request, r.id)
	}
	c.Request, r.span = c.Request.WithContext(ctx), span
}

// traced ends the request's span. A refusal is an answer; a fault of ours is an error.
func (r *request) traced(status int) {
	r.span.SetInt(trace.Code, int64(status))
	var err error
	if status >= http.StatusInternalServerError && r.problem != nil {
		err = r.problem
	}
	r.span.End(err)
}
