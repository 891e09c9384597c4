package webhook

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
)

func put(key string, rev int64) store.Changes {
	return store.Changes{Events: []store.Event{{KV: store.KV{Key: key, ModRevision: rev}}}, Revision: rev}
}

func gone(key string, rev int64) store.Changes {
	return store.Changes{Events: []store.Event{{KV: store.KV{Key: key, ModRevision: rev}, Deleted: true}}, Revision: rev}
}

// The router reads from the lowest key that came, and not before the watch has told it of its own deletions:
// at an older revision it would find, and hand on again, what it handed on a moment ago.
func TestArrivals(t *testing.T) {
	a := newArrivals()
	never := make(chan time.Time)
	a.note(put("c", 5))
	a.note(put("a", 6)) // from an appliance whose clock is behind
	a.note(put("b", 7))
	from, at, err := a.await(t.Context(), never)
	require.NoError(t, err)
	require.Equal(t, "a", from)
	require.EqualValues(t, 7, at)

	a.handedOn(9)
	a.note(put("d", 8)) // was there before the deletion
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = a.await(over, never)
	require.ErrorIs(t, err, context.Canceled, "revision 8 still has what was handed on at 9")
	a.note(gone("a", 9))
	from, at, err = a.await(t.Context(), never)
	require.NoError(t, err)
	require.Equal(t, "d", from)
	require.EqualValues(t, 9, at)

	late := make(chan time.Time, 1)
	late <- time.Time{}
	a.note(gone("d", 10)) // nothing came
	from, at, err = a.await(t.Context(), late)
	require.NoError(t, err)
	require.Empty(t, from, "all of it")
	require.Zero(t, at, "as it is now")
}
