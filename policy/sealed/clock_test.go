package sealed

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestClockDoubt(t *testing.T) {
	last := instant{noon, time.Hour, "boot-1"}
	at := func(wall, boot time.Duration, id string) instant {
		return instant{noon.Add(wall), time.Hour + boot, id}
	}
	for name, c := range map[string]struct {
		now    instant
		newest time.Time
		doubt  bool
	}{
		"in step":                           {at(time.Minute, time.Minute, "boot-1"), noon, false},
		"the same second":                   {at(0, 0, "boot-1"), noon, false},
		"behind the last batch":             {at(-time.Second, time.Second, "boot-1"), noon, true},
		"behind another's batch":            {at(time.Minute, time.Minute, "boot-1"), noon.Add(time.Hour), true},
		"set forward within the skew":       {at(90*time.Second, time.Minute, "boot-1"), noon, false},
		"set forward past the skew":         {at(91*time.Second, time.Minute, "boot-1"), noon, true},
		"set forward to the next day":       {at(12*time.Hour, time.Minute, "boot-1"), noon, true},
		"suspended for a day":               {at(24*time.Hour, 24*time.Hour, "boot-1"), noon, false},
		"another boot says nothing of us":   {at(24*time.Hour, -time.Hour, "boot-2"), noon, false},
		"another boot, behind all the same": {at(-time.Hour, -time.Hour, "boot-2"), noon, true},
	} {
		t.Run(name, func(t *testing.T) {
			b := baseline{last: last, anchor: last}
			after, err := b.next(c.now, c.newest, 30*time.Second)
			require.Equal(t, c.doubt, err != nil, "%v", err)
			if c.doubt {
				require.Equal(t, b, after, "what is in doubt is held against nothing")
			}
		})
	}
	_, err := baseline{}.next(at(0, 0, "boot-1"), time.Time{}, 0)
	require.NoError(t, err, "the first batch has nothing before it")
}

func TestSystemClockGoesOn(t *testing.T) {
	a, err := systemClock()
	require.NoError(t, err)
	b, err := systemClock()
	require.NoError(t, err)
	require.Equal(t, a.id, b.id)
	_, err = baseline{last: a, anchor: a}.next(b, a.wall.Add(-time.Second), time.Second)
	require.NoError(t, err)
}

// The skew is granted once in a boot, not once a batch: in steps of less than it
// the clock does not get to the next day either.
func TestClockCreepIsBoundedByTheSkewOfOneBoot(t *testing.T) {
	first := instant{noon, time.Hour, "boot-1"}
	b := baseline{last: first, anchor: first}
	refused := 0
	for n := range 3000 { // 29 s ahead and 1 s of the machine's own, a batch
		now := instant{b.last.wall.Add(30 * time.Second), time.Hour + time.Duration(n+1)*time.Second, "boot-1"}
		next, err := b.next(now, b.last.wall, 30*time.Second)
		if err != nil {
			refused++
			continue
		}
		b = next
		// Over the journal, as a restart of the worker has it.
		b = newMark(1, "", b).baseline()
		require.LessOrEqual(t, now.wall.Sub(noon), now.boot-time.Hour+30*time.Second)
	}
	require.Greater(t, refused, 2800)
}

// What the clock was ahead by in one boot is not forgotten with the next: by
// reboots the creep adds up, and a custodian has to look at it.
func TestClockCreepOverRebootsAddsUp(t *testing.T) {
	b := baseline{}
	now := instant{noon, time.Minute, "boot-0"}
	var err error
	for n := range 5000 {
		now.id = string(rune('a'+n%2)) + "-boot"
		now.boot = time.Minute
		b, err = b.next(now, noon, 30*time.Second)
		require.NoError(t, err)
		now = instant{now.wall.Add(31 * time.Second), now.boot + time.Second, now.id} // 30 s ahead, within the skew
		b, err = b.next(now, noon, 30*time.Second)
		require.NoError(t, err)
		now.wall = now.wall.Add(time.Minute) // the next boot's own minute
		if b.maySign() != nil {
			require.InDelta(t, 2881, n, 2) // a day of 30 s
			return
		}
	}
	t.Fatal("a day was gained, and nobody asked")
}

