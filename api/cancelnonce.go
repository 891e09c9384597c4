package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// CancelWalletNonce answers POST /v1/wallets/{walletId}/cancel-nonce.
func (s *Server) CancelWalletNonce(c *gin.Context, walletID WalletID, _ CancelWalletNonceParams) {
	r := requestOf(c)
	b, err := privileged[CancelNonceRequest](r)
	if err != nil {
		s.refuse(c, err)
		return
	}
	req := operation.NonceRequest{WalletID: walletID, Nonce: b.Nonce, FeeStrategy: fees(b.FeeStrategy), Replaces: of(b.Replaces)}
	form := func(o *operation.Operation) CancelNonceAccepted {
		return CancelNonceAccepted{
			OperationID: o.ID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status), WalletID: o.WalletID, Nonce: b.Nonce,
			TransactionRequestID: o.TransactionRequestID(), CreatedAt: second(o.CreatedAt),
		}
	}
	change(s, c, http.StatusAccepted, sure(form), func(ctx context.Context, idem *store.Idempotent) (*operation.Operation, error) {
		return s.operations.CancelNonce(ctx, r.actor(), req, idem)
	})
}
