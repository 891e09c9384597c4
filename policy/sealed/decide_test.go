package sealed

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestDecisions(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	ctx := t.Context()

	t.Run("the same decision again gets its first answer", func(t *testing.T) {
		in := i.mint("1")
		e := i.decision(in, policy.Approve, 0, "fine")
		first, err := r.Decide(ctx, e)
		require.NoError(t, err)
		require.Equal(t, policy.Wait, first.Verdict.Outcome)
		again, err := r.Decide(ctx, e)
		require.NoError(t, err)
		require.Equal(t, first.Sequence, again.Sequence)
	})
	t.Run("another one of that person is a duplicate", func(t *testing.T) {
		in := i.mint("1")
		i.approve(in, 0)
		_, err := r.Decide(ctx, i.decision(in, policy.Approve, 0, "twice"))
		requireKind(t, seal.KindDuplicate, err)
	})
	t.Run("the verdict counts what was decided", func(t *testing.T) {
		in := i.mint("1")
		i.approve(in, 0)
		out, err := r.Decide(ctx, i.decision(in, policy.Approve, 1, ""))
		require.NoError(t, err)
		require.Equal(t, policy.Allow, out.Verdict.Outcome)
	})
	t.Run("a rejection after the approvals ends it", func(t *testing.T) {
		in := i.mint("1")
		i.approve(in, 0, 1)
		before := signatures(t)
		approval := i.decision(in, policy.Approve, 2, "")
		_, err := r.Decide(ctx, i.decision(in, policy.Reject, 0, "changed my mind"))
		require.NoError(t, err)
		_, err = r.Authorize(ctx, i.request(in))
		requireKind(t, seal.KindDenied, err)
		_, err = r.Decide(ctx, approval)
		requireKind(t, seal.KindConflict, err)
		require.Equal(t, before, signatures(t))
	})
	t.Run("a rejection after the authorization comes too late", func(t *testing.T) {
		in := i.mint("1")
		i.approve(in, 0, 1)
		_, err := r.Authorize(ctx, i.request(in))
		require.NoError(t, err)
		_, err = r.Decide(ctx, i.decision(in, policy.Reject, 0, "late"))
		requireKind(t, seal.KindConflict, err)
		_, err = r.Cancel(ctx, seal.CancelRequest{OperationID: in.OperationID, Reason: "late"})
		requireKind(t, seal.KindConflict, err)
	})
	t.Run("a cancelled operation is not authorized", func(t *testing.T) {
		in := i.mint("1")
		i.approve(in, 0, 1)
		q := seal.CancelRequest{OperationID: in.OperationID, Reason: "not wanted"}
		first, err := r.Cancel(ctx, q)
		require.NoError(t, err)
		again, err := r.Cancel(ctx, q)
		require.NoError(t, err)
		require.Equal(t, first, again)
		_, err = r.Authorize(ctx, i.request(in))
		requireKind(t, seal.KindConflict, err)
	})
	t.Run("a stranger's signature is refused", func(t *testing.T) {
		in := i.mint("1")
		payload := i.decision(in, policy.Approve, 0, "").Payload
		_, err := r.Decide(ctx, sign(t, policy.DocDecision, payload, nil, newSigner(t, policy.Ed25519)))
		requireKind(t, seal.KindInvalid, err)
		_, err = r.Decide(ctx, sign(t, policy.DocDecision, payload, nil, i.people.approvers[1]))
		requireKind(t, seal.KindInvalid, err) // another's name
		_, err = r.Decide(ctx, sign(t, policy.DocPolicy, payload, nil, i.people.approvers[0]))
		requireKind(t, seal.KindInvalid, err) // another kind of document
	})
}

// Whichever of cancel, reject and authorize comes first excludes the others.
func TestAuthorizeCancelAndRejectExcludeEachOther(t *testing.T) {
	i, r, _ := inProcess(t, roomOptions{}, nil)
	i.furnish()
	i.deploy()
	for range 20 {
		in := i.mint("1")
		i.approve(in, 0, 1)
		reject, q := i.decision(in, policy.Reject, 2, "no"), i.request(in)
		ends := []func() error{
			func() error { _, err := r.Authorize(context.Background(), q); return err },
			func() error { _, err := r.Decide(context.Background(), reject); return err },
			func() error {
				_, err := r.Cancel(context.Background(), seal.CancelRequest{OperationID: in.OperationID, Reason: "stop"})
				return err
			},
		}
		failed := make([]error, len(ends))
		var wg sync.WaitGroup
		for n, end := range ends {
			wg.Go(func() { failed[n] = end() })
		}
		wg.Wait()
		op, ok := r.known().fold.Operation(in.OperationID)
		require.True(t, ok)
		require.Equal(t, failed[0] == nil, op.Authorized != nil)
		if op.Authorized != nil {
			require.Error(t, failed[1], "authorized, so not rejected")
			require.Error(t, failed[2], "authorized, so not cancelled")
		}
	}
}

func TestClockInDoubtDecidesNothing(t *testing.T) {
	var mu sync.Mutex
	var shift, boot time.Duration
	clock := func() (instant, error) {
		now, err := systemClock()
		mu.Lock()
		defer mu.Unlock()
		now.wall, now.boot = now.wall.Add(shift), now.boot+boot
		return now, err
	}
	set := func(wall, machine time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		shift, boot = wall, machine
	}
	i, r, _ := inProcess(t, roomOptions{clock: clock}, nil)
	i.furnish()
	i.deploy()
	in := i.mint("1")
	i.approve(in, 0, 1)
	before := signatures(t)
	for name, s := range map[string]time.Duration{"an hour back": -time.Hour, "an hour ahead": time.Hour, "next week": 7 * 24 * time.Hour} {
		set(s, 0)
		_, err := r.Authorize(t.Context(), i.request(in))
		requireKind(t, seal.KindClock, err)
		_, err = r.Cancel(t.Context(), seal.CancelRequest{OperationID: in.OperationID, Reason: name})
		requireKind(t, seal.KindClock, err)
	}
	require.Equal(t, before, signatures(t))
	set(0, 0)
	first, err := r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)

	// Two hours later, and the machine agrees: the intent has expired, yet what
	// was authorized is signed again, the same digest.
	set(2*time.Hour, 2*time.Hour)
	again, err := r.Authorize(t.Context(), i.request(in))
	require.NoError(t, err)
	require.Equal(t, first.Authorization, again.Authorization)
	require.Equal(t, first.Sequence, again.Sequence)
	one, two := i.verified(first), i.verified(again)
	h1, err := one.SigningHash()
	require.NoError(t, err)
	h2, err := two.SigningHash()
	require.NoError(t, err)
	require.Equal(t, h1, h2)
	late := i.mint("1")
	i.door = r
	_, err = r.Decide(t.Context(), i.decision(late, policy.Approve, 0, ""))
	requireKind(t, seal.KindDenied, err) // expired
}
