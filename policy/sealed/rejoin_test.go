package sealed

import (
	"context"
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

const secondAppliance = "appliance-2"

// couple is an instance of two appliances that share a token and a store. The
// second runs in a room of its own; it was never there before.
type couple struct {
	*instance
	one, two         *room
	stopOne, stopTwo func() error
	dirs             [2]string
}

func newCouple(t *testing.T) *couple {
	t.Helper()
	emptyLog(t)
	c := &couple{dirs: [2]string{t.TempDir(), t.TempDir()}}
	p := newPeople(t)
	var me [2]*seal.InitResult
	for n, name := range []string{testAppliance, secondAppliance} {
		before := newTestRoom(t, "", roomOptions{state: c.dirs[n], appliance: name})
		var err error
		me[n], err = before.Init(t.Context())
		require.NoError(t, err)
		require.NoError(t, before.journal.close())
	}
	charter := p.charter(me[0], func(c *policy.Charter) {
		c.Appliances = append(c.Appliances, policy.Appliance{ID: secondAppliance, LedgerKey: me[1].LedgerKey, UnsealKey: me[1].UnsealKey,
			Token: policy.SecurityToken{Serial: me[1].Token.Serial, CheckValues: me[1].Token.CheckValues}})
	})
	payload, err := charter.Encode()
	e := sign(t, policy.DocCharter, payload, err, p.custodians...)
	c.one = newTestRoom(t, e.PayloadDigest(), roomOptions{state: c.dirs[0]})
	c.stopOne = start(t, c.one)
	c.instance = &instance{t: t, door: c.one, people: p, charter: charter, digest: e.PayloadDigest(), first: e}
	_, err = c.one.CharterApply(t.Context(), e)
	require.NoError(t, err)
	c.furnish()
	return c
}

// arrive starts the second appliance and has the first record its join.
func (c *couple) arrive(o roomOptions) {
	c.t.Helper()
	o.state, o.appliance = c.dirs[1], secondAppliance
	c.two = newTestRoom(c.t, c.digest, o)
	seq, head := c.one.known().fold.Head()
	got, err := c.one.Join(c.t.Context(), c.join(secondAppliance, seq, head))
	require.NoError(c.t, err)
	c.stopTwo = start(c.t, c.two)
	c.reaches(c.two, got.Sequence)
}

// reaches waits until a room goes by the store up to a batch.
func (c *couple) reaches(r *room, sequence uint64) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		known := r.known()
		return known.ready && headOf(known.fold) >= sequence
	}, patience, 10*time.Millisecond, "%v", r.known().doubt)
}

// takesOver waits until a room is the author, which it becomes by itself once
// nobody is.
func (c *couple) takesOver(r *room) {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		known := r.known()
		return known.ready && known.author == r.appliance
	}, patience, 10*time.Millisecond)
}

func (i *instance) join(appliance string, sequence uint64, head policy.Digest, by ...*policy.Signer) *policy.Envelope {
	i.t.Helper()
	if by == nil {
		by = i.people.custodians[:2]
	}
	a, ok := i.charter.Appliance(appliance)
	require.True(i.t, ok)
	j := &ledger.Join{Format: 1, Instance: i.charter.Instance, ApplianceID: appliance, LedgerKey: a.LedgerKey, UnsealKey: a.UnsealKey,
		Sequence: sequence, Head: head, CreatedAt: policy.Seconds(time.Now())}
	payload, err := j.Encode()
	return sign(i.t, policy.DocJoin, payload, err, by...)
}