func TestUnexplainedTimeOverReboots(t *testing.T) {
	last := instant{noon, 5 * time.Hour, "boot-1"}
	for name, c := range map[string]struct {
		was   time.Duration
		wall  time.Duration // since last
		boot  time.Duration // of the new boot
		want  time.Duration
		signs bool
	}{
		"a reboot of a minute":           {0, 2 * time.Minute, time.Minute, time.Minute, true},
		"found up for a week":            {0, 7 * 24 * time.Hour, 7 * 24 * time.Hour, 0, true},
		"behind within the skew":         {time.Hour, time.Minute, 90 * time.Second, time.Hour, true},
		"a day to the second":            {0, 24*time.Hour + time.Minute, time.Minute, 24 * time.Hour, true},
		"more than a day":                {0, 24*time.Hour + time.Minute + time.Second, time.Minute, 24*time.Hour + time.Second, false},
		"twelve hours after thirteen":    {13 * time.Hour, 12 * time.Hour, 0, 25 * time.Hour, false},
		"so long that sums would wrap":   {math.MaxInt64 - 5, 250 * 365 * 24 * time.Hour, 0, math.MaxInt64, false},
		"so long that the difference is": {time.Hour, math.MaxInt64, 0, math.MaxInt64, false},
	} {
		t.Run(name, func(t *testing.T) {
			b := baseline{last: last, anchor: last, unexplained: c.was}
			now := instant{noon.Add(c.wall), c.boot, "boot-2"}
			b, err := b.next(now, noon, 30*time.Second)
			require.NoError(t, err)
			require.Equal(t, c.want, b.unexplained)
			require.Equal(t, max(c.wall, c.boot), b.anchor.wall.Sub(noon), "what it is behind by is not forgotten")
			require.NoError(t, b.onTime(30*time.Second))
			if c.signs {
				require.NoError(t, b.maySign())
				return
			}
			requireKind(t, seal.KindClock, b.maySign())
			require.ErrorContains(t, b.maySign(), "custodian")
		})
	}
}

func TestClockBehindTheMachine(t *testing.T) {
	first := instant{noon, time.Hour, "boot-1"}
	const skew = 30 * time.Second
	b := baseline{last: first, anchor: first}
	read := func(wall, boot time.Duration, id string) error {
		t.Helper()
		var err error
		b, err = b.next(instant{noon.Add(wall), boot, id}, noon, skew)
		require.NoError(t, err)
		b = newMark(1, "", b).baseline() // as a restart of the worker has it
		return b.onTime(skew)
	}
	require.NoError(t, read(30*time.Second, time.Hour+time.Minute, "boot-1"), "by the skew in all")
	requireKind(t, seal.KindClock, read(30*time.Second, time.Hour+61*time.Second, "boot-1"))
	for n := range 100 { // a second a reading does not add up
		requireKind(t, seal.KindClock, read(31*time.Second, time.Hour+2*time.Minute+time.Duration(n)*time.Second, "boot-1"))
	}
	require.NoError(t, read(220*time.Second, time.Hour+219*time.Second, "boot-1"), "the clock is right again")
	requireKind(t, seal.KindClock, read(5*time.Minute, time.Hour+10*time.Minute, "boot-1"))
	requireKind(t, seal.KindClock, read(6*time.Minute, time.Minute, "boot-2")) // a reboot does not make it right
	require.Equal(t, 5*time.Minute, b.behind())
	require.NoError(t, read(16*time.Minute, 6*time.Minute, "boot-2"), "but whoever sets it does, to where the machine is")
	require.Zero(t, b.unexplained)
	requireKind(t, seal.KindClock, read(16*time.Minute, time.Hour, "boot-2"))
	b = b.vouched()
	require.NoError(t, b.onTime(skew), "it had been wrong before, says a custodian")
	require.NoError(t, read(17*time.Minute, time.Hour+time.Minute, "boot-2"))
	b = baseline{last: first, anchor: first}
	require.NoError(t, read(5*time.Minute, time.Hour+5*time.Minute, "boot-2"), "a container that is started anew, whose machine's clock went on")
	requireKind(t, seal.KindClock, read(5*time.Minute, time.Hour+20*time.Minute, "boot-3"))
	require.Equal(t, 15*time.Minute, b.behind())
	b = baseline{last: first, anchor: instant{noon.AddDate(400, 0, 0), 0, "boot-1"}}
	require.Equal(t, time.Duration(math.MaxInt64), b.behind(), "sums do not wrap")
}

