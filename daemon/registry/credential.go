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
	// ExpiresAt is from when on the key is refused; zero for never.
	ExpiresAt time.Time `json:"expiresAt,omitzero"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
	RevokedBy string    `json:"revokedBy,omitzero"`
	// Raised is the user's when the key was drawn (see [User]).
	Raised int `json:"raised,omitzero"`
	// ReplacedBy is the credential that rotation put in this one's place; empty
	// if it was not rotated.
	ReplacedBy string `json:"replacedBy,omitzero"`
}

// Revoked tells whether the credential was revoked.
func (c *Credential) Revoked() bool { return !c.RevokedAt.IsZero() }

// Expired tells whether the credential's time has passed.
func (c *Credential) Expired(now time.Time) bool {
	return !c.ExpiresAt.IsZero() && !now.Before(c.ExpiresAt)
}

// of is the credential under its user as he is now: one that carries all of the
// role, and was drawn before a change of role added to it, was revoked with it.
func (c *Credential) of(u *User) *Credential {
	if u == nil || c.Revoked() || len(c.Permissions) > 0 || c.Raised >= u.Raised {
		return c
	}
	v := *c
	v.RevokedAt, v.RevokedBy = u.RaisedAt, u.RaisedBy
	return &v
}

// refusal says why the key is not honoured any more; nil if it is.
func (c *Credential) refusal(now time.Time) *Refusal {
	switch {
	case c.Revoked():
		return Refuse(APIKeyRevoked, "credential %s was revoked at %s", c.ID, c.RevokedAt.Format(time.RFC3339))
	case !c.Expired(now):
		return nil
	case c.ReplacedBy != "":
		return Refuse(APIKeyRevoked, "credential %s was replaced by %s, and its grace ended at %s", c.ID, c.ReplacedBy, c.ExpiresAt.Format(time.RFC3339))
	}
	return Refuse(APIKeyRevoked, "credential %s expired at %s", c.ID, c.ExpiresAt.Format(time.RFC3339))
}

// CredentialSpec is what is asked for when a credential is made.
type CredentialSpec struct {
	UserID, Label string
	// Permissions is empty for all of the user's role.
	Permissions []Permission
	// Fingerprints are hex SHA-256 of client certificates' DER, any case.
	Fingerprints []string
	CIDRs        []netip.Prefix
	// ExpiresAt is from when on the key is refused; zero for never.
	ExpiresAt time.Time
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
func (s *Service) CreateCredential(ctx context.Context, by *Principal, spec CredentialSpec, idem *store.Idempotent) (string, *Credential, error) {
	key := ""
	c, err := attempt(ctx, s, idem, func(tx *store.Tx) (*Credential, func(int64), error) {
		who, err := s.authority(ctx, tx, by, CredentialsCreate)
		if err != nil {
			return nil, nil, err
		}
		u, at, err := s.owner(ctx, spec.UserID)
		if err != nil {
			return nil, nil, err
		}
		carries, err := s.carried(ctx, u.Role)
		if err != nil {
			return nil, nil, err
		}
		c, err := s.newCredential(u, carries, spec)
		if err != nil {
			return nil, nil, err
		}
		if err := who.mayDraw(u, c, carries); err != nil {
			return nil, nil, err
		}
		key = s.draw(c, who)
		tx.Require(store.User(u.ID), at)
		tx.PutIfAbsent(store.Credential(c.ID), encode(c))
		tx.Audit(who.draft(happening{"credential.created", "credential", c.ID, map[string]any{"userId": u.ID, "user": u.Name, "label": c.Label}}))
		return c, func(rev int64) { s.credentials.wrote(store.Credential(c.ID), c, rev) }, nil
	})
	if err != nil {
		return "", nil, err
	}
	return key, c, nil
}

// draw gives a credential its id and secret, and returns the bearer key.
func (s *Service) draw(c *Credential, who *Principal) string {
	charter, _ := s.fold.Charter()
	b := NewBearer(live(charter))
	c.ID, c.Hash, c.CreatedBy, c.CreatedAt = b.CredentialID, b.Hash, who.Name, s.second()
	return b.Key
}

// owner is the user that a credential is or will be of, as the store has it.
func (s *Service) owner(ctx context.Context, id string) (*User, int64, error) {
	if !store.ValidID(userPrefix, id) {
		return nil, 0, noUser(id)
	}
	u, at, err := load[User](ctx, s.store, store.User(id))
	if err == nil && u == nil {
		err = noUser(id)
	}
	return u, at, err
}

// mayDraw refuses a key c of user u, whose role carries that much, whose secret
// the caller would see and that carries what he could not give. His own carries
// no more than the one he shows, is bound as that is and ends no later.
func (p *Principal) mayDraw(u *User, c *Credential, role []Permission) error {
	carries := c.effective(role)
	if u.ID != p.UserID {
		return p.mayGive("a key of "+u.Name, carries)
	}
	for _, want := range expand(carries) {
		if !p.Allows(want) {
			return against(RuleSelf, "a key of yours would carry %s, which credential %s does not; nobody raises himself", want, p.CredentialID)
		}
	}
	return p.mayLoosen(c)
}

// mayLoosen refuses a key of the caller's own that is bound less, or lives
// longer, than the one that he shows.
func (p *Principal) mayLoosen(c *Credential) error {
	bound := func(f string) bool { return slices.Contains(p.Fingerprints, f) }
	if len(p.Fingerprints) > 0 && (len(c.Fingerprints) == 0 || !all(c.Fingerprints, bound)) {
		return against(RuleSelf, "credential %s is bound to client certificates: a key of yours must be bound to some of them and no others", p.CredentialID)
	}
	within := func(n netip.Prefix) bool {
		return slices.ContainsFunc(p.CIDRs, func(o netip.Prefix) bool { return o.Bits() <= n.Bits() && o.Contains(n.Addr()) })
	}
	if len(p.CIDRs) > 0 && (len(c.CIDRs) == 0 || !all(c.CIDRs, within)) {
		return against(RuleSelf, "credential %s is bound to networks: a key of yours must be bound to networks within them", p.CredentialID)
	}
	if !p.ExpiresAt.IsZero() && (c.ExpiresAt.IsZero() || c.ExpiresAt.After(p.ExpiresAt)) {
		return against(RuleSelf, "credential %s expires at %s: a key of yours must expire no later", p.CredentialID, p.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

// all tells whether ok holds of each.
func all[T any](each []T, ok func(T) bool) bool {
	return !slices.ContainsFunc(each, func(v T) bool { return !ok(v) })
}

func (s *Service) newCredential(u *User, carries []Permission, spec CredentialSpec) (*Credential, error) {
	if err := checkText("label", spec.Label, 0, maxLabel); err != nil {
		return nil, err
	}
	if !spec.ExpiresAt.IsZero() && !spec.ExpiresAt.After(s.now()) {
		return nil, Refuse(Validation, "expiresAt %s is not in the future", spec.ExpiresAt.UTC().Format(time.RFC3339))
	}
	c := &Credential{
		UserID: u.ID, Label: spec.Label, Permissions: slices.Clone(spec.Permissions), CIDRs: slices.Clone(spec.CIDRs),
		ExpiresAt: spec.ExpiresAt.UTC().Truncate(time.Second), Raised: u.Raised,
	}
	for _, p := range spec.Permissions {
		if !p.Valid() {
			return nil, Refuse(Validation, "there is no permission %+q", string(p))
		}
		if !covers(carries, p) {
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
	c, _, err := s.stored(ctx, id)
	if err != nil {
		return nil, err
	}
	u, _, err := load[User](ctx, s.store, store.User(c.UserID))
	return c.of(u), err
}

// Credentials lists credentials, revoked ones too, newest first, and says how
// many there are; userID narrows the list to one user's unless it is empty.
func (s *Service) Credentials(ctx context.Context, userID string, limit, offset int) ([]*Credential, int, error) {
	keep := func(c *Credential) bool { return userID == "" || c.UserID == userID }
	page, total, err := s.credentials.newest(ctx, s.store, keep, limit, offset)
	for n, c := range page {
		u, err := s.users.get(ctx, s.store, store.User(c.UserID))
		if err != nil {
			return nil, 0, err
		}
		page[n] = c.of(u)
	}
	return page, total, err
}

// RevokeCredential ends a credential; a revoked one stays as it was. When it
// returns, this appliance refuses the key; others do as soon as their watch
// tells them. The key of who administers is revoked by who may do as much, and
// by itself. The last key that an admin could work with is not revoked before
// there is another.
func (s *Service) RevokeCredential(ctx context.Context, by *Principal, id string, idem *store.Idempotent) (*Credential, error) {
	if !store.ValidID(credentialPrefix, id) {
		return nil, noCredential(id)
	}
	return attempt(ctx, s, idem, func(tx *store.Tx) (*Credential, func(int64), error) {
		who, err := s.authority(ctx, tx, by, CredentialsRevoke)
		if err != nil {
			return nil, nil, err
		}
		c, rev, err := s.stored(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		u, at, err := s.owner(ctx, c.UserID)
		if err != nil {
			return nil, nil, err
		}
		if u.ID != who.UserID {
			tx.Require(store.User(u.ID), at)
		}
		if c.ID != who.CredentialID {
			carries, err := s.carried(ctx, u.Role)
			if err != nil {
				return nil, nil, err
			}
			if err := who.mayTake("role "+string(u.Role)+" of "+u.Name+", whose key it is,", carries); err != nil {
				return nil, nil, err
			}
		}
		if c = c.of(u); c.Revoked() {
			tx.Require(store.Credential(id), rev)
			return c, nil, nil
		}
		c.RevokedAt, c.RevokedBy = s.second(), who.Name
		if err := s.takesKey(ctx, tx, c, "revoking "+c.ID); err != nil {
			return nil, nil, err
		}
		tx.PutIf(store.Credential(id), encode(c), rev)
		tx.Audit(who.draft(happening{"credential.revoked", "credential", c.ID, map[string]any{"userId": c.UserID, "label": c.Label}}))
		return c, func(at int64) { s.credentials.wrote(store.Credential(id), c, at) }, nil
	})
}

// stored is a credential as the store has it now.
func (s *Service) stored(ctx context.Context, id string) (*Credential, int64, error) {
	c, rev, err := load[Credential](ctx, s.store, store.Credential(id))
	if err == nil && c == nil {
		err = noCredential(id)
	}
	return c, rev, err
}

// takesKey holds a change that ends a credential, c as it is to be.
func (s *Service) takesKey(ctx context.Context, tx *store.Tx, c *Credential, what string) error {
	u, _, err := load[User](ctx, s.store, store.User(c.UserID))
	if err != nil || u == nil || u.Role != Admin {
		return err
	}
	return s.takesAdmin(ctx, tx, nil, c, what)
}

// Authenticate is the caller behind a bearer key. Missing, malformed and
// unknown keys are UNAUTHORIZED, alike in every byte of the answer; a revoked
// or expired one, or one of a suspended user, is API_KEY_REVOKED. Whether
// certificate and address fit is for the caller to ask of the principal, and to
// say with [Service.Used] that it did.
//
// It reads memory alone while the watches run; where the store was out of reach
// for a second it waits a little for it, and then is [store.ErrUnavailable].
func (s *Service) Authenticate(ctx context.Context, bearer string) (*Principal, error) {
	unknown := Refuse(Unauthorized, "the bearer key is missing, malformed or unknown; send Authorization: Bearer qcs_…")
	parts := bearerPattern.FindStringSubmatch(bearer)
	if parts == nil {
		return nil, unknown
	}
	if charter, _ := s.fold.Charter(); (parts[1] == "live") != live(charter) {
		return nil, unknown
	}
	if s.credentials.running() {
		if err := s.pulse.fresh(ctx); err != nil {
			return nil, err
		}
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
	u, err := s.users.get(ctx, s.store, store.User(c.UserID))
	if err != nil {
		return nil, err
	}
	if u == nil {
		return nil, unknown
	}
	return s.principal(ctx, c, u)
}

// principal is the user behind his credential, if both are honoured now.
func (s *Service) principal(ctx context.Context, c *Credential, u *User) (*Principal, error) {
	c = c.of(u)
	if r := c.refusal(s.now()); r != nil {
		return nil, r
	}
	if u.Status != UserActive {
		return nil, Refuse(APIKeyRevoked, "user %s, to whom credential %s belongs, is suspended", u.Name, c.ID)
	}
	carries, err := s.carried(ctx, u.Role)
	if err != nil {
		return nil, err
	}
	return &Principal{
		Actor: Actor{UserID: u.ID, Name: u.Name, CredentialID: c.ID}, Role: u.Role,
		Permissions: c.effective(carries), Fingerprints: c.Fingerprints, CIDRs: c.CIDRs, ExpiresAt: c.ExpiresAt,
	}, nil
}

// effective is what the credential carries of what its user's role carries: a
// permission that the role does not have is gone.
func (c *Credential) effective(role []Permission) []Permission {
	if len(c.Permissions) == 0 {
		return role
	}
	held := []Permission{}
	for _, p := range c.Permissions {
		if covers(role, p) {
			held = append(held, p)
		}
	}
	return held
}

func noCredential(id string) error {
	return Refuse(NotFound, "there is no credential %q; GET /v1/credentials lists them", id)
}