// A seal whose disk was wiped believes no store on its word alone, however well
// that is signed, until the threshold names this very history.
func TestASealWithoutMemorySignsNothingUntilItJoined(t *testing.T) {
	i, r, stop := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("7")
	i.approve(in, 0, 1)
	seq, head := r.fold.Head()
	older := i.digestOf(r, seq-1)
	require.NoError(t, stop())

	dir := t.TempDir()
	wiped := newTestRoom(t, i.digest, roomOptions{state: dir})
	halt := start(t, wiped)
	ctx := t.Context()
	before := signatures(t)
	refused := func(want string, err error) {
		t.Helper()
		require.ErrorContains(t, err, want)
		_, err = wiped.Authorize(ctx, i.request(in))
		requireKind(t, seal.KindStore, err)
		require.ErrorContains(t, err, "no memory")
		require.Equal(t, before, signatures(t))
		now, err := openLog(t, house.store).batch(ctx, seq+1)
		require.NoError(t, err)
		require.Nil(t, now, "nor does it write anything")
	}
	_, err := wiped.Authorize(ctx, i.request(in))
	refused("no memory", err)
	status, err := wiped.Status(ctx)
	require.NoError(t, err)
	require.Equal(t, "stranger", status.Doubt.Kind)
	require.Equal(t, seal.Point{Sequence: seq, Head: head}, status.Doubt.Store)
	require.NotZero(t, testutil.ToFloat64(wiped.metrics.notices.WithLabelValues(string(noticedMemory))))

	_, err = wiped.Join(ctx, i.join(testAppliance, seq, head, i.people.custodians[0]))
	refused("threshold", err)
	_, err = wiped.Join(ctx, i.join(testAppliance, seq, older))
	refused("the store has", err)
	_, err = wiped.Join(ctx, i.join(testAppliance, seq+1, head))
	refused("the store ends at", err)
	_, err = wiped.Join(ctx, &policy.Envelope{PayloadType: policy.PayloadType(policy.DocJoin), Payload: []byte(`{}`)})
	refused("join", err)

	got, err := wiped.Join(ctx, i.join(testAppliance, seq-1, older))
	require.NoError(t, err, "a batch of this history, with the head that it has")
	require.Equal(t, seq+1, got.Sequence)
	out, err := wiped.Authorize(ctx, i.request(in))
	require.NoError(t, err)
	i.verified(out)
	require.NoError(t, halt())

	again := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, again)
	_, err = again.Authorize(ctx, i.request(in))
	require.NoError(t, err, "from then on it remembers")
}

func TestAJoinIsForTheKeyThatItNames(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	seq, head := r.fold.Head()
	i.charter.Appliances[0].LedgerKey = newSigner(t, policy.Ed25519).Public()
	_, err := r.Join(t.Context(), i.join(testAppliance, seq, head))
	requireKind(t, seal.KindInvalid, err)
	require.ErrorContains(t, err, "the token holds")
}

// Batch 1 was committed and the process died before its journal said so: that is
// no lost memory. Another's batch 1 in its place is one.
func TestADeathRightAfterBatchOne(t *testing.T) {
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
	require.NoError(t, stop())
	seq, head := r.fold.Head()
	require.Equal(t, uint64(1), seq)
	forgetAnchor(t)
	for name, c := range map[string]struct {
		offered policy.Digest
		fine    bool
	}{"ours": {head, true}, "another's": {policy.DigestOf([]byte("another")), false}, "none": {"", false}} {
		t.Run(name, func(t *testing.T) {
			forgetAnchor(t)
			state := t.TempDir()
			j, err := openJournal(state)
			require.NoError(t, err)
			require.NoError(t, j.write(mark{Offered: c.offered}))
			require.NoError(t, j.close())
			next := newTestRoom(t, i.digest, roomOptions{state: state})
			halt := start(t, next)
			_, err = next.CharterApply(t.Context(), i.first)
			if c.fine {
				require.NoError(t, err)
			} else {
				requireKind(t, seal.KindStore, err)
			}
			require.NoError(t, halt())
		})
	}
}

// A second appliance follows, joins, and takes over at once when the first one
// gives the author key back.
func TestASecondApplianceJoinsAndTakesOver(t *testing.T) {
	c := newCouple(t)
	c.two = newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance})
	stopTwo := start(t, c.two)
	_, err := c.two.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "not yet"})
	requireKind(t, seal.KindStore, err)
	seq, head := c.one.known().fold.Head()
	_, err = c.two.Join(t.Context(), c.join(secondAppliance, seq, head))
	requireKind(t, seal.KindNotAuthor, err)
	got, err := c.one.Join(t.Context(), c.join(secondAppliance, seq, head))
	require.NoError(t, err)
	c.reaches(c.two, got.Sequence)
	_, err = c.two.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "not the author"})
	requireKind(t, seal.KindNotAuthor, err)

	require.NoError(t, c.stopOne())
	c.takesOver(c.two)
	c.door = c.two
	c.deploy()
	in := c.mint("3")
	c.approve(in, 0, 2)
	out, err := c.two.Authorize(t.Context(), c.request(in))
	require.NoError(t, err)
	c.verified(out)
	require.Equal(t, secondAppliance, standing(t).Author)
	require.Equal(t, uint64(2), standing(t).Term)

	// And back, with the first one's journal.
	require.NoError(t, stopTwo())
	one := newTestRoom(t, c.digest, roomOptions{state: c.dirs[0]})
	start(t, one)
	c.takesOver(one)
	again, err := one.Authorize(t.Context(), c.request(in))
	require.NoError(t, err)
	require.Equal(t, c.verified(out).Nonce, c.verified(again).Nonce, "what the other authorized is authorized")
	require.Equal(t, uint64(3), standing(t).Term)
}

