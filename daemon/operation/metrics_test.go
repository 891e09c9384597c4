package operation

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
)

// What waits is counted and aged by where it waits, not by when it was asked for.
func TestTheOldestOperationOfEachStatus(t *testing.T) {
	x := newIndex(nil, nil)
	now := time.Now()
	for id, in := range map[string]struct {
		status     Status
		born, came time.Duration
	}{
		"op_1": {PendingAuthorization, 3 * time.Hour, 2 * time.Hour},
		"op_2": {PendingAuthorization, 5 * time.Hour, time.Hour},
		"op_3": {Confirming, 9 * time.Hour, time.Minute},
	} {
		amount := policy.AmountOf(1)
		x.put(&Operation{ID: id, Type: policy.OpMint, Status: in.status, Amount: &amount,
			History: []Step{{Submitted, now.Add(-in.born)}, {in.status, now.Add(-in.came)}}}, 1)
	}
	n, since := x.ages()
	at := func(s Status) int {
		for i, v := range statuses {
			if v == s {
				return i
			}
		}
		t.Fatalf("no status %s", s)
		return 0
	}
	require.Equal(t, 2, n[at(PendingAuthorization)])
	require.Equal(t, now.Add(-2*time.Hour), since[at(PendingAuthorization)])
	require.Equal(t, now.Add(-time.Minute), since[at(Confirming)])
	require.True(t, since[at(Signed)].IsZero())

	reg := prometheus.NewRegistry()
	require.NoError(t, reg.Register(&openCollector{x}))
	require.NoError(t, testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP mintwarden_open_operations Operations that are not over, by status.
# TYPE mintwarden_open_operations gauge
mintwarden_open_operations{status="APPROVED"} 0
mintwarden_open_operations{status="BROADCASTING"} 0
mintwarden_open_operations{status="CONFIRMING"} 1
mintwarden_open_operations{status="PENDING_AUTHORIZATION"} 2
mintwarden_open_operations{status="PENDING_SIGNATURE"} 0
mintwarden_open_operations{status="QUEUED"} 0
mintwarden_open_operations{status="SIGNED"} 0
`), "mintwarden_open_operations"))
}
