package reconciliation_test

import (
	"strconv"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/reconciliation"
)

// silent is a node of the same chain that tells of no event, and is asked first.
func (h *house) silent(t *testing.T, head uint64) *ledgerNode {
	n := newNode()
	n.advance(head)
	h.urls = append([]string{n.serve(t)}, h.urls...)
	return n
}

// The node that is asked first hides that somebody minted. The others tell, so it is told, and frozen for.
func TestAttack_TheFirstNodeHidesWhatNobodyAuthorized(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.urls = append(h.urls, h.node.serve(t))
	p := &planted{h: h}
	p.mintOperation(3, 1, account(1), 5) // hidden, too, and an operation's all the same
	p.flush()
	h.mint(3, 1, account(1), 5)
	h.mint(4, 2, account(2), 10)
	h.node.advance(20)
	h.silent(t, 20)
	r := h.until(func(r *reconciliation.Report) bool { return r.Frozen })
	require.EqualValues(t, 1, r.UnmatchedTotal)
	require.Len(t, h.freezes, 1)
	require.Contains(t, h.freezes[0].Event, "10 minted to "+account(2).String())
}

// It tells of a thousand blocks that nobody else has, too, so that no other node could be asked about them all: what the
// others have is looked at first.
func TestAttack_ANodeThatIsAheadHidesNothing(t *testing.T) {
	t.Parallel()
	for _, others := range []int{1, 2} {
		t.Run(strconv.Itoa(others), func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			for range others - 1 {
				h.urls = append(h.urls, h.node.serve(t))
			}
			h.mint(4, 2, account(2), 10)
			h.node.advance(20)
			h.silent(t, 1_020)
			r := h.until(func(r *reconciliation.Report) bool { return r.UnmatchedTotal > 0 })
			require.EqualValues(t, 1, r.UnmatchedTotal)
			require.Contains(t, r.Unmatched[0].Event, "Transfer")
		})
	}
}

// A node that has no block but the first, as one that syncs says of itself, holds the other one's events back: that shows.
func TestANodeWithoutBlocksHoldsBackAndShows(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.node.advance(2_000)
	h.until(settled(1_998))
	h.urls = append(h.urls, newNode().serve(t))
	h.node.advance(4_000)
	reg := prometheus.NewRegistry()
	h.metrics = reg
	h.until(func(*reconciliation.Report) bool {
		all, err := reg.Gather()
		require.NoError(t, err)
		for _, f := range all {
			if f.GetName() == "mintwarden_reconciliation_behind_blocks" && f.GetMetric()[0].GetGauge().GetValue() == 2_000 {
				return true
			}
		}
		return false
	})
}

// It tells of something else at the very place of what it hides: both are told, and the true one is frozen for.
func TestAttack_TheFirstNodeTellsALieInThePlaceOfTheTruth(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.urls = append(h.urls, h.node.serve(t))
	h.mint(4, 2, account(2), 10)
	honest := h.node
	h.node = h.silent(t, 20)
	h.mint(4, 3, account(3), 7)
	h.node = honest
	h.node.advance(20)
	r := h.until(func(r *reconciliation.Report) bool { return r.Frozen })
	require.EqualValues(t, 2, r.UnmatchedTotal)
	require.Equal(t, 2, h.told())
	require.Len(t, h.freezes, 1)
	require.Contains(t, h.freezes[0].Event, "10 minted to "+account(2).String())
}

// What two nodes say of another place, or of another block there, is one event: no finding, and counted once.
func TestNodesThatPlaceAnEventElsewhereTellOneEvent(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	p := &planted{h: h}
	p.mintOperation(4, 1, account(1), 5)
	p.flush()
	h.mint(4, 1, account(1), 5)
	honest := h.node
	other := newNode()
	h.node = other
	h.mint(6, 1, account(1), 5) // a reorg moved it
	h.node = honest
	h.urls = append(h.urls, other.serve(t))
	other.advance(20)
	h.node.advance(20)
	r := h.until(settled(10))
	require.Zero(t, r.UnmatchedTotal)
	require.EqualValues(t, 1, r.EventsChecked)
	sameSupply(t, r, 5)
}
