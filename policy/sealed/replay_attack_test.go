package sealed

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// A hostile etcd lets a second seal's view of the log stand still at the anchor and
// takes the first one's lease out of it. Where they share the token the anchor goes
// with every batch, so that there is nothing behind it to be signed again.
func TestAttack_ASecondSealIsShownTheAnchorsHistory(t *testing.T) {
	c := newCouple(t)
	c.deploy()
	x, y := c.mint("7"), c.mint("8")
	c.approve(x, 0, 1)
	c.approve(y, 0, 1)
	seq, head := c.one.known().fold.Head()
	_, err := c.one.Join(t.Context(), c.join(secondAppliance, seq, head)) // a change that renews the anchor anyhow
	require.NoError(t, err)
	stale := otherStore(t)
	out, err := c.one.Authorize(t.Context(), c.request(x))
	require.NoError(t, err)
	c.verified(out)
	require.Equal(t, out.Sequence, standing(t).Sequence, "the anchor knows of what was signed")
	before := signatures(t)
	c.two = newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance, store: stale})
	start(t, c.two)
	inDoubt(t, c.two, "behind")
	for _, in := range []*policy.Intent{y, x} {
		_, err = c.two.Authorize(t.Context(), c.request(in))
		requireKind(t, seal.KindStore, err)
	}
	require.Equal(t, before, signatures(t))
	require.Equal(t, testAppliance, standing(t).Author)
}

// A join stands in for one loss of memory. Played again after the next one, over a
// store that was set back to the anchor, it does not.
func TestAttack_AJoinPlayedAgain(t *testing.T) {
	i, r, stop := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	seq, head := r.fold.Head()
	require.NoError(t, stop())
	ctx := t.Context()
	wiped := newTestRoom(t, i.digest, roomOptions{})
	halt := start(t, wiped)
	_, err := wiped.Join(ctx, i.join(testAppliance, seq, head))
	require.NoError(t, err)
	i.door = wiped
	x, y := i.mint("7"), i.mint("8")
	i.approve(x, 0, 1)
	i.approve(y, 0, 1)
	_, err = wiped.PolicyApply(ctx, i.nextPolicy(policy.Rule{Type: policy.RuleMaxAmount, Amount: amountPtr("9")}))
	require.NoError(t, err)
	out, err := wiped.Authorize(ctx, i.request(x))
	require.NoError(t, err)
	i.verified(out)
	end, _ := wiped.fold.Head()
	require.NoError(t, halt())

	before := signatures(t)
	trimLog(t, int(end-standing(t).Sequence))
	again := newTestRoom(t, i.digest, roomOptions{})
	start(t, again)
	for _, in := range []*policy.Intent{y, x} {
		_, err = again.Authorize(ctx, i.request(in))
		requireKind(t, seal.KindStore, err)
		require.ErrorContains(t, err, "no memory")
	}
	require.Equal(t, before, signatures(t))
	seq, head = again.known().fold.Head()
	_, err = again.Join(ctx, i.join(testAppliance, seq, head))
	require.NoError(t, err, "a new word of the threshold is one")
}

// A hostile etcd goes back behind a recover, and the custodians recover once more: what was approved, and signed, in
// the epoch that the first one began must not be approved, and signed, in the one that the second begins.
func TestAttack_ApprovalsOfAnEpochThatARecoverBeganBefore(t *testing.T) {
	options := roomOptions{state: t.TempDir()}
	i, r, stop := inProcess(t, options, nil)
	i.furnish()
	i.deploy()
	old := headOf(r.known().fold)
	i.many(1)
	ctx := t.Context()
	again := func() {
		require.NoError(t, stop())
		trimLog(t, int(headOf(r.fold)-old))
		r = newTestRoom(t, i.digest, options)
		stop = start(t, r)
		inDoubt(t, r, "behind")
		_, err := r.Recover(ctx, i.recovering(r, func(d *ledger.Recover) { d.Usage = []ledger.RecoverUsage{} }))
		require.NoError(t, err)
		i.door = r
	}
	again()
	in := i.mint("7")
	in.Epoch = 2
	approvals := []*policy.Envelope{i.decision(in, policy.Approve, 0, ""), i.decision(in, policy.Approve, 1, "")}
	for _, e := range approvals {
		_, err := r.Decide(ctx, e)
		require.NoError(t, err)
	}
	out, err := r.Authorize(ctx, i.request(in))
	require.NoError(t, err)
	i.verified(out)

	again()
	before := signatures(t)
	for _, e := range approvals {
		_, err = r.Decide(ctx, e)
		requireKind(t, seal.KindInvalid, err)
	}
	_, err = r.Authorize(ctx, i.request(in))
	requireKind(t, seal.KindDenied, err)
	require.Equal(t, before, signatures(t))
	require.NoError(t, stop())

	r = newTestRoom(t, i.digest, options) // the journal is one that goes on
	start(t, r)
	i.door = r
	i.many(1)
	require.Equal(t, uint64(3), r.known().fold.Epoch())
}

