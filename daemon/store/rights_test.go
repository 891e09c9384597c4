package store_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// TestAStartSetsRightsUpThatAreNot takes from etcd's users, one at a time, what a start gives them: the next start gives
// it again. One that finds all of it changes nothing, of which etcd's count of such changes tells.
func TestAStartSetsRightsUpThatAreNot(t *testing.T) {
	srv := storetest.Start(t)
	again := func() *clientv3.AuthStatusResponse {
		srv.Close()
		srv.Restart()
		status, err := srv.Root().AuthStatus(t.Context())
		require.NoError(t, err)
		require.True(t, status.Enabled)
		return status
	}
	before := again().AuthRevision
	require.Equal(t, before, again().AuthRevision)

	end := clientv3.GetPrefixRangeEnd(store.Root)
	for what, take := range map[string]func(*clientv3.Client) error{
		"a user": func(c *clientv3.Client) error { _, err := c.UserDelete(t.Context(), store.UserServe); return err },
		"a user's role": func(c *clientv3.Client) error {
			_, err := c.UserRevokeRole(t.Context(), store.UserServe, store.UserServe)
			return err
		},
		"a role": func(c *clientv3.Client) error { _, err := c.RoleDelete(t.Context(), store.UserServe); return err },
		"a permission": func(c *clientv3.Client) error {
			_, err := c.RoleRevokePermission(t.Context(), store.UserServe, store.Root, end)
			return err
		},
		"half of one": func(c *clientv3.Client) error {
			_, err := c.RoleGrantPermission(t.Context(), store.UserServe, store.Root, end, clientv3.PermissionType(clientv3.PermRead))
			return err
		},
		"all of it": func(c *clientv3.Client) error { _, err := c.AuthDisable(t.Context()); return err },
	} {
		t.Run(what, func(t *testing.T) {
			require.NoError(t, take(srv.Root()))
			again()
			s := srv.Open(store.UserServe)
			require.NoError(t, s.CheckRights(t.Context()))
			stranger := srv.Open(store.UserSeal)
			require.True(t, errors.Is(stranger.CheckRights(t.Context()), store.ErrRights))
		})
	}
}
