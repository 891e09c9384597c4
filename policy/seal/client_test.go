package seal_test

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestDial(t *testing.T) {
	for _, path := range []string{"", "/" + strings.Repeat("x", 107)} {
		_, err := seal.Dial(t.Context(), path)
		require.Error(t, err)
	}
}

// TestClientIsFirst: a client may be there before its seal, and outlives it.
func TestClientIsFirst(t *testing.T) {
	path := socket(t)
	c := client(t, path)
	for range 3 {
		_, err := c.Status(t.Context())
		require.ErrorIs(t, err, seal.ErrUnreachable)
		d := open(t, path, &room{}, seal.Options{}, seal.Serve)
		got, err := c.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(7), got.Sequence)
		d.close()
	}
}

func TestClosedClient(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) {
		close(started)
		<-release
		return &seal.Recorded{}, nil
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	defer d.close()
	c := client(t, d.path)
	failed := make(chan error, 1)
	go func() {
		_, err := c.Cancel(context.Background(), "op_1", "why")
		failed <- err
	}()
	soon(t, started, "the request")
	require.NoError(t, c.Close())
	require.ErrorIs(t, soon(t, failed, "the end of the call"), seal.ErrClosed)
	_, err := c.Status(t.Context())
	require.ErrorIs(t, err, seal.ErrClosed)
	require.NoError(t, c.Close())
	close(release)
}

// TestCallEndsWithItsContext: the call does, the connection and its other calls go on, and an answer
// that comes late is nobody's.
func TestCallEndsWithItsContext(t *testing.T) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) {
		started <- struct{}{}
		<-release
		return &seal.Recorded{Sequence: 1}, nil
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	defer d.close()
	c := client(t, d.path)
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := c.Cancel(ctx, "op_1", "why")
		failed <- err
	}()
	soon(t, started, "the request")
	cancel()
	require.ErrorIs(t, soon(t, failed, "the end of the call"), context.Canceled)
	close(release)
	for range 3 {
		got, err := c.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, uint64(7), got.Sequence)
	}
	_, err := c.Status(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

// A call whose context ends, ends alone: what others asked on the same connection is answered.
func TestAnEndedCallBreaksNobodysConnection(t *testing.T) {
	started, release := make(chan struct{}, 1), make(chan struct{})
	d := open(t, socket(t), &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) {
		started <- struct{}{}
		<-release
		return &seal.Recorded{Sequence: 1}, nil
	}}, seal.Options{}, seal.Serve)
	defer d.close()
	over := sync.OnceFunc(func() { close(release) })
	defer over()
	c := client(t, d.path)
	answered := make(chan error, 1)
	go func() {
		_, err := c.Cancel(t.Context(), "op_1", "why")
		answered <- err
	}()
	soon(t, started, "the request")
	for range 20_000 { // where the end finds the call is chance: before its write, in it, after it
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		_, err := c.Status(ctx)
		if kind, _ := seal.KindOf(err); err != nil && kind != seal.KindBusy { // those that went are still answered
			require.ErrorIs(t, err, context.Canceled)
		}
	}
	over()
	require.NoError(t, soon(t, answered, "the answer"))
}

// other is the other end of a client, written by hand.
func other(t testing.TB, talk func(*raw)) *seal.Client {
	path := socket(t)
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	var talks sync.WaitGroup
	talks.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			talks.Go(func() {
				defer conn.Close()
				talk(&raw{t, conn})
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		talks.Wait()
	})
	return client(t, path)
}