func TestAnApplianceThatIsToJoinMakesItsKey(t *testing.T) {
	i, _, _ := inProcess(t, roomOptions{}, nil)
	third := newTestRoom(t, i.digest, roomOptions{appliance: "appliance-3"})
	start(t, third)
	require.Eventually(t, func() bool { return headOf(third.known().fold) > 0 }, patience, 10*time.Millisecond)
	me, err := third.Init(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, i.charter.Appliances[0].LedgerKey, me.LedgerKey)
	again, err := third.Init(t.Context())
	require.NoError(t, err)
	require.Equal(t, me, again)
}

// recovering is the document that gives up exactly what is known for exactly what
// the store has.
func (i *instance) recovering(r *room, change func(*ledger.Recover), by ...*policy.Signer) *policy.Envelope {
	i.t.Helper()
	if by == nil {
		by = i.people.custodians[:2]
	}
	s, err := r.Status(i.t.Context())
	require.NoError(i.t, err)
	require.NotNil(i.t, s.Doubt)
	fold := r.known().fold
	d := &ledger.Recover{Format: 1, Instance: i.charter.Instance, Epoch: s.Doubt.Epoch + 1, Lost: ledger.Point(*s.Doubt.Known),
		Accepted: ledger.Point(s.Doubt.Store), CreatedAt: policy.Seconds(time.Now()), Lanes: []ledger.RecoverLane{}}
	for _, w := range fold.Wallets() {
		d.Lanes = append(d.Lanes, ledger.RecoverLane{WalletID: w.WalletID, Nonce: fold.NextNonce(w.WalletID) + 1})
	}
	if change != nil {
		change(d)
	}
	payload, err := d.Encode()
	return sign(i.t, policy.DocRecover, payload, err, by...)
}

// inDoubt waits until a room says so.
func inDoubt(t *testing.T, r *room, kind string) {
	t.Helper()
	require.Eventually(t, func() bool {
		s, err := r.Status(t.Context())
		return err == nil && s.Doubt != nil && s.Doubt.Kind == kind
	}, patience, 10*time.Millisecond)
}

// A store was restored from a backup. Only the threshold's word makes it the
// ledger, in a new epoch in which no old decision counts.
func TestRecover(t *testing.T) {
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	i.deploy()
	kept, given := i.mint("1"), i.mint("2")
	i.approve(kept, 0, 1)
	i.approve(given, 0, 1)
	require.NoError(t, stop())
	seq, _ := r.fold.Head()
	trimLog(t, 1) // the last approval of given
	ctx := t.Context()

	r = newTestRoom(t, i.digest, roomOptions{state: dir})
	halt := start(t, r)
	inDoubt(t, r, "behind")
	_, err := r.Authorize(ctx, i.request(kept))
	requireKind(t, seal.KindStore, err)
	before := signatures(t)
	for name, c := range map[string]struct {
		change func(*ledger.Recover)
		by     []*policy.Signer
		want   string
	}{
		"one custodian":          {nil, i.people.custodians[:1], "threshold"},
		"an approver's word":     {nil, i.people.approvers[:2], "not known"},
		"another lost sequence":  {func(d *ledger.Recover) { d.Lost.Sequence++ }, nil, "known is batch"},
		"another lost head":      {func(d *ledger.Recover) { d.Lost.Head = policy.NoDigest }, nil, "known is batch"},
		"accepts what is older":  {func(d *ledger.Recover) { d.Accepted.Sequence-- }, nil, "the store ends with"},
		"accepts another head":   {func(d *ledger.Recover) { d.Accepted.Head = policy.NoDigest }, nil, "the store ends with"},
		"another instance":       {func(d *ledger.Recover) { d.Instance = "other" }, nil, "instance"},
		"a lane that goes back":  {func(d *ledger.Recover) { d.Lanes[0].Nonce = 0 }, nil, "lane"},
		"a lane that is missing": {func(d *ledger.Recover) { d.Lanes = nil }, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := r.Recover(ctx, i.recovering(r, c.change, c.by...))
			requireKind(t, seal.KindInvalid, err)
			require.ErrorContains(t, err, c.want)
			there, err := openLog(t, house.store).batch(ctx, seq)
			require.NoError(t, err)
			require.Nil(t, there)
		})
	}
	e := i.recovering(r, nil)
	got, err := r.Recover(ctx, e)
	require.NoError(t, err)
	require.Equal(t, seq, got.Sequence, "right behind what was accepted")
	twice, err := r.Recover(ctx, e)
	require.NoError(t, err)
	require.Equal(t, got.Sequence, twice.Sequence, "again: the first answer")
	require.Equal(t, uint64(2), standing(t).Epoch)

	for _, in := range []*policy.Intent{kept, given} {
		_, err = r.Authorize(ctx, i.request(in))
		requireKind(t, seal.KindDenied, err)
	}
	require.Equal(t, before, signatures(t), "no decision was revived")
	require.NoError(t, halt())

	r = newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, r)
	i.door = r
	fresh := i.mint("5")
	_, err = r.Decide(ctx, i.decision(fresh, policy.Approve, 0, ""))
	requireKind(t, seal.KindInvalid, err)
	fresh.Epoch = 2
	i.approve(fresh, 0, 1)
	_, err = r.Authorize(ctx, i.request(fresh))
	requireKind(t, seal.KindDenied, err) // every counter stands at its limit until midnight
	_, err = r.Recover(ctx, e)
	require.NoError(t, err)
	_, err = r.Recover(ctx, i.anotherRecover(r))
	requireKind(t, seal.KindConflict, err)
}

