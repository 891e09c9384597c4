package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// Credential is a bearer key as the store holds it: everything but the key.
type Credential struct {
	ID     string `json:"id"`
	UserID string `json:"userId"`
	Label  string `json:"label"`
	// Hash is "sha256:" and the hex SHA-256 of the bearer key's secret part.
	Hash string `json:"hash"`
	// Permissions never exceed those of the user's role; empty means all of
	// the role's.
	Permissions  []Permission   `json:"permissions"`
	Fingerprints []string       `json:"fingerprints"`
	CIDRs        []netip.Prefix `json:"cidrs"`
	CreatedBy    string         `json:"createdBy"`
	CreatedAt    time.Time      `json:"createdAt"`
	RevokedAt    time.Time      `json:"revokedAt,omitzero"`
	RevokedBy    string         `json:"revokedBy,omitzero"`
}

// Revoked tells whether the credential was revoked.
func (c *Credential) Revoked() bool { return !c.RevokedAt.IsZero() }

// CredentialSpec is what is asked for when a credential is made.
type CredentialSpec struct {
	UserID, Label string
	// Permissions is empty for all of the user's role.
	Permissions []Permission
	// Fingerprints are hex SHA-256 of client certificates' DER, any case.
	Fingerprints []string
	CIDRs        []netip.Prefix
}

// A bearer key is qcs_test_<ULID>_<secret>, or qcs_live_… where the charter
// says production: the ULID is its credential's, the secret 32 random bytes in
// unpadded base64url (spec: api, "authentication").
var bearerPattern = regexp.MustCompile(`^qcs_(live|test)_([0-9A-HJKMNP-TV-Z]{26})_([A-Za-z0-9_-]{43})$`)

const secretSize = 32 // bytes

// Bearer is a new bearer key: the only moment at which it exists whole.
type Bearer struct {
	CredentialID string
	Key          string // what the caller presents; never stored
	Hash         string // what is stored
}

// live says which kind of key the charter asks for.
func live(c *policy.Charter) bool { return c != nil && c.Environment == policy.Production }

// NewBearer draws a bearer key. live says that the charter's environment is
// production.
func NewBearer(live bool) Bearer {
	raw := make([]byte, secretSize)
	rand.Read(raw) // never fails: crypto/rand ends the program instead
	secret := base64.RawURLEncoding.EncodeToString(raw)
	id := store.NewID(credentialPrefix)
	kind := "test"
	if live {
		kind = "live"
	}
	return Bearer{CredentialID: id, Key: "qcs_" + kind + "_" + id[len(credentialPrefix):] + "_" + secret, Hash: hashSecret(secret)}
}

func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// CreateCredential makes a credential for a user and returns its bearer key,
// which is kept nowhere: not even the record of an idempotency key gets it, so
// a repeated request is answered without it.
func (s *Service) CreateCredential(ctx context.Context, a Actor, spec CredentialSpec, idem *store.Idempotent) (string, *Credential, error) {
	u, err := s.User(ctx, spec.UserID)
	if err != nil {
		return "", nil, err
	}
	c, err := newCredential(u, spec)
	if err != nil {
		return "", nil, err
	}
	charter, _ := s.fold.Charter()
	b := NewBearer(live(charter))
	c.ID, c.Hash, c.CreatedBy, c.CreatedAt = b.CredentialID, b.Hash, a.Name, s.second()
	h := happening{"credential.created", "credential", c.ID, map[string]any{"userId": u.ID, "user": u.Name, "label": c.Label}}
	if err := create(ctx, s, s.credentials, store.Credential(c.ID), c, a, h, idem); err != nil {
		return "", nil, err
	}
	return b.Key, c, nil
}

func newCredential(u *User, spec CredentialSpec) (*Credential, error) {
	if err := checkText("label", spec.Label, 0, maxLabel); err != nil {
		return nil, err
	}
	c := &Credential{UserID: u.ID, Label: spec.Label, Permissions: slices.Clone(spec.Permissions), CIDRs: slices.Clone(spec.CIDRs)}
	for _, p := range spec.Permissions {
		if !p.Valid() {
			return nil, Refuse(Validation, "there is no permission %+q", string(p))
		}
		if !u.Role.covers(p) {
			return nil, Refuse(Validation, "permission %s is not one of role %s, which user %s has", p, u.Role, u.Name)
		}
	}
	for _, f := range spec.Fingerprints {
		f = strings.ToLower(strings.ReplaceAll(f, ":", ""))
		if raw, err := hex.DecodeString(f); err != nil || len(raw) != sha256.Size {
			return nil, Refuse(Validation, "fingerprint %+q is not the hex SHA-256 of a certificate", f)
		}
		c.Fingerprints = append(c.Fingerprints, f)
	}
	for _, n := range spec.CIDRs {
		if !n.IsValid() || n != n.Masked() {
			return nil, Refuse(Validation, "%s is not a network: its host bits must be zero", n)
		}
	}
	return c, nil
}

