package seal_test

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

// TestStopLetsFinish: a request under way is answered although the seal was told to stop.
func TestStopLetsFinish(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	r := &room{cancel: func(ctx context.Context, _ seal.CancelRequest) (*seal.Recorded, error) {
		close(started)
		<-release
		return &seal.Recorded{Sequence: 4}, ctx.Err()
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	c := client(t, d.path)
	answered := make(chan error, 1)
	go func() {
		got, err := c.Cancel(context.Background(), "op_1", "why")
		if err == nil && got.Sequence != 4 {
			err = fmt.Errorf("sequence %d", got.Sequence)
		}
		answered <- err
	}()
	soon(t, started, "the request")
	d.stop()
	// The socket is gone before the request is over.
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", d.path)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, patience, time.Millisecond)
	close(release)
	require.NoError(t, soon(t, answered, "the answer"))
	require.NoError(t, soon(t, d.done, "the door's end"))
	_, err := c.Status(t.Context())
	require.ErrorIs(t, err, seal.ErrUnreachable)
}

// TestStopDoesNotWaitForEver: what does not finish within the grace has its context ended.
func TestStopDoesNotWaitForEver(t *testing.T) {
	started := make(chan struct{})
	r := &room{cancel: func(ctx context.Context, _ seal.CancelRequest) (*seal.Recorded, error) {
		close(started)
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	d := open(t, socket(t), r, seal.Options{Grace: time.Millisecond}, seal.Serve)
	c := client(t, d.path)
	answered := make(chan error, 1)
	go func() {
		_, err := c.Cancel(context.Background(), "op_1", "why")
		answered <- err
	}()
	soon(t, started, "the request")
	d.close()
	isKind(t, soon(t, answered, "the answer"), seal.KindBusy, "ran out of time")
}

// TestCallerLeaves: a caller who goes away ends nobody's request but gets no answer.
func TestCallerLeaves(t *testing.T) {
	started, release, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	r := &room{cancel: func(ctx context.Context, _ seal.CancelRequest) (*seal.Recorded, error) {
		close(started)
		<-release
		ended <- ctx.Err()
		return &seal.Recorded{}, nil
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	c := connect(t, d.path)
	c.send(`{"id":5,"op":"cancel","operationId":"op_1","reason":""}`)
	soon(t, started, "the request")
	require.NoError(t, c.Close())
	close(release)
	require.NoError(t, soon(t, ended, "the end of the request"))
	d.close()
}