// anotherRecover is one that nothing asks for.
func (i *instance) anotherRecover(r *room) *policy.Envelope {
	i.t.Helper()
	seq, head := r.known().fold.Head()
	d := &ledger.Recover{Format: 1, Instance: i.charter.Instance, Epoch: 3, Lost: ledger.Point{Sequence: seq, Head: head},
		Accepted: ledger.Point{Sequence: seq, Head: head}, Lanes: []ledger.RecoverLane{}, CreatedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	return sign(i.t, policy.DocRecover, payload, err, i.people.custodians[:2]...)
}

// Killed between any two of its steps, a recover is found done or asked for again.
func TestARecoverThatIsCutAnywhere(t *testing.T) {
	prepare := func(t *testing.T) (i *instance, dir string, lost anchor) {
		dir = t.TempDir()
		i, r, stop := inProcess(t, roomOptions{state: dir}, nil)
		i.furnish()
		require.NoError(t, stop())
		_, _ = r.fold.Head()
		trimLog(t, 1)
		return i, dir, *standing(t)
	}
	restart := func(t *testing.T, i *instance, dir string) *room {
		r := newTestRoom(t, i.digest, roomOptions{state: dir})
		start(t, r)
		return r
	}
	goesOn := func(t *testing.T, r *room) {
		t.Helper()
		_, err := r.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "goes on"})
		require.NoError(t, err)
		require.Equal(t, uint64(2), r.known().fold.Epoch())
		require.Equal(t, uint64(2), standing(t).Epoch)
	}
	t.Run("after the anchor's term, before the batch", func(t *testing.T) {
		i, dir, lost := prepare(t)
		w, cfg := newWire(t)
		r := newTestRoom(t, i.digest, roomOptions{state: dir, store: openLog(t, cfg)})
		halt := start(t, r)
		inDoubt(t, r, "behind")
		e := i.recovering(r, nil)
		// The anchor's write is the last thing before the batch: from there on the
		// store does not hear us.
		r.anchors.token = &cuttingAnchors{anchorStore: house.hsm, then: func() { w.set(false, true) }}
		answer := make(chan error, 1)
		go func() { _, err := r.Recover(t.Context(), e); answer <- err }()
		require.Eventually(t, func() bool { return testutil.ToFloat64(r.metrics.unknown) > 0 }, patience, 10*time.Millisecond)
		require.Error(t, halt())
		requireKind(t, seal.KindStore, soon(t, answer, "the recover's answer"))
		a := standing(t)
		require.Greater(t, a.Term, lost.Term)
		require.Equal(t, lost.Head, a.Head, "it names still what is lost")

		again := restart(t, i, dir)
		inDoubt(t, again, "behind")
		_, err := again.Recover(t.Context(), e)
		require.NoError(t, err, "the same document does it")
		goesOn(t, again)
	})
	t.Run("after the batch, before the journal", func(t *testing.T) {
		i, dir, _ := prepare(t)
		r := newTestRoom(t, i.digest, roomOptions{state: dir})
		halt := start(t, r)
		inDoubt(t, r, "behind")
		e := i.recovering(r, nil)
		require.NoError(t, r.journal.f.Close())
		_, err := r.Recover(t.Context(), e)
		requireKind(t, seal.KindStore, err)
		require.Error(t, halt())
		goesOn(t, restart(t, i, dir))
	})
	t.Run("after the journal, before the anchor", func(t *testing.T) {
		i, dir, _ := prepare(t)
		r := newTestRoom(t, i.digest, roomOptions{state: dir})
		halt := start(t, r)
		inDoubt(t, r, "behind")
		e := i.recovering(r, nil)
		writes := 0
		r.anchors.token = &failingAnchors{anchorStore: house.hsm}
		r.anchors.token = &cuttingAnchors{anchorStore: house.hsm, then: func() {
			if writes++; writes == 1 {
				r.anchors.token = &failingAnchors{anchorStore: house.hsm, err: os.ErrDeadlineExceeded}
			}
		}}
		_, err := r.Recover(t.Context(), e)
		requireKind(t, seal.KindHSM, err)
		require.NoError(t, halt())
		require.Equal(t, uint64(1), standing(t).Epoch)
		goesOn(t, restart(t, i, dir))
	})
	t.Run("the journal is lost, too", func(t *testing.T) {
		i, _, _ := prepare(t)
		r := restart(t, i, t.TempDir())
		inDoubt(t, r, "behind")
		_, err := r.Recover(t.Context(), i.recovering(r, nil))
		require.NoError(t, err)
		goesOn(t, r)
	})
}