func TestStrangeAnswers(t *testing.T) {
	for name, answer := range map[string]string{
		"not JSON":          `{`,
		"neither":           `{"id":1}`,
		"both":              `{"id":1,"result":{},"error":{"kind":"busy","message":""}}`,
		"null result":       `{"id":1,"result":null}`,
		"unknown kind":      `{"id":1,"error":{"kind":"sorry","message":""}}`,
		"no kind":           `{"id":1,"error":{"message":""}}`,
		"unknown member":    `{"id":1,"result":{},"more":1}`,
		"strange result":    `{"id":1,"result":{"sequence":"1"}}`,
		"unknown in result": `{"id":1,"result":{"sequel":1}}`,
		"unfinished result": `{"id":1,"result":{"sequence":1}`,
		"id twice":          `{"id":1,"result":{"sequence":1},"id":1}`,
		"result twice":      `{"id":1,"result":{"sequence":1},"result":{"sequence":1}}`,
		"id with a zero":    `{"id":01,"result":{"sequence":1}}`,
		"more behind it":    `{"id":1,"result":{"sequence":1}}{}`,
	} {
		t.Run(name, func(t *testing.T) {
			c := other(t, func(r *raw) {
				r.read()
				r.send(answer)
				r.ended()
			})
			_, err := c.Cancel(t.Context(), "op_1", "why")
			require.ErrorIs(t, err, seal.ErrProtocol)
			require.NoError(t, c.Close())
		})
	}
}

func TestAnswerTooLong(t *testing.T) {
	c := other(t, func(r *raw) {
		r.read()
		if _, err := r.Write([]byte{1, 0, 0, 0}); err != nil {
			t.Error(err)
		}
		r.ended()
	})
	_, err := c.Status(t.Context())
	require.ErrorIs(t, err, seal.ErrProtocol)
}

// TestConnectionBreaks: every call under way learns it, the next one connects again.
func TestConnectionBreaks(t *testing.T) {
	var first sync.Once
	c := other(t, func(r *raw) {
		broken := false
		first.Do(func() {
			for range 5 {
				r.read()
			}
			broken = true
		})
		if !broken {
			r.read()
			r.send(`{"id":1,"result":{"sequence":2}}`)
			r.ended()
		}
	})
	var calls sync.WaitGroup
	for range 5 {
		calls.Go(func() {
			if _, err := c.Cancel(t.Context(), "op_1", "why"); err == nil || !strings.Contains(err.Error(), seal.ErrUnreachable.Error()) {
				t.Errorf("got %v", err)
			}
		})
	}
	calls.Wait()
	got, err := c.Cancel(t.Context(), "op_1", "why")
	require.NoError(t, err)
	require.Equal(t, uint64(2), got.Sequence)
	require.NoError(t, c.Close())
}

// TestSealThatDoesNotRead: writing ends with the context, too.
func TestSealThatDoesNotRead(t *testing.T) {
	release := make(chan struct{})
	c := other(t, func(*raw) { <-release })
	defer close(release)
	ctx, cancel := context.WithCancel(t.Context())
	var calls sync.WaitGroup
	failed := make(chan error, 16)
	for range 16 {
		calls.Go(func() {
			_, err := c.Authorize(ctx, seal.AuthorizeRequest{Intent: make([]byte, 700<<10)})
			failed <- err
		})
	}
	time.AfterFunc(10*time.Millisecond, cancel)
	calls.Wait()
	close(failed)
	for err := range failed {
		require.Error(t, err)
	}
}

func TestRequestTooLong(t *testing.T) {
	d := open(t, socket(t), &room{}, seal.Options{}, seal.Serve)
	defer d.close()
	c := client(t, d.path)
	_, err := c.Authorize(t.Context(), seal.AuthorizeRequest{Intent: make([]byte, 1<<20)})
	require.ErrorIs(t, err, seal.ErrProtocol)
	_, err = c.Status(t.Context())
	require.NoError(t, err)
}

func ExampleClient() {
	c, err := seal.Dial(context.Background(), "/run/mintwarden/seal.sock")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = c.Close() }()
	_, err = c.Cancel(context.Background(), "op_01KQ7CZ1G00000000000000001", "expired")
	if kind, ok := seal.KindOf(err); ok && kind == seal.KindConflict {
		fmt.Println("it is authorized already")
	}
}
