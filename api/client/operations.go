package client

// Calls about operations and people's decisions about them.

import (
	"context"
	"net/http"
)

// ListTokenOperations answers one page of the operations, newest first.
func (c *Client) ListTokenOperations(ctx context.Context, params ListTokenOperationsParams) (*OperationList, error) {
	return call[OperationList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListTokenOperationsRequest(c.server, &params)
	})
}

// GetTokenOperation answers one operation.
func (c *Client) GetTokenOperation(ctx context.Context, operationID string) (*Operation, error) {
	return call[Operation](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenOperationRequest(c.server, operationID)
	})
}

// ApproveTokenOperation records a signed approval; the same envelope again gives the same answer.
func (c *Client) ApproveTokenOperation(ctx context.Context, operationID string, body EnvelopeRequest, opts ...Option) (*Operation, error) {
	return call[Operation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewApproveTokenOperationRequest(c.server, operationID, nil, body)
	})
}

// RejectTokenOperation records a signed rejection.
func (c *Client) RejectTokenOperation(ctx context.Context, operationID string, body EnvelopeRequest, opts ...Option) (*Operation, error) {
	return call[Operation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRejectTokenOperationRequest(c.server, operationID, nil, body)
	})
}

// CancelTokenOperation withdraws an operation that nothing was signed for.
func (c *Client) CancelTokenOperation(ctx context.Context, operationID string, body CancelRequest, opts ...Option) (*Operation, error) {
	return call[Operation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCancelTokenOperationRequest(c.server, operationID, nil, body)
	})
}

// SignTokenOperationRequest records that the requester signed an operation's intent, for charters with
// signedRequests.
func (c *Client) SignTokenOperationRequest(ctx context.Context, operationID string, body EnvelopeRequest, opts ...Option) (*Operation, error) {
	return call[Operation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewSignTokenOperationRequestRequest(c.server, operationID, nil, body)
	})
}
