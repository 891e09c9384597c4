package seal_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// room answers what it is told to; everything else it refuses.
type room struct {
	seal.Refusing
	cancel    func(context.Context, seal.CancelRequest) (*seal.Recorded, error)
	authorize func(context.Context, seal.AuthorizeRequest) (*seal.AuthorizeResult, error)
	seal      func(context.Context, seal.SealRequest) (*seal.Status, error)
}

func (r *room) Seal(ctx context.Context, q seal.SealRequest) (*seal.Status, error) {
	return r.seal(ctx, q)
}

func (r *room) Cancel(ctx context.Context, q seal.CancelRequest) (*seal.Recorded, error) {
	return r.cancel(ctx, q)
}

func (r *room) Authorize(ctx context.Context, q seal.AuthorizeRequest) (*seal.AuthorizeResult, error) {
	return r.authorize(ctx, q)
}

func (r *room) Status(context.Context) (*seal.Status, error) {
	return &seal.Status{ApplianceID: "appliance-1", Sequence: 7}, nil
}

// door is a served socket.
type door struct {
	t    testing.TB
	path string
	log  *bytes.Buffer
	stop context.CancelFunc
	done chan error
}

func open(t testing.TB, path string, h seal.Handler, o seal.Options, serve func(context.Context, net.Listener, seal.Handler, seal.Options) error) *door {
	t.Helper()
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	ctx, stop := context.WithCancel(context.Background())
	d := &door{t: t, path: path, log: &bytes.Buffer{}, stop: stop, done: make(chan error, 1)}
	o.Log = slog.New(slog.NewTextHandler(d.log, nil))
	go func() { d.done <- serve(ctx, l, h, o) }()
	return d
}

// patience bounds what a test waits for.
const patience = 3 * time.Minute

// soon is what comes of c, which tells of what.
func soon[T any](t testing.TB, c <-chan T, what string) (got T) {
	t.Helper()
	select {
	case got = <-c:
	case <-time.After(patience):
		require.FailNow(t, "it does not come", what)
	}
	return got
}

// close stops the door and gives its log.
func (d *door) close() string {
	d.t.Helper()
	d.stop()
	require.NoError(d.t, soon(d.t, d.done, "the door's end"))
	return d.log.String()
}

func socket(t testing.TB) string {
	dir, err := os.MkdirTemp("", "seal")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(dir)) })
	return filepath.Join(dir, "s")
}

