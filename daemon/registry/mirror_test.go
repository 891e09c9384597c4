package registry

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// What this process writes while a mirror is being loaded is read at once, and
// not only when the watch tells of it: a key that was just handed out works.
func TestMirrorHasWhatWasWrittenWhileItLoaded(t *testing.T) {
	t.Parallel()
	s := storetest.Open(t)
	put := func(id, name string) (*User, int64) {
		u := &User{ID: id, Name: name}
		tx := s.Tx()
		tx.Put(store.User(id), encode(u))
		rev, err := tx.Commit(t.Context())
		require.NoError(t, err)
		return u, rev
	}
	m := newMirror[User](store.UserPrefix, "")
	_, old := put("user_1", "before")
	before, at := put("user_1", "loaded")
	loaded := map[string]mirrored[User]{store.User("user_1"): {before, at}}
	written, rev := put("user_2", "meanwhile")
	m.wrote(store.User("user_2"), written, rev)
	m.wrote(store.User("user_1"), &User{ID: "user_1", Name: "older than the load"}, old)
	m.start(loaded, []string{store.User("user_1")}, at)

	got, err := m.get(t.Context(), s, store.User("user_2"))
	require.NoError(t, err)
	require.Equal(t, written, got)
	got, err = m.get(t.Context(), s, store.User("user_1"))
	require.NoError(t, err)
	require.Equal(t, before, got)
	all, err := m.ascending(t.Context(), s)
	require.NoError(t, err)
	require.Equal(t, []*User{before, written}, all)
}
