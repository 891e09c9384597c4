package api

import (
	"context"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// lateStatus is how long those who come wait for the end of the question that is under way. A seal answers in a tenth
// of it; where one question hangs, it hangs alone.
const lateStatus = 20 * time.Millisecond

// statuses asks the seal how it is, once for all who wait for that. While a question is under way, those who come wait
// for its end and have one asked together: what anybody is told was asked for after he came, so that sealing takes
// effect as soon as if each had asked alone. Safe for concurrent use.
type statuses struct {
	seal  Sealer
	limit time.Duration // of one question; who waits has an end of his own

	mu     sync.Mutex
	asking bool
	next   *asked // not asked yet; nil: nobody waits for one
}

// asked is a question of all who wait for it.
type asked struct {
	ctx      context.Context // of the first of them
	done     chan struct{}   // closed when the rest is set
	status   *seal.Status    // not to be changed
	err      error
	panicked any
}

// now is how the seal is.
func (q *statuses) now(ctx context.Context) (*seal.Status, error) {
	q.mu.Lock()
	if q.next == nil {
		q.next = &asked{ctx: ctx, done: make(chan struct{})}
	}
	a := q.next
	if !q.asking {
		q.asking = true
		go q.ask()
	}
	q.mu.Unlock()
	select {
	case <-a.done:
		if a.panicked != nil {
			panic(a.panicked) // in the handler, whose panics are caught
		}
		return a.status, a.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// ask asks until nobody waits, or another one does because a question took too long.
func (q *statuses) ask() {
	for {
		q.mu.Lock()
		a := q.next
		q.next, q.asking = nil, a != nil
		q.mu.Unlock()
		if a == nil {
			return
		}
		late := time.AfterFunc(lateStatus, q.ask)
		q.one(a)
		if !late.Stop() {
			return
		}
	}
}

func (q *statuses) one(a *asked) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(a.ctx), q.limit)
	defer cancel()
	defer func() {
		a.panicked = recover()
		close(a.done)
	}()
	a.status, a.err = q.seal.Status(ctx)
}
