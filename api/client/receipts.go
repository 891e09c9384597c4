package client

import (
	"context"
	"net/http"
)

// GetAuditReceipt answers the proof that an audit entry is in the tree that the seal signs. Verify it
// offline: mintwarden audit verify --receipt.
func (c *Client) GetAuditReceipt(ctx context.Context, auditID string) (*Receipt, error) {
	return call[Receipt](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetAuditReceiptRequest(c.server, auditID)
	})
}

// GetTokenOperationReceipt answers the proof that the newest record of an operation is in the tree that
// the seal signs.
func (c *Client) GetTokenOperationReceipt(ctx context.Context, operationID string) (*Receipt, error) {
	return call[Receipt](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenOperationReceiptRequest(c.server, operationID)
	})
}