func client(t testing.TB, path string) *seal.Client {
	c, err := seal.Dial(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

func isKind(t testing.TB, err error, kind seal.Kind, says string) {
	t.Helper()
	got, ok := seal.KindOf(err)
	require.True(t, ok, "%v", err)
	require.Equal(t, kind, got, "%v", err)
	require.ErrorContains(t, err, says)
}

func TestManyInFlight(t *testing.T) {
	// Answers go out in the opposite order of the requests: each waits for the one after it.
	const n = 50
	released := make([]chan struct{}, n+1)
	for i := range released {
		released[i] = make(chan struct{})
	}
	close(released[n])
	r := &room{cancel: func(ctx context.Context, q seal.CancelRequest) (*seal.Recorded, error) {
		var i int
		if _, err := fmt.Sscan(q.OperationID, &i); err != nil {
			return nil, err
		}
		<-released[i+1]
		close(released[i])
		return &seal.Recorded{Sequence: uint64(i)}, nil
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	c := client(t, d.path)
	var calls sync.WaitGroup
	for i := range n {
		calls.Go(func() {
			got, err := c.Cancel(t.Context(), fmt.Sprint(i), "expired")
			if err != nil || got.Sequence != uint64(i) {
				t.Errorf("%d: %+v, %v", i, got, err)
			}
		})
	}
	calls.Wait()
	require.NoError(t, c.Close())
	require.NotContains(t, d.close(), "level=ERROR")
}

func TestEveryMemberPasses(t *testing.T) {
	want := seal.AuthorizeRequest{OperationID: "op_1", Intent: []byte{0, 1, 255}, GasLimit: 1<<53 + 1, MaxFee: policy.MaxAmount(), Tip: policy.AmountOf(1)}
	answer := &seal.AuthorizeResult{Sequence: 9, Authorization: []byte(`{"type":"authorize"}`), RawTx: bytes.Repeat([]byte{7}, 5000), TxHash: tx.Hash{1, 2},
		Verdict: &policy.Verdict{Outcome: policy.Allow, Rules: []policy.RuleOutcome{}}}
	var uid uint32
	r := &room{authorize: func(ctx context.Context, q seal.AuthorizeRequest) (*seal.AuthorizeResult, error) {
		uid, _ = seal.Caller(ctx)
		if fmt.Sprint(q) != fmt.Sprint(want) {
			return nil, seal.Errorf(seal.KindInvalid, "got %+v", q)
		}
		return answer, nil
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	defer d.close()
	got, err := client(t, d.path).Authorize(t.Context(), want)
	require.NoError(t, err)
	require.Equal(t, answer, got)
	require.Equal(t, uint32(os.Geteuid()), uid)
}

// TestEveryOperation: each method of the client reaches the handler's method of its name.
func TestEveryOperation(t *testing.T) {
	d := open(t, socket(t), seal.Refusing{}, seal.Options{}, seal.Serve)
	defer d.close()
	c, ctx := client(t, d.path), t.Context()
	e := &policy.Envelope{PayloadType: "application/x", Payload: []byte{1}, Signatures: []policy.Signature{}}
	of := func(_ any, err error) error { return err }
	asked := map[seal.Op]error{
		seal.OpStatus: of(c.Status(ctx)), seal.OpInit: of(c.Init(ctx)), seal.OpUnseal: of(c.Unseal(ctx, e)), seal.OpSeal: of(c.Seal(ctx, nil)),
		seal.OpWalletCreate: of(c.WalletCreate(ctx, seal.WalletCreateRequest{})), seal.OpWalletProve: of(c.WalletProve(ctx, seal.WalletProveRequest{})),
		seal.OpCharterApply: of(c.CharterApply(ctx, e)),
		seal.OpPolicyApply:  of(c.PolicyApply(ctx, e)), seal.OpBindingApply: of(c.BindingApply(ctx, e)), seal.OpJoin: of(c.Join(ctx, e)),
		seal.OpRecover: of(c.Recover(ctx, e)), seal.OpFreeze: of(c.Freeze(ctx, seal.FreezeRequest{Envelope: e})), seal.OpDecide: of(c.Decide(ctx, e)),
		seal.OpCancel: of(c.Cancel(ctx, "op_1", "why")), seal.OpAuthorize: of(c.Authorize(ctx, seal.AuthorizeRequest{Intent: []byte{}})),
		seal.OpBump: of(c.Bump(ctx, seal.BumpRequest{})), seal.OpSettle: of(c.Settle(ctx, seal.SettleRequest{})),
		seal.OpCheckpoint: of(c.Checkpoint(ctx, seal.CheckpointRequest{Proof: seal.TreeProof{Consistency: [][]byte{}, Ledger: seal.BatchProof{Inclusion: [][]byte{}}}})), seal.OpMetrics: of(c.Metrics(ctx)), seal.OpRenew: of(c.Renew(ctx, nil)), seal.OpRotate: of(c.Rotate(ctx, e)),
	}
	for _, op := range seal.Ops() {
		require.True(t, op.Valid())
		isKind(t, asked[op], seal.KindInvalid, "this seal does not answer "+string(op))
	}
	require.Len(t, asked, len(seal.Ops()))
	require.False(t, seal.Op("").Valid())
	isKind(t, of(c.Decide(ctx, nil)), seal.KindInvalid, "")
}

func TestErrorsOfTheHandler(t *testing.T) {
	secret := "the PIN is 1234"
	for name, c := range map[string]struct {
		err  error
		kind seal.Kind
		says string
	}{
		"refusal":         {seal.Errorf(seal.KindConflict, "operation %s was authorized", "op_1"), seal.KindConflict, "operation op_1 was authorized"},
		"wrapped refusal": {fmt.Errorf("deciding: %w", seal.Errorf(seal.KindWait, "2 of approvers")), seal.KindWait, "2 of approvers"},
		"not author":      {&seal.Error{Kind: seal.KindNotAuthor, Message: "ask there", Appliance: "appliance-2"}, seal.KindNotAuthor, "appliance-2"},
		"any other error": {errors.New(secret), seal.KindStore, "fault of the seal"},
		"no kind":         {&seal.Error{Message: secret}, seal.KindStore, "fault of the seal"},
		"out of time":     {context.DeadlineExceeded, seal.KindBusy, "ran out of time"},
		"long message":    {seal.Errorf(seal.KindInvalid, "%s", strings.Repeat("ä", 1<<20)), seal.KindInvalid, "ää…"},
		"not UTF-8":       {seal.Errorf(seal.KindInvalid, "a\xffb"), seal.KindInvalid, "a�b"},
	} {
		t.Run(name, func(t *testing.T) {
			r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) { return nil, c.err }}
			d := open(t, socket(t), r, seal.Options{}, seal.Serve)
			defer d.close()
			_, err := client(t, d.path).Cancel(t.Context(), "op_1", "why")
			isKind(t, err, c.kind, c.says)
			require.NotContains(t, err.Error(), secret)
		})
	}
}

func TestPanicStaysInside(t *testing.T) {
	r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) { panic("the PIN is 1234") }}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	c := client(t, d.path)
	_, err := c.Cancel(t.Context(), "op_1", "why")
	isKind(t, err, seal.KindStore, "fault of the seal")
	require.NotContains(t, err.Error(), "1234")
	_, err = c.Status(t.Context())
	require.NoError(t, err, "the connection lives")
	log := d.close()
	require.Contains(t, log, "seal request panicked")
	require.NotContains(t, log, "1234")
}

func TestNoResultIsNoAnswer(t *testing.T) {
	r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) { return nil, nil },
		authorize: func(context.Context, seal.AuthorizeRequest) (*seal.AuthorizeResult, error) {
			return &seal.AuthorizeResult{RawTx: make([]byte, 1<<20), Authorization: []byte(`{}`)}, nil
		}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	defer d.close()
	c := client(t, d.path)
	_, err := c.Cancel(t.Context(), "op_1", "why")
	isKind(t, err, seal.KindStore, "fault of the seal")
	_, err = c.Authorize(t.Context(), seal.AuthorizeRequest{Intent: []byte{}})
	isKind(t, err, seal.KindStore, "too large")
}

var _ io.Closer = (*seal.Client)(nil)
