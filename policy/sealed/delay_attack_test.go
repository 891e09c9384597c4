package sealed

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// heldKV is an etcd that takes a batch and holds its answer until it was told.
type heldKV struct {
	clientv3.KV
	during func()
}

func (h *heldKV) Txn(ctx context.Context) clientv3.Txn {
	return &heldTxn{h.KV.Txn(ctx), h}
}

type heldTxn struct {
	clientv3.Txn
	kv *heldKV
}

func (h *heldTxn) If(c ...clientv3.Cmp) clientv3.Txn  { h.Txn = h.Txn.If(c...); return h }
func (h *heldTxn) Then(o ...clientv3.Op) clientv3.Txn { h.Txn = h.Txn.Then(o...); return h }
func (h *heldTxn) Else(o ...clientv3.Op) clientv3.Txn { h.Txn = h.Txn.Else(o...); return h }
func (h *heldTxn) Commit() (*clientv3.TxnResponse, error) {
	r, err := h.Txn.Commit()
	if h.kv.during != nil {
		h.kv.during()
	}
	return r, err
}

// lateKV is an etcd that shows nobody a batch until it was told.
type lateKV struct {
	clientv3.KV
	before func()
}

func (l *lateKV) Txn(ctx context.Context) clientv3.Txn { return &lateTxn{l.KV.Txn(ctx), l} }

type lateTxn struct {
	clientv3.Txn
	kv *lateKV
}

func (l *lateTxn) If(c ...clientv3.Cmp) clientv3.Txn  { l.Txn = l.Txn.If(c...); return l }
func (l *lateTxn) Then(o ...clientv3.Op) clientv3.Txn { l.Txn = l.Txn.Then(o...); return l }
func (l *lateTxn) Else(o ...clientv3.Op) clientv3.Txn { l.Txn = l.Txn.Else(o...); return l }
func (l *lateTxn) Commit() (*clientv3.TxnResponse, error) {
	if f := l.kv.before; f != nil {
		l.kv.before = nil
		f()
	}
	return l.Txn.Commit()
}

// A hostile etcd keeps the author's batch with the approvals from everybody for as long as the DELAY takes, lets it
// in, and has another appliance author: that one has seen the approvals for no time at all, whoever dated them.
func TestAttack_ADelayThatPassesWhileEtcdHoldsTheApprovalForAnotherAuthor(t *testing.T) {
	c := newCouple(t)
	c.deploy()
	_, err := c.door.PolicyApply(t.Context(), c.nextPolicy(policy.Rule{Type: policy.RuleDelay, Seconds: 3600}))
	require.NoError(t, err)
	require.NoError(t, c.stopOne())
	require.NoError(t, c.one.journal.close())
	clock, late := newTestClock(t), openLog(t, house.store)
	kv := &lateKV{KV: late.c.KV}
	late.c.KV = kv
	c.one = newTestRoom(t, c.digest, roomOptions{state: c.dirs[0], clock: clock.read, store: late})
	c.stopOne = start(t, c.one)
	c.door = c.one
	c.takesOver(c.one)
	c.arrive(roomOptions{clock: clock.read})

	in := c.mint("3")
	in.ExpiresAt = in.NotBefore.Add(20 * time.Hour)
	c.approve(in, 0)
	kv.before = func() { clock.step(2*time.Hour, 2*time.Hour) }
	c.approve(in, 1)
	seq, _ := c.one.known().fold.Head()
	c.reaches(c.two, seq)
	require.NoError(t, c.stopOne())
	c.takesOver(c.two)
	_, err = c.two.Authorize(t.Context(), c.request(in))
	requireKind(t, seal.KindWait, err)

	clock.step(time.Hour+time.Second, time.Hour+time.Second)
	_, err = c.two.Authorize(t.Context(), c.request(in))
	require.NoError(t, err)
}

// A hostile etcd keeps the batch with the approvals from everybody for as long as the DELAY takes, lets it in, and then
// the seal's worker dies, as whoever answers it can bring about: the next one reads the batch behind its journal, and
// must not take the ledger's own date of it for when it could be seen.
func TestAttack_ADelayThatPassesWhileEtcdHoldsTheApprovalAndTheSealStartsAgain(t *testing.T) {
	clock, s, dir := newTestClock(t), openLog(t, house.store), t.TempDir()
	kv := &lateKV{KV: s.c.KV}
	s.c.KV = kv
	i, _, stop := inProcess(t, roomOptions{state: dir, store: s, clock: clock.read}, nil)
	i.furnish()
	i.deploy()
	_, err := i.door.PolicyApply(t.Context(), i.nextPolicy(policy.Rule{Type: policy.RuleDelay, Seconds: 3600}))
	require.NoError(t, err)
	in := i.mint("3")
	in.ExpiresAt = in.NotBefore.Add(20 * time.Hour)
	i.approve(in, 0)
	kv.before = func() { clock.step(2*time.Hour, 2*time.Hour) }
	i.approve(in, 1)

	for range 2 { // a life and another one
		require.NoError(t, stop())
		again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: clock.read})
		stop, i.door = start(t, again), again
		_, err = again.Authorize(t.Context(), i.request(in))
		requireKind(t, seal.KindWait, err)
	}
	clock.step(time.Hour+time.Second, time.Hour+time.Second)
	_, err = i.door.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}

