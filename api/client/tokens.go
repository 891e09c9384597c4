package client

// Calls about tokens, their supply and their roles.

import (
	"context"
	"net/http"
)

// ListTokenTemplates answers one page of the token templates.
func (c *Client) ListTokenTemplates(ctx context.Context, params ListTokenTemplatesParams) (*TokenTemplateList, error) {
	return call[TokenTemplateList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListTokenTemplatesRequest(c.server, &params)
	})
}

// GetTokenTemplate answers one token template with its ABI.
func (c *Client) GetTokenTemplate(ctx context.Context, templateID string) (*TokenTemplateDetail, error) {
	return call[TokenTemplateDetail](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenTemplateRequest(c.server, templateID)
	})
}

// CreateToken stores the definition of a token, in DRAFT.
func (c *Client) CreateToken(ctx context.Context, body TokenCreate, opts ...Option) (*Token, error) {
	return call[Token](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreateTokenRequest(c.server, nil, body)
	})
}

// ListTokens answers one page of the tokens, newest first.
func (c *Client) ListTokens(ctx context.Context, params ListTokensParams) (*TokenList, error) {
	return call[TokenList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListTokensRequest(c.server, &params)
	})
}

// GetToken answers one token, with supply and pause read from the chain.
func (c *Client) GetToken(ctx context.Context, tokenID string) (*TokenDetail, error) {
	return call[TokenDetail](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenRequest(c.server, tokenID)
	})
}

// UpdateToken changes a token.
func (c *Client) UpdateToken(ctx context.Context, tokenID string, body TokenUpdate, opts ...Option) (*Token, error) {
	return call[Token](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewUpdateTokenRequest(c.server, tokenID, nil, body)
	})
}

// DeployToken asks for a token's deployment.
func (c *Client) DeployToken(ctx context.Context, tokenID string, body DeployRequest, opts ...Option) (*DeployAccepted, error) {
	return call[DeployAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewDeployTokenRequest(c.server, tokenID, nil, body)
	})
}

// GetTokenDeployment answers what became of a token's deployment.
func (c *Client) GetTokenDeployment(ctx context.Context, tokenID string) (*Deployment, error) {
	return call[Deployment](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenDeploymentRequest(c.server, tokenID)
	})
}

// MintToken asks for a mint.
func (c *Client) MintToken(ctx context.Context, tokenID string, body MintRequest, opts ...Option) (*MintAccepted, error) {
	return call[MintAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewMintTokenRequest(c.server, tokenID, nil, body)
	})
}

// BurnToken asks for a burn.
func (c *Client) BurnToken(ctx context.Context, tokenID string, body BurnRequest, opts ...Option) (*BurnAccepted, error) {
	return call[BurnAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewBurnTokenRequest(c.server, tokenID, nil, body)
	})
}

// ListTokenRoles answers the roles of a token and their holders, read from the chain.
func (c *Client) ListTokenRoles(ctx context.Context, tokenID string) (*TokenRoles, error) {
	return call[TokenRoles](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListTokenRolesRequest(c.server, tokenID)
	})
}

// GrantTokenRole asks for a role to be granted.
func (c *Client) GrantTokenRole(ctx context.Context, tokenID string, body RoleChangeRequest, opts ...Option) (*RoleChangeAccepted, error) {
	return call[RoleChangeAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewGrantTokenRoleRequest(c.server, tokenID, nil, body)
	})
}

// RevokeTokenRole asks for a role to be revoked.
func (c *Client) RevokeTokenRole(ctx context.Context, tokenID string, body RoleChangeRequest, opts ...Option) (*RoleChangeAccepted, error) {
	return call[RoleChangeAccepted](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRevokeTokenRoleRequest(c.server, tokenID, nil, body)
	})
}

// GetTokenBalance answers an address's balance of a token, read from the chain.
func (c *Client) GetTokenBalance(ctx context.Context, tokenID string, address string) (*TokenBalance, error) {
	return call[TokenBalance](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetTokenBalanceRequest(c.server, tokenID, address)
	})
}
