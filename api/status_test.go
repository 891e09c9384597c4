package api

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// byHand is a seal whose every question waits until it is answered by hand.
type byHand struct {
	sealed    bool
	mu        sync.Mutex // of the questions, and of what is told
	questions []*question
}

type question struct {
	sealed bool // as the seal was when it was asked
	answer chan error
}

func (s *byHand) Status(ctx context.Context) (*seal.Status, error) {
	q := &question{s.sealed, make(chan error, 1)}
	s.mu.Lock()
	s.questions = append(s.questions, q)
	s.mu.Unlock()
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
		var got told
		defer func() {
			got.ended, got.panicked = true, recover()
			b.seal.mu.Lock()
			defer b.seal.mu.Unlock()
			*out = got
		}()
		got.status, got.err = b.q.now(ctx)
	}()
	synctest.Wait()
	return out
}

// pass lets time go by.
func (b *bubble) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// asked is how many questions the seal was asked.
func (b *bubble) asked() int {
	b.seal.mu.Lock()
	defer b.seal.mu.Unlock()
	return len(b.seal.questions)
}

// got is what somebody who asked has by now.
func (b *bubble) got(by *told) told {
	b.seal.mu.Lock()
	defer b.seal.mu.Unlock()
	return *by
}

func (b *bubble) question(n int) *question {
	b.seal.mu.Lock()
	defer b.seal.mu.Unlock()
	return b.seal.questions[n]
}

func (b *bubble) answer(n int, err error) {
	b.question(n).answer <- err
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
		require.False(t, b.got(early).status.Sealed)
		require.False(t, b.got(late).ended)
		b.answer(1, nil)
		require.True(t, b.got(late).status.Sealed)
	})
}

func TestOneStatusForAllWhoWait(t *testing.T) {
	t.Run("one question", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			all := []*told{b.asks(t.Context())}
			for range 63 {
				all = append(all, b.asks(t.Context()))
			}
			require.Equal(t, 1, b.asked())
			b.answer(0, nil)
			require.Equal(t, 2, b.asked())
			b.answer(1, nil)
			for _, a := range all {
				require.NoError(t, b.got(a).err)
				require.NotNil(t, b.got(a).status)
			}
			require.Equal(t, 2, b.asked())
		})
	})
	t.Run("its error is everybody's", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			first, second, third := b.asks(t.Context()), b.asks(t.Context()), b.asks(t.Context())
			broken := errors.New("broken")
			b.answer(0, nil)
			b.answer(1, broken)
			require.NoError(t, b.got(first).err)
			require.ErrorIs(t, b.got(second).err, broken)
			require.ErrorIs(t, b.got(third).err, broken)
		})
	})
	t.Run("what hangs, hangs alone", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			hung, next := b.asks(t.Context()), b.asks(t.Context())
			require.Equal(t, 1, b.asked())
			b.pass(2 * lateStatus)
			b.answer(1, nil)
			require.NoError(t, b.got(next).err)
			after := b.asks(t.Context())
			b.answer(2, nil)
			require.NoError(t, b.got(after).err)
			require.False(t, b.got(hung).ended)
			b.pass(b.q.limit)
			require.ErrorIs(t, b.got(hung).err, context.DeadlineExceeded)
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
			require.ErrorIs(t, b.got(gone).err, context.Canceled)
			b.answer(1, nil)
			require.NoError(t, b.got(stays).err)
		})
	})
	t.Run("a panic is caught where requests' are", func(t *testing.T) {
		inBubble(t, func(t *testing.T, b *bubble) {
			first := b.asks(t.Context())
			close(b.question(0).answer)
			synctest.Wait()
			require.Equal(t, "the seal", b.got(first).panicked)
			next := b.asks(t.Context())
			b.answer(1, nil)
			require.NoError(t, b.got(next).err)
		})
	})
}
