package store

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/auth"
	"google.golang.org/protobuf/proto"
)

// The etcd users, named after the common names of the certificates that they come with.
const (
	UserServe = "mintwarden"
	UserSeal  = "mintwarden-seal"
	userRoot  = "root"
)

// grants is who may do what: serve and the seal each write what is theirs and read the other's.
var grants = []struct {
	user, prefix string
	kind         clientv3.PermissionType
}{
	{UserServe, Root, clientv3.PermissionType(clientv3.PermReadWrite)},
	{UserServe, SealRoot, clientv3.PermissionType(clientv3.PermRead)},
	{UserSeal, SealRoot, clientv3.PermissionType(clientv3.PermReadWrite)},
	{UserSeal, Root, clientv3.PermissionType(clientv3.PermRead)},
}

// users have a role each, of their own name.
var users = []string{userRoot, UserServe, UserSeal}

// usersSetUp is true where setUpUsers would find everything done: each of its steps is a write.
func usersSetUp(held auth.AuthStore) bool {
	if !held.IsAuthEnabled() {
		return false
	}
	for _, u := range users {
		if !held.HasRole(u, u) {
			return false
		}
	}
	for _, g := range grants {
		want := &authpb.Permission{PermType: authpb.Permission_Type(g.kind), Key: []byte(g.prefix), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(g.prefix))}
		role, err := held.RoleGet(&pb.AuthRoleGetRequest{Role: g.user})
		if err != nil || !slices.ContainsFunc(role.Perm, func(p *authpb.Permission) bool { return proto.Equal(p, want) }) {
			return false
		}
	}
	return true
}

// setUpUsers makes users and roles and turns authentication on. Every step run again finds itself done.
func setUpUsers(ctx context.Context, c *clientv3.Client) error {
	noPassword := &clientv3.UserAddOptions{NoPassword: true}
	done := func(err error) error {
		if errors.Is(err, rpctypes.ErrUserAlreadyExist) || errors.Is(err, rpctypes.ErrRoleAlreadyExist) {
			return nil
		}
		return err
	}
	for _, u := range users {
		if _, err := c.RoleAdd(ctx, u); done(err) != nil {
			return fmt.Errorf("role %s: %w", u, err)
		}
		if _, err := c.UserAddWithOptions(ctx, u, "", noPassword); done(err) != nil {
			return fmt.Errorf("user %s: %w", u, err)
		}
		if _, err := c.UserGrantRole(ctx, u, u); err != nil {
			return fmt.Errorf("role of %s: %w", u, err)
		}
	}
	for _, g := range grants {
		if _, err := c.RoleGrantPermission(ctx, g.user, g.prefix, clientv3.GetPrefixRangeEnd(g.prefix), g.kind); err != nil {
			return fmt.Errorf("permission of %s on %s: %w", g.user, g.prefix, err)
		}
	}
	if _, err := c.AuthEnable(ctx); err != nil {
		return fmt.Errorf("authentication: %w", err)
	}
	return nil
}

// SetupCommands are the etcdctl commands that do for a cluster what StartEmbedded does for its own
// server: one a line, to be run with root's client certificate.
func SetupCommands() []string {
	var out []string
	for _, u := range users {
		out = append(out, "etcdctl role add "+u, "etcdctl user add --no-password "+u, fmt.Sprintf("etcdctl user grant-role %s %s", u, u))
	}
	for _, g := range grants {
		kind := "read"
		if g.kind == clientv3.PermissionType(clientv3.PermReadWrite) {
			kind = "readwrite"
		}
		out = append(out, fmt.Sprintf("etcdctl role grant-permission --prefix %s %s %s", g.user, kind, g.prefix))
	}
	return append(out, "etcdctl auth enable")
}

// CheckRights makes sure that this connection writes what serve owns, reads what the seal owns, and
// cannot write it. It writes nothing: etcd checks the rights of both branches of a transaction before it
// looks at the comparison, which never holds. ErrRights says what is wrong.
func (s *Store) CheckRights(ctx context.Context) error {
	if err := s.tryWrite(ctx, AuditHead); errors.Is(err, rpctypes.ErrPermissionDenied) {
		return fmt.Errorf("%w: this certificate's etcd user may not write %s", ErrRights, Root)
	} else if err != nil {
		return wrap(ctx, "checking rights", err)
	}
	if _, err := s.Count(ctx, SealLog); errors.Is(err, rpctypes.ErrPermissionDenied) {
		return fmt.Errorf("%w: this certificate's etcd user may not read %s", ErrRights, SealRoot)
	} else if err != nil {
		return err
	}
	for _, key := range []string{SealRoot + "author", SealLog + fmt.Sprintf("%020d", 1), SealRoot} {
		err := s.tryWrite(ctx, key)
		if err == nil {
			return fmt.Errorf("%w: this certificate's etcd user can write %s, which is the seal's alone", ErrRights, key)
		}
		if !errors.Is(err, rpctypes.ErrPermissionDenied) {
			return wrap(ctx, "checking rights", err)
		}
	}
	return nil
}

func (s *Store) tryWrite(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
	defer cancel()
	never := clientv3.Compare(clientv3.CreateRevision(key), "<", 0)
	_, err := s.client.Txn(ctx).If(never).Then(clientv3.OpPut(key, "")).Commit()
	return err
}
