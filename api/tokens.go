package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

func tokenForm(t *registry.Token) Token {
	return Token{
		ID: t.ID, Standard: t.Standard, TemplateID: t.TemplateID, Name: t.Name, Symbol: t.Symbol, Decimals: int(t.Decimals),
		Status: TokenStatus(t.Status), Network: t.Network, ContractAddress: text(t.ContractAddress),
		InitialSupply: t.InitialSupply.String(), SupplyPolicy: supplyForm(t.SupplyPolicy),
		AdminVaultAccountID: t.AdminVaultAccountID, ApprovalPolicyID: t.ApprovalPolicyID,
		Description: t.Description, Tags: t.Tags, CreatedAt: second(t.CreatedAt), UpdatedAt: second(t.UpdatedAt),
	}
}

func supplyForm(p registry.SupplyPolicy) SupplyPolicy {
	limit := p.MaxSupply.String()
	return SupplyPolicy{Mintable: p.Mintable, Burnable: p.Burnable, MaxSupply: &limit}
}

// amount reads an amount that the document's checks let through; absent is 0.
func amount(s *string) (policy.Amount, error) {
	if s == nil {
		return policy.Amount{}, nil
	}
	a, err := policy.ParseAmount(*s)
	if err != nil {
		return a, fmt.Errorf("api: amount %q was checked before: %w", *s, err)
	}
	return a, nil
}

// CreateToken answers POST /v1/tokens.
func (s *Server) CreateToken(c *gin.Context, _ CreateTokenParams) {
	r := requestOf(c)
	b, err := privileged[TokenCreate](r)
	if err != nil {
		s.refuse(c, err)
		return
	}
	spec := registry.TokenSpec{
		Standard: b.Standard, TemplateID: b.TemplateID, Name: b.Name, Symbol: b.Symbol, Decimals: b.Decimals,
		AdminVaultAccountID: b.Admin.VaultAccountID, ApprovalPolicyID: b.Admin.ApprovalPolicyID, Network: b.Network,
		Description: of(b.Description), Tags: of(b.Tags), Bad: r.bad(),
	}
	spec.SupplyPolicy.Mintable, spec.SupplyPolicy.Burnable = b.SupplyPolicy.Mintable, b.SupplyPolicy.Burnable
	if spec.Bad == nil {
		spec.InitialSupply, spec.Bad = amount(b.InitialSupply)
	}
	if spec.Bad == nil {
		spec.SupplyPolicy.MaxSupply, spec.Bad = amount(b.SupplyPolicy.MaxSupply)
	}
	change(s, c, http.StatusCreated, sure(tokenForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Token, error) {
		return s.registry.CreateToken(ctx, r.actor(), spec, idem)
	})
}

// UpdateToken answers PATCH /v1/tokens/{tokenId}.
func (s *Server) UpdateToken(c *gin.Context, tokenID TokenID, _ UpdateTokenParams) {
	r := requestOf(c)
	if r.badValue != nil {
		// Whether the token exists, and is still a draft, is said first.
		s.refuse(c, s.beforeValue(c.Request.Context(), tokenID, r.badValue))
		return
	}
	b, err := bind[TokenUpdate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	patch, err := tokenPatch(b)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusOK, sure(tokenForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Token, error) {
		return s.registry.UpdateToken(ctx, r.actor(), tokenID, patch, idem)
	})
}

func (s *Server) beforeValue(ctx context.Context, tokenID string, bad *problem) error {
	t, err := s.registry.Token(ctx, tokenID)
	if err != nil {
		return err
	}
	if t.Status != registry.TokenDraft {
		return fault(registry.AlreadyDeployed, "token %s is %s: amounts can change only in %s", t.ID, t.Status, registry.TokenDraft)
	}
	return bad
}

func tokenPatch(b *TokenUpdate) (registry.TokenPatch, error) {
	p := registry.TokenPatch{
		Standard: b.Standard, TemplateID: b.TemplateID, Name: b.Name, Symbol: b.Symbol, Decimals: b.Decimals, Network: b.Network,
		Description: b.Description, Tags: b.Tags,
	}
	if b.Admin != nil {
		p.AdminVaultAccountID, p.ApprovalPolicyID = &b.Admin.VaultAccountID, &b.Admin.ApprovalPolicyID
	}
	if b.InitialSupply != nil {
		a, err := amount(b.InitialSupply)
		if err != nil {
			return p, err
		}
		p.InitialSupply = &a
	}
	if b.SupplyPolicy != nil {
		p.Mintable, p.Burnable = &b.SupplyPolicy.Mintable, &b.SupplyPolicy.Burnable
		if b.SupplyPolicy.MaxSupply != nil {
			a, err := amount(b.SupplyPolicy.MaxSupply)
			if err != nil {
				return p, err
			}
			p.MaxSupply = &a
		}
	}
	return p, nil
}

// ListTokens answers GET /v1/tokens.
func (s *Server) ListTokens(c *gin.Context, params ListTokensParams) {
	limit, offset := page(params.Limit, params.Offset)
	f := registry.TokenFilter{
		Status: registry.TokenStatus(of(params.Status)), Standard: of(params.Standard), Network: of(params.Network),
		AdminVaultAccountID: of(params.AdminVaultAccountID),
	}
	tokens, total, err := s.registry.Tokens(c.Request.Context(), f, limit, offset)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, TokenList{Data: forms(tokens, tokenForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}

// GetToken answers GET /v1/tokens/{tokenId}: what we know, and what the chain
// says now.
func (s *Server) GetToken(c *gin.Context, tokenID TokenID) {
	ctx := c.Request.Context()
	t, err := s.registry.Token(ctx, tokenID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	f := tokenForm(t)
	d := TokenDetail{
		ID: f.ID, Standard: f.Standard, TemplateID: f.TemplateID, Name: f.Name, Symbol: f.Symbol, Decimals: f.Decimals,
		Status: f.Status, Network: f.Network, ContractAddress: f.ContractAddress, InitialSupply: f.InitialSupply,
		SupplyPolicy: f.SupplyPolicy, AdminVaultAccountID: f.AdminVaultAccountID, ApprovalPolicyID: f.ApprovalPolicyID,
		Description: f.Description, Tags: f.Tags, CreatedAt: f.CreatedAt, UpdatedAt: f.UpdatedAt,
	}
	if t.ContractAddress != nil {
		supply, err := s.registry.TotalSupply(ctx, t)
		if err != nil {
			s.refuse(c, err)
			return
		}
		paused, err := s.registry.Paused(ctx, t)
		if err != nil {
			s.refuse(c, err)
			return
		}
		d.TotalSupply, d.Paused = text(&supply), &paused
	}
	s.answer(c, d)
}

// GetTokenDeployment answers GET /v1/tokens/{tokenId}/deployment.
func (s *Server) GetTokenDeployment(c *gin.Context, tokenID TokenID) {
	t, err := s.registry.Token(c.Request.Context(), tokenID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	d := Deployment{
		TokenID: t.ID, OperationID: maybe(t.DeployOperationID),
		TransactionHash: text(t.TransactionHash), ContractAddress: text(t.ContractAddress),
	}
	if t.DeployOperationID != "" {
		o, err := s.operations.Get(c.Request.Context(), t.DeployOperationID)
		if err != nil {
			s.refuse(c, err)
			return
		}
		status := string(o.Status)
		d.Status = &status
	}
	if t.BlockNumber > 0 {
		n := int64(t.BlockNumber)
		d.BlockNumber = &n
	}
	if !t.DeployedAt.IsZero() {
		at := second(t.DeployedAt)
		d.DeployedAt = &at
	}
	s.answer(c, d)
}
