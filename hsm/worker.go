package hsm

import (
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

	odd bool // a call returned an odd code and its job went on: it is not pooled
}

// job is one use of a session. Its results live in closures of its own, never
// in memory of the caller's, who may be gone.
type job struct {
	call  string
	f     func(*session) error
	after func()           // or nil
	again func(error) bool // or nil

	start time.Time  // when it got its worker
	done  chan error // holds two: one from the watch, one from the call
}

// jobs are those that are over and that nobody else knows any more.
var jobs = sync.Pool{New: func() any { return &job{done: make(chan error, 2)} }}

// leave ends a job, whether it ran or not.
func (j *job) leave() {
	if j.after != nil {
		j.after()
	}
}

// worker is a goroutine that lives as long as its session: one call after another
// in a goroutine of its own, without starting one for each. It stands in
// Token.idle between two calls, and who takes it from there has it alone.
type worker struct {
	t        *Token
	work     chan *job // holds one, so that giving work does not wait
	*session           // nil until the first call, and after an odd one

	// The watch goes off now and then, not once a call: it is set when a call
	// finds it down, and when it goes off it looks how long the call of that
	// moment has been running.
	watch *time.Timer

	mu     sync.Mutex
	set    bool // the watch will go off
	job    *job // running
	strand bool // job was declared stuck: its permit was given back already
}

func (t *Token) newWorker() *worker {
	w := &worker{t: t, work: make(chan *job, 1)}
	go w.loop()
	return w
}

func (w *worker) loop() {
	for j := range w.work {
		w.begin(j)
		err := w.t.run(w, j)
		j.leave()
		stuck := w.finish()
		j.done <- err // the last that is done with j
		if stuck {
			return
		}
	}
}

func (w *worker) begin(j *job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	j.start = time.Now()
	w.job = j
	switch {
	case w.set:
	case w.watch == nil:
		w.watch = time.AfterFunc(w.t.cfg.CallTimeout, w.look)
	default:
		w.watch.Reset(w.t.cfg.CallTimeout)
	}
	w.set = true
}

// look declares the running call stuck once its time is up: the caller is told,
// the permit goes back so that the pool can grow a new session, and the supervisor
// is asked for a restart once too many are stuck.
func (w *worker) look() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.set = false
	if w.job == nil {
		return
	}
	t := w.t
	if left := t.cfg.CallTimeout - time.Since(w.job.start); left > 0 {
		w.set = true
		w.watch.Reset(left)
		return
	}
	w.strand = true
	if w.job.after != nil {
		t.held.Store(true)
	}
	t.doubt()
	t.metrics.stuck.Inc()
	t.mu.Lock()
	t.stuck++
	n := t.stuck
	t.mu.Unlock()
	t.log.Error("call to the token is stuck; its session is abandoned", "call", w.job.call, "stuck", n)
	if n >= t.cfg.MaxStuck {
		t.breakDown("too many stuck calls")
	}
	w.job.done <- ErrStuck
	<-t.permits
	t.calls.Done()
}

// finish makes the worker idle and gives the permit back. Of a stuck call that came
// back after all it closes the session and takes the call off the count: the worker
// is one too many by then.
func (w *worker) finish() (stuck bool) {
	w.mu.Lock()
	held := w.job.after != nil
	w.job = nil
	stuck = w.strand
	w.mu.Unlock()
	t := w.t
	if stuck {
		if held {
			t.held.Store(false) // it was found stuck while it gave the lock back
		}
		w.drop()
		t.metrics.stuck.Dec()
		t.mu.Lock()
		t.stuck--
		t.mu.Unlock()
		return true
	}
	t.mu.Lock()
	t.idle = append(t.idle, w)
	t.mu.Unlock()
	<-t.permits // not before: who gets it must find the idle worker
	t.calls.Done()
	return false
}

// open gives the worker a session, if it has none.
func (w *worker) open() error {
	if w.session != nil {
		return nil
	}
	h, err := w.t.p.OpenSession(w.t.slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return wrap("C_OpenSession", err)
	}
	w.t.metrics.sessions.Inc()
	w.session = &session{h: h, secret: memguard.NewBuffer(secretSize)}
	return nil
}

// drop closes the session, if there is one. Handles that others keep are doubtful
// from then on.
func (w *worker) drop() {
	s := w.session
	if s == nil {
		return
	}
	w.session = nil
	w.t.doubt()
	// Its error says nothing new: the session was odd, or already gone.
	_ = w.t.p.CloseSession(s.h)
	s.secret.Destroy()
	w.t.metrics.sessions.Dec()
}

// end closes the session of an idle worker and lets its goroutine go.
func (w *worker) end() {
	w.drop()
	w.mu.Lock()
	if w.watch != nil {
		w.watch.Stop()
	}
	w.mu.Unlock()
	close(w.work)
}
