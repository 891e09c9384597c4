package api

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

// credentialForm shows a credential; used is when it was last used, zero for
// never.
func credentialForm(k *registry.Credential, used time.Time) Credential {
	f := Credential{
		ID: k.ID, UserID: k.UserID, Label: k.Label, Status: CredentialStatusACTIVE,
		Permissions:             forms(k.Permissions, func(p registry.Permission) string { return string(p) }),
		CertificateFingerprints: append(CertificateFingerprints{}, k.Fingerprints...),
		Cidrs:                   forms(k.CIDRs, netip.Prefix.String),
		CreatedAt:               second(k.CreatedAt), ExpiresAt: moment(k.ExpiresAt), RevokedAt: moment(k.RevokedAt),
		ReplacedBy: maybe(k.ReplacedBy), LastUsedAt: moment(used),
	}
	switch {
	case k.Revoked():
		f.Status = CredentialStatusREVOKED
	case k.Expired(time.Now()):
		f.Status = CredentialStatusEXPIRED
	}
	return f
}

// moment is a time as the document shows it, or null for none.
func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = second(t)
	return &t
}

// seen is credentialForm with what is known of the credential's use.
func (s *Server) seen(ctx context.Context) func(*registry.Credential) (Credential, error) {
	return func(k *registry.Credential) (Credential, error) {
		used, err := s.registry.LastUsed(ctx, k.ID)
		return credentialForm(k, used), err
	}
}

func createdForm(k *registry.Credential) CredentialCreated {
	f := credentialForm(k, time.Time{})
	return CredentialCreated{
		ID: f.ID, UserID: f.UserID, Label: f.Label, Status: CredentialCreatedStatus(f.Status), Permissions: f.Permissions,
		CertificateFingerprints: f.CertificateFingerprints, Cidrs: f.Cidrs, CreatedAt: f.CreatedAt, ExpiresAt: f.ExpiresAt,
		RevokedAt: f.RevokedAt, ReplacedBy: f.ReplacedBy, LastUsedAt: f.LastUsedAt,
	}
}

func credentialSpec(b *CredentialCreate) (registry.CredentialSpec, error) {
	spec := registry.CredentialSpec{
		UserID: b.UserID, Label: of(b.Label), Fingerprints: of(b.CertificateFingerprints),
		Permissions: forms(of(b.Permissions), func(p string) registry.Permission { return registry.Permission(p) }), ExpiresAt: of(b.ExpiresAt),
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

// drawn answers a call that draws a bearer key. The key is in this answer and
// nowhere else: what the idempotency record keeps, and a replay answers, is the
// credential without it.
func (s *Server) drawn(c *gin.Context, draw func(context.Context, *store.Idempotent) (string, *registry.Credential, error)) {
	r := requestOf(c)
	change(s, c, http.StatusCreated, sure(createdForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Credential, error) {
		key, k, err := draw(ctx, idem)
		if err != nil {
			return nil, err
		}
		f := createdForm(k)
		f.Key = &key
		if r.answer, err = encode(f); err != nil {
			return nil, fmt.Errorf("api: credential %s: %w", k.ID, err)
		}
		r.status = http.StatusCreated
		return k, nil
	})
}

// CreateCredential answers POST /v1/credentials.
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
	s.drawn(c, func(ctx context.Context, idem *store.Idempotent) (string, *registry.Credential, error) {
		return s.registry.CreateCredential(ctx, r.caller, spec, idem)
	})
}

// RotateCredential answers POST /v1/credentials/rotate.
func (s *Server) RotateCredential(c *gin.Context, _ RotateCredentialParams) {
	r := requestOf(c)
	b, err := bind[CredentialRotate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	grace := time.Duration(of(b.GraceSeconds)) * time.Second
	s.drawn(c, func(ctx context.Context, idem *store.Idempotent) (string, *registry.Credential, error) {
		return s.registry.RotateCredential(ctx, r.caller, b.CredentialID, grace, idem)
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
	data, err := tried(keys, s.seen(c.Request.Context()))
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, CredentialList{Data: data, Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}

// GetCredential answers GET /v1/credentials/{credentialId}.
func (s *Server) GetCredential(c *gin.Context, credentialID CredentialID) {
	k, err := s.registry.Credential(c.Request.Context(), credentialID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	f, err := s.seen(c.Request.Context())(k)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, f)
}

// RevokeCredential answers DELETE /v1/credentials/{credentialId}.
func (s *Server) RevokeCredential(c *gin.Context, credentialID CredentialID, _ RevokeCredentialParams) {
	r := requestOf(c)
	change(s, c, http.StatusOK, s.seen(c.Request.Context()), func(ctx context.Context, idem *store.Idempotent) (*registry.Credential, error) {
		return s.registry.RevokeCredential(ctx, r.caller, credentialID, idem)
	})
}
