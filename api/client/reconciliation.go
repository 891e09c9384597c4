package client

import (
	"context"
	"net/http"
)

// GetTokenReconciliation answers how a token's chain and operations compare.
func (c *Client) GetTokenReconciliation(ctx context.Context, tokenID string) (*Reconciliation, error) {
	return call[Reconciliation](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenReconciliationRequest(c.server, tokenID)
	})
}
