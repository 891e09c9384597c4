package sealed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// standing is the anchor in the token.
func standing(t *testing.T) *anchor {
	t.Helper()
	a, _, _, err := (&anchoring{token: house.hsm}).read(t.Context())
	require.NoError(t, err)
	return a
}

func TestTheAnchorFollowsTheLedger(t *testing.T) {
	c := newTestClock(t)
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	cancel := func(door door) {
		_, err := door.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "activity"})
		require.NoError(t, err)
	}
	a := standing(t)
	require.Equal(t, anchor{1, "test", testAppliance, 1, 1, 1, i.digestOf(r, 1), i.digest}, *a, "charter 1 is a change of charter")
	i.furnish()
	a = standing(t)
	seq, head := r.fold.Head()
	require.Equal(t, seq, a.Sequence, "a policy is renewed at once")
	require.Equal(t, head, a.Head)
	cancel(r)
	require.Equal(t, seq, standing(t).Sequence, "other batches within a minute are not")
	c.step(61*time.Second, 61*time.Second)
	cancel(r)
	require.Equal(t, seq+2, standing(t).Sequence, "but after a minute")
	require.NoError(t, stop())

	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, again)
	cancel(again)
	require.Equal(t, uint64(2), standing(t).Term, "a new life authors in a higher term, and says so first")
}

// digestOf is the digest of a batch.
func (i *instance) digestOf(r *room, sequence uint64) policy.Digest {
	i.t.Helper()
	d, err := r.digestAt(i.t.Context(), sequence)
	require.NoError(i.t, err)
	return d
}

// trimLog takes the newest batches out of etcd, as a restored backup lacks them.
func trimLog(t *testing.T, n int) {
	t.Helper()
	s := openLog(t, house.store)
	for range n {
		last, err := s.c.Get(t.Context(), ledger.LogPrefix, clientv3.WithLastKey()...)
		require.NoError(t, err)
		_, err = s.c.Delete(t.Context(), string(last.Kvs[0].Key))
		require.NoError(t, err)
	}
}

// The disk was wiped and etcd restored from an old backup: the token remembers.
func TestAnOldStoreIsRefusedByTheAnchorAlone(t *testing.T) {
	i, _, stop := inProcess(t, roomOptions{}, nil)
	i.furnish()
	require.NoError(t, stop())
	trimLog(t, 1)
	r := newTestRoom(t, i.digest, roomOptions{})
	start(t, r)
	_, err := r.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "too early"})
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "the token's anchor (written by appliance-1 in term 1) names batch")
	require.NotZero(t, testutil.ToFloat64(r.metrics.notices.WithLabelValues(string(noticedBehind))))
	status, err := r.Status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "behind", status.Doubt.Kind)
	require.Equal(t, standing(t).Sequence, status.Doubt.Known.Sequence)
}

func TestAnEmptiedStoreTakesNoCharterAgain(t *testing.T) {
	i, _, stop := inProcess(t, roomOptions{}, nil)
	require.NoError(t, stop())
	s := openLog(t, house.store)
	_, err := s.c.Delete(t.Context(), ledger.LogPrefix, clientv3.WithPrefix())
	require.NoError(t, err)
	r := newTestRoom(t, i.digest, roomOptions{})
	start(t, r)
	_, err = r.CharterApply(t.Context(), i.first)
	requireKind(t, seal.KindStore, err)
	require.ErrorContains(t, err, "the store ends at batch 0")
}

func TestOfTwoAnchorsTheHigherCounts(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, nil)
	old := standing(t)
	i.furnish()
	require.NoError(t, stop())
	text, err := old.encode()
	require.NoError(t, err)
	// As a crash between create and destroy leaves it.
	require.NoError(t, house.hsm.ExchangeObject(t.Context(), anchorName, text))
	objects, err := house.hsm.Objects(t.Context(), anchorName)
	require.NoError(t, err)
	require.Len(t, objects, 2)
	require.Greater(t, standing(t).Sequence, old.Sequence)
	r := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, r)
	_, err = r.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "goes on"})
	require.NoError(t, err)
	objects, err = house.hsm.Objects(t.Context(), anchorName)
	require.NoError(t, err)
	require.Len(t, objects, 1, "and the next write leaves one")
}