// Whoever has NTP, and the API that leaves the chain's time out, sets the clock back
// to before an intent expired, a window closed or a day ended. The machine itself knows
// that it is later.
func TestAttack_AClockThatIsSetBackRevivesWhatIsOver(t *testing.T) {
	c := newTestClock(t)
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	i.furnish()
	i.deploy()
	in, open := i.mint("1000"), i.mint("1")
	open.ExpiresAt = open.NotBefore.Add(23 * time.Hour)
	for _, in := range []*policy.Intent{in, open} {
		i.approve(in, 0, 1)
	}
	over := in.ExpiresAt.Sub(in.NotBefore) + time.Hour
	c.step(over, over)
	_, err := i.door.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindDenied, err)
	c.step(-over+time.Second, 0)
	before := signatures(t)
	_, err = i.door.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindClock, err)
	require.Equal(t, before, signatures(t))
	require.NotZero(t, testutil.ToFloat64(r.metrics.notices.WithLabelValues(string(noticedClock))))

	// By a new worker it is no other time; what people decide is recorded.
	require.NoError(t, stop())
	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, again)
	_, err = again.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindClock, err)
	_, err = again.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "recorded"})
	require.NoError(t, err)

	// Set right, it goes on.
	c.step(over-time.Second, 0)
	_, err = again.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindDenied, err)
	_, err = again.Authorize(t.Context(), i.request(open))
	require.NoError(t, err)
}

// testClock is a clock that tests set. It does not go on by itself.
type testClock struct {
	mu  sync.Mutex
	now instant
}

func newTestClock(t *testing.T) *testClock {
	t.Helper()
	now, err := systemClock()
	require.NoError(t, err)
	now.id = "boot-1"
	return &testClock{now: now}
}

func (c *testClock) read() (instant, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, nil
}

// step sets the clock forward, as NTP does, and lets the machine run for so long.
func (c *testClock) step(wall, machine time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now.wall, c.now.boot = c.now.wall.Add(wall), c.now.boot+machine
}

// reboot is off for a time, and a minute up again.
func (c *testClock) reboot(id string, off time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = instant{c.now.wall.Add(off + time.Minute), time.Minute, id}
}

// A hostile etcd holds the commit while NTP sets the clock to the next day: what
// was checked before the commit is what counts, so the day does not begin anew.
func TestClockSetWhileEtcdHoldsTheCommit(t *testing.T) {
	c := newTestClock(t)
	s := openLog(t, house.store)
	held := &heldKV{KV: s.c.KV}
	s.c.KV = held
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir, store: s, clock: c.read}, nil)
	i.furnish(policy.Rule{Type: policy.RuleDailyLimit, Amount: amountPtr("1000"), Operations: []policy.OperationType{policy.OpMint}})
	i.deploy()
	first, second := i.mint("1000"), i.mint("1000")
	second.ExpiresAt = second.NotBefore.Add(24 * time.Hour)
	for _, in := range []*policy.Intent{first, second} {
		i.approve(in, 0, 1)
	}
	held.during = func() { c.step(23*time.Hour, 0); held.during = nil }
	_, err := i.door.Authorize(t.Context(), i.request(first))
	require.NoError(t, err)
	before := signatures(t)
	_, err = i.door.Authorize(t.Context(), i.request(second))
	requireKind(t, seal.KindClock, err)

	// The next life learns the same from the journal.
	require.NoError(t, stop())
	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, again)
	_, err = again.Authorize(t.Context(), i.request(second))
	requireKind(t, seal.KindClock, err)
	require.Equal(t, before, signatures(t))
}

