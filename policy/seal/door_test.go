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
	"slices"
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

// close stops the door and gives its log.
func (d *door) close() string {
	d.t.Helper()
	d.stop()
	require.NoError(d.t, <-d.done)
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
		<-started
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

// raw is a caller who writes what he likes.
type raw struct {
	t testing.TB
	net.Conn
}

func connect(t testing.TB, path string) *raw {
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &raw{t, conn}
}

func (r *raw) send(body string) {
	b, err := seal.Frame([]byte(body))
	require.NoError(r.t, err)
	_, err = r.Write(b)
	require.NoError(r.t, err)
}

func (r *raw) read() string {
	b, err := seal.ReadFrame(r)
	require.NoError(r.t, err)
	return string(b)
}

// ended waits for the server to close the connection.
func (r *raw) ended() {
	r.t.Helper()
	_, err := r.Read(make([]byte, 1))
	require.Error(r.t, err)
}

func TestWire(t *testing.T) {
	r := &room{cancel: func(_ context.Context, q seal.CancelRequest) (*seal.Recorded, error) {
		return &seal.Recorded{Sequence: 3}, nil
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	defer d.close()
	c := connect(t, d.path)
	for _, x := range []struct{ request, answer string }{
		{`{"id":1,"op":"cancel","operationId":"op_1","reason":""}`, `{"id":1,"result":{"sequence":3}}`},
		{` { "reason":"", "op":"cancel", "operationId":"op_1", "id":0 } `, `{"id":0,"result":{"sequence":3}}`},
		{`{"id":9007199254740991,"op":"nonsense"}`, `{"id":9007199254740991,"error":{"kind":"invalid","message":"request: unknown op \"nonsense\""}}`},
		{`{"id":2,"op":"cancel","operationId":"op_1"}`, `{"id":2,"error":{"kind":"invalid","message":"request: op cancel: a member is missing, null or not spelled as it must be"}}`},
		{`{"id":2,"op":"cancel","operationId":"op_1","reason":null}`, `{"id":2,"error":{"kind":"invalid","message":"request: op cancel: a member is missing, null or not spelled as it must be"}}`},
		{`{"id":2,"op":"decide"}`, ``},
		{`{"id":2,"op":"decide","envelope":null}`, ``},
		{`{"id":2,"op":"cancel","operationId":"op_1","reason":"","more":1}`, ``},
		{`{"id":2,"op":"cancel","operationId":1,"reason":""}`, ``},
		{`{"id":2,"op":"cancel","operationId":"op_1","reason":"","params":{}}`, ``},
		{`{"id":2,"op":"status","more":1}`, ``},
		{`{"id":2,"op":"authorize","operationId":"","intent":"AA==\n","gasLimit":1,"maxFee":"1","tip":"1"}`, ``},
		{`{"id":2,"op":"authorize","operationId":"","intent":"AA==","gasLimit":1,"maxFee":1,"tip":"1"}`, ``},
		{`{"id":2,"op":"authorize","operationId":"","intent":"AA==","gasLimit":-1,"maxFee":"1","tip":"1"}`, ``},
	} {
		c.send(x.request)
		answer := c.read()
		if x.answer != "" {
			require.Equal(t, x.answer, answer)
		} else {
			require.Contains(t, answer, `"error":{"kind":"invalid"`, x.request)
		}
	}
}

// TestBrokenFraming: where an answer could not be told apart, there is none, and the connection ends.
func TestBrokenFraming(t *testing.T) {
	d := open(t, socket(t), seal.Refusing{}, seal.Options{}, seal.Serve)
	for name, bytes := range map[string][]byte{
		"length 0":          {0, 0, 0, 0},
		"length above 1MiB": {0, 16, 0, 1},
		"longest length":    {255, 255, 255, 255},
		"not JSON":          {0, 0, 0, 1, '{'},
		"no id":             []byte("\x00\x00\x00\x0f" + `{"op":"status"}`),
		"two ids":           []byte("\x00\x00\x00\x1d" + `{"id":1,"id":1,"op":"status"}`),
		"negative id":       []byte("\x00\x00\x00\x17" + `{"id":-1,"op":"status"}`),
		"id above 2^53-1":   []byte("\x00\x00\x00\x25" + `{"id":9007199254740992,"op":"status"}`),
		"no op":             []byte("\x00\x00\x00\x08" + `{"id":1}`),
		"array":             []byte("\x00\x00\x00\x02[]"),
		"trailing value":    []byte("\x00\x00\x00\x18" + `{"id":1,"op":"status"} 1`),
	} {
		t.Run(name, func(t *testing.T) {
			c := connect(t, d.path)
			_, err := c.Write(bytes)
			require.NoError(t, err)
			c.ended()
		})
	}
	half := connect(t, d.path)
	_, err := half.Write([]byte{0, 0, 0, 9, '{'})
	require.NoError(t, err)
	require.NoError(t, half.Close())
	whole := client(t, d.path)
	_, err = whole.Status(t.Context())
	isKind(t, err, seal.KindInvalid, "does not answer status")
	require.NoError(t, whole.Close())
	d.close()
}

func TestOneIDAtATime(t *testing.T) {
	release := make(chan struct{})
	r := &room{cancel: func(context.Context, seal.CancelRequest) (*seal.Recorded, error) {
		<-release
		return &seal.Recorded{Sequence: 1}, nil
	}}
	d := open(t, socket(t), r, seal.Options{}, seal.Serve)
	defer d.close()
	c := connect(t, d.path)
	request := `{"id":5,"op":"cancel","operationId":"op_1","reason":""}`
	c.send(request)
	c.send(request)
	require.Contains(t, c.read(), "id 5 is under way already")
	close(release)
	require.Equal(t, `{"id":5,"result":{"sequence":1}}`, c.read())
	c.send(request)
	require.Equal(t, `{"id":5,"result":{"sequence":1}}`, c.read())
}

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
		<-started
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

// TestTooLargeToBeADocument: what no document can be is refused before the handler has it.
func TestTooLargeToBeADocument(t *testing.T) {
	d := open(t, socket(t), seal.Refusing{}, seal.Options{}, seal.Serve)
	defer d.close()
	c, ctx := client(t, d.path), t.Context()
	envelope := func(payload, signatures int) *policy.Envelope {
		return &policy.Envelope{PayloadType: "application/x", Payload: make([]byte, payload), Signatures: make([]policy.Signature, signatures)}
	}
	for name, x := range map[string]struct {
		ask  func() error
		says string
	}{
		"intent": {func() error {
			_, err := c.Authorize(ctx, seal.AuthorizeRequest{Intent: make([]byte, policy.MaxDocument+1)})
			return err
		}, "intent of 65537 bytes"},
		"unsigned transaction": {func() error {
			_, err := c.Authorize(ctx, seal.AuthorizeRequest{Unsigned: make([]byte, tx.MaxSize+1)})
			return err
		}, "unsigned transaction of"},
		"intent that fits": {func() error {
			_, err := c.Authorize(ctx, seal.AuthorizeRequest{Intent: make([]byte, policy.MaxDocument)})
			return err
		}, "does not answer"},
		"payload":    {func() error { _, err := c.Decide(ctx, envelope(policy.MaxDocument+1, 1)); return err }, "payload of 65537 bytes"},
		"signatures": {func() error { _, err := c.PolicyApply(ctx, envelope(1, policy.MaxSignatures+1)); return err }, "17 signatures"},
		"seal":       {func() error { _, err := c.Seal(ctx, envelope(policy.MaxDocument+1, 1)); return err }, "payload of"},
		"freeze": {func() error {
			_, err := c.Freeze(ctx, seal.FreezeRequest{Envelope: envelope(policy.MaxDocument+1, 1)})
			return err
		}, "payload of"},
		"envelope":      {func() error { _, err := c.Decide(ctx, envelope(policy.MaxDocument, 1)); return err }, "does not answer"},
		"whole request": {func() error { _, err := c.Cancel(ctx, "op_1", strings.Repeat("x", 500<<10)); return err }, "want at most 200704"},
	} {
		t.Run(name, func(t *testing.T) { isKind(t, x.ask(), seal.KindInvalid, x.says) })
	}
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
	require.NoError(t, <-done)
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
	<-started
	d.stop()
	// The socket is gone before the request is over.
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", d.path)
		if err == nil {
			conn.Close()
		}
		return err != nil
	}, time.Minute, time.Millisecond)
	close(release)
	require.NoError(t, <-answered)
	require.NoError(t, <-d.done)
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
	<-started
	d.close()
	isKind(t, <-answered, seal.KindBusy, "ran out of time")
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
	<-started
	require.NoError(t, c.Close())
	close(release)
	require.NoError(t, <-ended)
	d.close()
}

var _ io.Closer = (*seal.Client)(nil)
