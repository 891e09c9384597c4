package registry

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
)

// Keys shown while the store is out of reach wait before any budget is asked: no
// more of them than are counted, and the rest are told at once.
func TestAttack_AFloodOfKeysWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPulse()
		ended := make(chan error, pulseWaiters)
		for range pulseWaiters {
			go func() { ended <- p.fresh(context.Background()) }()
		}
		synctest.Wait()
		require.Empty(t, ended)
		for range 1000 { // they do not wait: in this bubble that would let the others' time pass
			err := p.fresh(context.Background())
			require.ErrorIs(t, err, store.ErrUnavailable)
			require.ErrorContains(t, err, "others wait")
		}
		require.Empty(t, ended)
		for range pulseWaiters {
			require.ErrorIs(t, <-ended, store.ErrUnavailable)
		}
		require.Empty(t, p.waiting, "their places are free again")
	})
}
