package seal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/mintwarden/mintwarden/policy"
)

// Limits of a client.
const (
	// CallTimeout bounds a call whose context sets no earlier end. A seal answers within
	// milliseconds; a slow HSM behind a long queue takes seconds.
	CallTimeout = 60 * time.Second
	// connectTimeout bounds connecting to a socket of this machine.
	connectTimeout = 5 * time.Second
	// writeTimeout bounds writing one frame; a seal that does not read for so long is gone.
	writeTimeout = 10 * time.Second
	// maxPath is the longest path that a Unix socket address holds on Linux, in bytes.
	maxPath = 107
)

// Client asks a seal. It is safe for concurrent use, many calls share one connection.
type Client struct {
	path string

	// state holds the one value that its taker may use, so that waiting for it can end.
	state chan connecting
}

// connecting is what calls share.
type connecting struct {
	closed bool
	wire   *wire // nil or broken: the next call connects
}

// Dial makes a client of the seal whose socket is at path. It does not connect: the first call
// does, and every call after the connection broke, so that a caller may be there before its seal.
// The error is of the path alone.
func Dial(_ context.Context, path string) (*Client, error) {
	if path == "" || len(path) > maxPath {
		return nil, fmt.Errorf("seal socket %q: want a path of 1 to %d bytes", path, maxPath)
	}
	c := &Client{path: path, state: make(chan connecting, 1)}
	c.state <- connecting{}
	return c, nil
}

// Close ends the connection. Calls under way fail with ErrClosed.
func (c *Client) Close() error {
	s := <-c.state
	defer func() { c.state <- s }()
	s.closed = true
	if s.wire != nil {
		s.wire.fail(ErrClosed)
		<-s.wire.done
	}
	return nil
}

// connection is the one that lives, or a new one.
func (c *Client) connection(ctx context.Context) (*wire, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var s connecting
	select {
	case s = <-c.state:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { c.state <- s }()
	if s.closed {
		return nil, ErrClosed
	}
	if s.wire != nil && !s.wire.broken() {
		return s.wire, nil
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	s.wire = newWire(conn)
	return s.wire, nil
}

// ask sends one request and waits for its answer. Errors: *Error as the seal answered, ctx's own,
// and those that wrap ErrUnreachable, ErrProtocol or ErrClosed.
func ask[P, R any](ctx context.Context, c *Client, op Op, params P) (*R, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, CallTimeout, fmt.Errorf("%w: no answer to %s in %v", ErrUnreachable, op, CallTimeout))
	defer cancel()
	w, err := c.connection(ctx)
	if err != nil {
		return nil, err
	}
	a, err := w.call(ctx, func(b *bytes.Buffer, id uint64) error {
		return json.MarshalWrite(b, request[P]{ID: id, Op: op, Params: params})
	})
	if err != nil {
		return nil, err
	}
	if a.whole != nil {
		if result, ok := read[R](a.whole); ok {
			return result, nil
		}
		// Whatever is wrong with it is wrong in the words of all other answers.
		if a.response, err = parseResponse(a.whole); err != nil {
			w.fail(err)
			return nil, err
		}
	}
	if a.Error != nil {
		return nil, a.Error
	}
	result := new(R)
	if err := json.Unmarshal(a.Result, result, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: result of %s: %w", ErrProtocol, op, err)
	}
	return result, nil
}

// read reads an answer with a result at once, as almost all are.
func read[R any](body []byte) (*R, bool) {
	var r struct {
		ID     uint64 `json:"id"`
		Result *R     `json:"result"`
		Error  *Error `json:"error,omitzero"`
	}
	err := json.Unmarshal(body, &r, json.RejectUnknownMembers(true))
	return r.Result, err == nil && r.Result != nil && r.Error == nil
}

// Status asks how the seal is. It answers while sealed.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	return ask[Nothing, Status](ctx, c, OpStatus, Nothing{})
}

// Init asks for what charter 1 says of this appliance, and makes it if there is none.
func (c *Client) Init(ctx context.Context) (*InitResult, error) {
	return ask[Nothing, InitResult](ctx, c, OpInit, Nothing{})
}

// Unseal hands in one custodian's share.
func (c *Client) Unseal(ctx context.Context, e *policy.Envelope) (*Status, error) {
	return ask[EnvelopeRequest, Status](ctx, c, OpUnseal, EnvelopeRequest{e})
}

// Seal seals. The envelope may be nil.
func (c *Client) Seal(ctx context.Context, e *policy.Envelope) (*Status, error) {
	return ask[SealRequest, Status](ctx, c, OpSeal, SealRequest{e})
}

// CharterApply records a charter.
func (c *Client) CharterApply(ctx context.Context, e *policy.Envelope) (*Recorded, error) {
	return ask[EnvelopeRequest, Recorded](ctx, c, OpCharterApply, EnvelopeRequest{e})
}

