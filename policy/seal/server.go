package seal

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mintwarden/mintwarden/policy"
)

// Options of Serve; the zero value of each member is its default.
type Options struct {
	Callers     []uint32      // user ids that are answered besides the process's own; root always is, on what an appliance is set up with
	InFlight    int           // requests of one connection under way at once, 64; one more is KindBusy
	Connections int           // connections at once, 64; one more is closed
	Memory      int64         // bytes of all requests under way, as framed, 64 MiB; one that does not fit is KindBusy
	Grace       time.Duration // how long requests under way may go on once ctx has ended, 10 s
	Log         *slog.Logger  // slog.Default()
}

const (
	defaultInFlight    = 64
	defaultConnections = 64
	defaultMemory      = 64 << 20
	defaultGrace       = 10 * time.Second
	// bodyTimeout bounds the time between a frame's length and its end; a caller on this machine
	// needs milliseconds.
	bodyTimeout = 10 * time.Second
	// requestTimeout ends a request's context. It is longer than a client waits.
	requestTimeout = 2 * CallTimeout
	// maxRequest bounds a request's JSON in bytes: the largest is an envelope, and what stands
	// around it.
	maxRequest = policy.MaxEnvelope + 4<<10
	// maxMessage bounds an error's message in bytes.
	maxMessage = 4 << 10
)

