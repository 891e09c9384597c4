package sealed

import (
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/ledger"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// An author is paused between etcd's answer to its commit and its write of the anchor,
// past its lease, and the next one takes over. Wherever the two meet at the token,
// neither reads the other's anchor, which is of the log that it has, as another history;
// what was committed counts once, and the next one goes on.
func TestAnAuthorPausedBeforeItsAnchorMeetsTheNextOne(t *testing.T) {
	for name, meet := range map[string]func(*lateCouple){
		"it wakes up to the anchor of who took over": func(c *lateCouple) {
			c.replaced()
			requireKind(c.t, seal.KindNotAuthor, c.wakes())
		},
		"it wakes up when that one wrote more": func(c *lateCouple) {
			c.replaced()
			c.acts()
			requireKind(c.t, seal.KindNotAuthor, c.wakes())
		},
		"it is paused again before it takes its own back": func(c *lateCouple) {
			c.replaced()
			wrote, again := make(chan struct{}), make(chan struct{})
			c.late.after = sync.OnceFunc(func() { close(wrote); <-again })
			close(c.woken)
			soon(c.t, wrote, "the write of the one that was paused")
			c.acts()
			close(again)
			requireKind(c.t, seal.KindNotAuthor, soon(c.t, c.asked, "the answer of the one that was paused"))
		},
		"it writes between the next one's look and write": func(c *lateCouple) {
			c.next.before = sync.OnceFunc(func() { require.NoError(c.t, c.wakes(), "it saw nobody else's") })
			c.replaced()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newLateCouple(t)
			meet(c)
			c.acts()
			got, err := c.two.Cancel(t.Context(), c.request)
			require.NoError(t, err)
			require.Equal(t, c.committed, got.Sequence, "what was committed counts once")
			for _, r := range []*room{c.one, c.two} {
				require.Zero(t, testutil.ToFloat64(r.metrics.notices.WithLabelValues(string(noticedAnchor))), r.appliance)
			}
			require.Equal(t, secondAppliance, standing(t).Author)
		})
	}
}

// lateCouple is a couple whose first appliance stands still before the anchor of a
// batch that is in the log.
type lateCouple struct {
	*couple
	request    seal.CancelRequest // that the batch answers
	committed  uint64             // the batch
	late, next *steppedAnchors    // the token as each of the two sees it
	woken      chan struct{}
	asked      chan error
}

func newLateCouple(t *testing.T) *lateCouple {
	c := &lateCouple{couple: newCouple(t), request: seal.CancelRequest{OperationID: newID("op"), Reason: "late"},
		woken: make(chan struct{}), asked: make(chan error, 1), next: &steppedAnchors{anchorStore: house.hsm}}
	c.two = newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance})
	c.two.anchors.token = c.next
	seq, head := c.one.known().fold.Head()
	got, err := c.one.Join(t.Context(), c.join(secondAppliance, seq, head))
	require.NoError(t, err)
	start(t, c.two)
	c.reaches(c.two, got.Sequence)
	paused := make(chan struct{})
	c.late = &steppedAnchors{anchorStore: house.hsm, before: sync.OnceFunc(func() { close(paused); <-c.woken })}
	require.NoError(t, c.one.submit(t.Context(), func(rd *round) error {
		rd.room.anchors.token = c.late
		return nil
	}))
	go func() {
		_, err := c.one.Cancel(t.Context(), c.request)
		c.asked <- err
	}()
	soon(t, paused, "the write before which it is paused")
	c.committed = got.Sequence + 1
	return c
}

// replaced has the lease of the first run out, and the second take over: it is done with its anchor, or it would see the
// one that the first writes beside it, and give way, too.
func (c *lateCouple) replaced() {
	c.t.Helper()
	_, err := openLog(c.t, house.store).c.Delete(c.t.Context(), ledger.AuthorKey)
	require.NoError(c.t, err)
	require.Eventually(c.t, func() bool {
		return standing(c.t).Author == secondAppliance && c.two.submit(c.t.Context(), func(*round) error { return nil }) == nil
	}, patience, 10*time.Millisecond)
}

// wakes has the first go on, and is what its caller is told.
func (c *lateCouple) wakes() error {
	close(c.woken)
	return soon(c.t, c.asked, "the answer of the one that was paused")
}

// acts has the second write a batch.
func (c *lateCouple) acts() {
	c.t.Helper()
	require.Eventually(c.t, func() bool {
		_, err := c.two.Cancel(c.t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "goes on"})
		return err == nil
	}, patience, 10*time.Millisecond)
}

// Whoever restores an older token while an appliance runs that shares it puts an anchor
// back that is of this very log, too. That is no author that was paused, whether the next
// thing is an answer or a batch.
func TestAttack_AnOlderAnchorIsPutBackUnderAnAuthor(t *testing.T) {
	for name, asks := range map[string]func(first seal.CancelRequest) seal.CancelRequest{
		"it answers": func(first seal.CancelRequest) seal.CancelRequest { return first },
		"it writes a batch": func(seal.CancelRequest) seal.CancelRequest {
			return seal.CancelRequest{OperationID: newID("op"), Reason: "one more"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouple(t)
			old, err := standing(t).encode()
			require.NoError(t, err)
			first := seal.CancelRequest{OperationID: newID("op"), Reason: "moves the anchor on"}
			_, err = c.one.Cancel(t.Context(), first)
			require.NoError(t, err)
			require.NoError(t, house.hsm.ReplaceObject(t.Context(), anchorName, old))
			next := asks(first)
			_, err = c.one.Cancel(t.Context(), next)
			requireKind(t, seal.KindStore, err)
			require.NotZero(t, testutil.ToFloat64(c.one.metrics.notices.WithLabelValues(string(noticedAnchor))))
			_, err = c.one.Cancel(t.Context(), next)
			require.NoError(t, err, "its own memory holds the store to what was answered")
		})
	}
}
