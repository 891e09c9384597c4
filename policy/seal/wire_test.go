package seal_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// raw is a caller who writes what he likes.
type raw struct {
	t testing.TB
	net.Conn
}

func connect(t testing.TB, path string) *raw {
	conn, err := net.Dial("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
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
	require.NotErrorIs(r.t, err, os.ErrDeadlineExceeded)
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
		{`{"id":2,"op":"status","more":1}`, `{"id":2,"error":{"kind":"invalid","message":"request: /more: unknown object member name"}}`},
		{`{"id":2,"op":"settle","operationId":1,"txHash":""}`, `{"id":2,"error":{"kind":"invalid","message":"request: /operationId: a JSON number does not fit here"}}`},
		{`{"id":2}`, `{"id":2,"error":{"kind":"invalid","message":"request: unknown op \"\""}}`},
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
