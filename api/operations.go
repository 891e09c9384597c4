package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

func operationForm(o *operation.Operation) Operation {
	l := summaryForm(o)
	f := Operation{
		OperationID: l.OperationID, TokenID: l.TokenID, OperationType: l.OperationType, Status: l.Status,
		TransactionRequestID: l.TransactionRequestID, BlockchainTransactionHash: l.BlockchainTransactionHash,
		BlockNumber: l.BlockNumber, Confirmations: l.Confirmations, Attention: l.Attention, SingleNode: l.SingleNode, Amount: l.Amount, Role: l.Role,
		SubjectAddress: l.SubjectAddress, RecipientAddress: l.RecipientAddress, FromAddress: l.FromAddress,
		RequestedBy: l.RequestedBy, ApprovedBy: l.ApprovedBy, RequiredApprovals: l.RequiredApprovals,
		ApprovalGroup: l.ApprovalGroup, IntentDigest: l.IntentDigest, Policy: l.Policy, Replaces: l.Replaces,
		FailureReason: l.FailureReason, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt, ExpiresAt: l.ExpiresAt, History: l.History,
		Intent: o.Intent, Reason: maybe(o.Reason),
	}
	f.Approvals = forms(o.Decisions, func(d operation.Decision) Approval {
		return Approval{Approver: d.Approver, Decision: ApprovalDecision(d.Verb), Reason: d.Reason, DecidedAt: second(d.DecidedAt)}
	})
	return f
}

func summaryForm(o *operation.Operation) OperationSummary {
	f := OperationSummary{
		OperationID: o.ID, TokenID: maybe(o.TokenID), OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
		TransactionRequestID: o.TransactionRequestID(), BlockchainTransactionHash: text(o.TransactionHash),
		Confirmations: int64(o.Confirmations), Attention: maybe(o.Attention), SingleNode: o.SingleNode, Amount: text(o.Amount), Role: maybe(string(o.Role)),
		SubjectAddress: text(o.Subject), RecipientAddress: text(o.Recipient), FromAddress: text(o.From),
		RequestedBy: o.RequestedBy, ApprovedBy: o.ApprovedBy(), RequiredApprovals: o.RequiredApprovals,
		ApprovalGroup: maybe(o.ApprovalGroup), IntentDigest: string(o.IntentDigest),
		Policy:   PolicyVersion{ID: o.PolicyID, Version: int64(o.PolicyVersion)},
		Replaces: maybe(o.Replaces), FailureReason: maybe(o.FailureReason),
		CreatedAt: second(o.CreatedAt), UpdatedAt: second(o.UpdatedAt), ExpiresAt: second(o.ExpiresAt),
	}
	if o.BlockNumber > 0 {
		n := int64(o.BlockNumber)
		f.BlockNumber = &n
	}
	f.History = forms(o.History, func(st operation.Step) StatusChange {
		return StatusChange{Status: OperationStatus(st.Status), At: second(st.At)}
	})
	return f
}

// ListTokenOperations answers GET /v1/token-operations.
func (s *Server) ListTokenOperations(c *gin.Context, params ListTokenOperationsParams) {
	limit, offset := page(params.Limit, params.Offset)
	ops, total, next, err := s.operations.List(c.Request.Context(), operation.Filter{
		TokenID: of(params.TokenID), Type: policy.OperationType(of(params.OperationType)), Status: operation.Status(of(params.Status)),
		RequestedBy: of(params.RequestedBy), AwaitingApprovalBy: of(params.AwaitingApprovalBy),
	}, limit, offset, of(params.Cursor))
	if err != nil {
		s.refuse(c, badCursor(err, params.Cursor))
		return
	}
	s.answer(c, OperationList{
		Data: forms(ops, summaryForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset, NextCursor: maybe(next)},
	})
}

// GetTokenOperation answers GET /v1/token-operations/{operationId}.
func (s *Server) GetTokenOperation(c *gin.Context, operationID OperationID) {
	o, err := s.operations.Get(c.Request.Context(), operationID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, operationForm(o))
}

// ApproveTokenOperation answers POST /v1/token-operations/{operationId}/approve.
func (s *Server) ApproveTokenOperation(c *gin.Context, operationID OperationID, _ ApproveTokenOperationParams) {
	s.decide(c, operationID, policy.Approve)
}

// RejectTokenOperation answers POST /v1/token-operations/{operationId}/reject.
func (s *Server) RejectTokenOperation(c *gin.Context, operationID OperationID, _ RejectTokenOperationParams) {
	s.decide(c, operationID, policy.Reject)
}

// SignTokenOperationRequest answers POST /v1/token-operations/{operationId}/request.
func (s *Server) SignTokenOperationRequest(c *gin.Context, operationID OperationID, _ SignTokenOperationRequestParams) {
	signed(s, c, sure(operationForm), func(ctx context.Context, a registry.Actor, envelope []byte) (*operation.Operation, error) {
		return s.operations.SignRequest(ctx, a, operationID, envelope)
	})
}

func (s *Server) decide(c *gin.Context, operationID string, verb policy.Verb) {
	signed(s, c, sure(operationForm), func(ctx context.Context, a registry.Actor, envelope []byte) (*operation.Operation, error) {
		return s.operations.Decide(ctx, a, operationID, verb, envelope)
	})
}

// CancelTokenOperation answers POST /v1/token-operations/{operationId}/cancel.
func (s *Server) CancelTokenOperation(c *gin.Context, operationID OperationID, _ CancelTokenOperationParams) {
	s.cancel(c, operationID)
}

func (s *Server) cancel(c *gin.Context, operationID string) {
	r := requestOf(c)
	b, err := bind[CancelRequest](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusOK, sure(operationForm), func(ctx context.Context, idem *store.Idempotent) (*operation.Operation, error) {
		return s.operations.Cancel(ctx, r.actor(), operationID, of(b.Reason), idem)
	})
}

// recorded is for documents that the seal records: the ledger holds the effect before
// this process knows of it, so the answer to the key cannot be in one
// transaction with it. A call that crashes in between is made again by its
// retry, and the seal answers the same bytes as it did the first time.
func recorded[T any](s *Server, do func(context.Context) (T, error)) func(context.Context, *store.Idempotent) (T, error) {
	return func(ctx context.Context, idem *store.Idempotent) (T, error) {
		v, err := do(ctx)
		if err != nil {
			return v, err
		}
		return v, s.store.Answer(ctx, idem, v)
	}
}
