package sealed

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// steppedAnchors does something before and after each creation of an anchor, and may
// die there: then it answers nothing any more, as a process that is gone asks nothing.
type steppedAnchors struct {
	anchorStore
	before, after func()
	dead          error
}

func (s *steppedAnchors) ExchangeObject(ctx context.Context, name string, value []byte, old ...[]byte) error {
	if s.before != nil {
		s.before()
	}
	if s.dead != nil {
		return s.dead
	}
	if err := s.anchorStore.ExchangeObject(ctx, name, value, old...); err != nil {
		return err
	}
	if s.after != nil {
		s.after()
	}
	return s.dead
}

func (s *steppedAnchors) AddObject(ctx context.Context, name string, value []byte) ([][]byte, error) {
	if s.before != nil {
		s.before()
	}
	if s.dead != nil {
		return nil, s.dead
	}
	all, err := s.anchorStore.AddObject(ctx, name, value)
	if err != nil {
		return nil, err
	}
	if s.after != nil {
		s.after()
	}
	return all, s.dead
}

func (s *steppedAnchors) RemoveObjects(ctx context.Context, name string, values ...[]byte) error {
	if s.dead != nil {
		return s.dead
	}
	return s.anchorStore.RemoveObjects(ctx, name, values...)
}

func (s *steppedAnchors) Objects(ctx context.Context, name string) ([][]byte, error) {
	if s.dead != nil {
		return nil, s.dead
	}
	return s.anchorStore.Objects(ctx, name)
}

// A hostile etcd holds the second seal's view of the log where the first one was when
// it read the anchor, lets it take over, and has the first one sign one more mint in
// the very moment between the second one's look at the anchor and its write. The first
// one's answer left, so the second one must not go on from before it.
func TestAttack_ABatchBetweenATakeOversLookAndItsWrite(t *testing.T) {
	c := newCouple(t)
	c.furnishLimit()
	c.deploy()
	first, second := c.mint("1000"), c.mint("1000")
	for _, in := range []*policy.Intent{first, second} {
		c.approve(in, 0, 1)
	}
	seq, head := c.one.known().fold.Head()
	_, err := c.one.Join(t.Context(), c.join(secondAppliance, seq, head))
	require.NoError(t, err)
	before := signatures(t)
	c.two = newTestRoom(t, c.digest, roomOptions{state: c.dirs[1], appliance: secondAppliance, store: otherStore(t)})
	var met atomic.Bool
	c.two.anchors.token = &steppedAnchors{anchorStore: house.hsm, before: func() {
		if met.Swap(true) {
			return
		}
		_, err := c.one.Authorize(t.Context(), c.request(first))
		require.NoError(t, err)
	}}
	start(t, c.two)
	require.Eventually(t, met.Load, patience, 10*time.Millisecond)
	for range 3 {
		_, err = c.two.Authorize(t.Context(), c.request(second))
		requireKind(t, seal.KindStore, err)
	}
	require.Equal(t, before+1, signatures(t), "the limit of 1000 is spent once")

	// What the second one wrote goes once the first one, whose store extends all of it,
	// takes over.
	_, err = c.one.Authorize(t.Context(), c.request(second))
	require.Error(t, err)
	require.Eventually(t, func() bool {
		_, err := c.one.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "goes on"})
		return err == nil && standing(t).Author == testAppliance
	}, patience, 10*time.Millisecond)
}

// Wherever the author of a shared token dies on the way of an authorization, the anchor
// never says more than the store holds, the next life gives the same authorization and
// charges once, and a store that is rolled back behind what was answered is refused by
// the other appliance, too.
func TestAnAuthorOfASharedTokenDiesBetweenAnyTwoSteps(t *testing.T) {
	died := errors.New("the process is gone")
	for name, kill := range map[string]func(*steppedAnchors){
		"before the anchor is created":           func(s *steppedAnchors) { s.before = func() { s.dead = died } },
		"after it is created, before it is read": func(s *steppedAnchors) { s.after = func() { s.dead = died } },
		"before the old one is destroyed":        func(s *steppedAnchors) { s.anchorStore = keepingAnchors{s.anchorStore} },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCouple(t)
			c.furnishLimit()
			c.deploy()
			in := c.mint("1000")
			c.approve(in, 0, 1)
			c.arrive(roomOptions{})
			before := signatures(t)
			dying := &steppedAnchors{anchorStore: house.hsm}
			require.NoError(t, c.one.submit(t.Context(), func(rd *round) error {
				rd.room.anchors.token = dying
				kill(dying)
				return nil
			}))
			out, err := c.one.Authorize(t.Context(), c.request(in))
			answered := err == nil
			if !answered {
				requireKind(t, seal.KindHSM, err)
				require.Equal(t, before, signatures(t))
			}
			require.NoError(t, c.stopOne())
			_, all, _, err := (&anchoring{token: house.hsm}).read(t.Context())
			require.NoError(t, err)
			for _, a := range all {
				require.Equal(t, c.digestOf(c.one, a.Sequence), a.Head, "the anchor says what the store says")
			}

			c.takesOver(c.two)
			again, err := c.two.Authorize(t.Context(), c.request(in))
			require.NoError(t, err, "it was committed, whatever became of the anchor")
			if answered {
				require.Equal(t, out.Sequence, again.Sequence)
			}
			other := c.mint("1")
			c.instance.door = c.two
			c.approve(other, 0, 1)
			_, err = c.two.Authorize(t.Context(), c.request(other))
			requireKind(t, seal.KindDenied, err)

			// Back behind what was answered: neither of them goes by that store.
			seq := again.Sequence
			require.NoError(t, c.stopTwo())
			newest, _ := c.two.fold.Head()
			trimLog(t, int(newest-seq)+1)
			for n, appliance := range []string{testAppliance, secondAppliance} {
				for _, state := range []string{copyJournal(t, c.dirs[n]), t.TempDir()} {
					r := newTestRoom(t, c.digest, roomOptions{state: state, appliance: appliance})
					halt := start(t, r)
					_, err := r.Authorize(t.Context(), c.request(in))
					requireKind(t, seal.KindStore, err)
					require.NoError(t, halt())
				}
			}
		})
	}
}

// keepingAnchors destroys nothing.
type keepingAnchors struct{ anchorStore }

func (keepingAnchors) RemoveObjects(context.Context, string, ...[]byte) error {
	return errors.New("the process is gone")
}

// What could not be destroyed stays for the next write, and says nothing wrong meanwhile.
func TestAnOldAnchorThatCannotBeDestroyedGoesLater(t *testing.T) {
	c := newCouple(t)
	cancel := func() {
		t.Helper()
		_, err := c.one.Cancel(t.Context(), seal.CancelRequest{OperationID: newID("op"), Reason: "activity"})
		require.NoError(t, err)
	}
	use := func(s anchorStore) {
		t.Helper()
		require.NoError(t, c.one.submit(t.Context(), func(rd *round) error {
			rd.room.anchors.token = s
			return nil
		}))
	}
	cancel()
	use(keepingAnchors{house.hsm})
	cancel()
	cancel()
	use(house.hsm)
	objects, err := house.hsm.Objects(t.Context(), anchorName)
	require.NoError(t, err)
	require.Len(t, objects, 3)
	cancel()
	require.NoError(t, c.stopOne())
	objects, err = house.hsm.Objects(t.Context(), anchorName)
	require.NoError(t, err)
	text, err := c.one.anchors.held.encode()
	require.NoError(t, err)
	require.True(t, slices.EqualFunc(objects, [][]byte{text}, slices.Equal))
}
