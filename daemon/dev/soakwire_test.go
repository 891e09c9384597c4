package dev_test

import (
	"net"
	"sync"
	"testing"
	"time"
)

// wire forwards TCP to an address, and can be cut, held, muted and slowed: the faults
// of a network between two real programs. What passes it is never changed.
type wire struct {
	name string
	to   string
	l    net.Listener

	mu    sync.Mutex
	cut   bool
	held  chan struct{} // closed when it passes again; nil while it does
	muted bool          // what is asked arrives, what is answered does not
	delay time.Duration // before each piece is passed on
	conns map[net.Conn]bool
}

// newWire starts a forwarder to an address that need not listen yet.
func newWire(t *testing.T, name, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{name: name, to: to, l: l, conns: map[net.Conn]bool{}}
	go w.serve()
	t.Cleanup(func() {
		_ = l.Close()
		w.heal()
		w.drop()
	})
	return w
}

func (w *wire) address() string { return w.l.Addr().String() }

func (w *wire) serve() {
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		go w.carry(c)
	}
}

func (w *wire) carry(c net.Conn) {
	w.mu.Lock()
	cut := w.cut
	w.mu.Unlock()
	if cut {
		_ = c.Close()
		return
	}
	far, err := net.Dial("tcp", w.to)
	if err != nil {
		_ = c.Close()
		return
	}
	w.mu.Lock()
	w.conns[c], w.conns[far] = true, true
	w.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { w.pass(far, c, false) })
	both.Go(func() { w.pass(c, far, true) })
	both.Wait()
	w.mu.Lock()
	delete(w.conns, c)
	delete(w.conns, far)
	w.mu.Unlock()
}

// pass copies until either end closes, as the wire is at the time; back is the
// way of answers.
func (w *wire) pass(to, from net.Conn, back bool) {
	defer func() { _, _ = to.Close(), from.Close() }()
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if n > 0 {
			w.mu.Lock()
			held, delay, lost := w.held, w.delay, back && w.muted
			w.mu.Unlock()
			if lost {
				continue
			}
			if held != nil {
				<-held
			}
			time.Sleep(delay) // the fault itself: a slow line
			if _, err := to.Write(piece[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// sever ends every connection and lets none begin, until heal.
func (w *wire) sever() {
	w.mu.Lock()
	w.cut = true
	w.mu.Unlock()
	w.drop()
}

// hold passes nothing and ends nothing, until heal: a line that went silent.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held == nil {
		w.held = make(chan struct{})
	}
}

// mute lets everything through but what comes back, until heal, which ends every
// connection that lost something: whoever asked knows nothing of what was done.
func (w *wire) mute() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.muted = true
}

// slow delays each piece, until heal.
func (w *wire) slow(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.delay = by
}

func (w *wire) heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.muted {
		for c := range w.conns {
			_ = c.Close()
		}
	}
	w.cut, w.muted, w.delay = false, false, 0
	if w.held != nil {
		close(w.held)
		w.held = nil
	}
}

func (w *wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}
