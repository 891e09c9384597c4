package api

import (
	"context"
	"errors"
	"strings"

	"github.com/gin-gonic/gin"

	auditlog "github.com/mintwarden/mintwarden/daemon/audit/log"
	"github.com/mintwarden/mintwarden/daemon/registry"
)

// GetAuditReceipt answers GET /v1/audit/{auditId}/receipt.
func (s *Server) GetAuditReceipt(c *gin.Context, auditID AuditID) {
	s.receipt(c, auditID, func(ctx context.Context) (*auditlog.Receipt, error) { return s.audit.Receipt(ctx, auditID) })
}

// GetTokenOperationReceipt answers GET /v1/token-operations/{operationId}/receipt.
func (s *Server) GetTokenOperationReceipt(c *gin.Context, operationID OperationID) {
	o, err := s.operations.Get(c.Request.Context(), operationID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	// What brought it to the state that it is in, not what was noted since.
	action := operationResource + "." + strings.ToLower(string(o.Status))
	s.receipt(c, operationID, func(ctx context.Context) (*auditlog.Receipt, error) {
		return s.audit.ReceiptOf(ctx, operationResource, operationID, action)
	})
}

// operationResource is the resource type of audit entries on operations, and how their actions begin.
const operationResource = "operation"

func (s *Server) receipt(c *gin.Context, id string, make func(context.Context) (*auditlog.Receipt, error)) {
	r, err := make(c.Request.Context())
	switch {
	case errors.Is(err, auditlog.ErrNoEntry):
		err = fault(registry.NotFound, "there is no audit entry %s", quote(id))
	case errors.Is(err, auditlog.ErrNoReceipt):
		s.log.Warn("api: no receipt", "id", id, "error", err)
		err = fault(registry.TxStateConflict, "no signed checkpoint holds the record yet; try again").after(comeBack)
	}
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, Receipt{ID: id, Entry: r.Entry, Proof: string(r.Proof)})
}
