package sealed

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Charter 1 and, behind it in the same round, a request for a checkpoint: whoever calls the seal at its first start ends
// its worker by that.
func TestAttack_ACheckpointBesideCharterOne(t *testing.T) {
	emptyLog(t)
	p := newPeople(t)
	before := newTestRoom(t, "", roomOptions{})
	me, err := before.Init(t.Context())
	require.NoError(t, err)
	require.NoError(t, before.journal.close())
	payload, err := p.charter(me, nil).Encode()
	e := sign(t, policy.DocCharter, payload, err, p.custodians...)
	r := newTestRoom(t, e.PayloadDigest(), roomOptions{})
	applied, checked := make(chan error, 1), make(chan error, 1)
	go func() { _, err := r.CharterApply(t.Context(), e); applied <- err }()
	require.Eventually(t, func() bool { return len(r.proposals) == 1 }, patience, time.Millisecond)
	q := seal.CheckpointRequest{Tree: seal.Tree{Size: 10, Root: policy.DigestOf([]byte("made up"))}, Proof: seal.TreeProof{Ledger: seal.BatchProof{Sequence: 1, Index: 1}}}
	go func() { _, err := r.Checkpoint(t.Context(), q); checked <- err }()
	require.Eventually(t, func() bool { return len(r.proposals) == 2 }, patience, time.Millisecond)
	start(t, r)
	require.NoError(t, soon(t, applied, "the charter's answer"))
	require.Error(t, soon(t, checked, "the checkpoint's answer"), "there is no such tree")
}
