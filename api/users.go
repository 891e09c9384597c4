package api

import (
	"context"
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
)

func userForm(u *registry.User) User {
	return User{
		ID: u.ID, Name: u.Name, Role: RoleName(u.Role), Status: UserStatus(u.Status), CreatedAt: second(u.CreatedAt), UpdatedAt: second(u.UpdatedAt),
		KeysRevokedAt: moment(u.RaisedAt),
	}
}

// CreateUser answers POST /v1/users.
func (s *Server) CreateUser(c *gin.Context, _ CreateUserParams) {
	r := requestOf(c)
	b, err := bind[UserCreate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	spec := registry.UserSpec{Name: b.Name, Role: registry.UserRole(b.Role)}
	change(s, c, http.StatusCreated, sure(userForm), func(ctx context.Context, idem *store.Idempotent) (*registry.User, error) {
		return s.registry.CreateUser(ctx, r.caller, spec, idem)
	})
}

// ListUsers answers GET /v1/users.
func (s *Server) ListUsers(c *gin.Context, params ListUsersParams) {
	limit, offset := page(params.Limit, params.Offset)
	users, total, err := s.registry.Users(c.Request.Context(), limit, offset)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, UserList{Data: forms(users, userForm), Pagination: Pagination{Total: total, Limit: limit, Offset: offset}})
}

// GetUser answers GET /v1/users/{userId}.
func (s *Server) GetUser(c *gin.Context, userID UserID) {
	u, err := s.registry.User(c.Request.Context(), userID)
	if err != nil {
		s.refuse(c, err)
		return
	}
	s.answer(c, userForm(u))
}

// UpdateUser answers PATCH /v1/users/{userId}.
func (s *Server) UpdateUser(c *gin.Context, userID UserID, _ UpdateUserParams) {
	r := requestOf(c)
	b, err := bind[UserUpdate](r.raw)
	if err != nil {
		s.refuse(c, err)
		return
	}
	var patch registry.UserPatch
	if b.Role != nil {
		role := registry.UserRole(*b.Role)
		patch.Role = &role
	}
	if b.Status != nil {
		status := registry.UserStatus(*b.Status)
		patch.Status = &status
	}
	change(s, c, http.StatusOK, sure(userForm), func(ctx context.Context, idem *store.Idempotent) (*registry.User, error) {
		return s.registry.UpdateUser(ctx, r.caller, userID, patch, idem)
	})
}
