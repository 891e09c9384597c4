package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

func credentialForm(k *registry.Credential) Credential {
	f := Credential{
		ID: k.ID, UserID: k.UserID, Label: k.Label, Status: CredentialStatusACTIVE,
		Permissions:             forms(k.Permissions, func(p registry.Permission) string { return string(p) }),
		CertificateFingerprints: append(CertificateFingerprints{}, k.Fingerprints...),
		Cidrs:                   forms(k.CIDRs, netip.Prefix.String),
		CreatedAt:               second(k.CreatedAt),
	}
	if k.Revoked() {
		at := second(k.RevokedAt)
		f.Status, f.RevokedAt = CredentialStatusREVOKED, &at
	}
	return f
}

func createdForm(k *registry.Credential) CredentialCreated {
	f := credentialForm(k)
	return CredentialCreated{
		ID: f.ID, UserID: f.UserID, Label: f.Label, Status: CredentialCreatedStatus(f.Status), Permissions: f.Permissions,
		CertificateFingerprints: f.CertificateFingerprints, Cidrs: f.Cidrs, CreatedAt: f.CreatedAt, RevokedAt: f.RevokedAt,
	}
}

func credentialSpec(b *CredentialCreate) (registry.CredentialSpec, error) {
	spec := registry.CredentialSpec{
		UserID: b.UserID, Label: of(b.Label), Fingerprints: of(b.CertificateFingerprints),
		Permissions: forms(of(b.Permissions), func(p string) registry.Permission { return registry.Permission(p) }),
	}
	for i, n := range of(b.Cidrs) {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			return spec, fault(registry.Validation, "cidrs[%d] is %s, which is not a network such as 10.0.0.0/8", i, quote(n))
		}
		spec.CIDRs = append(spec.CIDRs, p)
	}
	return spec, nil
}

// CreateCredential answers POST /v1/credentials. The bearer key is in this
// answer and nowhere else: what the idempotency record keeps, and a replay
// answers, is the credential without it.
func (s *Server) CreateCredential(c *gin.Context, _ CreateCredentialParams) {
	r := requestOf(c)
	b, err := bind[CredentialCreate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	spec, err := credentialSpec(b)
	if err != nil {
		s.refuse(c, err)
		return
	}
	key := ""
	change(s, c, http.StatusCreated, sure(createdForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Credential, error) {
		secret, k, err := s.registry.CreateCredential(ctx, r.actor(), spec, idem)
		if err != nil {
			return nil, err
		}
		key = secret
		f := createdForm(k)
		f.Key = &key
		if r.answer, err = encode(f); err != nil {
			return nil, fmt.Errorf("api: credential %s: %w", k.ID, err)
		}
		r.status = http.StatusCreated
		return k, nil
	})
}

// ListCredentials answers GET /v1/credentials.
func (s *Server) ListCredentials(c *gin.Context, params ListCredentialsParams) {
	limit, offset := page(params.Limit, params.Offset)
	keys, total, err := s.registry.Credentials(c.Request.Context(), of(params.UserID), limit, offset)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, CredentialList{Data: forms(keys, credentialForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}

// RevokeCredential answers DELETE /v1/credentials/{credentialId}.
func (s *Server) RevokeCredential(c *gin.Context, credentialID CredentialID, _ RevokeCredentialParams) {
	r := requestOf(c)
	change(s, c, http.StatusOK, sure(credentialForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Credential, error) {
		return s.registry.RevokeCredential(ctx, r.actor(), credentialID, idem)
	})
}
