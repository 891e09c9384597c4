package sealed

import (
	"net"
	"net/url"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// wire is a forwarder between a seal and etcd that can be cut in the middle of
// an exchange: the fault that no etcd can be told to have.
type wire struct {
	etcd string
	l    net.Listener

	mu    sync.Mutex
	deaf  bool // answers are lost
	mute  bool // questions are lost, with their connection
	lost  bool // an answer was
	conns map[net.Conn]bool
}

// newWire starts a forwarder and gives the store config that goes through it.
func newWire(t *testing.T) (*wire, StoreConfig) {
	t.Helper()
	u, err := url.Parse(house.store.Endpoints[0])
	require.NoError(t, err)
	path := filepath.Join(t.TempDir(), "etcd.sock")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	w := &wire{etcd: u.Host, l: l, conns: map[net.Conn]bool{}}
	go w.serve()
	t.Cleanup(func() { _ = l.Close(); w.cut() })
	cfg := house.store
	cfg.Sockets = map[string]string{cfg.Endpoints[0]: path}
	return w, cfg
}

func (w *wire) serve() {
	for {
		c, err := w.l.Accept()
		if err != nil {
			return
		}
		e, err := net.Dial("tcp", w.etcd)
		if err != nil {
			_ = c.Close()
			continue
		}
		w.mu.Lock()
		w.conns[c], w.conns[e] = true, true
		w.mu.Unlock()
		go w.copy(e, c, &w.mute, true)
		go w.copy(c, e, &w.deaf, false)
	}
}

// copy forwards until either end closes; while lost is set it swallows what it
// reads, and hangs up if told so.
func (w *wire) copy(to, from net.Conn, lost *bool, hangUp bool) {
	defer to.Close()
	defer from.Close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		w.mu.Lock()
		swallow := *lost
		w.lost = w.lost || swallow && !hangUp
		w.mu.Unlock()
		if swallow && hangUp {
			return
		}
		if swallow {
			continue
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (w *wire) set(deaf, mute bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deaf, w.mute = deaf, mute
}

// asked is true once an answer was lost.
func (w *wire) asked() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lost
}

// cut ends every connection.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
	clear(w.conns)
}
