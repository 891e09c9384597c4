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
	// System marks the admin that the first start made; it is not changed
	// through the API.
	System    bool      `json:"system,omitzero"`
	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
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
// and cannot be changed.
func (s *Service) CreateUser(ctx context.Context, a Actor, spec UserSpec, idem *store.Idempotent) (*User, error) {
	if err := checkUser(spec); err != nil {
		return nil, err
	}
	now := s.second()
	u := &User{ID: store.NewID(userPrefix), Name: spec.Name, Role: spec.Role, Status: UserActive, CreatedBy: a.Name, CreatedAt: now, UpdatedAt: now}
	h := happening{"user.created", "user", u.ID, map[string]any{"name": u.Name, "role": string(u.Role)}}
	err := create(ctx, s, s.users, store.User(u.ID), u, a, h, idem, func(tx *store.Tx) {
		tx.PutIfAbsent(userName(u.Name), encode(u.ID))
	})
	if lostRace(err) {
		return nil, Refuse(Validation, "the name %q belongs to another user; a person has one name, and one user", spec.Name)
	}
	if err != nil {
		return nil, err
	}
	return u, nil
}

func checkUser(spec UserSpec) error {
	switch {
	case spec.Name == "":
		return Refuse(MissingField, "name is missing")
	case spec.Name == SystemActor().Name:
		return Refuse(Validation, "the name %q is the appliance's own", spec.Name)
	case policy.CheckName(spec.Name) != nil:
		return Refuse(Validation, "%v", policy.CheckName(spec.Name))
	case spec.Role == "":
		return Refuse(MissingField, "role is missing; the roles are %v", UserRoles())
	case !spec.Role.Valid():
		return Refuse(Validation, "there is no role %+q; the roles are %v", string(spec.Role), UserRoles())
	}
	return nil
}

// UpdateUser changes a user's role or status. The admin that the first start
// made is not changed, and nobody changes himself: so there is always one left
// who can.
func (s *Service) UpdateUser(ctx context.Context, a Actor, id string, p UserPatch, idem *store.Idempotent) (*User, error) {
	if !store.ValidID(userPrefix, id) {
		return nil, noUser(id)
	}
	if p.Role == nil && p.Status == nil {
		return nil, Refuse(MissingField, "role or status is needed: nothing was named that is to change")
	}
	if p.Role != nil && !p.Role.Valid() {
		return nil, Refuse(Validation, "there is no role %+q; the roles are %v", string(*p.Role), UserRoles())
	}
	if p.Status != nil && *p.Status != UserActive && *p.Status != UserSuspended {
		return nil, Refuse(Validation, "there is no user status %+q; it is %s or %s", string(*p.Status), UserActive, UserSuspended)
	}
	return update(ctx, s, s.users, store.User(id), a, idem, noUser(id), func(u *User) (happening, error) {
		if u.System {
			return happening{}, Refuse(Validation, "user %s (%s) was made by the first start and cannot be changed", u.ID, u.Name)
		}
		if u.ID == a.UserID {
			return happening{}, Refuse(Validation, "user %s (%s) cannot change itself; ask another admin", u.ID, u.Name)
		}
		before := *u
		if p.Role != nil {
			u.Role = *p.Role
		}
		if p.Status != nil {
			u.Status = *p.Status
		}
		if *u == before {
			return happening{}, nil
		}
		u.UpdatedAt = s.second()
		return happening{"user.updated", "user", u.ID, map[string]any{
			"name": u.Name, "role": string(u.Role), "status": string(u.Status), "previousRole": string(before.Role), "previousStatus": string(before.Status),
		}}, nil
	})
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
