package sealed

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// A store was set back behind a mint that was signed. The custodians' recover reaches the seal
// too late for whoever sent it (its time ran out in the queue), and what stands behind it there
// is decided in its place, in the old epoch, over the lost nonce and the lost charge.
func TestAttack_WhatStandsBehindARecoverWhoseCallerLeftIsDecidedInDoubt(t *testing.T) {
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish(policy.Rule{Type: policy.RuleDailyLimit, Amount: amountPtr("10"), Operations: []policy.OperationType{policy.OpMint}})
	i.deploy()
	x, y := i.mint("10"), i.mint("10")
	i.approve(x, 0, 1)
	i.approve(y, 0, 1)
	out, err := r.Authorize(t.Context(), i.request(x))
	require.NoError(t, err)
	first := i.verified(out)
	_, err = r.Authorize(t.Context(), i.request(y))
	requireKind(t, seal.KindDenied, err) // the day is full
	require.NoError(t, stop())
	trimLog(t, 1) // the store loses the authorization of x

	r = newTestRoom(t, i.digest, roomOptions{state: dir})
	halt := start(t, r)
	inDoubt(t, r, "behind")
	doc := i.recovering(r, func(d *ledger.Recover) { d.Lanes[0].Nonce = first.Nonce + 1 })
	_, err = r.Authorize(t.Context(), i.request(y))
	requireKind(t, seal.KindStore, err) // in doubt
	require.NoError(t, halt())

	r = newTestRoom(t, i.digest, roomOptions{state: dir})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	go func() { _, _ = r.Recover(gone, doc) }()
	require.Eventually(t, func() bool { return len(r.proposals) == 1 }, patience, time.Millisecond)
	type answer struct {
		out *seal.AuthorizeResult
		err error
	}
	answers := make(chan answer, 1)
	go func() {
		out, err := r.Authorize(t.Context(), i.request(y))
		answers <- answer{out, err}
	}()
	require.Eventually(t, func() bool { return len(r.proposals) == 2 }, patience, time.Millisecond)
	before := signatures(t)
	start(t, r)
	a := soon(t, answers, "the authorization's answer")
	if a.err == nil {
		s := i.verified(a.out)
		t.Logf("signed: nonce %d (the lost mint had %d), epoch %d, %s base units over a day's 10", s.Nonce, first.Nonce, r.known().fold.Epoch(), "20")
	}
	require.Error(t, a.err, "nothing but the recover is decided while the store is in doubt")
	require.Equal(t, before, signatures(t))
}

// A recover that stands behind a request which a seal in doubt refuses is decided all the same.
func TestARecoverBehindARefusedRequestIsDecided(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	i.many(1)
	require.NoError(t, stop())
	trimLog(t, 1)
	r := newTestRoom(t, i.digest, roomOptions{state: dir})
	halt := start(t, r)
	inDoubt(t, r, "behind")
	doc := i.recovering(r, nil)
	require.NoError(t, halt())
	r = newTestRoom(t, i.digest, roomOptions{state: dir})
	go func() {
		_, _ = r.Cancel(context.Background(), seal.CancelRequest{OperationID: newID("op"), Reason: "in front"})
	}()
	require.Eventually(t, func() bool { return len(r.proposals) == 1 }, patience, time.Millisecond)
	done := make(chan error, 1)
	go func() { _, err := r.Recover(context.Background(), doc); done <- err }()
	require.Eventually(t, func() bool { return len(r.proposals) == 2 }, patience, time.Millisecond)
	start(t, r)
	require.NoError(t, soon(t, done, "the recover's answer"))
}

// The room's goroutine reads the store while it decides a checkpoint whose batch is not in the trail
// any more. Who holds etcd (and the API) keeps it there as long as he likes; what is decided behind it,
// in the same batch, is judged at the time at which that batch began.
func TestAttack_ABatchHeldOpenJudgesAtTheTimeItBegan(t *testing.T) {
	var mu sync.Mutex
	gone := time.Duration(0)
	clock := func() (instant, error) {
		now, err := systemClock()
		mu.Lock()
		defer mu.Unlock()
		now.wall, now.boot = now.wall.Add(gone), now.boot+gone // time that really passes: both clocks
		return now, err
	}
	dir := t.TempDir()
	o := roomOptions{state: dir, clock: clock, ledger: LedgerConfig{SnapshotBatches: 5}}
	i, _, stop := inProcess(t, o, nil)
	i.furnish()
	i.deploy()
	in := i.mint("3")
	i.approve(in, 0, 1)
	i.many(3)
	require.Eventually(t, func() bool { _, err := os.Stat(filepath.Join(dir, snapshotFile)); return err == nil }, patience, 10*time.Millisecond)
	require.NoError(t, stop())
	w, cfg := newWire(t)
	o.store = openLog(t, cfg)
	r := newTestRoom(t, i.digest, o)
	start(t, r)
	i.door = r
	i.many(1)

	at := r.keep.at // the snapshot that it began with
	w.set(true, false)
	q := seal.CheckpointRequest{Tree: seal.Tree{Size: 10, Root: policy.DigestOf([]byte("made up"))},
		Proof: seal.TreeProof{Ledger: seal.BatchProof{Sequence: at - 2, Index: 1}}}
	done := make(chan error, 1)
	go func() { _, err := r.Checkpoint(t.Context(), q); done <- err }()
	require.Eventually(t, func() bool { return len(r.proposals) == 0 && w.asked() }, patience, time.Millisecond, "it is being decided")
	mu.Lock()
	gone = 2 * time.Hour
	mu.Unlock()
	now, _ := clock()
	require.True(t, now.wall.After(in.ExpiresAt), "the intent has expired")
	authorized := make(chan error, 1)
	go func() {
		out, err := r.Authorize(t.Context(), i.request(in))
		if err == nil {
			i.verified(out)
			t.Logf("signed at %s, expired at %s; its batch says %s", now.wall.Format(time.RFC3339), in.ExpiresAt.Format(time.RFC3339), r.known().fold.LastTime().Format(time.RFC3339))
		}
		authorized <- err
	}()
	require.Eventually(t, func() bool { return len(r.proposals) == 1 }, patience, time.Millisecond)
	w.set(false, false)
	w.cut()
	t.Log("checkpoint:", soon(t, done, "the checkpoint's answer"))
	requireKind(t, seal.KindDenied, soon(t, authorized, "the authorization's answer"))
}