// What is found in the log at a start does not make the clock of that moment the
// one that later ones are held against.
func TestClockSetWhileTheSealIsDown(t *testing.T) {
	c := newTestClock(t)
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	i.furnish()
	in := i.deployIntent()
	i.approve(in, 0, 1)
	old := r.journal.last
	_, err := i.door.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "one more batch"})
	require.NoError(t, err)
	require.NoError(t, stop())
	j, err := openJournal(dir)
	require.NoError(t, err)
	j.last = old // the process died before the batch was in its journal
	require.NoError(t, j.compact())
	require.NoError(t, j.close())

	c.step(24*time.Hour, time.Minute)
	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, again)
	_, err = again.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "tomorrow"})
	requireKind(t, seal.KindClock, err)
	require.Equal(t, old.Sequence+1, again.journal.last.Sequence)
}

// By reboots the clock gains more than a day, and nothing is signed until a
// custodian says so; people's decisions are recorded all the same.
func TestRebootsGainADay(t *testing.T) {
	c := newTestClock(t)
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	i.furnish()
	i.deploy()
	live := func(in *policy.Intent) *policy.Intent {
		now, err := c.read()
		require.NoError(t, err)
		in.NotBefore = policy.Seconds(now.wall.Add(-time.Minute))
		in.ExpiresAt = in.NotBefore.Add(23 * time.Hour)
		return in
	}
	var r *room
	restart := func(id string, off time.Duration) {
		require.NoError(t, stop())
		if id != "" {
			c.reboot(id, off)
		}
		r = newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
		stop = start(t, r)
		i.door = r
	}
	restart("boot-2", 23*time.Hour)
	done := live(i.mint("1"))
	i.approve(done, 0, 1)
	_, err := i.door.Authorize(t.Context(), i.request(done))
	require.NoError(t, err, "within a day nobody is asked")

	restart("boot-3", 2*time.Hour)
	before := signatures(t)
	in := live(i.mint("1"))
	refused := func() {
		t.Helper()
		_, err = r.Authorize(t.Context(), i.request(in))
		requireKind(t, seal.KindClock, err)
		require.ErrorContains(t, err, "custodian")
		_, err = r.Authorize(t.Context(), i.request(done))
		requireKind(t, seal.KindClock, err)
		_, err = r.Bump(t.Context(), seal.BumpRequest{OperationID: done.OperationID, MaxFee: amount("2000000000"), Tip: amount("1000000")})
		requireKind(t, seal.KindClock, err)
	}
	i.approve(in, 0, 1)
	_, err = r.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "goes on"})
	require.NoError(t, err)
	refused()
	restart("", 0) // another worker in the same boot has not forgotten
	refused()
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{TokenID: i.token.ID, Event: "nobody signed this"})
	require.NoError(t, err)
	refused()
	require.Equal(t, before, signatures(t))

	now, err := c.read()
	require.NoError(t, err)
	thaw := policy.Freeze{Format: 1, Instance: i.charter.Instance, Subject: policy.Subject{TokenID: i.token.ID},
		CreatedAt: policy.Seconds(now.wall).Add(time.Second)}
	payload, err := thaw.Encode()
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{Envelope: sign(t, policy.DocFreeze, payload, err, i.people.custodians[:2]...)})
	require.NoError(t, err)
	require.Zero(t, r.journal.last.Unexplained)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	restart("boot-4", time.Hour)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}

// The custodian's document counts too when the process died between its commit
// and its journal; one that was in the journal already does not count again.
func TestCustodiansWordSurvivesACrash(t *testing.T) {
	require.False(t, custodianSpoke([]ledger.Record{{EventFreeze: &ledger.EventFreeze{}}, {Cancel: &ledger.Cancel{}}, {Freeze: &ledger.Enveloped{}}}, time.Now()))

	c := newTestClock(t)
	dir := t.TempDir()
	i, r, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	before := r.journal.last // charter 1 is in it
	now, err := c.read()
	require.NoError(t, err)
	f := policy.Freeze{Format: 1, Instance: i.charter.Instance, Subject: policy.Subject{Person: "approver-3"}, Frozen: true, CreatedAt: policy.Seconds(now.wall)}
	payload, err := f.Encode()
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{Envelope: sign(t, policy.DocFreeze, payload, err, i.people.custodians[0])})
	require.NoError(t, err)
	require.NoError(t, stop())
	for name, x := range map[string]struct {
		journal mark
		want    time.Duration
	}{
		"died before its journal": {before, 0},
		"in the journal":          {r.journal.last, 30 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			x.journal.Unexplained = int64(30 * time.Hour)
			j, err := openJournal(dir)
			require.NoError(t, err)
			j.last = x.journal
			require.NoError(t, j.compact())
			require.NoError(t, j.close())
			again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
			halt := start(t, again)
			_, err = again.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "a batch"})
			require.NoError(t, err)
			require.NoError(t, halt())
			require.Equal(t, int64(x.want), again.journal.last.Unexplained)
		})
	}
}