// PolicyApply records a policy.
func (c *Client) PolicyApply(ctx context.Context, e *policy.Envelope) (*Recorded, error) {
	return ask[EnvelopeRequest, Recorded](ctx, c, OpPolicyApply, EnvelopeRequest{e})
}

// BindingApply records what a token id is.
func (c *Client) BindingApply(ctx context.Context, e *policy.Envelope) (*Recorded, error) {
	return ask[EnvelopeRequest, Recorded](ctx, c, OpBindingApply, EnvelopeRequest{e})
}

// Join records that an appliance takes part.
func (c *Client) Join(ctx context.Context, e *policy.Envelope) (*Recorded, error) {
	return ask[EnvelopeRequest, Recorded](ctx, c, OpJoin, EnvelopeRequest{e})
}

// Recover records that a lost or restored store is accepted.
func (c *Client) Recover(ctx context.Context, e *policy.Envelope) (*Recorded, error) {
	return ask[EnvelopeRequest, Recorded](ctx, c, OpRecover, EnvelopeRequest{e})
}

// WalletCreate makes a wallet's key, or finds it.
func (c *Client) WalletCreate(ctx context.Context, r WalletCreateRequest) (*WalletResult, error) {
	return ask[WalletCreateRequest, WalletResult](ctx, c, OpWalletCreate, r)
}

// WalletProve asks for a wallet's proof of ownership.
func (c *Client) WalletProve(ctx context.Context, r WalletProveRequest) (*WalletProof, error) {
	return ask[WalletProveRequest, WalletProof](ctx, c, OpWalletProve, r)
}

// Freeze stops a token, a person or an appliance, or with the threshold lets it go on.
func (c *Client) Freeze(ctx context.Context, r FreezeRequest) (*Recorded, error) {
	return ask[FreezeRequest, Recorded](ctx, c, OpFreeze, r)
}

// Decide records a person's decision.
func (c *Client) Decide(ctx context.Context, e *policy.Envelope) (*Recorded, error) {
	return ask[EnvelopeRequest, Recorded](ctx, c, OpDecide, EnvelopeRequest{e})
}

// Cancel ends an operation that is not authorized; KindConflict if it is.
func (c *Client) Cancel(ctx context.Context, operationID, reason string) (*Recorded, error) {
	return ask[CancelRequest, Recorded](ctx, c, OpCancel, CancelRequest{operationID, reason})
}

// Authorize asks for an operation's signed transaction.
func (c *Client) Authorize(ctx context.Context, r AuthorizeRequest) (*AuthorizeResult, error) {
	return ask[AuthorizeRequest, AuthorizeResult](ctx, c, OpAuthorize, r)
}

// Bump asks for the same transaction with higher fees.
func (c *Client) Bump(ctx context.Context, r BumpRequest) (*BumpResult, error) {
	return ask[BumpRequest, BumpResult](ctx, c, OpBump, r)
}

// Settle says that an operation is final on the chain.
func (c *Client) Settle(ctx context.Context, r SettleRequest) (*Recorded, error) {
	return ask[SettleRequest, Recorded](ctx, c, OpSettle, r)
}

// Checkpoint asks for a tree head to be signed.
func (c *Client) Checkpoint(ctx context.Context, r CheckpointRequest) (*CheckpointResult, error) {
	return ask[CheckpointRequest, CheckpointResult](ctx, c, OpCheckpoint, r)
}

// Metrics asks for the seal's metrics.
func (c *Client) Metrics(ctx context.Context) (*Metrics, error) {
	return ask[Nothing, Metrics](ctx, c, OpMetrics, Nothing{})
}

// Renew hands in a custodian's part in a renewal of the shares; without an envelope it
// tells how far it is.
func (c *Client) Renew(ctx context.Context, e *policy.Envelope) (*Renewal, error) {
	return ask[RenewRequest, Renewal](ctx, c, OpRenew, RenewRequest{e})
}

// Rotate has the keys that the token keeps wrapped wrapped under a new one.
func (c *Client) Rotate(ctx context.Context, e *policy.Envelope) (*Rotated, error) {
	return ask[EnvelopeRequest, Rotated](ctx, c, OpRotate, EnvelopeRequest{e})
}

// wire is one connection: a goroutine reads answers and hands them to the calls that wait.
type wire struct {
	conn    net.Conn
	writing chan struct{} // holds a token while somebody writes, so that waiting for it can end
	done    chan struct{} // closed when the reader has ended

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]chan answer
	err     error // why the connection is broken; set once
}

// answer is one that was read, or one that is read by whoever waits for it: whole is its JSON then,
// and response holds its id alone.
type answer struct {
	response
	whole []byte
}

func newWire(conn net.Conn) *wire {
	w := &wire{conn: conn, writing: make(chan struct{}, 1), done: make(chan struct{}), waiting: map[uint64]chan answer{}}
	go w.read()
	return w
}

