package registry

import (
	"context"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// UserStatus tells whether a user's credentials are honoured. The zero value
// is invalid.
type UserStatus string

// The states of a user.
const (
	UserActive    UserStatus = "ACTIVE"
	UserSuspended UserStatus = "SUSPENDED"
)

// User is a person or a program that calls the API.
type User struct {
	ID string `json:"id"`
	// Name is the person's one name: the charter, approvals and audit entries
	// use the same. Unique.
	Name   string     `json:"name"`
	Role   UserRole   `json:"role"`
	Status UserStatus `json:"status"`
	// System marks the admin that the first start made.
	System    bool      `json:"system,omitzero"`
	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
	// Raised counts the changes of role that added permissions; RaisedAt and
	// RaisedBy are the last one's. Each revoked, in one write however many there
	// are, every key of the user that has no permissions of its own: whoever drew
	// it could give what the role was then, not what it is now.
	Raised   int       `json:"raised,omitzero"`
	RaisedAt time.Time `json:"raisedAt,omitzero"`
	RaisedBy string    `json:"raisedBy,omitzero"`
}

// UserSpec is what is asked for when a user is made.
type UserSpec struct {
	Name string
	Role UserRole
}

// UserPatch names what is to change; nil leaves a field as it is.
type UserPatch struct {
	Role   *UserRole
	Status *UserStatus
}

const userNamePrefix = "/mw/user-name/"

// userName is the key that makes a name one user's.
func userName(name string) string { return userNamePrefix + name }

// CreateUser makes a user without credentials. Its name is a person's one name
// and cannot be changed; its role is one that the caller can give.
func (s *Service) CreateUser(ctx context.Context, by *Principal, spec UserSpec, idem *store.Idempotent) (*User, error) {
	if err := checkUserName(spec.Name); err != nil {
		return nil, err
	}
	role, err := s.givenRole(ctx, spec.Role)
	if err != nil {
		return nil, err
	}
	now := s.second()
	u := &User{ID: store.NewID(userPrefix), Name: spec.Name, Role: role.Name, Status: UserActive, CreatedAt: now, UpdatedAt: now}
	return attempt(ctx, s, idem, func(tx *store.Tx) (*User, func(int64), error) {
		who, err := s.authority(ctx, tx, by, UsersWrite)
		if err != nil {
			return nil, nil, err
		}
		if err := who.mayGive("role "+string(role.Name), role.Permissions); err != nil {
			return nil, nil, err
		}
		if _, _, taken, err := s.store.Get(ctx, userName(u.Name)); err != nil {
			return nil, nil, err
		} else if taken {
			return nil, nil, Refuse(Validation, "the name %q belongs to another user; a person has one name, and one user", spec.Name)
		}
		u.CreatedBy = who.Name
		tx.PutIfAbsent(store.User(u.ID), encode(u))
		tx.PutIfAbsent(userName(u.Name), encode(u.ID))
		tx.Audit(who.draft(happening{"user.created", "user", u.ID, map[string]any{"name": u.Name, "role": string(u.Role)}}))
		return u, func(rev int64) { s.users.wrote(store.User(u.ID), u, rev) }, nil
	})
}

func checkUserName(name string) error {
	switch {
	case name == "":
		return Refuse(MissingField, "name is missing")
	case name == SystemActor().Name:
		return Refuse(Validation, "the name %q is the appliance's own", name)
	case policy.CheckName(name) != nil:
		return Refuse(Validation, "%v", policy.CheckName(name))
	}
	return nil
}

// UpdateUser changes a user's role or status. Nobody changes himself, gives a
// role that he could not give, or takes the last admin who works away. A role that
// adds permissions revokes the user's keys without permissions of their own.
func (s *Service) UpdateUser(ctx context.Context, by *Principal, id string, p UserPatch, idem *store.Idempotent) (*User, error) {
	if !store.ValidID(userPrefix, id) {
		return nil, noUser(id)
	}
	if p.Role == nil && p.Status == nil {
		return nil, Refuse(MissingField, "role or status is needed: nothing was named that is to change")
	}
	if p.Role != nil {
		if _, err := s.givenRole(ctx, *p.Role); err != nil {
			return nil, err
		}
	}
	if p.Status != nil && *p.Status != UserActive && *p.Status != UserSuspended {
		return nil, Refuse(Validation, "there is no user status %+q; it is %s or %s", string(*p.Status), UserActive, UserSuspended)
	}
	return attempt(ctx, s, idem, func(tx *store.Tx) (*User, func(int64), error) {
		who, err := s.authority(ctx, tx, by, UsersWrite)
		if err != nil {
			return nil, nil, err
		}
		u, rev, err := load[User](ctx, s.store, store.User(id))
		if err != nil {
			return nil, nil, err
		}
		if u == nil {
			return nil, nil, noUser(id)
		}
		before := *u
		if p.Role != nil {
			u.Role = *p.Role
		}
		if p.Status != nil {
			u.Status = *p.Status
		}
		if *u == before {
			if who.UserID != u.ID {
				tx.Require(store.User(id), rev)
			}
			return u, nil, nil
		}
		u.UpdatedAt = s.second()
		if err := s.holdUpdate(ctx, tx, who, &before, u); err != nil {
			return nil, nil, err
		}
		meta := map[string]any{
			"name": u.Name, "role": string(u.Role), "status": string(u.Status), "previousRole": string(before.Role), "previousStatus": string(before.Status),
		}
		raises, err := s.raises(ctx, before.Role, u.Role)
		if err != nil {
			return nil, nil, err
		}
		if raises {
			u.Raised, u.RaisedAt, u.RaisedBy = u.Raised+1, u.UpdatedAt, who.Name
			meta["keysRevoked"] = "all without permissions of their own"
		}
		tx.PutIf(store.User(id), encode(u), rev)
		tx.Audit(who.draft(happening{"user.updated", "user", u.ID, meta}))
		return u, func(at int64) { s.users.wrote(store.User(id), u, at) }, nil
	})
}

// raises tells whether one role carries anything that another does not.
func (s *Service) raises(ctx context.Context, from, to UserRole) (bool, error) {
	had, err := s.carried(ctx, from)
	if err != nil {
		return false, err
	}
	gets, err := s.carried(ctx, to)
	return !all(expand(gets), func(p Permission) bool { return covers(had, p) }), err
}

// holdUpdate holds a change of a user against the rules of rights.
func (s *Service) holdUpdate(ctx context.Context, tx *store.Tx, who *Principal, before, after *User) error {
	if after.ID == who.UserID {
		return against(RuleSelf, "user %s (%s) cannot change its own role or status; another admin can", after.ID, after.Name)
	}
	had, err := s.carried(ctx, before.Role)
	if err != nil {
		return err
	}
	if err := who.mayTake("role "+string(before.Role)+" of "+before.Name, had); err != nil {
		return err
	}
	if after.Role != before.Role || after.Status == UserActive {
		gets, err := s.carried(ctx, after.Role)
		if err != nil {
			return err
		}
		if err := who.mayGive("role "+string(after.Role), gets); err != nil {
			return err
		}
	}
	if before.Role != Admin || before.Status != UserActive {
		return nil
	}
	return s.takesAdmin(ctx, tx, after, nil, "changing "+after.Name)
}

// User is one user; an unknown one is NOT_FOUND.
func (s *Service) User(ctx context.Context, id string) (*User, error) {
	if !store.ValidID(userPrefix, id) {
		return nil, noUser(id)
	}
	u, _, err := load[User](ctx, s.store, store.User(id))
	if err == nil && u == nil {
		err = noUser(id)
	}
	return u, err
}

// Users lists users, newest first, and says how many there are.
func (s *Service) Users(ctx context.Context, limit, offset int) ([]*User, int, error) {
	return s.users.newest(ctx, s.store, func(*User) bool { return true }, limit, offset)
}

func noUser(id string) error {
	return Refuse(NotFound, "there is no user %q; GET /v1/users lists them", id)
}
