package seal_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestBusy(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) {
		started <- struct{}{}
		<-release
		return &seal.Recorded{Sequence: 1}, nil
	}}
	d := open(t, socket(t), r, seal.Options{InFlight: 2}, seal.Serve)
	defer d.close()
	c := client(t, d.path)
	var calls sync.WaitGroup
	for range 2 {
		calls.Go(func() {
			if _, err := c.Cancel(t.Context(), "op_1", "why"); err != nil {
				t.Error(err)
			}
		})
		soon(t, started, "the request")
	}
	_, err := c.Cancel(t.Context(), "op_1", "why")
	isKind(t, err, seal.KindBusy, "2 requests are under way")
	close(release)
	calls.Wait()
	// Another connection has slots of its own, and this one has them again.
	for _, c := range []*seal.Client{c, client(t, d.path)} {
		_, err = c.Status(t.Context())
		require.NoError(t, err)
	}
}

// TestFloodOfLargeRequests: whoever sends much waits for nothing once the budget is spent, and the
// memory is there again when answers are out.
func TestFloodOfLargeRequests(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) {
		started <- struct{}{}
		<-release
		return &seal.Recorded{Sequence: 1}, nil
	}}
	d := open(t, socket(t), r, seal.Options{Memory: 250 << 10}, seal.Serve)
	defer d.close()
	large := strings.Repeat("x", 100<<10)
	var calls sync.WaitGroup
	for range 2 { // of different connections
		c := client(t, d.path)
		calls.Go(func() {
			if _, err := c.Cancel(t.Context(), "op_1", large); err != nil {
				t.Error(err)
			}
		})
		soon(t, started, "the request")
	}
	c := client(t, d.path)
	for range 3 {
		_, err := c.Cancel(t.Context(), "op_1", large)
		isKind(t, err, seal.KindBusy, "no more fit")
	}
	_, err := c.Status(t.Context())
	require.NoError(t, err, "what is small still fits")
	close(release)
	calls.Wait()
	go func() { <-started }()
	_, err = c.Cancel(t.Context(), "op_1", large)
	require.NoError(t, err)
}

func TestTooManyConnections(t *testing.T) {
	d := open(t, socket(t), &room{}, seal.Options{Connections: 1}, seal.Serve)
	first := client(t, d.path)
	_, err := first.Status(t.Context())
	require.NoError(t, err)
	connect(t, d.path).ended()
	_, err = first.Status(t.Context())
	require.NoError(t, err)
	require.NoError(t, first.Close())
	require.Contains(t, d.close(), "too many connections")
}
