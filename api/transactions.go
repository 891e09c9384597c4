package api

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

func transactionSummaryForm(o *operation.Operation) TransactionSummary {
	l := summaryForm(o)
	return TransactionSummary{
		ID: l.TransactionRequestID, OperationID: l.OperationID, OperationType: l.OperationType, TokenID: l.TokenID, Network: o.Network,
		WalletID: o.WalletID, WalletAddress: o.Performer.String(), Status: l.Status, Nonce: nonceForm(o), TransactionHash: l.BlockchainTransactionHash,
		BlockNumber: l.BlockNumber, Confirmations: l.Confirmations, FeeCap: o.FeeCap.String(), FeeStrategy: FeeStrategy(o.FeeStrategy),
		Amount: l.Amount, RequestedBy: l.RequestedBy, Attention: l.Attention, FailureReason: l.FailureReason, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt,
	}
}

// nonceForm is the nonce that the ledger gave; null before.
func nonceForm(o *operation.Operation) *string {
	if !o.Authorized {
		return nil
	}
	n := strconv.FormatUint(o.Nonce, 10)
	return &n
}

func transactionForm(o *operation.Operation, versions []operation.Version) Transaction {
	l := transactionSummaryForm(o)
	f := Transaction{
		ID: l.ID, OperationID: l.OperationID, OperationType: l.OperationType, TokenID: l.TokenID, Network: l.Network, WalletID: l.WalletID,
		WalletAddress: l.WalletAddress, Status: l.Status, Nonce: l.Nonce, TransactionHash: l.TransactionHash, BlockNumber: l.BlockNumber,
		Confirmations: l.Confirmations, FeeCap: l.FeeCap, FeeStrategy: l.FeeStrategy, Amount: l.Amount, RequestedBy: l.RequestedBy,
		Attention: l.Attention, FailureReason: l.FailureReason, CreatedAt: l.CreatedAt, UpdatedAt: l.UpdatedAt,
		Replacements: forms(versions, versionForm),
	}
	if i := slices.IndexFunc(o.History, func(at operation.Step) bool { return at.Status == operation.Signed }); i >= 0 && len(f.Replacements) > 0 {
		at := second(o.History[i].At) // of the first version; when fees were raised stands in the audit log only
		f.Replacements[0].SignedAt = &at
	}
	for i := range versions {
		// The one that was mined, or else the newest.
		v := f.Replacements[i]
		f.GasLimit, f.MaxFeePerGas, f.MaxPriorityFeePerGas = &v.GasLimit, &v.MaxFeePerGas, &v.MaxPriorityFeePerGas
		if o.TransactionHash != nil && versions[i].Hash == *o.TransactionHash {
			break
		}
	}
	return f
}

func versionForm(v operation.Version) TransactionVersion {
	return TransactionVersion{
		Version: int64(v.Number), TransactionHash: v.Hash.String(), GasLimit: strconv.FormatUint(v.Gas, 10),
		MaxFeePerGas: v.MaxFee.String(), MaxPriorityFeePerGas: v.Tip.String(),
	}
}

// ListTransactions answers GET /v1/transactions.
func (s *Server) ListTransactions(c *gin.Context, params ListTransactionsParams) {
	limit, offset := page(params.Limit, params.Offset)
	ops, total, next, err := s.operations.List(c.Request.Context(), operation.Filter{
		TokenID: of(params.TokenID), Type: policy.OperationType(of(params.OperationType)), Status: operation.Status(of(params.Status)),
		RequestedBy: of(params.RequestedBy), Network: of(params.Network), WalletID: of(params.WalletID), From: of(params.From), To: of(params.To),
	}, limit, offset, of(params.Cursor))
	if err != nil {
		s.refuse(c, badCursor(err, params.Cursor))
		return
	}
	s.answer(c, TransactionList{
		Data: forms(ops, transactionSummaryForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset, NextCursor: maybe(next)},
	})
}

// badCursor says of a text that is no cursor that it is none.
func badCursor(err error, cursor *string) error {
	if errors.Is(err, operation.ErrCursor) {
		return fault(registry.InvalidPagination, "cursor %s is not one that this list gave", quote(of(cursor)))
	}
	return err
}

// GetTransaction answers GET /v1/transactions/{transactionRequestId}.
func (s *Server) GetTransaction(c *gin.Context, id TransactionRequestID) {
	f, err := s.transaction(c.Request.Context(), id)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, f)
}

func (s *Server) transaction(ctx context.Context, id string) (f Transaction, err error) {
	operationID, err := operation.OfTransactionRequest(id)
	if err != nil {
		return f, err
	}
	o, err := s.operations.Get(ctx, operationID)
	if err != nil {
		return f, err
	}
	versions, err := s.operations.Versions(ctx, o)
	if err != nil {
		return f, err
	}
	return transactionForm(o, versions), nil
}

// ApproveTransaction answers POST /v1/transactions/{transactionRequestId}/approve.
func (s *Server) ApproveTransaction(c *gin.Context, id TransactionRequestID, _ ApproveTransactionParams) {
	s.byRequest(c, id, func(operationID string) { s.decide(c, operationID, policy.Approve) })
}

// RejectTransaction answers POST /v1/transactions/{transactionRequestId}/reject.
func (s *Server) RejectTransaction(c *gin.Context, id TransactionRequestID, _ RejectTransactionParams) {
	s.byRequest(c, id, func(operationID string) { s.decide(c, operationID, policy.Reject) })
}

// CancelTransaction answers POST /v1/transactions/{transactionRequestId}/cancel.
func (s *Server) CancelTransaction(c *gin.Context, id TransactionRequestID, _ CancelTransactionParams) {
	s.byRequest(c, id, func(operationID string) { s.cancel(c, operationID) })
}

// byRequest does to a transaction request's operation what the operation's own route does.
func (s *Server) byRequest(c *gin.Context, id string, do func(operationID string)) {
	operationID, err := operation.OfTransactionRequest(id)
	if err != nil {
		s.refuse(c, err)
		return
	}
	do(operationID)
}

// EstimateTransactionFee answers GET /v1/transactions/estimate-fee.
func (s *Server) EstimateTransactionFee(c *gin.Context, params EstimateTransactionFeeParams) {
	e, err := s.operations.EstimateFee(c.Request.Context(), params.Network, policy.OperationType(params.OperationType))
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, estimateForm(e))
}

func estimateForm(e *operation.Estimate) FeeEstimate {
	return FeeEstimate{
		Network: e.Network, Currency: e.Currency, OperationType: OperationType(e.Type), BlockNumber: int64(e.Block),
		BaseFeePerGas: e.BaseFee.String(), GasLimit: int64(e.Gas),
		Strategies: forms(e.Strategies, func(f operation.StrategyFee) StrategyFee {
			return StrategyFee{FeeStrategy: FeeStrategy(f.Strategy), MaxFeePerGas: f.MaxFee.String(), MaxPriorityFeePerGas: f.Tip.String(), MaxFee: f.Total.String()}
		}),
	}
}
