package api

import (
	"context"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"slices"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

func policyForm(p *registry.Policy) (Policy, error) {
	rules, err := reshape[[]PolicyRule](p.Rules)
	if err != nil {
		return Policy{}, fmt.Errorf("api: the rules of policy %s v%d: %w", p.ID, p.Version, err)
	}
	f := Policy{
		ID: p.ID, Name: p.Name, Version: int64(p.Version), Status: PolicyStatus(p.Status),
		VaultAccountID: maybe(p.Scope.VaultAccountID), TokenID: maybe(p.Scope.TokenID), Retired: maybe(p.Retired),
		SupersededBy: maybe(string(p.SupersededBy)), Rules: rules, Document: p.Document, DocumentDigest: string(p.DocumentDigest),
		RequiredSignatures: p.RequiredSignatures, SignedBy: p.SignedBy, CreatedAt: second(p.CreatedAt),
	}
	if p.Change != "" {
		change := Change(p.Change)
		f.Change, f.Difference = &change, words(p.Difference)
	}
	if p.Proposals != nil {
		proposals, err := tried(slices.Concat(p.Proposals, p.Superseded), policyForm)
		if err != nil {
			return Policy{}, err
		}
		f.Proposals = &proposals
	}
	return f, nil
}

// reshape carries a value from one type to another that has the same JSON. A
// member that the other does not have is an error, never dropped.
func reshape[T any](v any) (T, error) {
	var out T
	b, err := json.Marshal(v)
	if err != nil {
		return out, err
	}
	return out, json.Unmarshal(b, &out, json.RejectUnknownMembers(true))
}

// policySpec is a policy as a caller writes it in the form of the document that
// custodians sign: addresses in EIP-55, whatever case they were given in.
func policySpec(r *request) (registry.PolicySpec, error) {
	b, err := privileged[PolicyWrite](r)
	if err != nil {
		return registry.PolicySpec{}, err
	}
	spec := registry.PolicySpec{Name: b.Name, VaultAccountID: of(b.VaultAccountID), TokenID: of(b.TokenID), Bad: r.bad()}
	if spec.Bad != nil {
		return spec, nil
	}
	for i := range b.Rules {
		if b.Rules[i].Addresses == nil {
			continue
		}
		for j, a := range *b.Rules[i].Addresses {
			address, err := tx.ParseAddress(a)
			if err != nil {
				return registry.PolicySpec{}, fault(registry.InvalidAddress, "rules[%d].addresses[%d] is %s: %v", i, j, quote(a), err)
			}
			(*b.Rules[i].Addresses)[j] = address.String()
		}
	}
	if spec.Rules, err = reshape[[]policy.Rule](b.Rules); err != nil {
		return registry.PolicySpec{}, fault(registry.Validation, "rules do not hold: %s", syntax(err))
	}
	return spec, nil
}

// CreatePolicy answers POST /v1/policies.
func (s *Server) CreatePolicy(c *gin.Context, _ CreatePolicyParams) {
	r := requestOf(c)
	spec, err := policySpec(r)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusAccepted, policyForm, func(ctx context.Context, idem *store.Idempotent) (*registry.Policy, error) {
		return s.registry.ProposePolicy(ctx, r.actor(), spec, idem)
	})
}

// ProposePolicyVersion answers PUT /v1/policies/{policyId}.
func (s *Server) ProposePolicyVersion(c *gin.Context, policyID PolicyID, _ ProposePolicyVersionParams) {
	r := requestOf(c)
	spec, err := policySpec(r)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusAccepted, policyForm, func(ctx context.Context, idem *store.Idempotent) (*registry.Policy, error) {
		return s.registry.ProposePolicyVersion(ctx, r.actor(), policyID, spec, idem)
	})
}

// WithdrawPolicy answers DELETE /v1/policies/{policyId}.
func (s *Server) WithdrawPolicy(c *gin.Context, policyID PolicyID, _ WithdrawPolicyParams) {
	r := requestOf(c)
	change(s, c, http.StatusAccepted, policyForm, func(ctx context.Context, idem *store.Idempotent) (*registry.Policy, error) {
		return s.registry.DeletePolicy(ctx, r.actor(), policyID, idem)
	})
}

// SignPolicy answers POST /v1/policies/{policyId}/sign.
func (s *Server) SignPolicy(c *gin.Context, policyID PolicyID, _ SignPolicyParams) {
	signed(s, c, policyForm, func(ctx context.Context, a registry.Actor, envelope []byte) (*registry.Policy, error) {
		return s.registry.SignPolicy(ctx, a, policyID, envelope)
	})
}

// ListPolicies answers GET /v1/policies.
func (s *Server) ListPolicies(c *gin.Context, params ListPoliciesParams) {
	limit, offset := page(params.Limit, params.Offset)
	policies, total, err := s.registry.Policies(c.Request.Context(), limit, offset)
	if err != nil {
		s.refuse(c, err)
		return
	}
	data, err := tried(policies, policyForm)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, PolicyList{Data: data, Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}

// GetPolicy answers GET /v1/policies/{policyId}.
func (s *Server) GetPolicy(c *gin.Context, policyID PolicyID) {
	p, err := s.registry.Policy(c.Request.Context(), policyID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	f, err := policyForm(p)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.rehearse(c.Request.Context(), p, &f)
	s.answer(c, f)
}
