package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// EstimateTokenDeployment answers POST /v1/tokens/{tokenId}/deployment/estimate.
func (s *Server) EstimateTokenDeployment(c *gin.Context, tokenID TokenID, _ EstimateTokenDeploymentParams) {
	r := requestOf(c)
	b, err := privileged[DeploymentEstimateRequest](r)
	if err != nil {
		s.refuse(c, err)
		return
	}
	req := operation.Request{
		TokenID: tokenID, DeployerWalletID: of(b.DeployerWalletID), PerformedBy: performer(b.PerformedBy),
		ConstructorArgs: constructorArgs(b.ConstructorArgs),
	}
	// Readers may ask, so that no key of theirs is kept either.
	e, err := s.operations.EstimateDeployment(c.Request.Context(), r.actor(), req)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, estimateForm(e))
}

// RetireToken answers POST /v1/tokens/{tokenId}/retire.
func (s *Server) RetireToken(c *gin.Context, tokenID TokenID, _ RetireTokenParams) {
	r := requestOf(c)
	b, err := bind[RetireRequest](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusOK, sure(tokenForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Token, error) {
		return s.operations.Retire(ctx, r.actor(), tokenID, of(b.Reason), idem)
	})
}
