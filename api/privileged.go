package api

import (
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// privileged binds the body of a call that moves a token, or names others. Amounts
// and addresses go on as the caller wrote them, for their refusal has its place
// behind existence and state. One that is not even a string goes on as a text
// that no amount and no address can be.
func privileged[B any](r *request) (*B, error) {
	raw := r.raw
	if r.badValue != nil {
		var tree any
		if err := json.Unmarshal(raw, &tree, json.WithUnmarshalers(numbers)); err != nil {
			return nil, fmt.Errorf("api: the body was parsed before: %w", err)
		}
		b, err := json.Marshal(r.route.spelledOut(r.route.body, tree))
		if err != nil {
			return nil, fmt.Errorf("api: the body was parsed before: %w", err)
		}
		raw = jsontext.Value(b)
	}
	return bind[B](raw)
}

// submit asks for an operation and answers 202 with its form.
func submit[M any](s *Server, c *gin.Context, req operation.Request, form func(*operation.Operation) M) {
	r := requestOf(c)
	req.Type, req.TokenID = r.route.operation, c.Param("tokenId")
	change(s, c, http.StatusAccepted, sure(form), func(ctx context.Context, idem *store.Idempotent) (*operation.Operation, error) {
		o, err := s.operations.Submit(ctx, r.actor(), req, idem)
		if err == nil && r.badValue != nil {
			// The operation exists though a value of its request was refused
			// here: the two sides disagree on what a value is.
			s.log.Error("api: an operation was accepted with a value that does not hold", "operation", o.ID, "request_id", r.id, "value", r.badValue.message)
		}
		return o, err
	})
}

func party(p *Party) *operation.Party {
	if p == nil {
		return nil
	}
	return &operation.Party{
		Type: operation.PartyType(p.Type), Address: address(p.Address), WalletID: of(p.WalletID), VaultAccountID: of(p.VaultAccountID),
	}
}

// address is what was sent, if anything: an empty one is malformed, not absent,
// and is shown as it was written.
func address(a *string) string {
	if a != nil && *a == "" {
		return `""`
	}
	return of(a)
}

func performer(p *Performer) *operation.Party {
	if p == nil {
		return nil
	}
	return &operation.Party{Type: operation.PartyType(p.Type), WalletID: of(p.WalletID), VaultAccountID: of(p.VaultAccountID)}
}

// fees is the strategy that was asked for; none is the service's default, which
// is the document's.
func fees(f *FeeStrategy) operation.FeeStrategy { return operation.FeeStrategy(of(f)) }

// DeployToken answers POST /v1/tokens/{tokenId}/deploy.
func (s *Server) DeployToken(c *gin.Context, _ TokenID, _ DeployTokenParams) {
	b, err := privileged[DeployRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	req := operation.Request{
		DeployerWalletID: of(b.DeployerWalletID), FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
		ConstructorArgs: constructorArgs(b.ConstructorArgs),
	}
	submit(s, c, req, func(o *operation.Operation) DeployAccepted {
		return DeployAccepted{
			TokenID: o.TokenID, OperationID: o.ID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
			TransactionRequestID: o.TransactionRequestID(), ApprovalPolicyID: o.ApprovalPolicyID, CreatedAt: second(o.CreatedAt),
		}
	})
}

func constructorArgs(a *ConstructorArgs) *operation.ConstructorArgs {
	if a == nil {
		return nil
	}
	return &operation.ConstructorArgs{
		Name: a.Name, Symbol: a.Symbol, Decimals: a.Decimals, Cap: a.Cap, InitialSupply: a.InitialSupply,
		Mintable: a.Mintable, Burnable: a.Burnable,
	}
}

// MintToken answers POST /v1/tokens/{tokenId}/mint.
func (s *Server) MintToken(c *gin.Context, _ TokenID, _ MintTokenParams) {
	b, err := privileged[MintRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	submit(s, c, operation.Request{
		Amount: &b.Amount, Recipient: party(&b.Recipient), FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
	}, func(o *operation.Operation) MintAccepted {
		return MintAccepted{
			OperationID: o.ID, TokenID: o.TokenID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
			Amount: of(text(o.Amount)), RecipientAddress: of(text(o.Recipient)), TransactionRequestID: o.TransactionRequestID(),
			ApprovalPolicyID: o.ApprovalPolicyID, CreatedAt: second(o.CreatedAt),
		}
	})
}

// BurnToken answers POST /v1/tokens/{tokenId}/burn.
func (s *Server) BurnToken(c *gin.Context, _ TokenID, _ BurnTokenParams) {
	b, err := privileged[BurnRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	submit(s, c, operation.Request{
		Amount: &b.Amount, From: party(&b.From), FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
	}, func(o *operation.Operation) BurnAccepted {
		return BurnAccepted{
			OperationID: o.ID, TokenID: o.TokenID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
			Amount: of(text(o.Amount)), FromAddress: of(text(o.From)), TransactionRequestID: o.TransactionRequestID(),
			ApprovalPolicyID: o.ApprovalPolicyID, CreatedAt: second(o.CreatedAt),
		}
	})
}

// GrantTokenRole answers POST /v1/tokens/{tokenId}/roles/grant.
func (s *Server) GrantTokenRole(c *gin.Context, _ TokenID, _ GrantTokenRoleParams) { s.changeRole(c) }

// RevokeTokenRole answers POST /v1/tokens/{tokenId}/roles/revoke.
func (s *Server) RevokeTokenRole(c *gin.Context, _ TokenID, _ RevokeTokenRoleParams) {
	s.changeRole(c)
}

func (s *Server) changeRole(c *gin.Context) {
	b, err := privileged[RoleChangeRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	submit(s, c, operation.Request{
		Role: string(b.Role), Subject: party(&b.Subject), FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
	}, func(o *operation.Operation) RoleChangeAccepted {
		return RoleChangeAccepted{
			OperationID: o.ID, TokenID: o.TokenID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
			Role: Role(o.Role), SubjectAddress: of(text(o.Subject)), TransactionRequestID: o.TransactionRequestID(),
			CreatedAt: second(o.CreatedAt),
		}
	})
}

// TransferToken answers POST /v1/tokens/{tokenId}/transfers.
func (s *Server) TransferToken(c *gin.Context, _ TokenID, _ TransferTokenParams) {
	b, err := privileged[TransferRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	submit(s, c, operation.Request{
		Amount: &b.Amount, From: party(&b.From), Recipient: party(&b.To), FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
	}, func(o *operation.Operation) TransferAccepted {
		return TransferAccepted{
			OperationID: o.ID, TokenID: o.TokenID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
			Amount: of(text(o.Amount)), FromAddress: of(text(o.From)), RecipientAddress: of(text(o.Recipient)),
			TransactionRequestID: o.TransactionRequestID(), ApprovalPolicyID: o.ApprovalPolicyID, CreatedAt: second(o.CreatedAt),
		}
	})
}

// PauseToken answers POST /v1/tokens/{tokenId}/pause.
func (s *Server) PauseToken(c *gin.Context, _ TokenID, _ PauseTokenParams) { s.changePause(c) }

// UnpauseToken answers POST /v1/tokens/{tokenId}/unpause.
func (s *Server) UnpauseToken(c *gin.Context, _ TokenID, _ UnpauseTokenParams) { s.changePause(c) }

func (s *Server) changePause(c *gin.Context) {
	b, err := privileged[PauseRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	submit(s, c, operation.Request{
		FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
	}, func(o *operation.Operation) PauseAccepted {
		return PauseAccepted{
			OperationID: o.ID, TokenID: o.TokenID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
			TransactionRequestID: o.TransactionRequestID(), ApprovalPolicyID: o.ApprovalPolicyID, CreatedAt: second(o.CreatedAt),
		}
	})
}

func accountChange(o *operation.Operation) AccountChangeAccepted {
	return AccountChangeAccepted{
		OperationID: o.ID, TokenID: o.TokenID, OperationType: OperationType(o.Type), Status: OperationStatus(o.Status),
		SubjectAddress: of(text(o.Subject)), TransactionRequestID: o.TransactionRequestID(),
		ApprovalPolicyID: o.ApprovalPolicyID, CreatedAt: second(o.CreatedAt),
	}
}

// FreezeTokenAccount answers POST /v1/tokens/{tokenId}/freeze.
func (s *Server) FreezeTokenAccount(c *gin.Context, _ TokenID, _ FreezeTokenAccountParams) {
	s.changeFreeze(c)
}

// UnfreezeTokenAccount answers POST /v1/tokens/{tokenId}/unfreeze.
func (s *Server) UnfreezeTokenAccount(c *gin.Context, _ TokenID, _ UnfreezeTokenAccountParams) {
	s.changeFreeze(c)
}

func (s *Server) changeFreeze(c *gin.Context) {
	b, err := privileged[AccountFreezeRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	submit(s, c, operation.Request{
		Subject: party(&b.Subject), Reason: of(b.Reason), FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
	}, accountChange)
}

// AddTokenAllowlist answers POST /v1/tokens/{tokenId}/allowlist.
func (s *Server) AddTokenAllowlist(c *gin.Context, _ TokenID, _ AddTokenAllowlistParams) {
	b, err := privileged[AllowlistRequest](requestOf(c))
	if err != nil {
		s.refuse(c, err)
		return
	}
	subject := party(b.Subject)
	switch {
	case b.Subject == nil && b.Address == nil:
		s.refuse(c, registry.Refuse(registry.MissingField, "subject is missing; a bare address is taken in its place"))
		return
	case b.Subject != nil && b.Address != nil:
		s.refuse(c, registry.Refuse(registry.Validation, "subject and address are both given; one of them names the account"))
		return
	case b.Subject == nil:
		subject = &operation.Party{Type: operation.PartyAddress, Address: address(b.Address)}
	}
	submit(s, c, operation.Request{
		Subject: subject, Reason: of(b.IdentityRef), FeeStrategy: fees(b.FeeStrategy), PerformedBy: performer(b.PerformedBy), Replaces: of(b.Replaces),
	}, accountChange)
}

// RemoveTokenAllowlist answers DELETE /v1/tokens/{tokenId}/allowlist/{address}.
func (s *Server) RemoveTokenAllowlist(c *gin.Context, _ TokenID, who AddressPath, _ RemoveTokenAllowlistParams) {
	submit(s, c, operation.Request{Subject: &operation.Party{Type: operation.PartyAddress, Address: address(&who)}}, accountChange)
}