// cuttingAnchors does something right after a write.
type cuttingAnchors struct {
	anchorStore
	then func()
}

func (c *cuttingAnchors) ExchangeObject(ctx context.Context, name string, value []byte, old ...[]byte) error {
	err := c.anchorStore.ExchangeObject(ctx, name, value, old...)
	c.then()
	return err
}

func (c *cuttingAnchors) AddObject(ctx context.Context, name string, value []byte) ([][]byte, error) {
	all, err := c.anchorStore.AddObject(ctx, name, value)
	c.then()
	return all, err
}

// The other appliance saw part of what is lost: the document covers that, too.
func TestTheOtherApplianceFollowsARecover(t *testing.T) {
	c := newCouple(t)
	c.arrive(roomOptions{})
	for range 3 {
		_, err := c.one.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "to be lost"})
		require.NoError(t, err)
	}
	seq, _ := c.one.known().fold.Head()
	c.reaches(c.two, seq-1)
	require.NoError(t, c.stopTwo())
	require.NoError(t, c.stopOne())
	trimLog(t, 3)
	one := newTestRoom(t, c.digest, roomOptions{state: c.dirs[0]})
	start(t, one)
	inDoubt(t, one, "behind")
	got, err := one.Recover(t.Context(), c.recovering(one, nil))
	require.NoError(t, err)
	two := newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance})
	start(t, two)
	c.reaches(two, got.Sequence)
}

// A fork, too, can be what the custodians accept; and a fork that was only shown
// for a while is forgotten when the history that is known comes back.
func TestAForkIsShownForAWhile(t *testing.T) {
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir}, nil)
	i.furnish()
	require.NoError(t, stop())
	s := openLog(t, house.store)
	last, err := s.c.Get(t.Context(), ledger.LogPrefix, clientv3.WithLastKey()...)
	require.NoError(t, err)
	key, value := string(last.Kvs[0].Key), string(last.Kvs[0].Value)
	older := olderJournal(t, dir)
	trimLog(t, 1)
	kept := *standing(t)
	forgetAnchor(t)
	fork := newTestRoom(t, i.digest, roomOptions{state: older})
	halt := start(t, fork)
	for range 2 {
		_, err = fork.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "another history"})
		require.NoError(t, err)
	}
	require.NoError(t, halt())
	text, err := kept.encode()
	require.NoError(t, err)
	require.NoError(t, house.hsm.ReplaceObject(t.Context(), anchorName, text))

	r := newTestRoom(t, i.digest, roomOptions{state: dir})
	start(t, r)
	inDoubt(t, r, "forked")
	forked, err := s.c.Get(t.Context(), ledger.LogPrefix, clientv3.WithPrefix())
	require.NoError(t, err)
	for _, kv := range forked.Kvs {
		if string(kv.Key) >= key {
			_, err = s.c.Delete(t.Context(), string(kv.Key))
			require.NoError(t, err)
		}
	}
	_, err = s.c.Put(t.Context(), key, value)
	require.NoError(t, err)
	require.Eventually(t, func() bool { return r.known().ready }, patience, 10*time.Millisecond)
	_, err = r.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "goes on"})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(dir, "journal"))
}
