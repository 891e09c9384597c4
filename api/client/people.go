package client

// Calls about users, their roles and their API keys that came after the first ones.

import (
	"context"
	"iter"
	"net/http"
)

// UpdateUser changes a user's role or status. A suspended user's keys are refused everywhere within a second.
func (c *Client) UpdateUser(ctx context.Context, userID string, body UserUpdate, opts ...Option) (*User, error) {
	return call[User](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewUpdateUserRequest(c.server, userID, nil, body)
	})
}

// ListRoles answers one page of the roles that users may have, built-in ones last.
func (c *Client) ListRoles(ctx context.Context, params ListRolesParams) (*RoleDefinitionList, error) {
	return call[RoleDefinitionList](ctx, c, read, nil, func() (*http.Request, error) {
		return NewListRolesRequest(c.server, &params)
	})
}

// Roles goes through the roles that users may have, newest first, built-in ones last.
func (c *Client) Roles(ctx context.Context) iter.Seq2[RoleDefinition, error] {
	return byOffset(func(limit, offset int) ([]RoleDefinition, Pagination, error) {
		l, err := c.ListRoles(ctx, ListRolesParams{Limit: &limit, Offset: &offset})
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// CreateRole makes a role, for good.
func (c *Client) CreateRole(ctx context.Context, body RoleDefinitionCreate, opts ...Option) (*RoleDefinition, error) {
	return call[RoleDefinition](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewCreateRoleRequest(c.server, nil, body)
	})
}

// GetCredential answers one API key, without its secret.
func (c *Client) GetCredential(ctx context.Context, credentialID string) (*Credential, error) {
	return call[Credential](ctx, c, read, nil, func() (*http.Request, error) {
		return NewGetCredentialRequest(c.server, credentialID)
	})
}

// RotateCredential puts a new API key in the place of one. As with CreateCredential, only a first answer holds the
// secret.
func (c *Client) RotateCredential(ctx context.Context, body CredentialRotate, opts ...Option) (*CredentialCreated, error) {
	return call[CredentialCreated](ctx, c, keyed, opts, func() (*http.Request, error) {
		return NewRotateCredentialRequest(c.server, nil, body)
	})
}
