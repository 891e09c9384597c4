package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// A program that was downgraded too far, or a member of the cluster that was not upgraded, touches nothing of what a
// newer one wrote, and says which format it met.
func TestAStoreOfANewerFormatIsRefusedByName(t *testing.T) {
	s := storetest.Open(t)
	ctx := t.Context()
	require.NoError(t, s.CheckFormat(ctx))
	require.NoError(t, s.CheckFormat(ctx), "as at every later start")
	held, _, there, err := s.Get(ctx, "/mw/format")
	require.NoError(t, err)
	require.True(t, there)
	require.Equal(t, "1", string(held))

	for _, newer := range []string{"2", "10", "", "1\n", "one"} {
		tx := s.Tx()
		tx.Put("/mw/format", []byte(newer))
		at, err := tx.Commit(ctx)
		require.NoError(t, err)
		err = s.CheckFormat(ctx)
		require.ErrorIs(t, err, store.ErrFormat)
		var named *store.FormatError
		require.ErrorAs(t, err, &named)
		require.Equal(t, newer, named.Held)
		require.ErrorContains(t, err, "this program knows 1 alone")
		_, still, _, err := s.Get(ctx, "/mw/format")
		require.NoError(t, err)
		require.Equal(t, at, still, "nothing was written")
	}
}

// A serve that began on nothing, as after an installation, leaves its mark: a backup can be restored there all the
// same, and nowhere else, and not by a program that knows another format.
func TestARestorationBeginsWhereOnlyTheMarkIs(t *testing.T) {
	s := storetest.Open(t)
	ctx := t.Context()
	require.NoError(t, s.CheckFormat(ctx))
	_, err := s.Restoration(ctx, "backup")
	require.NoError(t, err)

	tx := s.Tx()
	tx.Put("/mw/token/a", []byte("a"))
	_, err = tx.Commit(ctx)
	require.NoError(t, err)
	_, err = s.Restoration(ctx, "backup")
	require.ErrorIs(t, err, store.ErrNotEmpty)

	tx = s.Tx()
	tx.Delete("/mw/token/a")
	tx.Put("/mw/format", []byte("2"))
	_, err = tx.Commit(ctx)
	require.NoError(t, err)
	_, err = s.Restoration(ctx, "backup")
	require.ErrorIs(t, err, store.ErrFormat)
}
