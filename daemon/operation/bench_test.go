package operation_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/policy"
)

// BenchmarkMints takes b.N mints of one wallet from the request over one approval to COMPLETED, many at once.
func BenchmarkMints(b *testing.B) {
	h := newHouse(b, options{period: 250 * time.Millisecond, maxOutstanding: 1000, rules: []policy.Rule{approvals(1)}})
	token := h.deployed("0")
	first, _ := h.registry.Fold().Head()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for int(next.Add(1)) <= b.N {
				amount := "1"
				o, err := h.operations.Submit(b.Context(), operator, operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount,
					Recipient: &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}}, nil)
				if err != nil {
					b.Error(err)
					return
				}
				if _, err := h.operations.Decide(b.Context(), h.actor("approver-1"), o.ID, policy.Approve, h.envelope(o, "approver-1", policy.Approve, "")); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	decided := b.Elapsed()
	for {
		_, done, _, err := h.operations.List(b.Context(), operation.Filter{Type: policy.OpMint, Status: operation.Completed}, 1, 0, "")
		require.NoError(b, err)
		if done == b.N {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.StopTimer()
	require.Equal(b, fmt.Sprint(b.N), h.supply(token))
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "mints/s")
	last, _ := h.registry.Fold().Head()
	b.ReportMetric(float64(last-first)/float64(b.N), "batches/mint")
	b.ReportMetric(float64(b.N)/decided.Seconds(), "decided/s")
}
