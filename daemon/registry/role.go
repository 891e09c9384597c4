package registry

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/daemon/store"
)

const rolePrefix = "/mw/role/"

func roleKey(name UserRole) string { return rolePrefix + string(name) }

// Limits of a role.
const (
	maxRolePermissions = 64
	maxRoles           = 1000 // that an organization makes for itself
)

var roleName = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// Role is a named set of permissions that users are given. One that was made is
// never changed: what its users may do stays what it was when they got it, and
// nobody can widen his own.
type Role struct {
	Name        UserRole     `json:"name"`
	Description string       `json:"description"`
	Permissions []Permission `json:"permissions"`
	CreatedBy   string       `json:"createdBy"`
	// CreatedAt is zero for a built-in role.
	CreatedAt time.Time `json:"createdAt"`
}

// BuiltIn tells whether the role is one of those that every appliance has.
func (r *Role) BuiltIn() bool { return r.Name.Valid() }

// RoleSpec is what is asked for when a role is made.
type RoleSpec struct {
	Name        UserRole
	Description string
	Permissions []Permission
}

var builtInWords = map[UserRole]string{
	Viewer: "reads everything", Operator: "asks for operations", Approver: "approves or rejects operations",
	Custodian: "signs policies and charter, unseals, stops", Admin: "users, roles, credentials, webhooks",
	ComplianceOfficer: "freezes, keeps the allowlist, exports",
}

func builtIn(name UserRole) *Role {
	return &Role{Name: name, Description: builtInWords[name], Permissions: name.Permissions(), CreatedBy: SystemActor().Name}
}

// CreateRole makes a role of known permissions, of one duty, none of which the
// caller could not give.
func (s *Service) CreateRole(ctx context.Context, by *Principal, spec RoleSpec, idem *store.Idempotent) (*Role, error) {
	if err := checkRole(spec); err != nil {
		return nil, err
	}
	r := &Role{Name: spec.Name, Description: spec.Description, Permissions: slices.Clone(spec.Permissions), CreatedAt: s.now().UTC().Truncate(time.Microsecond)}
	return attempt(ctx, s, idem, func(tx *store.Tx) (*Role, func(int64), error) {
		who, err := s.authority(ctx, tx, by, RolesWrite)
		if err != nil {
			return nil, nil, err
		}
		if err := who.mayGive("role "+string(r.Name), r.Permissions); err != nil {
			return nil, nil, err
		}
		if old, _, err := load[Role](ctx, s.store, roleKey(r.Name)); err != nil {
			return nil, nil, err
		} else if old != nil {
			return nil, nil, Refuse(Validation, "there is a role %s already; a role is never changed, so give the new one another name", r.Name)
		}
		if n, err := s.store.Count(ctx, rolePrefix); err != nil {
			return nil, nil, err
		} else if n >= maxRoles {
			return nil, nil, Refuse(Validation, "there are %d roles, the most that may be", n)
		}
		r.CreatedBy = who.Name
		tx.PutIfAbsent(roleKey(r.Name), encode(r))
		tx.Audit(who.draft(happening{"role.created", "role", string(r.Name), map[string]any{"permissions": r.Permissions}}))
		return r, func(rev int64) { s.roles.wrote(roleKey(r.Name), r, rev) }, nil
	})
}

func checkRole(spec RoleSpec) error {
	switch {
	case spec.Name == "":
		return Refuse(MissingField, "name is missing")
	case spec.Name.Valid():
		return Refuse(Validation, "role %s is built in and stays as it is", spec.Name)
	case !roleName.MatchString(string(spec.Name)):
		return Refuse(Validation, "role name %+q: lower-case letters, digits, hyphens and underscores, a letter first, at most 64", string(spec.Name))
	case len(spec.Permissions) == 0:
		return Refuse(MissingField, "permissions is missing: a role that carries nothing is no role")
	case len(spec.Permissions) > maxRolePermissions:
		return Refuse(Validation, "%d permissions; a role has at most %d", len(spec.Permissions), maxRolePermissions)
	}
	if err := checkText("description", spec.Description, 0, maxDescription); err != nil {
		return err
	}
	for i, p := range spec.Permissions {
		if !p.Valid() {
			return Refuse(Validation, "there is no permission %+q", string(p))
		}
		if slices.Contains(spec.Permissions[:i], p) {
			return Refuse(Validation, "permission %s stands twice", p)
		}
	}
	return oneDuty(string(spec.Name), spec.Permissions)
}

// AccessRoles lists the roles of users, those that were made newest first, then the built-in
// ones, and says how many there are.
func (s *Service) AccessRoles(ctx context.Context, limit, offset int) ([]*Role, int, error) {
	all, err := s.roles.ascending(ctx, s.store)
	if err != nil {
		return nil, 0, err
	}
	slices.SortStableFunc(all, func(a, b *Role) int { return b.CreatedAt.Compare(a.CreatedAt) })
	for _, name := range UserRoles() {
		all = append(all, builtIn(name))
	}
	from := min(offset, len(all))
	return all[from:min(from+limit, len(all))], len(all), nil
}

// role is a role by name, nil if there is none.
func (s *Service) role(ctx context.Context, name UserRole) (*Role, error) {
	if name.Valid() {
		return builtIn(name), nil
	}
	if !roleName.MatchString(string(name)) {
		return nil, nil
	}
	r, err := s.roles.get(ctx, s.store, roleKey(name))
	if err == nil && r == nil { // made elsewhere a moment ago
		r, _, err = load[Role](ctx, s.store, roleKey(name))
	}
	return r, err
}

// carried is what a role carries; nothing if it is unknown.
func (s *Service) carried(ctx context.Context, name UserRole) ([]Permission, error) {
	r, err := s.role(ctx, name)
	if err != nil || r == nil {
		return nil, err
	}
	return r.Permissions, nil
}

// givenRole is a role that a user is to have: it must exist.
func (s *Service) givenRole(ctx context.Context, name UserRole) (*Role, error) {
	if name == "" {
		return nil, Refuse(MissingField, "role is missing; GET /v1/roles lists them")
	}
	r, err := s.role(ctx, name)
	if err != nil {
		return nil, fmt.Errorf("registry: role %s: %w", name, err)
	}
	if r == nil {
		return nil, Refuse(Validation, "there is no role %+q; GET /v1/roles lists them", string(name))
	}
	return r, nil
}
