package callback

import (
	"bytes"
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// A refusal whose audit entry was not written is told of again: etcd may be away when one is refused.
func TestARefusalThatWasNotWrittenIsToldAgain(t *testing.T) {
	t.Parallel()
	m, err := newMetrics(nil)
	require.NoError(t, err)
	s := &Service{store: storetest.Open(t), log: slog.New(slog.DiscardHandler), now: time.Now, metrics: m, refusals: newRefusals()}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = s.refuse(gone, "tx_1", reasonBlind, "no bytes", nil)
	require.Error(t, err)
	_, lately := s.refusals.lately("tx_1", time.Now())
	require.False(t, lately, "it is judged again")
	for range 2 {
		_, err = s.refuse(t.Context(), "tx_1", reasonBlind, "no bytes", nil)
		require.NoError(t, err)
	}
	told := 0
	for kv, err := range s.store.All(t.Context(), store.AuditPending, nil) {
		require.NoError(t, err)
		if bytes.Contains(kv.Value, []byte("callback.refused")) {
			told++
		}
	}
	require.Equal(t, 1, told)
}
