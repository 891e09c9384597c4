package api

import (
	"context"
	"fmt"
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
	e, err := s.operations.EstimateDeployment(c.Request.Context(), r.actor(), req)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, deploymentEstimateForm(e))
}

// deploymentEstimateForm warns of what submitting the deployment would be
// refused for, or what would keep it from being mined.
func deploymentEstimateForm(e *operation.DeploymentEstimate) DeploymentEstimate {
	f, fee := estimateForm(e.Estimate), e.MediumFee()
	checks := DeploymentChecks{
		TemplateBytecodeHashMatches: e.Template, DeployerHasFunds: e.Balance.Cmp(fee) >= 0, DeployerNonceAvailable: e.Used <= e.Nonce,
	}
	warnings := []string{}
	if !checks.TemplateBytecodeHashMatches {
		warnings = append(warnings, "the code that would be deployed is not the template's")
	}
	if !checks.DeployerHasFunds {
		warnings = append(warnings, fmt.Sprintf("wallet %s (%s) has %s wei, less than the %s wei that the deployment may cost", e.Wallet.ID, e.Wallet.Address, e.Balance, fee))
	}
	if !checks.DeployerNonceAvailable {
		warnings = append(warnings, fmt.Sprintf("the chain's next nonce of wallet %s is %d, the ledger's is %d: somebody else signs for it", e.Wallet.ID, e.Used, e.Nonce))
	}
	return DeploymentEstimate{
		TokenID: e.TokenID, Network: f.Network, Currency: f.Currency, OperationType: f.OperationType, BlockNumber: f.BlockNumber,
		BaseFeePerGas: f.BaseFeePerGas, GasLimit: f.GasLimit, Strategies: f.Strategies,
		EstimatedGas: fmt.Sprint(e.Gas), EstimatedFeeWei: fee.String(), PredictedContractAddress: e.Contract.String(),
		Checks: checks, Warnings: warnings,
	}
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
