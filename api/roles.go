package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

func roleForm(r *registry.Role) RoleDefinition {
	f := RoleDefinition{
		Name: string(r.Name), Description: r.Description, BuiltIn: r.BuiltIn(),
		Permissions: forms(r.Permissions, func(p registry.Permission) string { return string(p) }),
	}
	if !r.CreatedAt.IsZero() {
		at := second(r.CreatedAt)
		f.CreatedAt = &at
	}
	return f
}

// CreateRole answers POST /v1/roles.
func (s *Server) CreateRole(c *gin.Context, _ CreateRoleParams) {
	r := requestOf(c)
	b, err := bind[RoleDefinitionCreate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	spec := registry.RoleSpec{
		Name: registry.UserRole(b.Name), Description: of(b.Description),
		Permissions: forms(b.Permissions, func(p string) registry.Permission { return registry.Permission(p) }),
	}
	change(s, c, http.StatusCreated, sure(roleForm), func(ctx context.Context, idem *store.Idempotent) (*registry.Role, error) {
		return s.registry.CreateRole(ctx, r.caller, spec, idem)
	})
}

// ListRoles answers GET /v1/roles.
func (s *Server) ListRoles(c *gin.Context, params ListRolesParams) {
	limit, offset := page(params.Limit, params.Offset)
	roles, total, err := s.registry.AccessRoles(c.Request.Context(), limit, offset)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, RoleDefinitionList{Data: forms(roles, roleForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}
