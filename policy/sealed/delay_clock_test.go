package sealed

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// delay makes it an hour, with approvals, from when a mint's last approval could be seen.
func (i *instance) delay(r *room) {
	i.t.Helper()
	i.furnish()
	i.deploy()
	_, err := r.PolicyApply(i.t.Context(), i.nextPolicy(policy.Rule{Type: policy.RuleDelay, Seconds: 3600}))
	require.NoError(i.t, err)
}

// delaying is a room with such a DELAY, started in a directory of its own, and a mint of twenty hours that nobody
// approved yet.
func delaying(t *testing.T, c *testClock) (i *instance, r *room, stop func() error, dir string, in *policy.Intent) {
	t.Helper()
	dir = t.TempDir()
	i, r, stop = inProcess(t, roomOptions{state: dir, clock: c.read}, nil)
	i.delay(r)
	in = i.mint("3")
	in.ExpiresAt = in.NotBefore.Add(20 * time.Hour)
	return i, r, stop, dir, in
}

// approvedEarlier has a mint approved by a clock that is set back over the two quiet hours before.
func (i *instance) approvedEarlier(c *testClock, in *policy.Intent) {
	i.t.Helper()
	c.step(2*time.Hour, 2*time.Hour)
	c.step(-2*time.Hour+time.Second, 0)
	i.approve(in, 0, 1)
}

// forgets has the journal in dir say what it said before, as if the process had died before it saw more.
func forgets(t *testing.T, dir string, before mark) {
	t.Helper()
	j, err := openJournal(dir)
	require.NoError(t, err)
	j.last = before
	require.NoError(t, errors.Join(j.compact(), j.close()))
}

// A hostile etcd holds the commit of the approval that completes the quorum for as long as the DELAY lasts: nobody
// who follows the log could see it meanwhile, and the moment it is there it is over.
func TestAttack_ADelayThatPassesWhileEtcdHoldsTheApproval(t *testing.T) {
	c := newTestClock(t)
	s := openLog(t, house.store)
	held := &heldKV{KV: s.c.KV}
	s.c.KV = held
	i, r, _ := inProcess(t, roomOptions{state: t.TempDir(), store: s, clock: c.read}, nil)
	i.delay(r)
	in := i.mint("3")
	in.ExpiresAt = in.NotBefore.Add(20 * time.Hour)
	i.approve(in, 0)
	held.during = func() { c.step(2*time.Hour, 2*time.Hour); held.during = nil }
	i.approve(in, 1)
	_, err := r.Authorize(t.Context(), i.request(in))
	require.Error(t, err, "the log has had the approvals for no time at all")
	requireKind(t, seal.KindWait, err)

	// It passes from then on.
	c.step(time.Hour+time.Second, time.Hour+time.Second)
	_, err = r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}

// Whoever has NTP sets the clock back over the quiet hours before, has the approvals recorded, which are dated by it,
// and sets it right: the DELAY would be over before anybody could see them.
func TestAttack_ADelayThatPassedBeforeTheApprovals(t *testing.T) {
	c := newTestClock(t)
	i, r, stop, dir, in := delaying(t, c)
	i.approvedEarlier(c, in)
	c.step(2*time.Hour-time.Second, 0)
	_, err := r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err)
	require.NoError(t, stop())
	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, again)
	_, err = again.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err) // nor does a new worker forget it

	c.step(time.Hour+time.Second, time.Hour+time.Second)
	_, err = again.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
}

// The same, read by who did not write it, or died before the journal said so, while the clock is back.
func TestAttack_ADelayThatPassedBeforeTheApprovalsWereRead(t *testing.T) {
	c := newTestClock(t)
	i, r, stop, dir, in := delaying(t, c)
	old := r.journal.last
	i.approvedEarlier(c, in)
	require.NoError(t, stop())
	forgets(t, dir, old)
	require.NoError(t, os.Remove(filepath.Join(dir, withheldFile)))

	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, again)
	require.Eventually(t, func() bool { return again.known().ready }, patience, 10*time.Millisecond)
	c.step(2*time.Hour-time.Second, 0)
	_, err := again.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err)
}

// The same by nearly as long as an intent may live: it is remembered until the intent has expired, which may be later
// than the clock that was set back said by as much as clocks may differ.
func TestAttack_ADelayThatPassedBeforeTheApprovalsIsRememberedUntilTheIntentExpired(t *testing.T) {
	c := newTestClock(t)
	s := openLog(t, house.store)
	held := &heldKV{KV: s.c.KV}
	s.c.KV = held
	i, r, _ := inProcess(t, roomOptions{store: s, clock: c.read}, nil)
	i.delay(r)
	life := i.charter.MaxIntentLifetime()
	back := life - 15*time.Second
	c.step(back+time.Second, back+time.Second)
	c.step(-back, 0)
	now, err := c.read()
	require.NoError(t, err)
	mint := func() *policy.Intent {
		in := i.mint("3")
		in.NotBefore = policy.Seconds(now.wall.Add(25 * time.Second))
		in.ExpiresAt = in.NotBefore.Add(life)
		return in
	}
	in := mint()
	i.approve(in, 0, 1)
	c.step(back, 0)
	held.during = func() { held.during = nil; c.step(31*time.Second, 31*time.Second) }
	i.approve(mint(), 0) // held back too, which has what is over forgotten
	_, err = r.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err)
}

// Approvals that nobody saw for two hours are read by a clock that was set days ahead for just that moment: by it, all
// that they could let be signed is over.
func TestAttack_ApprovalsThatWereHeldBackAreReadByAClockOfLaterDays(t *testing.T) {
	c := newTestClock(t)
	i, r, stop, dir, in := delaying(t, c)
	old := r.journal.last
	i.approve(in, 0, 1)
	require.NoError(t, stop())
	forgets(t, dir, old) // the process died while the store held them back

	c.step(2*time.Hour, 2*time.Hour)
	c.step(72*time.Hour, 0)
	again := newTestRoom(t, i.digest, roomOptions{state: dir, clock: c.read})
	start(t, again)
	require.Eventually(t, func() bool { return again.known().ready }, patience, 10*time.Millisecond)
	c.step(-72*time.Hour, 0)
	_, err := again.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindWait, err)
	c.step(20*time.Hour, 20*time.Hour)
	_, err = again.Authorize(t.Context(), i.request(in))
	requireKind(t, seal.KindDenied, err)
}
