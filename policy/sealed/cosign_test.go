package sealed

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// The appliance that does not write the ledger cosigns what the author had
// recorded, if its own reading of the ledger is in the tree and the tree extends
// the one before; nothing else, and it writes nothing.
func TestAnotherApplianceCosigns(t *testing.T) {
	i, _, _, doors := twoProcesses(t, "10s")
	one, two := doors[0], doors[1]
	log := openLog(t, house.store)
	tree := (&testTree{t: t}).read(log)
	tree.entry("first")
	first := tree.request(0)
	cosign := first
	cosign.Cosign = true
	_, err := two.Checkpoint(t.Context(), cosign)
	requireKind(t, seal.KindConflict, err) // it is not recorded
	_, err = two.Checkpoint(t.Context(), first)
	requireKind(t, seal.KindNotAuthor, err)
	signed, err := one.Checkpoint(t.Context(), first)
	require.NoError(t, err)
	out, err := two.Checkpoint(t.Context(), cosign)
	require.NoError(t, err)
	require.NoError(t, out.Keys.Check(i.charter))
	require.Equal(t, secondAppliance, out.Keys.ApplianceID)
	_, err = out.Keys.Open([]byte(out.Note))
	require.ErrorIs(t, err, seal.ErrCheckpoint, "it is no signature of the log's")
	c, err := out.Keys.OpenCosigned([]byte(out.Note))
	require.NoError(t, err)
	require.Equal(t, first.Tree, c.Tree)
	// Both words stand under one text.
	_, mine, _ := strings.Cut(out.Note, "\n\n")
	both := signed.Note + mine
	_, err = signed.Keys.Open([]byte(both))
	require.NoError(t, err)
	_, err = out.Keys.OpenCosigned([]byte(both))
	require.NoError(t, err)

	tree.entry("second")
	second := tree.read(log).request(int64(first.Tree.Size))
	_, err = one.Checkpoint(t.Context(), second)
	require.NoError(t, err)
	second.Cosign = true
	for name, change := range map[string]func(*seal.CheckpointRequest){
		"the tree before":       func(q *seal.CheckpointRequest) { *q = cosign },
		"another root":          func(q *seal.CheckpointRequest) { q.Tree.Root = policy.DigestOf(nil) },
		"no consistency":        func(q *seal.CheckpointRequest) { q.Proof.Consistency = nil },
		"from another size":     func(q *seal.CheckpointRequest) { q.Proof.From-- },
		"another ledger's leaf": func(q *seal.CheckpointRequest) { q.Proof.Ledger.Index-- },
	} {
		q := second
		change(&q)
		_, err := two.Checkpoint(t.Context(), q)
		require.Error(t, err, name)
		requireKind(t, seal.KindConflict, err)
	}
	out, err = two.Checkpoint(t.Context(), second)
	require.NoError(t, err)
	c, err = out.Keys.OpenCosigned([]byte(out.Note))
	require.NoError(t, err)
	require.Equal(t, second.Tree, c.Tree)

	// One that is suspended says nothing of any tree.
	_, err = one.Freeze(t.Context(), seal.FreezeRequest{Envelope: i.suspension(secondAppliance, true, 1, 0)})
	require.NoError(t, err)
	tree.entry("third")
	third := tree.read(log).request(int64(second.Tree.Size))
	_, err = one.Checkpoint(t.Context(), third)
	require.NoError(t, err)
	third.Cosign = true
	_, err = two.Checkpoint(t.Context(), third)
	requireKind(t, seal.KindDenied, err)
}
