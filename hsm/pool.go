package hsm

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/awnumar/memguard"
	"github.com/miekg/pkcs11"
)

// session is one PKCS#11 session and the locked buffer that secrets of its
// calls pass through. Both belong to the goroutine that runs the call, also
// when its caller has left.
type session struct {
	h      pkcs11.SessionHandle
	secret *memguard.LockedBuffer // secretSize bytes, wiped after each use

	// unread is the key of the running call, if its handle was not read back
	// before it was used.
	unread   *key
	unreadID string
}

// job is one use of a session. Its results live in closures of its own, never
// in memory of the caller's, who may be gone.
type job struct {
	mu     sync.Mutex
	ended  bool
	strand bool // declared stuck: its permit was given back already
	done   chan error
}

// do runs f on a session of its own, in a goroutine of its own, and returns
// f's error, or the context's, ErrBusy or ErrStuck. When it returns one of the
// last three the caller must not read what f was to write.
func (t *Token) do(ctx context.Context, call string, f func(*session) error) error {
	return t.doThen(ctx, call, f, func() {}, func(error) bool { return false })
}

// doThen is do, and runs after exactly once when f has ended or will not run.
// f runs once more after an error of which again is true.
func (t *Token) doThen(ctx context.Context, call string, f func(*session) error, after func(), again func(error) bool) (err error) {
	start := time.Now()
	defer func() { t.metrics.observe(call, start, err) }()
	if err := t.acquire(ctx); err != nil {
		after()
		return err
	}
	if !t.begin() {
		<-t.permits
		after()
		return ErrClosed
	}
	j := &job{done: make(chan error, 2)} // one from the watch, one from the call
	timer := time.AfterFunc(t.cfg.CallTimeout, func() { t.strand(j, call) })
	go func() {
		err := t.run(f, again)
		after()
		timer.Stop()
		t.finish(j)
		j.done <- err
	}()
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin counts a call in, unless the token was closed meanwhile.
func (t *Token) begin() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-t.closed:
		return false
	default:
		t.calls.Add(1)
		return true
	}
}

// acquire takes a permit: bounded in time, ends with the context, refused
// when the token is closed or broken.
func (t *Token) acquire(ctx context.Context) error {
	select {
	case <-t.closed:
		return ErrClosed
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
func (t *Token) run(f func(*session) error, again func(error) bool) error {
	var tried []Class // a few at most
	for {
		s, err := t.take()
		if err != nil {
			t.judge(err)
			return err
		}
		s.unread = nil
		err = f(s)
		s.secret.Wipe()
		t.judge(err)
		if isClean(err) {
			t.give(s)
			return err
		}
		unread, id := s.unread, s.unreadID
		t.drop(s)
		c := classIn(err)
		if c == ClassSession {
			t.dropIdle()
		}
		retry := c == ClassSession || c == ClassHandle || again(err)
		if !retry && unread != nil && t.namesOther(unread, id) {
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
func (t *Token) namesOther(k *key, id string) bool {
	select {
	case <-t.broken:
		return false
	default:
	}
	s, err := t.take()
	if err != nil {
		t.judge(err)
		return false
	}
	switch err := t.names(s, k, id); {
	case err == nil:
		t.give(s)
		return false
	case errors.Is(err, errOtherKey):
		t.drop(s)
		return true
	default:
		t.judge(err)
		t.drop(s)
		return classIn(err) == ClassHandle
	}
}

// cleanError marks an error of ours, found between two calls of the token: the
// session has no open operation and may be pooled.
type cleanError struct{ error }

func (e cleanError) Unwrap() error { return e.error }

func clean(err error) error { return cleanError{err} }

func isClean(err error) bool {
	var c cleanError
	return err == nil || errors.As(err, &c)
}

// take returns an idle session or opens a new one.
func (t *Token) take() (*session, error) {
	t.mu.Lock()
	if n := len(t.idle); n > 0 {
		s := t.idle[n-1]
		t.idle = t.idle[:n-1]
		t.mu.Unlock()
		return s, nil
	}
	t.mu.Unlock()
	h, err := t.p.OpenSession(t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return nil, wrap("C_OpenSession", err)
	}
	t.metrics.sessions.Inc()
	return &session{h: h, secret: memguard.NewBuffer(secretSize)}, nil
}

func (t *Token) give(s *session) {
	t.mu.Lock()
	t.idle = append(t.idle, s)
	t.mu.Unlock()
}

func (t *Token) drop(s *session) {
	t.doubt()
	// Its error says nothing new: the session was odd, or already gone.
	_ = t.p.CloseSession(s.h)
	s.secret.Destroy()
	t.metrics.sessions.Dec()
}

func (t *Token) dropIdle() {
	t.mu.Lock()
	idle := t.idle
	t.idle = nil
	t.mu.Unlock()
	for _, s := range idle {
		t.drop(s)
	}
}

// finish gives the permit back, or takes a stuck call off the count.
func (t *Token) finish(j *job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.ended = true
	if j.strand {
		t.doubt()
		t.metrics.stuck.Dec()
		t.mu.Lock()
		t.stuck--
		t.mu.Unlock()
		return
	}
	<-t.permits
	t.calls.Done()
}

// strand declares a call stuck: the caller is told, the permit goes back so
// that the pool can grow a new session, and the supervisor is asked for a
// restart once too many are stuck.
func (t *Token) strand(j *job, call string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.ended {
		return
	}
	j.strand = true
	t.doubt()
	t.metrics.stuck.Inc()
	t.mu.Lock()
	t.stuck++
	n := t.stuck
	t.mu.Unlock()
	t.log.Error("call to the token is stuck; its session is abandoned", "call", call, "stuck", n)
	if n >= t.cfg.MaxStuck {
		t.breakDown("too many stuck calls")
	}
	j.done <- ErrStuck
	<-t.permits
	t.calls.Done()
}

// judge looks at what a call returned for the token as a whole.
func (t *Token) judge(err error) {
	if isClean(err) {
		t.faults.Store(0)
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
