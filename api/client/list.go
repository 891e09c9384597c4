package client

import (
	"context"
	"iter"
)

// pageSize is the largest page that the API gives.
const pageSize = 200

// byOffset goes through a list that is paged by offset. Items that are made
// while it goes shift the pages, newest first: an item may come twice, none is
// passed over.
func byOffset[T any](page func(limit, offset int) ([]T, Pagination, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for offset := 0; ; {
			items, p, err := page(pageSize, offset)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, it := range items {
				if !yield(it, nil) {
					return
				}
			}
			offset += len(items)
			if len(items) == 0 || offset >= p.Total {
				return
			}
		}
	}
}

// byCursor goes through a list that is paged by cursor.
func byCursor[T any](page func(limit int, cursor *string) ([]T, Pagination, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for cursor := (*string)(nil); ; {
			items, p, err := page(pageSize, cursor)
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, it := range items {
				if !yield(it, nil) {
					return
				}
			}
			if cursor = p.NextCursor; cursor == nil {
				return
			}
		}
	}
}

// TokenTemplates goes through the token templates.
func (c *Client) TokenTemplates(ctx context.Context) iter.Seq2[TokenTemplate, error] {
	return byOffset(func(limit, offset int) ([]TokenTemplate, Pagination, error) {
		l, err := c.ListTokenTemplates(ctx, ListTokenTemplatesParams{Limit: &limit, Offset: &offset})
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// Tokens goes through the tokens that filter admits, newest first; its Limit
// and Offset are not used.
func (c *Client) Tokens(ctx context.Context, filter ListTokensParams) iter.Seq2[Token, error] {
	return byOffset(func(limit, offset int) ([]Token, Pagination, error) {
		filter.Limit, filter.Offset = &limit, &offset
		l, err := c.ListTokens(ctx, filter)
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// Operations goes through the operations that filter admits, newest first; its
// Limit, Offset and Cursor are not used.
func (c *Client) Operations(ctx context.Context, filter ListTokenOperationsParams) iter.Seq2[OperationSummary, error] {
	filter.Offset = nil
	return byCursor(func(limit int, cursor *string) ([]OperationSummary, Pagination, error) {
		filter.Limit, filter.Cursor = &limit, cursor
		l, err := c.ListTokenOperations(ctx, filter)
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// VaultAccounts goes through the vault accounts, newest first.
func (c *Client) VaultAccounts(ctx context.Context) iter.Seq2[VaultAccount, error] {
	return byOffset(func(limit, offset int) ([]VaultAccount, Pagination, error) {
		l, err := c.ListVaultAccounts(ctx, ListVaultAccountsParams{Limit: &limit, Offset: &offset})
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// Wallets goes through a vault account's wallets, newest first.
func (c *Client) Wallets(ctx context.Context, vaultAccountID string) iter.Seq2[Wallet, error] {
	return byOffset(func(limit, offset int) ([]Wallet, Pagination, error) {
		l, err := c.ListWallets(ctx, vaultAccountID, ListWalletsParams{Limit: &limit, Offset: &offset})
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// Policies goes through the policies, newest first.
func (c *Client) Policies(ctx context.Context) iter.Seq2[Policy, error] {
	return byOffset(func(limit, offset int) ([]Policy, Pagination, error) {
		l, err := c.ListPolicies(ctx, ListPoliciesParams{Limit: &limit, Offset: &offset})
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// Users goes through the users, newest first.
func (c *Client) Users(ctx context.Context) iter.Seq2[User, error] {
	return byOffset(func(limit, offset int) ([]User, Pagination, error) {
		l, err := c.ListUsers(ctx, ListUsersParams{Limit: &limit, Offset: &offset})
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// Credentials goes through the API keys that filter admits, newest first; its
// Limit and Offset are not used.
func (c *Client) Credentials(ctx context.Context, filter ListCredentialsParams) iter.Seq2[Credential, error] {
	return byOffset(func(limit, offset int) ([]Credential, Pagination, error) {
		filter.Limit, filter.Offset = &limit, &offset
		l, err := c.ListCredentials(ctx, filter)
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// AuditEntries goes through the audit entries that filter admits, newest first;
// its Limit, Offset and Cursor are not used.
func (c *Client) AuditEntries(ctx context.Context, filter ListAuditEntriesParams) iter.Seq2[AuditEntry, error] {
	filter.Offset = nil
	return byCursor(func(limit int, cursor *string) ([]AuditEntry, Pagination, error) {
		filter.Limit, filter.Cursor = &limit, cursor
		l, err := c.ListAuditEntries(ctx, filter)
		if err != nil {
			return nil, Pagination{}, err
		}
		return l.Data, l.Pagination, nil
	})
}

// Batches goes through the ledger from the batch with sequence from (1 or more)
// to the head at the time of the last page, each as the exact bytes that were
// signed.
func (c *Client) Batches(ctx context.Context, from int64) iter.Seq2[[]byte, error] {
	return func(yield func([]byte, error) bool) {
		for {
			limit := pageSize
			p, err := c.GetLedger(ctx, GetLedgerParams{From: &from, Limit: &limit})
			if err != nil {
				yield(nil, err)
				return
			}
			for _, b := range p.Data {
				if !yield(b, nil) {
					return
				}
			}
			from += int64(len(p.Data))
			if len(p.Data) == 0 || from > p.Head.Sequence {
				return
			}
		}
	}
}