// A quiet appliance's journal does not age: only the time that a reboot took is
// unexplained.
func TestQuietDaysAreExplained(t *testing.T) {
	c := newTestClock(t)
	dir := t.TempDir()
	_, r, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	require.NoError(t, stop())
	was := r.journal.last
	c.step(9*time.Minute, 9*time.Minute)
	require.NoError(t, r.tend())
	require.Equal(t, was, r.journal.last)
	c.step(72*time.Hour, 72*time.Hour)
	require.NoError(t, r.tend())
	require.Equal(t, was.Sequence, r.journal.last.Sequence)
	require.Equal(t, was.Anchor, r.journal.last.Anchor)
	c.reboot("boot-2", time.Hour)
	require.NoError(t, r.tend())
	require.Equal(t, "boot-1", r.journal.last.BootID, "a boot's first minutes are left alone")
	c.step(time.Hour, time.Hour)
	require.NoError(t, r.tend())
	require.Equal(t, "boot-2", r.journal.last.BootID)
	require.Equal(t, int64(time.Hour), r.journal.last.Unexplained)
	good := r.journal.last
	c.step(24*time.Hour, time.Hour)
	require.NoError(t, r.tend())
	require.Equal(t, good, r.journal.last, "what is in doubt is not noted")
}

// Lines of an earlier build have no anchor: theirs is their own reading.
func TestJournalOfAnEarlierBuild(t *testing.T) {
	m, err := parseJournal([]byte(`{"format":1,"seq":1,"head":"` + string(policy.DigestOf(nil)) + `","wall":"2026-01-02T12:00:00Z","boot":3600000000000,"bootId":"b"}` + "\n"))
	require.NoError(t, err)
	b := m.baseline()
	require.Equal(t, instant{noon, time.Hour, "b"}, b.anchor)
	require.Equal(t, b.anchor, b.last)
	require.Zero(t, b.unexplained)
	again := newMark(m.Sequence, m.Head, b)
	require.Equal(t, b, again.baseline())
}

// The chain is ahead of the seal's clock, so the clock lags: nothing is signed. A
// chain that is behind is no reason.
func TestAChainAheadOfTheClock(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	ask := func(ahead time.Duration) error {
		q := i.request(in)
		q.Head = &seal.ChainHead{Number: 7, Time: policy.Seconds(time.Now().Add(ahead))}
		_, err := r.Authorize(t.Context(), q)
		return err
	}
	before := signatures(t)
	requireKind(t, seal.KindClock, ask(time.Hour))
	requireKind(t, seal.KindClock, ask(35*time.Second))
	require.Equal(t, before, signatures(t))
	require.NoError(t, ask(-48*time.Hour))
	requireKind(t, seal.KindClock, ask(time.Hour)) // nor is it signed again
	q := seal.BumpRequest{OperationID: in.OperationID, MaxFee: amount("2000000000"), Tip: amount("2000000"), Head: &seal.ChainHead{Time: policy.Seconds(time.Now().Add(time.Hour))}}
	_, err := r.Bump(t.Context(), q)
	requireKind(t, seal.KindClock, err)
	q.Head = nil
	_, err = r.Bump(t.Context(), q)
	require.NoError(t, err)
}

