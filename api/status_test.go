package api

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// byHand is a seal whose every question waits until it is answered by hand.
type byHand struct {
	sealed    bool
	questions []*question
}

type question struct {
	sealed bool // as the seal was when it was asked
	answer chan error
}

func (s *byHand) Status(ctx context.Context) (*seal.Status, error) {
	q := &question{s.sealed, make(chan error, 1)}
	s.questions = append(s.questions, q)
	select {
	case err, open := <-q.answer:
		if !open {
			panic("the seal")
		}
		return &seal.Status{Sealed: q.sealed}, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// told is what somebody who asked got.
type told struct {
	ended    bool
	status   *seal.Status
	err      error
	panicked any
}

// bubble runs a test in which nothing happens beside what it looks at: everybody has come as far as he can after each
// asked.
type bubble struct {
	seal *byHand
	q    *statuses
}

func inBubble(t *testing.T, f func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s := &byHand{}
		f(t, &bubble{s, &statuses{seal: s, limit: time.Hour}})
	})
}

func (b *bubble) asks(ctx context.Context) *told {
	out := &told{}
	go func() {
		defer func() { out.ended, out.panicked = true, recover() }()
		out.status, out.err = b.q.now(ctx)
	}()
	synctest.Wait()
	return out
}

func (b *bubble) answer(n int, err error) {
	b.seal.questions[n].answer <- err
	synctest.Wait()
}

// TestAttack_AStatusFromBeforeTheSealing: who comes while a question is under way is never told its answer, for the
// seal may have been sealed since.
func TestAttack_AStatusFromBeforeTheSealing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		early := b.asks(t.Context())
		b.seal.sealed = true
		late := b.asks(t.Context())
		b.answer(0, nil)
		require.False(t, early.status.Sealed)
		require.False(t, late.ended)
		b.answer(1, nil)
		require.True(t, late.status.Sealed)
	})
}

func TestOneStatusForAllWhoWait(t *testing.T) {
	t.Run("one question", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			all := []*told{b.asks(t.Context())}
			for range 63 {
				all = append(all, b.asks(t.Context()))
			}
			require.Len(t, b.seal.questions, 1)
			b.answer(0, nil)
			require.Len(t, b.seal.questions, 2)
			b.answer(1, nil)
			for _, a := range all {
				require.NoError(t, a.err)
				require.NotNil(t, a.status)
			}
			require.Len(t, b.seal.questions, 2)
		})
	})
	t.Run("its error is everybody's", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			first, second, third := b.asks(t.Context()), b.asks(t.Context()), b.asks(t.Context())
			broken := errors.New("broken")
			b.answer(0, nil)
			b.answer(1, broken)
			require.NoError(t, first.err)
			require.ErrorIs(t, second.err, broken)
			require.ErrorIs(t, third.err, broken)
		})
	})
	t.Run("what hangs, hangs alone", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			hung, next := b.asks(t.Context()), b.asks(t.Context())
			require.Len(t, b.seal.questions, 1)
			time.Sleep(2 * lateStatus)
			b.answer(1, nil)
			require.NoError(t, next.err)
			after := b.asks(t.Context())
			b.answer(2, nil)
			require.NoError(t, after.err)
			require.False(t, hung.ended)
			time.Sleep(b.q.limit)
			require.ErrorIs(t, hung.err, context.DeadlineExceeded)
		})
	})
	t.Run("who leaves takes nobody along", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			ctx, leave := context.WithCancel(t.Context())
			b.asks(t.Context())
			gone, stays := b.asks(ctx), b.asks(t.Context())
			b.answer(0, nil)
			leave()
			synctest.Wait()
			require.ErrorIs(t, gone.err, context.Canceled)
			b.answer(1, nil)
			require.NoError(t, stays.err)
		})
	})
	t.Run("a panic is caught where requests' are", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			first := b.asks(t.Context())
			close(b.seal.questions[0].answer)
			synctest.Wait()
			require.Equal(t, "the seal", first.panicked)
			next := b.asks(t.Context())
			b.answer(1, nil)
			require.NoError(t, next.err)
		})
	})
}