// The same behind a recover, whose batches have the numbers of those that were lost: an appliance that knew those has
// seen none of these.
func TestAttack_ADelayThatPassesBehindARecoverThatTheNextAuthorHasNotSeen(t *testing.T) {
	c := newCouple(t)
	c.deploy()
	_, err := c.door.PolicyApply(t.Context(), c.nextPolicy(policy.Rule{Type: policy.RuleDelay, Seconds: 3600}))
	require.NoError(t, err)
	c.arrive(roomOptions{})
	const lost = 6
	c.many(lost)
	seq, _ := c.one.known().fold.Head()
	c.reaches(c.two, seq)
	require.NoError(t, errors.Join(c.stopTwo(), c.stopOne()))
	trimLog(t, lost)

	clock := newTestClock(t)
	one := newTestRoom(t, c.digest, roomOptions{state: c.dirs[0], clock: clock.read})
	stop := start(t, one)
	inDoubt(t, one, "behind")
	_, err = one.Recover(t.Context(), c.recovering(one, func(d *ledger.Recover) { d.Usage = []ledger.RecoverUsage{} }))
	require.NoError(t, err)
	c.door = one
	in := c.mint("3")
	in.Epoch, in.ExpiresAt = 2, in.NotBefore.Add(20*time.Hour)
	c.approve(in, 0, 1)
	require.NoError(t, stop())
	require.Less(t, headOf(one.fold), seq)

	clock.step(2*time.Hour, 2*time.Hour)
	two := newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance, clock: clock.read})
	start(t, two)
	c.takesOver(two)
	_, err = two.Authorize(t.Context(), c.request(in))
	requireKind(t, seal.KindWait, err)

	clock.step(time.Hour+time.Second, time.Hour+time.Second)
	_, err = two.Authorize(t.Context(), c.request(in))
	require.NoError(t, err)
}

// Approvals that a hostile etcd kept from everybody for as long as the DELAY takes stand in the snapshot of a trim, and
// one who lost his memory begins there: he has seen them for no time at all, as if he had read their batches.
func TestAttack_ADelayThatPassedBeforeTheSnapshotWasRead(t *testing.T) {
	clock, s := newTestClock(t), openLog(t, house.store)
	kv := &lateKV{KV: s.c.KV}
	s.c.KV = kv
	i, r, stop := inProcess(t, roomOptions{store: s, clock: clock.read,
		ledger: LedgerConfig{SnapshotBatches: 20, SnapshotEvery: Duration(1000 * time.Hour), Retention: Duration(100 * time.Hour)}}, nil)
	i.furnish()
	i.deploy()
	delay := i.nextPolicy(policy.Rule{Type: policy.RuleDelay, Seconds: 3600})
	_, err := i.door.PolicyApply(t.Context(), delay)
	require.NoError(t, err)
	i.policy.Version, i.policy.Digest = 2, delay.PayloadDigest() // the first one will be forgotten
	old := headOf(r.known().fold)
	clock.step(101*time.Hour, 101*time.Hour)
	in := i.mint("3")
	in.NotBefore = in.NotBefore.Add(101 * time.Hour)
	in.ExpiresAt = in.NotBefore.Add(20 * time.Hour)
	i.approve(in, 0)
	kv.before = func() { clock.step(2*time.Hour, 2*time.Hour) }
	i.approve(in, 1)
	require.Nil(t, r.known().fold.LastTrim(), "the snapshot has the approvals")
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err)
	i.many(20)
	require.Eventually(t, func() bool { return r.known().fold.LastTrim() != nil }, patience, 10*time.Millisecond)
	clock.step(2*time.Minute, 2*time.Minute)
	require.Eventually(t, func() bool { return oldest(t) == old+1 }, patience, 20*time.Millisecond)
	require.NoError(t, stop())
	seq, head := r.fold.Head()

	dir := t.TempDir()
	wiped := newTestRoom(t, i.digest, roomOptions{state: dir, clock: clock.read})
	stop = start(t, wiped)
	inDoubt(t, wiped, "stranger")
	_, err = wiped.Join(t.Context(), i.join(testAppliance, seq, head))
	require.NoError(t, err)
	_, err = wiped.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err)
	require.NoError(t, stop())

	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: clock.read})
	start(t, again)
	_, err = again.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err) // nor does a new worker forget it
	clock.step(time.Hour+time.Second, time.Hour+time.Second)
	_, err = again.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}
