package store_test

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/daemon/store/storetest"
)

// line is what is asked of a line of the log.
type line struct {
	Level  string `json:"level"`
	Msg    string `json:"msg"`
	Error  string `json:"error"`
	Method string `json:"method"`
}

// journal keeps what is logged. Safe for concurrent use.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) lines(t *testing.T) (out []line) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for l := range strings.Lines(j.text.String()) {
		var got line
		require.NoError(t, json.Unmarshal([]byte(l), &got))
		out = append(out, got)
	}
	return out
}

// A stop gives up what waits for etcd. That is told at debug, and what etcd itself does not answer still at warn.
func TestWhatWasGivenUpIsNoWarning(t *testing.T) {
	srv := storetest.Start(t)
	relay := relayTo(t, strings.TrimPrefix(srv.Endpoint(), "https://"))
	cfg := srv.ClientConfig(store.UserServe)
	cfg.Endpoints = []string{"https://" + relay.address}
	var log journal
	st, err := store.Open(t.Context(), cfg, slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), nil)
	require.NoError(t, err)
	defer func() { _ = st.Close() }()

	relay.hold() // so that they wait
	told := 0
	for over := time.Now().Add(patience); told == 0; { // one that is given up before it is sent is not told of
		require.True(t, time.Now().Before(over), "nothing is told of")
		ctx, stop := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		for range 8 {
			waiting.Go(func() {
				if _, _, _, err := st.Get(ctx, "/mw/x"); !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		time.Sleep(10 * time.Millisecond)
		stop()
		waiting.Wait()
		for _, l := range log.lines(t) {
			require.NotContains(t, []string{"WARN", "ERROR"}, l.Level, "%+v", l)
			if strings.Contains(l.Error, "context canceled") {
				require.Equal(t, "DEBUG", l.Level)
				told++
			}
		}
	}

	warnings := func() (warned []string) {
		for _, l := range log.lines(t) {
			if l.Level == "WARN" {
				warned = append(warned, l.Error)
			}
		}
		return warned
	}
	unanswered := func() {
		late, stop := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer stop()
		_, _, _, err = st.Get(late, "/mw/x")
		require.Error(t, err)
	}
	unanswered()
	relay.cut()
	over := time.Now().Add(patience)
	for unanswered(); len(warnings()) == 0 && time.Now().Before(over); {
		unanswered() // a busy machine may not get to sending it
	}
	warned := warnings()
	require.NotEmpty(t, warned)
	for _, w := range warned {
		require.NotContains(t, w, "Canceled")
	}
}

// relay is a way to etcd that can be held up, and cut.
type relay struct {
	address string
	out     net.Listener
	mu      sync.Mutex
	held    bool
	resumed sync.Cond
	conns   []net.Conn
}

func relayTo(t *testing.T, to string) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &relay{address: l.Addr().String(), out: l}
	r.resumed.L = &r.mu
	t.Cleanup(r.cut)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			up, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				return
			}
			r.mu.Lock()
			r.conns = append(r.conns, in, up)
			r.mu.Unlock()
			go func() { _, _ = io.Copy(up, in) }()
			go r.answers(in, up)
		}
	}()
	return r
}

// answers passes on what comes from etcd, unless it is held.
func (r *relay) answers(to, from net.Conn) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		r.mu.Lock()
		for r.held {
			r.resumed.Wait()
		}
		r.mu.Unlock()
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (r *relay) hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held = true
}

// cut ends every connection, and takes no other.
func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = r.out.Close()
	for _, c := range r.conns {
		_ = c.Close()
	}
	r.held, r.conns = false, nil
	r.resumed.Broadcast()
}