func (o Options) filled() Options {
	if o.InFlight <= 0 {
		o.InFlight = defaultInFlight
	}
	if o.Connections <= 0 {
		o.Connections = defaultConnections
	}
	if o.Memory <= 0 {
		o.Memory = defaultMemory
	}
	if o.Grace <= 0 {
		o.Grace = defaultGrace
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	o.Callers = append(slices.Clone(o.Callers), uint32(os.Geteuid()))
	return o
}

// Serve answers callers on l until ctx ends, then takes nothing new, gives requests under way the
// grace, ends their contexts, and closes every connection and l. It returns when all of that is
// done: nil if ctx ended, else why l failed. Connections must be Unix ones, for the kernel says
// whose they are.
func Serve(ctx context.Context, l net.Listener, h Handler, o Options) error {
	return (&server{handler: h, options: o.filled(), peer: peer}).serve(ctx, l)
}

func (s *server) serve(ctx context.Context, l net.Listener) error {
	work, stopWork := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWork()
	defer l.Close()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()

	places := make(chan struct{}, s.options.Connections)
	var connections sync.WaitGroup
	var failed error
	for {
		conn, err := l.Accept()
		if passing(err) && ctx.Err() == nil {
			s.options.Log.Warn("seal caller not accepted", "error", err)
			pause(ctx)
			continue
		}
		if err != nil {
			if ctx.Err() == nil {
				failed = fmt.Errorf("seal socket: %w", err)
			}
			break
		}
		select {
		case places <- struct{}{}:
		default:
			s.options.Log.Warn("seal caller turned away: too many connections", "connections", s.options.Connections)
			conn.Close()
			continue
		}
		connections.Go(func() {
			defer func() { <-places }()
			s.talk(ctx, work, conn)
		})
	}
	grace := time.AfterFunc(s.options.Grace, stopWork)
	defer grace.Stop()
	if failed != nil {
		// Nobody told the callers to stop, so the listener's failure does.
		stopWork()
	}
	connections.Wait()
	return failed
}

// passing is true of failures of one caller, or of a moment's shortage, that the next may not see.
func passing(err error) bool {
	return errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// pause keeps a shortage of file descriptors from becoming a busy loop.
func pause(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(50 * time.Millisecond):
	}
}

type server struct {
	handler Handler
	options Options
	peer    func(net.Conn) (uint32, error) // whose a connection is
	memory  atomic.Int64                   // bytes of requests under way
}

// take counts a request's bytes, if they fit.
func (s *server) take(n int) bool {
	if s.memory.Add(int64(n)) <= s.options.Memory {
		return true
	}
	s.give(n)
	return false
}

func (s *server) give(n int) { s.memory.Add(-int64(n)) }

// root is the user id that may seal whatever Callers says (spec policy.md, “Sealed and unsealed”):
// who may end the process may as well end it in order.
const root = 0

// rootOps are what root is answered who is not listed: sealing, and what the commands use that run on
// the appliance while no API can answer (mintwarden init, unseal, recover). But for sealing and the
// keys' public halves they rest on what custodians signed.
var rootOps = map[Op]bool{OpStatus: true, OpSeal: true, OpInit: true, OpUnseal: true, OpCharterApply: true, OpJoin: true, OpRecover: true}

// talk reads one connection's requests until it ends, it breaks the framing, or ctx ends; then
// waits for what is under way. work is the context of requests.
func (s *server) talk(ctx, work context.Context, conn net.Conn) {
	defer conn.Close()
	log := s.options.Log
	uid, err := s.peer(conn)
	if err != nil {
		log.Warn("seal caller turned away: the kernel does not say whose it is", "error", err)
		return
	}
	listed := slices.Contains(s.options.Callers, uid)
	if !listed && uid != root {
		log.Warn("seal caller turned away: user id not allowed", "uid", uid)
		return
	}
	c := &connection{server: s, conn: conn, rootOnly: !listed, slots: make(chan struct{}, s.options.InFlight), underWay: map[uint64]bool{}}
	// A past deadline ends the read that waits for the next request, and no write.
	stop := context.AfterFunc(ctx, func() { c.stopReading() })
	defer stop()
	stopHard := context.AfterFunc(work, func() { c.stopReading() })
	defer stopHard()

	caller := context.WithValue(work, callerKey{}, uid)
	err = c.read(caller)
	c.requests.Wait()
	if !errors.Is(err, io.EOF) && ctx.Err() == nil && work.Err() == nil {
		log.Warn("seal connection ended", "uid", uid, "error", err)
	}
}

type callerKey struct{}

// Caller is the user id of who sent the request that a handler's context belongs to.
func Caller(ctx context.Context) (uid uint32, ok bool) {
	uid, ok = ctx.Value(callerKey{}).(uint32)
	return uid, ok
}

// connection is one caller's.
type connection struct {
	server   *server
	conn     net.Conn
	rootOnly bool // rootOps are answered, nothing else
	slots    chan struct{}
	requests sync.WaitGroup
	writing  sync.Mutex

	mu       sync.Mutex
	stopped  bool
	underWay map[uint64]bool
}

// stopReading ends the read under way and every later one. (Setting a deadline fails on a closed
// connection only, where reading and writing fail too.)
func (c *connection) stopReading() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
}

// setReadDeadline does nothing once reading was stopped, which must not be undone.
func (c *connection) setReadDeadline(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.stopped {
		_ = c.conn.SetReadDeadline(t)
	}
}

func (c *connection) isStopped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stopped
}

// read takes requests until it cannot: the error says why, io.EOF that the caller was done.
func (c *connection) read(ctx context.Context) error {
	r := bufio.NewReaderSize(c.conn, readAhead)
	for timed := false; ; {
		if timed {
			c.setReadDeadline(time.Time{})
		}
		if c.isStopped() {
			return os.ErrDeadlineExceeded // what was read ahead was not taken
		}
		n, err := readHeader(r)
		if err != nil {
			return err
		}
		if timed = r.Buffered() < n; timed {
			c.setReadDeadline(time.Now().Add(bodyTimeout))
		}
		body, err := readBody(r, n)
		if err != nil {
			return err
		}
		id, op, err := parseRequest(body)
		if err != nil {
			// Without an id there is no way to say so, and what follows cannot be trusted.
			return err
		}
		if err := c.begin(id, n); err != nil {
			c.answer(id, nil, err)
			continue
		}
		c.requests.Go(func() {
			// The slot is held until the answer is out, or a caller who does not read would
			// pile up answers; the id is free before, for he may use it as soon as he has read.
			defer func() { c.server.give(n); <-c.slots }()
			result, err := c.handle(ctx, op, body)
			c.end(id)
			c.answer(id, result, err)
		})
	}
}

