package registry

import (
	"context"
	"fmt"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// attempt makes a change of people: build reads from the store what the change
// rests on, and puts its writes and the comparisons that hold it into tx. It
// runs again as long as somebody else came in between. It answers the resource
// and what is to be done with the revision; nil where there was nothing to do.
func attempt[T any](ctx context.Context, s *Service, idem *store.Idempotent, build func(*store.Tx) (*T, func(rev int64), error)) (*T, error) {
	for range maxAttempts {
		tx := s.store.Tx()
		v, wrote, err := build(tx)
		if err != nil {
			return nil, err
		}
		if wrote == nil && idem == nil {
			return v, nil
		}
		tx.Idempotent(idem, v)
		rev, err := tx.Commit(ctx)
		if lostRace(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if wrote != nil {
			wrote(rev)
		}
		return v, nil
	}
	return nil, fmt.Errorf("registry: changed %d times by others while it was being changed: %w", maxAttempts, store.ErrConflict)
}

// authority is the caller as the store has him now, who must still hold want,
// and lets tx pass only while that is so: a suspended admin's last request
// cannot land behind his suspension. The appliance itself has every authority.
func (s *Service) authority(ctx context.Context, tx *store.Tx, by *Principal, want Permission) (*Principal, error) {
	if by.System {
		return &Principal{Actor: by.Actor, Permissions: permissions}, nil
	}
	u, userAt, err := load[User](ctx, s.store, store.User(by.UserID))
	if err != nil {
		return nil, err
	}
	c, credentialAt, err := load[Credential](ctx, s.store, store.Credential(by.CredentialID))
	if err != nil {
		return nil, err
	}
	if u == nil || c == nil || c.UserID != u.ID {
		return nil, Refuse(Unauthorized, "credential %s of user %s is unknown", by.CredentialID, by.UserID)
	}
	now, err := s.principal(ctx, c, u)
	if err != nil {
		return nil, err
	}
	now.Actor = by.Actor
	if !now.Allows(want) {
		return nil, Refuse(Forbidden, "credential %s of %s lacks the permission %s", c.ID, u.Name, want)
	}
	tx.Require(store.User(u.ID), userAt)
	tx.Require(store.Credential(c.ID), credentialAt)
	return now, nil
}

// adminGuard is written by every change that takes an admin or an admin's key
// away, compared: of two that would each leave the other, one is tried again
// and finds itself the last.
const adminGuard = "/mw/admin-guard"

// takesAdmin holds a change that takes an admin, or an admin's key, away: with
// user and credential (either may be nil) as they are to be, there must be one
// left who works, if there was one before.
func (s *Service) takesAdmin(ctx context.Context, tx *store.Tx, user *User, credential *Credential, what string) error {
	_, at, _, err := s.store.Get(ctx, adminGuard)
	if err != nil {
		return err
	}
	users, credentials := map[string]*User{}, map[string]*Credential{}
	if err := s.everyone(ctx, users, credentials); err != nil {
		return err
	}
	before := s.workingAdmins(users, credentials)
	if user != nil {
		users[user.ID] = user
	}
	if credential != nil {
		credentials[credential.ID] = credential
	}
	if before > 0 && s.workingAdmins(users, credentials) == 0 {
		return against(RuleLastAdmin, "%s would leave no active admin with a key that works; make another admin, or another key for this one, first", what)
	}
	tx.PutIf(adminGuard, encode(what), at)
	return nil
}

func (s *Service) everyone(ctx context.Context, users map[string]*User, credentials map[string]*Credential) error {
	for kv, err := range s.store.All(ctx, store.UserPrefix, nil) {
		if err != nil {
			return err
		}
		u, err := decode[User](kv.Key, kv.Value)
		if err != nil {
			return err
		}
		users[u.ID] = u
	}
	for kv, err := range s.store.All(ctx, store.CredentialPrefix, nil) {
		if err != nil {
			return err
		}
		c, err := decode[Credential](kv.Key, kv.Value)
		if err != nil {
			return err
		}
		credentials[c.ID] = c
	}
	return nil
}

// workingAdmins counts the active admins who have a key with which they can
// make users and keys.
func (s *Service) workingAdmins(users map[string]*User, credentials map[string]*Credential) int {
	working := map[string]bool{}
	for _, c := range credentials {
		u := users[c.UserID]
		if u == nil || u.Role != Admin || u.Status != UserActive || c.of(u).refusal(s.now()) != nil {
			continue
		}
		held := c.effective(Admin.Permissions())
		if covers(held, UsersWrite) && covers(held, CredentialsCreate) {
			working[u.ID] = true
		}
	}
	return len(working)
}