func (w *wire) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err != nil
}

// fail breaks the connection for everybody; the first reason stands.
func (w *wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return
	}
	w.err = err
	w.conn.Close()
	for id, c := range w.waiting {
		delete(w.waiting, id)
		close(c)
	}
}

// call sends what encode writes for a free id and waits.
func (w *wire) call(ctx context.Context, encode func(b *bytes.Buffer, id uint64) error) (answer, error) {
	answers := make(chan answer, 1)
	w.mu.Lock()
	if w.err != nil {
		defer w.mu.Unlock()
		return answer{}, w.err
	}
	w.next = w.next%MaxID + 1
	id := w.next
	w.waiting[id] = answers
	w.mu.Unlock()

	if err := w.send(ctx, id, encode); err != nil {
		w.forget(id)
		return answer{}, err
	}
	select {
	case a, ok := <-answers:
		if !ok {
			w.mu.Lock()
			defer w.mu.Unlock()
			return answer{}, w.err
		}
		return a, nil
	case <-ctx.Done():
		w.forget(id)
		return answer{}, context.Cause(ctx)
	}
}

func (w *wire) send(ctx context.Context, id uint64, encode func(b *bytes.Buffer, id uint64) error) error {
	b := newFrame()
	defer dropFrame(b)
	if err := encode(b, id); err != nil {
		return err
	}
	if err := finishFrame(b); err != nil {
		return err
	}
	return w.write(ctx, b.Bytes())
}

func (w *wire) forget(id uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, id)
}

func (w *wire) write(ctx context.Context, body []byte) error {
	select {
	case w.writing <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-w.writing }()
	// Setting a deadline fails on a closed connection only, where the write fails too.
	_ = w.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = w.conn.SetWriteDeadline(time.Unix(1, 0))
		close(ended)
	})
	n, err := w.conn.Write(body)
	if !stop() {
		<-ended // or it would end the next one's write
	}
	if err != nil {
		over := context.Cause(ctx)
		if over != nil && n == 0 && errors.Is(err, os.ErrDeadlineExceeded) {
			return over // nothing of it is out, so the calls of others go on
		}
		// Half a frame may be out, so nothing may follow it.
		w.fail(fmt.Errorf("%w: %w", ErrUnreachable, err))
		if over != nil {
			return over
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.err
	}
	return nil
}

func (w *wire) read() {
	defer close(w.done)
	for r := bufio.NewReaderSize(w.conn, readAhead); ; {
		a, err := readAnswer(r)
		if err != nil {
			if !errors.Is(err, ErrProtocol) {
				err = fmt.Errorf("%w: %w", ErrUnreachable, err)
			}
			w.fail(err)
			return
		}
		w.mu.Lock()
		// An answer that nobody waits for is one whose call ended before it.
		if c, ok := w.waiting[a.ID]; ok {
			delete(w.waiting, a.ID)
			c <- a
		}
		w.mu.Unlock()
	}
}

// readAnswer leaves an answer with a result, which may be long, to whoever waits for it: here all
// others wait.
func readAnswer(r io.Reader) (answer, error) {
	n, err := readHeader(r)
	if err != nil {
		return answer{}, err
	}
	body, err := readBody(r, n)
	if err != nil {
		return answer{}, err
	}
	if id, ok := resultOf(body); ok {
		return answer{response: response{ID: id}, whole: body}, nil
	}
	read, err := parseResponse(body)
	return answer{response: read}, err
}

// resultOf is the id of an answer that begins as those do that a seal writes for a result. What
// stands behind the beginning was not looked at.
func resultOf(body []byte) (id uint64, ok bool) {
	rest, ok := bytes.CutPrefix(body, []byte(`{"id":`))
	if !ok {
		return 0, false
	}
	digits := 0
	for digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '9' {
		digits++
	}
	id, err := strconv.ParseUint(string(rest[:digits]), 10, 64)
	return id, err == nil && id <= MaxID && bytes.HasPrefix(rest[digits:], []byte(`,"result":{`))
}

// parseResponse takes exactly one of result and error, the error of a known kind.
func parseResponse(body []byte) (response, error) {
	var r response
	if err := json.Unmarshal(body, &r, json.RejectUnknownMembers(true)); err != nil {
		return response{}, fmt.Errorf("%w: answer: %w", ErrProtocol, err)
	}
	if (r.Error == nil) == (r.Result == nil) || r.Result.Kind() == jsontext.KindNull {
		return response{}, fmt.Errorf("%w: answer %d: want either a result or an error", ErrProtocol, r.ID)
	}
	if r.Error != nil && !r.Error.Kind.Valid() {
		return response{}, fmt.Errorf("%w: answer %d: unknown kind %.40q", ErrProtocol, r.ID, string(r.Error.Kind))
	}
	return r, nil
}
