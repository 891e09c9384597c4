package client

// Calls about transactions, the chain side of operations.

import (
	"context"
	"fmt"
	"io"
	"iter"
	"net/http"
)

// ListTransactions answers one page of the transactions, newest first.
func (c *Client) ListTransactions(ctx context.Context, params ListTransactionsParams) (*TransactionList, error) {
	return call[TransactionList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListTransactionsRequest(c.server, &params)
	})
}

// Transactions goes through the transactions that filter admits, newest first;
// its Limit, Offset and Cursor are not used.
func (c *Client) Transactions(ctx context.Context, filter ListTransactionsParams) iter.Seq2[TransactionSummary, error] {
	filter.Offset = nil
	return byCursor(func(limit int, cursor *string) ([]TransactionSummary, Pagination, error) {
		filter.Limit, filter.Cursor = &limit, cursor
		l, err := c.ListTransactions(ctx, filter)
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// GetTransaction answers one transaction, with every version that was signed.
func (c *Client) GetTransaction(ctx context.Context, transactionRequestID string) (*Transaction, error) {
	return call[Transaction](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTransactionRequest(c.server, transactionRequestID)
	})
}

// ApproveTransaction is ApproveTokenOperation by the transaction request's id.
func (c *Client) ApproveTransaction(ctx context.Context, transactionRequestID string, body EnvelopeRequest, opts ...Option) (*Operation, error) {
	return call[Operation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewApproveTransactionRequest(c.server, transactionRequestID, nil, body)
	})
}

// RejectTransaction is RejectTokenOperation by the transaction request's id.
func (c *Client) RejectTransaction(ctx context.Context, transactionRequestID string, body EnvelopeRequest, opts ...Option) (*Operation, error) {
	return call[Operation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRejectTransactionRequest(c.server, transactionRequestID, nil, body)
	})
}

// CancelTransaction is CancelTokenOperation by the transaction request's id.
func (c *Client) CancelTransaction(ctx context.Context, transactionRequestID string, body CancelRequest, opts ...Option) (*Operation, error) {
	return call[Operation](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCancelTransactionRequest(c.server, transactionRequestID, nil, body)
	})
}

// CancelWalletNonce asks for a nonce of a wallet's lane to be used up.
func (c *Client) CancelWalletNonce(ctx context.Context, walletID string, body CancelNonceRequest, opts ...Option) (*CancelNonceAccepted, error) {
	return call[CancelNonceAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCancelWalletNonceRequest(c.server, walletID, nil, body)
	})
}

// EstimateTransactionFee answers what an operation of a type costs at most now.
func (c *Client) EstimateTransactionFee(ctx context.Context, params EstimateTransactionFeeParams) (*FeeEstimate, error) {
	return call[FeeEstimate](ctx, c, read, nil, func() (*http.Request, error) {
		return NewEstimateTransactionFeeRequest(c.server, &params)
	})
}

// ExportTransactions writes the export to w as it comes. It is not tried again:
// after an error w holds what came before it, which must not be taken for the
// whole.
func (c *Client) ExportTransactions(ctx context.Context, params ExportTransactionsParams, w io.Writer) error {
	req, err := NewExportTransactionsRequest(c.server, &params)
	if err != nil {
		return fmt.Errorf("client: making the request: %w", err)
	}
	req = req.WithContext(ctx)
	req.Header.Set("Authorization", "Bearer "+c.bearer)
	req.Header.Set("User-Agent", c.userAgent)
	resp, err := c.http.Do(req)
	if err != nil {
		return &UnreachableError{URL: c.server, Err: err}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return &UnreachableError{URL: c.server, Err: err}
		}
		return refusal(resp, body)
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("client: the export broke off: %w", err)
	}
	return nil
}