// Credential is one credential; an unknown one is NOT_FOUND.
func (s *Service) Credential(ctx context.Context, id string) (*Credential, error) {
	if !store.ValidID(credentialPrefix, id) {
		return nil, noCredential(id)
	}
	c, _, err := load[Credential](ctx, s.store, store.Credential(id))
	if err == nil && c == nil {
		err = noCredential(id)
	}
	return c, err
}

// Credentials lists credentials, revoked ones too, newest first, and says how
// many there are; userID narrows the list to one user's unless it is empty.
func (s *Service) Credentials(ctx context.Context, userID string, limit, offset int) ([]*Credential, int, error) {
	keep := func(c *Credential) bool { return userID == "" || c.UserID == userID }
	return s.credentials.newest(ctx, s.store, keep, limit, offset)
}

// RevokeCredential ends a credential; a revoked one stays as it was. When it
// returns, this appliance refuses the key; others do as soon as their watch
// tells them.
func (s *Service) RevokeCredential(ctx context.Context, a Actor, id string, idem *store.Idempotent) (*Credential, error) {
	if !store.ValidID(credentialPrefix, id) {
		return nil, noCredential(id)
	}
	return update(ctx, s, s.credentials, store.Credential(id), a, idem, noCredential(id), func(c *Credential) (happening, error) {
		if c.Revoked() {
			return happening{}, nil
		}
		c.RevokedAt, c.RevokedBy = s.second(), a.Name
		return happening{"credential.revoked", "credential", c.ID, map[string]any{"userId": c.UserID, "label": c.Label}}, nil
	})
}

// Authenticate is the caller behind a bearer key. Missing, malformed and
// unknown keys are UNAUTHORIZED, alike in every byte of the answer; a revoked
// one, or one of a suspended user, is API_KEY_REVOKED. Whether certificate and
// address fit is for the caller to ask of the principal.
func (s *Service) Authenticate(ctx context.Context, bearer string) (*Principal, error) {
	unknown := Refuse(Unauthorized, "the bearer key is missing, malformed or unknown; send Authorization: Bearer qcs_…")
	parts := bearerPattern.FindStringSubmatch(bearer)
	if parts == nil {
		return nil, unknown
	}
	if charter, _ := s.fold.Charter(); (parts[1] == "live") != live(charter) {
		return nil, unknown
	}
	c, err := s.credentials.get(ctx, s.store, store.Credential(credentialPrefix+parts[2]))
	if err != nil {
		return nil, err
	}
	known := hashSecret("")
	if c != nil {
		known = c.Hash
	}
	if subtle.ConstantTimeCompare([]byte(hashSecret(parts[3])), []byte(known)) != 1 || c == nil {
		return nil, unknown
	}
	if c.Revoked() {
		return nil, Refuse(APIKeyRevoked, "credential %s was revoked at %s", c.ID, c.RevokedAt.Format(time.RFC3339))
	}
	u, err := s.users.get(ctx, s.store, store.User(c.UserID))
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, unknown
	}
	if u.Status != UserActive {
		return nil, Refuse(APIKeyRevoked, "user %s, to whom credential %s belongs, is suspended", u.Name, c.ID)
	}
	return &Principal{
		Actor: Actor{UserID: u.ID, Name: u.Name, CredentialID: c.ID}, Role: u.Role,
		Permissions: c.effective(u.Role), Fingerprints: c.Fingerprints, CIDRs: c.CIDRs,
	}, nil
}

// effective is what the credential carries now: a permission that its user's
// role no longer has is gone.
func (c *Credential) effective(r UserRole) []Permission {
	if len(c.Permissions) == 0 {
		return r.Permissions()
	}
	held := []Permission{}
	for _, p := range c.Permissions {
		if r.covers(p) {
			held = append(held, p)
		}
	}
	return held
}

func noCredential(id string) error {
	return Refuse(NotFound, "there is no credential %q; GET /v1/credentials lists them", id)
}
