package client

import (
	"context"
	"net/http"
)

// ImportToken takes over a token that was deployed elsewhere. It stays in DRAFT until the custodians' threshold has
// signed its binding.
func (c *Client) ImportToken(ctx context.Context, body TokenImport, opts ...Option) (*Token, error) {
	return call[Token](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewImportTokenRequest(c.server, nil, body)
	})
}

// GetTokenBinding answers what custodians are to sign of an imported token.
func (c *Client) GetTokenBinding(ctx context.Context, tokenID string) (*TokenBinding, error) {
	return call[TokenBinding](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenBindingRequest(c.server, tokenID)
	})
}

// SignTokenBinding adds a custodian's signature to an imported token's binding.
func (c *Client) SignTokenBinding(ctx context.Context, tokenID string, body EnvelopeRequest, opts ...Option) (*TokenBinding, error) {
	return call[TokenBinding](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewSignTokenBindingRequest(c.server, tokenID, nil, body)
	})
}