// A custodian's document that was held back since before the clock was moved says nothing of the clock.
func TestAttack_AWithheldDocumentForgivesWhatTheClockGained(t *testing.T) {
	c := newTestClock(t)
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	i.furnish()
	i.deploy()
	now, err := c.read()
	require.NoError(t, err)
	f := policy.Freeze{Format: 1, Instance: i.charter.Instance, Subject: policy.Subject{Person: "approver-3"}, Frozen: true, CreatedAt: policy.Seconds(now.wall)}
	payload, err := f.Encode()
	withheld := sign(t, policy.DocFreeze, payload, err, i.people.custodians[0])
	require.NoError(t, stop())
	c.reboot("boot-2", 72*time.Hour) // NTP, over a reboot: three days on
	r := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, r)
	i.door = r
	now, err = c.read()
	require.NoError(t, err)
	in := i.mint("1")
	in.NotBefore = policy.Seconds(now.wall.Add(-time.Minute))
	in.ExpiresAt = in.NotBefore.Add(23 * time.Hour)
	i.approve(in, 0, 1)
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindClock, err)
	_, err = r.Freeze(t.Context(), seal.FreezeRequest{Envelope: withheld})
	require.NoError(t, err, "it still stops the person")
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindClock, err)
}

// Whoever proposes a policy dates it: serve. That a custodian's signature stands under a date which serve
// made up says nothing of the custodian's clock.
func TestAttack_APolicyDatedByItsProposerForgivesNothing(t *testing.T) {
	c := newTestClock(t)
	dir := t.TempDir()
	i, _, stop := inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	i.furnish()
	i.deploy()
	now, err := c.read()
	require.NoError(t, err)
	replaces := i.policy.Digest
	pol := &policy.Policy{Format: 1, Instance: i.charter.Instance, ID: i.policy.ID, Version: 2, Replaces: &replaces, Name: "dev-default",
		Scope: policy.Scope{All: true}, CreatedAt: policy.Seconds(now.wall.Add(72 * time.Hour)), // a hostile API's date
		Rules: []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"}}}
	payload, err := pol.Encode()
	withheld := sign(t, policy.DocPolicy, payload, err, i.people.custodians[:2]...)
	require.NoError(t, stop())
	c.reboot("boot-2", 72*time.Hour)
	r := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, r)
	i.door = r
	_, err = r.PolicyApply(t.Context(), withheld)
	require.NoError(t, err)
	now, err = c.read()
	require.NoError(t, err)
	in := i.mint("1")
	in.NotBefore = policy.Seconds(now.wall.Add(-time.Minute))
	in.ExpiresAt = in.NotBefore.Add(23 * time.Hour)
	i.approve(in, 0, 1)
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindClock, err)
}

// A boot has one name, whether the kernel tells it or, where only processes are left of /proc, systemd does. Without
// either nothing is decided: a clock that nobody vouches for is none.
func TestTheBootsNameIsTheKernelsOrSystemds(t *testing.T) {
	const dashed, plain = "6b82e7a2-0b7e-4507-b46f-a07ad0e5eb55", "6b82e7a20b7e4507b46fa07ad0e5eb55"
	file := filepath.Join(t.TempDir(), "boot_id")
	require.NoError(t, os.WriteFile(file, []byte(dashed+"\n"), 0o600))
	nothing := filepath.Join(t.TempDir(), "boot_id")
	wrong := filepath.Join(t.TempDir(), "boot_id")
	require.NoError(t, os.WriteFile(wrong, []byte("tomorrow\n"), 0o600))
	for name, c := range map[string]struct{ path, env, want string }{
		"the kernel":                      {file, "", dashed},
		"systemd":                         {nothing, plain, dashed},
		"the kernel, whoever else says":   {file, "00000000000000000000000000000000", dashed},
		"nobody":                          {nothing, "", ""},
		"systemd, nothing that is one":    {nothing, "today", ""},
		"systemd, too short":              {nothing, "6b82e7a2", ""},
		"the kernel, nothing that is one": {wrong, plain, ""},
	} {
		id, err := readBootID(c.path, func(string) string { return c.env })
		if c.want == "" {
			require.Error(t, err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, c.want, *id, name)
	}
	kernel, err := readBootID("/proc/sys/kernel/random/boot_id", func(string) string { return "" })
	require.NoError(t, err)
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	require.NoError(t, err)
	require.Equal(t, strings.TrimSpace(string(text)), *kernel, "journals of before know it so")
}
