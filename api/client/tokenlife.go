package client

// Calls that move, stop, restrict and end a token.

import (
	"context"
	"net/http"
)

// EstimateTokenDeployment answers what a token's deployment would cost now.
func (c *Client) EstimateTokenDeployment(ctx context.Context, tokenID string, body DeploymentEstimateRequest, opts ...Option) (*DeploymentEstimate, error) {
	return call[DeploymentEstimate](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewEstimateTokenDeploymentRequest(c.server, tokenID, nil, body)
	})
}

// TransferToken asks for a transfer.
func (c *Client) TransferToken(ctx context.Context, tokenID string, body TransferRequest, opts ...Option) (*TransferAccepted, error) {
	return call[TransferAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewTransferTokenRequest(c.server, tokenID, nil, body)
	})
}

// PauseToken asks for every movement of a token to be stopped.
func (c *Client) PauseToken(ctx context.Context, tokenID string, body PauseRequest, opts ...Option) (*PauseAccepted, error) {
	return call[PauseAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewPauseTokenRequest(c.server, tokenID, nil, body)
	})
}

// UnpauseToken asks for a paused token to be let go on.
func (c *Client) UnpauseToken(ctx context.Context, tokenID string, body PauseRequest, opts ...Option) (*PauseAccepted, error) {
	return call[PauseAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewUnpauseTokenRequest(c.server, tokenID, nil, body)
	})
}

// FreezeTokenAccount asks for an account's tokens to be frozen.
func (c *Client) FreezeTokenAccount(ctx context.Context, tokenID string, body AccountFreezeRequest, opts ...Option) (*AccountChangeAccepted, error) {
	return call[AccountChangeAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewFreezeTokenAccountRequest(c.server, tokenID, nil, body)
	})
}

// UnfreezeTokenAccount asks for an account's tokens to be released.
func (c *Client) UnfreezeTokenAccount(ctx context.Context, tokenID string, body AccountFreezeRequest, opts ...Option) (*AccountChangeAccepted, error) {
	return call[AccountChangeAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewUnfreezeTokenAccountRequest(c.server, tokenID, nil, body)
	})
}

// AddTokenAllowlist asks for an account to be put on a token's allowlist.
func (c *Client) AddTokenAllowlist(ctx context.Context, tokenID string, body AllowlistRequest, opts ...Option) (*AccountChangeAccepted, error) {
	return call[AccountChangeAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewAddTokenAllowlistRequest(c.server, tokenID, nil, body)
	})
}

// RemoveTokenAllowlist asks for an address to be taken off a token's allowlist.
func (c *Client) RemoveTokenAllowlist(ctx context.Context, tokenID, address string, opts ...Option) (*AccountChangeAccepted, error) {
	return call[AccountChangeAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRemoveTokenAllowlistRequest(c.server, tokenID, address, nil)
	})
}

// RetireToken ends the appliance's work on a token; the chain is not touched.
func (c *Client) RetireToken(ctx context.Context, tokenID string, body RetireRequest, opts ...Option) (*Token, error) {
	return call[Token](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRetireTokenRequest(c.server, tokenID, nil, body)
	})
}
