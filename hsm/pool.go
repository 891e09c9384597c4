package hsm

import (
	"context"
	"errors"
	"slices"
	"time"
)

// do runs f on a session of its own, in a goroutine of its own, and returns
// f's error, or the context's, ErrBusy or ErrStuck. When it returns one of the
// last three the caller must not read what f was to write.
func (t *Token) do(ctx context.Context, call string, f func(*session) error) error {
	return t.doThen(ctx, call, f, nil, nil)
}

// doThen is do, and runs after, if any, exactly once when f has ended or will not
// run. f runs once more after an error of which again, if any, is true.
func (t *Token) doThen(ctx context.Context, call string, f func(*session) error, after func(), again func(error) bool) (err error) {
	start := time.Now()
	defer func() { t.metrics.observe(call, start, err) }()
	j := jobs.Get().(*job)
	j.call, j.f, j.after, j.again = call, f, after, again
	if err := t.acquire(ctx); err != nil {
		j.leave()
		return err
	}
	w := t.begin()
	if w == nil {
		<-t.permits
		j.leave()
		return ErrClosed
	}
	w.work <- j
	select {
	case err := <-j.done:
		if !errors.Is(err, ErrStuck) { // else its worker has it still
			j.f, j.after, j.again = nil, nil, nil
			jobs.Put(j)
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin counts a call in and returns an idle worker, or a new one; or nil if the
// token was closed meanwhile.
func (t *Token) begin() *worker {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.closed:
		return nil
	default:
	}
	t.calls.Add(1)
	if n := len(t.idle); n > 0 {
		w := t.idle[n-1]
		t.idle = t.idle[:n-1]
		return w
	}
	return t.newWorker()
}

// acquire takes a permit: bounded in time, ends with the context, refused
// when the token is closed or broken.
func (t *Token) acquire(ctx context.Context) error {
	// One case each: a select of two costs more than this whole function.
	select {
	case <-t.closed:
		return ErrClosed
	default:
	}
	select {
	case <-t.broken:
		return ErrBroken
	default:
	}
	select {
	case t.permits <- struct{}{}:
		return nil
	default:
	}
	wait := time.NewTimer(t.cfg.Wait)
	defer wait.Stop()
	select {
	case t.permits <- struct{}{}:
		return nil
	case <-wait.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	case <-t.closed:
		return ErrClosed
	case <-t.broken:
		return ErrBroken
	}
}

// run gives f a session and decides the session's fate by what f returned. When
// the session is gone, or a handle was stale, or named another key, f runs again in
// a new one, once each: the call was refused whole or what it made was thrown away,
// and the old session may have an open operation.
func (t *Token) run(w *worker, j *job) error {
	var tried []Class // a few at most
	for {
		if err := w.open(); err != nil {
			t.judge(err)
			return err
		}
		w.unread = nil
		err := j.f(w.session)
		w.secret.Wipe()
		t.judge(err)
		if isClean(err) {
			if w.odd {
				w.drop()
			}
			return err
		}
		unread, id := w.unread, w.unreadID
		w.drop()
		c := classIn(err)
		if c == ClassSession {
			t.dropIdle()
		}
		retry := c == ClassSession || c == ClassHandle || j.again != nil && j.again(err)
		if !retry && unread != nil && t.namesOther(w, unread, id) {
			t.renumbered(id)
			retry = true
		}
		// A lost session often shows a stale handle next: once for each.
		if !retry || slices.Contains(tried, c) {
			return err
		}
		tried = append(tried, c)
	}
}

// namesOther reads back, in a new session, the handle that a failed call used
// without a look. True explains the failure: the number names another key.
func (t *Token) namesOther(w *worker, k *key, id string) bool {
	select {
	case <-t.broken:
		return false
	default:
	}
	err := w.open()
	if err == nil {
		if err = t.names(w.session, k, id); err == nil {
			return false
		}
		w.drop()
	}
	if errors.Is(err, errOtherKey) {
		return true
	}
	t.judge(err)
	return classIn(err) == ClassHandle
}

// cleanError marks an error of ours, found between two calls of the token: the
// session has no open operation and may be pooled.
type cleanError struct{ error }

func (e cleanError) Unwrap() error { return e.error }

func clean(err error) error { return cleanError{err} }

func isClean(err error) bool {
	if err == nil {
		return true
	}
	var c cleanError
	return errors.As(err, &c)
}

// dropIdle ends the idle workers and closes their sessions.
func (t *Token) dropIdle() {
	t.mu.Lock()
	idle := t.idle
	t.idle = nil
	t.mu.Unlock()
	for _, w := range idle {
		w.end()
	}
}

// judge looks at what a call returned for the token as a whole.
func (t *Token) judge(err error) {
	if isClean(err) {
		if t.faults.Load() != 0 {
			t.faults.Store(0)
		}
		return
	}
	var e *Error
	if !errors.As(err, &e) {
		return
	}
	switch e.Class {
	case ClassLogin:
		t.breakDown("the login is gone")
	case ClassModule:
		if !passing(e.Code) || t.faults.Add(1) >= maxFaults {
			t.breakDown(e.Error())
		}
	}
}

func (t *Token) breakDown(why string) {
	t.breakOnce.Do(func() {
		t.log.Error("token needs a new process", "reason", why)
		close(t.broken)
	})
}
