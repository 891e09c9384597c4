package api

import (
	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/reconciliation"
)

// GetTokenReconciliation answers GET /v1/tokens/{tokenId}/reconciliation.
func (s *Server) GetTokenReconciliation(c *gin.Context, tokenID TokenID) {
	r, err := s.reconciliation.Report(c.Request.Context(), tokenID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, Reconciliation{TokenID: r.TokenID, Status: ReconciliationStatus(r.Status), FromBlock: int64(r.FromBlock), BlockNumber: int64(r.BlockNumber),
		Supply:        ReconciliationSupply{Events: r.Events.String(), Contract: r.Contract.String(), Operations: r.Operations.String()},
		EventsChecked: int64(r.EventsChecked), UnmatchedTotal: int64(r.UnmatchedTotal), Unmatched: forms(r.Unmatched, unmatchedForm),
		Frozen: r.Frozen, CheckedAt: second(r.CheckedAt)})
}

func unmatchedForm(u reconciliation.Unmatched) UnmatchedEvent {
	f := UnmatchedEvent{Event: u.Event, TransactionHash: u.TransactionHash.String(), LogIndex: int64(u.LogIndex), BlockNumber: int64(u.BlockNumber),
		Account: text(u.Account), Role: maybe(u.Role)}
	if u.Amount != nil {
		amount := u.Amount.String()
		f.Amount = &amount
	}
	return f
}
