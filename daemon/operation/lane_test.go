package operation

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// An operation that waited long for its approvals was looked at many times in vain. The pause that grew
// meanwhile is about waiting: once approved, it is signed at once.
func TestAPauseEndsWithTheStatusThatItIsAbout(t *testing.T) {
	w := &worker{tasks: make(chan struct{}, 1)}
	l := newLane(w, "wallet")
	l.busy, l.retry = map[string]bool{}, map[string]attempt{}
	for range 12 {
		l.done(t.Context(), "op", PendingAuthorization, errNothingNew)
	}
	require.Equal(t, mostRetry, l.retry["op"].pause)
	ran := func(status Status) bool {
		var steps sync.WaitGroup
		did := false
		l.launch(t.Context(), &steps, "op", status, func(context.Context) error { did = true; return nil })
		steps.Wait()
		return did
	}
	require.False(t, ran(PendingAuthorization), "the pause holds for the status that it is about")
	require.True(t, ran(Approved))
}
