package operation

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// TestAttack_ANodeThatTellsOfNoBlocks has no ending forgotten by its depth: the newest are watched, and no more of them
// for ever.
func TestAttack_ANodeThatTellsOfNoBlocks(t *testing.T) {
	e := newEndings()
	const ended = watchKept + 1000
	for i := range uint64(ended) {
		e.put(&Operation{ID: strconv.FormatUint(i, 10), Network: "net", Status: Completed, EndBlock: i + 1, EndHash: &tx.Hash{}})
	}
	watched := e.of("net", 0, true)
	require.Len(t, watched, watchKept)
	require.Contains(t, watched, ending{number: ended})
	require.NotContains(t, watched, ending{number: 1000})
	require.Len(t, e.ended["net"], watchKept)
}
