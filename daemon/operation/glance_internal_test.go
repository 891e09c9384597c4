package operation

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// TestAttack_AChainThatStandsStillFillsNoMemory: a requester asks for something else each time, under a head that stays.
func TestAttack_AChainThatStandsStillFillsNoMemory(t *testing.T) {
	g := newGlances(newHeads(nil, nil))
	long := strings.Repeat("calldata", 2_000)
	for i := range 20_000 {
		a, first := g.under("n", tx.Hash{1}, fmt.Sprint(long, i))
		require.True(t, first)
		again, first := g.under("n", tx.Hash{1}, fmt.Sprint(long, i))
		require.False(t, first)
		require.Same(t, a, again)
		if i%3 == 0 {
			g.forget("n", fmt.Sprint(long, i), a)
		}
	}
	kept := 0
	for key := range g.seen["n"].said {
		kept += len(key)
	}
	require.Less(t, kept, 2*sightBytes)
	require.GreaterOrEqual(t, g.seen["n"].bytes, kept)
}
