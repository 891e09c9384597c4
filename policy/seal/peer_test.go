package seal_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestCallersAreKnown(t *testing.T) {
	d := open(t, socket(t), &room{}, seal.Options{Callers: []uint32{1000}}, seal.ServeAs(1001))
	connect(t, d.path).ended()
	_, err := client(t, d.path).Status(t.Context())
	require.ErrorIs(t, err, seal.ErrUnreachable)
	require.Contains(t, d.close(), "user id not allowed")
}

// TestLocalRootMaySealAndSetUpAndNoMore: root who is no caller seals, asks for the state and hands in
// what custodians signed to set the appliance up; that is not a way to have something signed.
func TestLocalRootMaySealAndSetUpAndNoMore(t *testing.T) {
	var sealedBy uint32 = 7
	r := &room{seal: func(ctx context.Context, _ seal.SealRequest) (*seal.Status, error) {
		sealedBy, _ = seal.Caller(ctx)
		return &seal.Status{Sealed: true}, nil
	}}
	d := open(t, socket(t), r, seal.Options{Callers: []uint32{1000}}, seal.ServeAs(0))
	c := client(t, d.path)
	_, err := c.Status(t.Context())
	require.NoError(t, err)
	status, err := c.Seal(t.Context(), nil)
	require.NoError(t, err)
	require.True(t, status.Sealed)
	require.Zero(t, sealedBy)
	raw := connect(t, d.path)
	for _, op := range seal.Ops() {
		raw.send(fmt.Sprintf(`{"id":1,"op":%q}`, op))
		if slices.Contains([]seal.Op{seal.OpSeal, seal.OpStatus, seal.OpInit, seal.OpUnseal, seal.OpCharterApply, seal.OpJoin, seal.OpRecover}, op) {
			require.NotContains(t, raw.read(), "root may", op)
			continue
		}
		require.Contains(t, raw.read(), "root may seal and set up", op)
	}
	require.NoError(t, c.Close())
	require.NoError(t, raw.Close())
	d.close()

	listed := open(t, socket(t), seal.Refusing{}, seal.Options{Callers: []uint32{0}}, seal.ServeAs(0))
	defer listed.close()
	_, err = client(t, listed.path).Cancel(t.Context(), "op_1", "why")
	isKind(t, err, seal.KindInvalid, "does not answer cancel")
}

func TestOnlyUnixSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- seal.Serve(ctx, l, &room{}, seal.Options{Log: slog.New(slog.DiscardHandler)}) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	(&raw{t, conn}).ended()
	require.NoError(t, conn.Close())
	stop()
	require.NoError(t, soon(t, done, "the door's end"))
}