// begin takes a slot, and memory, for a request of so many bytes.
func (c *connection) begin(id uint64, size int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.underWay[id] {
		return Errorf(KindInvalid, "request: id %d is under way already", id)
	}
	select {
	case c.slots <- struct{}{}:
	default:
		return Errorf(KindBusy, "%d requests are under way on this connection", cap(c.slots))
	}
	if !c.server.take(size) {
		<-c.slots
		return Errorf(KindBusy, "requests of %d bytes are under way, no more fit", c.server.options.Memory)
	}
	c.underWay[id] = true
	return nil
}

func (c *connection) end(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.underWay, id)
}

// handle asks the handler. A panic is ours, not the caller's: he learns that the outcome is in
// doubt, the log learns the rest.
func (c *connection) handle(ctx context.Context, op Op, body []byte) (result any, err error) {
	defer func() {
		if p := recover(); p != nil {
			c.server.options.Log.Error("seal request panicked", "op", string(op), "panic", fmt.Sprintf("%T", p), "stack", string(debug.Stack()))
			result, err = nil, Errorf(KindStore, "fault of the seal; its log says more")
		}
	}()
	call, ok := calls[op]
	if !ok {
		return nil, Errorf(KindInvalid, "request: unknown op %.40q", string(op))
	}
	if c.rootOnly && !rootOps[op] {
		return nil, Errorf(KindInvalid, "request: op %s: root may seal and set up; for the rest its user id must be listed in callers", op)
	}
	if len(body) > maxRequest {
		return nil, Errorf(KindInvalid, "request: op %s: %d bytes, want at most %d", op, len(body), maxRequest)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	return call(ctx, c.server.handler, body)
}

// answer writes one response. A caller who does not read his answers loses the connection.
func (c *connection) answer(id uint64, result any, err error) {
	b := newFrame()
	defer dropFrame(b)
	c.encode(b, id, result, err)
	c.writing.Lock()
	defer c.writing.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := c.conn.Write(b.Bytes()); err != nil {
		c.conn.Close()
	}
}

// encode writes an answer into a new frame.
func (c *connection) encode(b *bytes.Buffer, id uint64, result any, err error) {
	if err == nil {
		// Put together by hand: what was just encoded, kilobytes often, need not be
		// read through again.
		fmt.Fprintf(b, `{"id":%d,"result":`, id)
		at := b.Len()
		if err = json.MarshalWrite(b, result); err == nil && (b.Len() == at || b.Bytes()[at] != '{') {
			err = fmt.Errorf("result of %T is no object", result)
		}
		b.WriteByte('}')
	}
	if err != nil {
		b.Truncate(headerSize)
		err = json.MarshalWrite(b, response{ID: id, Error: c.refusal(err)})
	}
	if err == nil {
		err = finishFrame(b)
	}
	if err != nil {
		c.server.options.Log.Error("seal answer not encoded", "error", err)
		b.Truncate(headerSize)
		fmt.Fprintf(b, `{"id":%d,"error":{"kind":%q,"message":"the answer is too large"}}`, id, KindStore)
		_ = finishFrame(b) // it is short
	}
}

// refusal is what the caller is told of err.
func (c *connection) refusal(err error) *Error {
	var refused *Error
	switch {
	case errors.As(err, &refused) && refused.Kind.Valid():
		told := *refused
		told.Message = shorten(told.Message)
		return &told
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return Errorf(KindBusy, "the request ran out of time; whether it took effect is unknown")
	}
	c.server.options.Log.Error("seal request failed", "error", err)
	return Errorf(KindStore, "fault of the seal; its log says more")
}
