package operation

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/audit"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
	"github.com/mintwarden/mintwarden/policy"
)

// A ledger that was taken back behind an authorization may end what is signed. Whatever state that is in, it is no
// reason to carry nothing of the ledger any more.
func TestAnEndOfWhatIsSignedStopsNoCarrying(t *testing.T) {
	t.Parallel()
	s := &Service{store: storetest.Open(t), log: slog.New(slog.DiscardHandler), now: time.Now}
	same := func(d audit.Draft) audit.Draft { return d }
	for _, from := range Statuses() {
		for _, to := range []Status{Rejected, Cancelled, Failed} {
			o := &Operation{ID: "op_00000000000000000000000000", Type: policy.OpMint, Status: from, Authorized: true, Nonce: 7, History: []Step{{Status: from, At: time.Now()}}}
			change := s.store.Tx()
			if from == Submitted {
				continue // which no operation is stored in
			}
			require.NoError(t, s.stageEnd(t.Context(), change, o, end{to, "withdrawn"}, registry.SystemActor(), same), "%s to %s", from, to)
			switch {
			case from.released() || from.Terminal():
				require.Equal(t, from, o.Status)
				require.Empty(t, o.FailureReason)
			default:
				require.Equal(t, to, o.Status)
				require.True(t, o.closed(), "nothing was signed, and nothing is to be settled")
			}
			if !from.Terminal() {
				require.NotZero(t, change.Len(), "it is told")
			}
		}
	}
}