func TestAnAnchorThatNoSealWrote(t *testing.T) {
	for name, text := range map[string]string{
		"not JSON":         "anchor",
		"another format":   `{"format":2,"instance":"test","author":"appliance-1","epoch":1,"term":1,"sequence":1,"head":"` + string(policy.NoDigest) + `","charter":"` + string(policy.NoDigest) + `"}`,
		"an unknown field": `{"format":1,"instance":"test","author":"appliance-1","epoch":1,"term":1,"sequence":1,"head":"` + string(policy.NoDigest) + `","charter":"` + string(policy.NoDigest) + `","more":1}`,
		"epoch 0":          `{"format":1,"instance":"test","author":"appliance-1","epoch":0,"term":1,"sequence":1,"head":"` + string(policy.NoDigest) + `","charter":"` + string(policy.NoDigest) + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			i, r, _ := inProcess(t, roomOptions{state: dir}, nil)
			require.NoError(t, house.hsm.ReplaceObject(t.Context(), anchorName, []byte(text)))
			r.proposals <- &proposal{ctx: t.Context(), decide: func(*round) error { r.anchors.due = true; return nil }, done: make(chan error, 1)}
			_, err := i.door.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "no"})
			requireKind(t, seal.KindStore, err)
			require.ErrorContains(t, err, "anchor cannot be read")
		})
	}
}

// The token was used by another instance before.
func TestAnAnchorOfAnotherInstance(t *testing.T) {
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
	require.NoError(t, stop())
	_, head := r.fold.Head()
	text, err := (&anchor{1, "other", testAppliance, 1, 9, 1, head, i.digest}).encode()
	require.NoError(t, err)
	require.NoError(t, house.hsm.ReplaceObject(t.Context(), anchorName, text))
	again := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, again)
	_, err = again.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "no"})
	require.ErrorContains(t, err, "instance other")
}

// Where the anchor cannot be renewed nothing leaves, and what was recorded is
// answered once it can.
func TestNeverFailOpen_TheAnchorCannotBeWritten(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	broken := errors.New("the token is busy elsewhere")
	r.anchors.token = &failingAnchors{anchorStore: house.hsm, err: broken}
	pol := i.nextPolicy(policy.Rule{Type: policy.RuleMaxAmount, Amount: amountPtr("5")})
	_, err := i.door.PolicyApply(t.Context(), pol)
	requireKind(t, seal.KindHSM, err)
	in := i.deployIntent()
	before := signatures(t)
	_, err = i.door.Decide(t.Context(), i.decision(in, policy.Approve, 0, ""))
	requireKind(t, seal.KindHSM, err)
	require.Equal(t, before, signatures(t))
	r.anchors.token.(*failingAnchors).err = nil
	got, err := i.door.PolicyApply(t.Context(), pol)
	require.NoError(t, err)
	require.Equal(t, got.Sequence, standing(t).Sequence)
}

// failingAnchors is a token that refuses to write, which a real one cannot be
// told to do for one object.
type failingAnchors struct {
	anchorStore
	err error
}

func (f *failingAnchors) ExchangeObject(ctx context.Context, name string, value []byte, old ...[]byte) error {
	if f.err != nil {
		return f.err
	}
	return f.anchorStore.ExchangeObject(ctx, name, value, old...)
}

func (f *failingAnchors) AddObject(ctx context.Context, name string, value []byte) ([][]byte, error) {
	if f.err != nil {
		return nil, f.err
	}
	return f.anchorStore.AddObject(ctx, name, value)
}

// nextPolicy is version 2 of the instance's policy, signed.
func (i *instance) nextPolicy(rules ...policy.Rule) *policy.Envelope {
	i.t.Helper()
	replaces := i.policy.Digest
	pol := &policy.Policy{Format: 1, Instance: i.charter.Instance, ID: i.policy.ID, Version: 2, Replaces: &replaces, Name: "dev-default",
		Scope: policy.Scope{All: true}, CreatedAt: policy.Seconds(time.Now()),
		Rules: append([]policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}}, rules...)}
	payload, err := pol.Encode()
	return sign(i.t, policy.DocPolicy, payload, err, i.people.custodians[:2]...)
}

func FuzzParseAnchor(f *testing.F) {
	text, err := (&anchor{1, "test", testAppliance, 1, 1, 1, policy.NoDigest, policy.NoDigest}).encode()
	require.NoError(f, err)
	f.Add(text)
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		a, err := parseAnchor(text)
		if err != nil {
			return
		}
		again, err := a.encode()
		require.NoError(t, err)
		require.Equal(t, text, again)
	})
}

func TestAnchorsAreOrdered(t *testing.T) {
	base := anchor{1, "test", "b", 2, 2, 2, policy.NoDigest, policy.NoDigest}
	for name, change := range map[string]func(*anchor){
		"epoch":    func(a *anchor) { a.Epoch, a.Term, a.Sequence = 3, 1, 1 },
		"term":     func(a *anchor) { a.Term, a.Sequence = 3, 1 },
		"sequence": func(a *anchor) { a.Sequence = 3 },
		"author":   func(a *anchor) { a.Author = "c" },
	} {
		t.Run(name, func(t *testing.T) {
			higher := base
			change(&higher)
			require.Positive(t, higher.compare(&base))
			require.Negative(t, base.compare(&higher))
		})
	}
	require.Zero(t, base.compare(&base))
}

// copyJournal is a state directory with the same journal.
func copyJournal(t *testing.T, from string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(from, "journal"))
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "journal"), text, 0o600))
	return dir
}
