package registry_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// snapshot puts a signed snapshot of the ledger as it is into the store.
func (r *room) snapshot(key ed25519.PrivateKey) uint64 {
	r.t.Helper()
	body, err := r.fold.Snapshot()
	require.NoError(r.t, err)
	signed, err := ledger.SignedSnapshot(body, "appliance-1", ed25519.Sign(key, ledger.SnapshotInput("appliance-1", policy.DigestOf(body))))
	require.NoError(r.t, err)
	sequence, _ := r.fold.Head()
	t := r.store.Tx()
	for n, part := range ledger.SnapshotParts(signed) {
		t.Put(ledger.SnapshotKey(sequence, n), part)
	}
	_, err = t.Commit(r.t.Context())
	require.NoError(r.t, err)
	return sequence
}

// lose deletes a batch.
func (r *room) lose(sequence uint64) {
	r.t.Helper()
	t := r.store.Tx()
	t.Delete(ledger.Key(sequence))
	_, err := t.Commit(r.t.Context())
	require.NoError(r.t, err)
}

// A start reads the batches behind the newest snapshot only: those before may be gone.
func TestAStartReadsFromTheSnapshotOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	first, second, third := devDefault(), devDefault(), devDefault()
	h.apply(first)
	h.apply(second)
	s, stop := h.serve()
	at := h.room.snapshot(h.room.key)
	require.NoError(t, s.WaitCarried(soon(t), at))
	stop()
	h.apply(third)
	for n := range at {
		h.room.lose(n + 1)
	}
	again, _ := h.serve()
	require.EqualValues(t, at+1, again.Carried())
	for _, p := range []*policy.Policy{first, second, third} {
		_, inForce := again.Fold().Policy(p.ID)
		require.True(t, inForce)
	}
	require.Equal(t, 3, h.audits("policy.activated"))
	h.apply(devDefault())
	require.NoError(t, again.WaitCarried(soon(t), at+2), "it follows on")
}

// A snapshot that another key signed counts for nothing, and neither does one whose batches are not carried
// yet: the log is read from its beginning.
func TestASnapshotThatDoesNotHoldIsPassedOver(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.apply(devDefault())
	_, stop := h.serve()
	stop()
	_, thief, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	h.room.snapshot(thief)
	h.apply(devDefault())
	h.room.snapshot(h.room.key)
	s, stop := h.serve()
	require.EqualValues(t, 3, s.Carried())
	require.Equal(t, 2, h.audits("policy.activated"), "what is behind the cursor is carried record by record")
	stop()

	// Where the beginning is gone, the forged one alone is no way to start.
	tx := h.room.store.Tx()
	tx.Delete(ledger.SnapshotKey(3, 0))
	tx.Delete(ledger.Key(1))
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	broken, _ := h.open(nil)
	require.ErrorIs(t, broken.WaitReady(soon(t)), registry.ErrLedger)
}

// A log whose beginning is gone and a store that carried less than the snapshot: it starts behind that.
func TestATrimmedLogIsFollowedWithoutACursor(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.apply(devDefault())
	at := h.room.snapshot(h.room.key)
	h.apply(devDefault())
	h.room.lose(1)
	s, _ := h.serve()
	require.EqualValues(t, at+1, s.Carried())
	h.room.lose(2) // what the snapshot stands in for goes while it is followed
	h.apply(devDefault())
	require.NoError(t, s.WaitCarried(soon(t), at+2))
}
