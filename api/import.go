package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// ImportToken answers POST /v1/tokens/import.
func (s *Server) ImportToken(c *gin.Context, _ ImportTokenParams) {
	r := requestOf(c)
	b, err := privileged[TokenImport](r)
	if err != nil {
		s.refuse(c, err)
		return
	}
	spec := registry.ImportSpec{Network: b.Network, TemplateID: b.TemplateID, AdminVaultAccountID: b.Admin.VaultAccountID,
		ApprovalPolicyID: b.Admin.ApprovalPolicyID, Description: of(b.Description), Tags: of(b.Tags), Bad: r.bad()}
	address := func(field, text string) tx.Address {
		a, err := tx.ParseAddress(text)
		switch {
		case spec.Bad != nil:
		case err != nil:
			spec.Bad = fault(registry.InvalidRecipient, "%s %s: %v", field, quote(text), err)
		case a == (tx.Address{}):
			spec.Bad = fault(registry.InvalidRecipient, "%s is the zero address", field)
		}
		return a
	}
	spec.ContractAddress = address("contractAddress", b.ContractAddress)
	for _, holder := range of(b.ExternalHolders) {
		spec.External = append(spec.External, address("externalHolders", holder))
	}
	if b.CreationTransactionHash != nil {
		hash, err := tx.ParseHash(*b.CreationTransactionHash)
		if err != nil {
			s.refuse(c, fault(registry.Validation, "creationTransactionHash %s: %v", quote(*b.CreationTransactionHash), err))
			return
		}
		spec.CreationTransactionHash = &hash
	}
	change(s, c, http.StatusCreated, sure(tokenForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Token, error) {
		return s.registry.ImportToken(ctx, r.actor(), spec, idem)
	})
}

// GetTokenBinding answers GET /v1/tokens/{tokenId}/binding.
func (s *Server) GetTokenBinding(c *gin.Context, tokenID TokenID) {
	i, err := s.registry.Import(c.Request.Context(), tokenID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, bindingForm(i))
}

// SignTokenBinding answers POST /v1/tokens/{tokenId}/binding/sign.
func (s *Server) SignTokenBinding(c *gin.Context, tokenID TokenID, _ SignTokenBindingParams) {
	signed(s, c, sure(bindingForm), func(ctx context.Context, a registry.Actor, envelope []byte) (*registry.Import, error) {
		return s.registry.SignBinding(ctx, a, tokenID, envelope)
	})
}

func bindingForm(i *registry.Import) TokenBinding {
	return TokenBinding{TokenID: i.TokenID, Network: i.Binding.Network, ContractAddress: i.Binding.ContractAddress.String(), Verified: i.Binding.Verified,
		Doubts: append([]string{}, i.Doubts...), ExternalHolders: forms(i.Binding.External, tx.Address.String), Document: i.Document, DocumentDigest: string(i.Digest),
		RequiredSignatures: i.RequiredSignatures, SignedBy: i.SignedBy, Bound: i.Sequence != 0, CreatedAt: second(i.CreatedAt)}
}
