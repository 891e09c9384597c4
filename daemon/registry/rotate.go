package registry

import (
	"context"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// MaxGrace is how long a rotated key may go on at most.
const MaxGrace = 7 * 24 * time.Hour

// RotateCredential puts a new credential in the place of one: the same user,
// label, permissions (those that the role still has), bindings and expiry,
// another key: who wants it to live longer makes a new one. The old key is honoured for the
// grace (0 to [MaxGrace], whole seconds; never longer than it would have been),
// and revoked at once without one. It returns the new bearer key, which is kept
// nowhere.
func (s *Service) RotateCredential(ctx context.Context, by *Principal, id string, grace time.Duration, idem *store.Idempotent) (string, *Credential, error) {
	if !store.ValidID(credentialPrefix, id) {
		return "", nil, noCredential(id)
	}
	if grace < 0 || grace > MaxGrace {
		return "", nil, Refuse(Validation, "a grace of %s is outside 0 to %s", grace, MaxGrace)
	}
	key := ""
	c, err := attempt(ctx, s, idem, func(tx *store.Tx) (*Credential, func(int64), error) {
		who, err := s.authority(ctx, tx, by, CredentialsRotate)
		if err != nil {
			return nil, nil, err
		}
		old, rev, err := s.stored(ctx, id)
		if err != nil {
			return nil, nil, err
		}
		next, err := s.successor(ctx, tx, who, old)
		if err != nil {
			return nil, nil, err
		}
		key = s.draw(next, who)
		s.retire(old, next, grace, who)
		tx.PutIf(store.Credential(id), encode(old), rev)
		tx.PutIfAbsent(store.Credential(next.ID), encode(next))
		until := old.ExpiresAt
		if old.Revoked() {
			until = old.RevokedAt
		}
		tx.Audit(who.draft(happening{"credential.rotated", "credential", old.ID, map[string]any{
			"userId": old.UserID, "label": old.Label, "replacedBy": next.ID, "honouredUntil": until.Format(time.RFC3339),
		}}))
		return next, func(at int64) {
			s.credentials.wrote(store.Credential(id), old, at)
			s.credentials.wrote(store.Credential(next.ID), next, at)
		}, nil
	})
	if err != nil {
		return "", nil, err
	}
	return key, c, nil
}

// successor is what follows a credential, without id and secret.
func (s *Service) successor(ctx context.Context, tx *store.Tx, who *Principal, old *Credential) (*Credential, error) {
	if old.ReplacedBy != "" {
		return nil, Refuse(Validation, "credential %s was rotated already; rotate %s, which replaced it", old.ID, old.ReplacedBy)
	}
	u, at, err := s.owner(ctx, old.UserID)
	if err != nil {
		return nil, err
	}
	if r := old.of(u).refusal(s.now()); r != nil {
		return nil, Refuse(Validation, "%s; make a new credential", r.Message)
	}
	carries, err := s.carried(ctx, u.Role)
	if err != nil {
		return nil, err
	}
	if u.ID != who.UserID {
		tx.Require(store.User(u.ID), at)
	}
	next := &Credential{
		UserID: old.UserID, Label: old.Label, ExpiresAt: old.ExpiresAt, Raised: u.Raised,
		Fingerprints: slices.Clone(old.Fingerprints), CIDRs: slices.Clone(old.CIDRs),
	}
	// What the role has lost does not come back in another's hand with the role,
	// and a key that carries nothing must not become one that carries all.
	if len(old.Permissions) > 0 {
		if next.Permissions = slices.Clone(old.effective(carries)); len(next.Permissions) == 0 {
			return nil, Refuse(Validation, "credential %s carries nothing that role %s of %s has; make a new credential", old.ID, u.Role, u.Name)
		}
	}
	if err := who.mayDraw(u, next, carries); err != nil {
		return nil, err
	}
	return next, nil
}

// retire ends the old credential at the end of the grace.
func (s *Service) retire(old, next *Credential, grace time.Duration, who *Principal) {
	old.ReplacedBy = next.ID
	if grace < time.Second {
		old.RevokedAt, old.RevokedBy = s.second(), who.Name
		return
	}
	if end := s.second().Add(grace); old.ExpiresAt.IsZero() || end.Before(old.ExpiresAt) {
		old.ExpiresAt = end
	}
}
