package api

import (
	"errors"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/audit"
	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/registry"
)

// auditPage is the document's AuditEntryList with the entries in the very form
// that is hashed: whoever reads them can check the chain.
type auditPage struct {
	Data       []*audit.Entry `json:"data"`
	Pagination Pagination     `json:"pagination"`
}

// ListAuditEntries answers GET /v1/audit.
func (s *Server) ListAuditEntries(c *gin.Context, params ListAuditEntriesParams) {
	limit, offset := page(params.Limit, params.Offset)
	entries, total, next, err := s.audit.List(c.Request.Context(), auditlog.Filter{
		From: of(params.From), To: of(params.To), Actor: of(params.Actor), Action: of(params.Action),
		ResourceType: of(params.ResourceType), ResourceID: of(params.ResourceID), RequestID: of(params.RequestID),
	}, limit, offset, of(params.Cursor))
	if errors.Is(err, auditlog.ErrCursor) {
		err = fault(registry.InvalidPagination, "cursor %s is not one that this list gave", quote(of(params.Cursor)))
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, auditPage{Data: entries, Pagination: Pagination{Total: total, Limit: limit, Offset: offset, NextCursor: maybe(next)}})
}

// VerifyAudit answers GET /v1/audit/verify.
func (s *Server) VerifyAudit(c *gin.Context) {
	res, err := s.audit.Verify(c.Request.Context())
	if err != nil {
		s.refuse(c, err)
		return
	}
	f := AuditVerification{
		Valid: res.Valid, EntriesChecked: int64(res.EntriesChecked),
		FirstEntryHash: maybe(res.FirstEntryHash), LastEntryHash: maybe(res.LastEntryHash),
	}
	if res.BrokenAt > 0 {
		at := int64(res.BrokenAt)
		f.BrokenAt = &at
	}
	s.answer(c, f)
}

// GetOpenAPI answers GET /v1/openapi.json.
func (s *Server) GetOpenAPI(c *gin.Context) { c.Data(http.StatusOK, contentType, s.document.json) }