// An appliance was away while the others recovered, with a token of its own, and is all that is left when the store goes
// back once more. It knows nothing of the epoch that they began; custodians who do begin a higher one, in which what was
// approved in that one counts for nothing.
func TestAttack_ApprovalsOfAnEpochThatThisApplianceDidNotSee(t *testing.T) {
	options, away := roomOptions{state: t.TempDir()}, roomOptions{state: t.TempDir()}
	i, r, stop := inProcess(t, options, nil)
	i.furnish()
	i.deploy()
	i.many(1)
	ctx := t.Context()
	require.NoError(t, stop())
	require.NoError(t, os.CopyFS(away.state, os.DirFS(options.state)))
	old := headOf(r.fold) - 1
	trimLog(t, 1)
	r = newTestRoom(t, i.digest, options)
	stop = start(t, r)
	inDoubt(t, r, "behind")
	_, err := r.Recover(ctx, i.recovering(r, func(d *ledger.Recover) { d.Usage = []ledger.RecoverUsage{} }))
	require.NoError(t, err)
	i.door = r
	in := i.mint("7")
	in.Epoch = 2
	approvals := []*policy.Envelope{i.decision(in, policy.Approve, 0, ""), i.decision(in, policy.Approve, 1, "")}
	for _, e := range approvals {
		_, err := r.Decide(ctx, e)
		require.NoError(t, err)
	}
	_, err = r.Authorize(ctx, i.request(in))
	require.NoError(t, err)
	require.NoError(t, stop())

	trimLog(t, int(headOf(r.fold)-old))
	forgetAnchor(t) // the other appliance's
	before := signatures(t)
	r = newTestRoom(t, i.digest, away)
	start(t, r)
	inDoubt(t, r, "behind")
	s, err := r.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, uint64(1), s.Doubt.Epoch, "it was away")
	_, err = r.Recover(ctx, i.recovering(r, func(d *ledger.Recover) { d.Epoch, d.Usage = 3, []ledger.RecoverUsage{} }))
	require.NoError(t, err)
	for _, e := range approvals {
		_, err = r.Decide(ctx, e)
		requireKind(t, seal.KindInvalid, err)
	}
	_, err = r.Authorize(ctx, i.request(in))
	requireKind(t, seal.KindDenied, err)
	require.Equal(t, before, signatures(t))
	i.door = r
	i.many(1)
	require.Equal(t, uint64(3), r.known().fold.Epoch())
}

// An honest appliance joins while the author is at work, and its log and anchor go
// on with every batch.
func TestAnApplianceJoinsABusyLedger(t *testing.T) {
	c := newCouple(t)
	c.two = newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance})
	seq, head := c.one.known().fold.Head()
	got, err := c.one.Join(t.Context(), c.join(secondAppliance, seq, head))
	require.NoError(t, err)
	c.many(20)
	require.Greater(t, standing(t).Sequence, got.Sequence)
	start(t, c.two)
	c.many(20)
	c.reaches(c.two, got.Sequence+20)
}

