package api

import (
	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
)

// ListTokenRoles answers GET /v1/tokens/{tokenId}/roles from the chain.
func (s *Server) ListTokenRoles(c *gin.Context, tokenID TokenID) {
	ctx := c.Request.Context()
	t, err := s.registry.Token(ctx, tokenID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	roles, err := s.registry.Roles(ctx, t)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, TokenRoles{TokenID: t.ID, Roles: forms(roles, func(r registry.RoleHolders) RoleHolders {
		return RoleHolders{Role: Role(r.Role), Holders: forms(r.Holders, tx.Address.String)}
	})})
}

// GetTokenBalance answers GET /v1/tokens/{tokenId}/balances/{address}.
func (s *Server) GetTokenBalance(c *gin.Context, tokenID TokenID, address AddressPath) {
	ctx := c.Request.Context()
	t, err := s.registry.Token(ctx, tokenID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	if t.ContractAddress == nil {
		s.refuse(c, fault(registry.NotDeployed, "token %s has no contract address yet; it is %s", t.ID, t.Status))
		return
	}
	who, err := tx.ParseAddress(address)
	if err != nil {
		s.refuse(c, fault(registry.InvalidRecipient, "address %s: %v", quote(address), err))
		return
	}
	balance, err := s.registry.BalanceOf(ctx, t, who)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, TokenBalance{TokenID: t.ID, Address: who.String(), Balance: balance.String()})
}