// forged is what an appliance that a later charter left out can make of a store:
// under the true head a snapshot of what was before that charter, and behind it a
// trim that names it, both under its own key.
func forged(t *testing.T, c *couple) (x, y *policy.Intent, sequence uint64, head policy.Digest) {
	t.Helper()
	ctx := t.Context()
	c.deploy()
	x, y = c.mint("7"), c.mint("8")
	c.approve(x, 0, 1)
	c.approve(y, 0, 1)
	old, err := c.one.known().fold.Snapshot()
	require.NoError(t, err)
	next := *c.charter
	next.Version, next.Replaces = 2, &c.digest
	next.Appliances = next.Appliances[:1]
	payload, err := next.Encode()
	_, err = c.one.CharterApply(ctx, sign(t, policy.DocCharter, payload, err, c.people.custodians...))
	require.NoError(t, err)
	out, err := c.one.Authorize(ctx, c.request(x))
	require.NoError(t, err)
	c.verified(out)
	require.NoError(t, c.stopOne())
	fold := c.one.known().fold
	sequence, head = fold.Head()
	now, err := fold.Snapshot()
	require.NoError(t, err)
	line, _, _ := bytes.Cut(now, []byte("\n"))
	_, rest, _ := bytes.Cut(old, []byte("\n"))
	body := append(append(bytes.Clone(line), '\n'), rest...)
	digest, key := policy.DigestOf(body), ledgerKeys+secondAppliance
	signature, err := house.hsm.SignEd25519(ctx, key, ledger.SnapshotInput(secondAppliance, digest))
	require.NoError(t, err)
	signed, err := ledger.SignedSnapshot(body, secondAppliance, signature)
	require.NoError(t, err)
	b := &ledger.Batch{Format: ledger.Format, Instance: fold.Instance(), Epoch: fold.Epoch(), Term: fold.Term() + 1, Sequence: sequence + 1, Previous: head,
		Author: secondAppliance, Time: policy.Seconds(time.Now()), Records: []ledger.Record{{Trim: &ledger.Trim{FirstKept: sequence, Snapshot: digest}}}}
	input, err := b.SigningInput()
	require.NoError(t, err)
	b.Signature, err = house.hsm.SignEd25519(ctx, key, input)
	require.NoError(t, err)
	value, err := b.Encode()
	require.NoError(t, err)
	etcd := openLog(t, house.store).c
	_, err = etcd.Delete(ctx, ledger.LogPrefix, clientv3.WithRange(ledger.Key(standing(t).Sequence)))
	require.NoError(t, err)
	for n, part := range ledger.SnapshotParts(signed) {
		_, err = etcd.Put(ctx, ledger.SnapshotKey(sequence, n), string(part))
		require.NoError(t, err)
	}
	_, err = etcd.Put(ctx, ledger.Key(sequence+1), string(value))
	require.NoError(t, err)
	return x, y, sequence, head
}

func TestAttack_ASnapshotAndATrimOfAnExpelledAppliance(t *testing.T) {
	for name, anchored := range map[string]bool{"by the anchor's charter": true, "by a join that names the snapshot's own batch, on a new token": false} {
		t.Run(name, func(t *testing.T) {
			c := newCouple(t)
			x, y, seq, head := forged(t, c)
			if !anchored {
				forgetAnchor(t)
			}
			before := signatures(t)
			wiped := newTestRoom(t, c.digest, roomOptions{})
			start(t, wiped)
			_, err := wiped.Join(t.Context(), c.join(testAppliance, seq, head)) // of the true head, which the custodians know
			require.Error(t, err)
			for _, in := range []*policy.Intent{y, x} {
				_, err = wiped.Authorize(t.Context(), c.request(in))
				requireKind(t, seal.KindStore, err)
			}
			require.Equal(t, before, signatures(t))
		})
	}
}

// What the custodians accept may be a fork that is longer than what they give up;
// the other appliance, whose memory is of the branch that is given up, follows.
func TestRecoverOfALongerFork(t *testing.T) {
	c := newCouple(t)
	c.arrive(roomOptions{})
	c.reaches(c.two, headOf(c.one.known().fold))
	require.NoError(t, c.stopTwo())
	older := copyJournal(t, c.dirs[0])
	c.two = newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance})
	c.stopTwo = start(t, c.two)
	c.many(2)
	c.reaches(c.two, headOf(c.one.known().fold))
	require.NoError(t, c.stopTwo())
	require.NoError(t, c.stopOne())
	kept := *standing(t)
	trimLog(t, 2)
	forgetAnchor(t)
	fork := newTestRoom(t, c.digest, roomOptions{state: older})
	halt := start(t, fork)
	c.door = fork
	c.many(4)
	require.NoError(t, halt())
	text, err := kept.encode()
	require.NoError(t, err)
	require.NoError(t, house.hsm.ReplaceObject(t.Context(), anchorName, text))

	one := newTestRoom(t, c.digest, roomOptions{state: c.dirs[0]})
	start(t, one)
	inDoubt(t, one, "forked")
	got, err := one.Recover(t.Context(), c.recovering(one, nil))
	require.NoError(t, err)
	two := newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance})
	start(t, two)
	c.reaches(two, got.Sequence)
}
