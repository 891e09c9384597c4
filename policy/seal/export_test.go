package seal

import (
	"bytes"
	"context"
	"io"
	"net"
)

// ServeAs is Serve where the kernel says of every caller that he is uid, and the process's own user
// is not listed.
func ServeAs(uid uint32) func(context.Context, net.Listener, Handler, Options) error {
	return func(ctx context.Context, l net.Listener, h Handler, o Options) error {
		callers := o.Callers
		o = o.filled()
		o.Callers = callers
		return (&server{handler: h, options: o, peer: func(net.Conn) (uint32, error) { return uid, nil }}).serve(ctx, l)
	}
}

// ReadFrame reads one frame's JSON.
func ReadFrame(r io.Reader) ([]byte, error) {
	n, err := readHeader(r)
	if err != nil {
		return nil, err
	}
	return readBody(r, n)
}

// Frame is a frame of the JSON.
func Frame(json []byte) ([]byte, error) {
	b := newFrame()
	defer dropFrame(b)
	b.Write(json)
	if err := finishFrame(b); err != nil {
		return nil, err
	}
	return bytes.Clone(b.Bytes()), nil
}

// Answer is what a server says to one request's JSON, nil if it would end the connection.
func Answer(ctx context.Context, h Handler, body []byte) []byte {
	id, op, err := parseRequest(body)
	if err != nil {
		return nil
	}
	c := &connection{server: &server{handler: h, options: Options{}.filled()}}
	result, err := c.handle(ctx, op, body)
	b := newFrame()
	defer dropFrame(b)
	c.encode(b, id, result, err)
	return bytes.Clone(b.Bytes()[headerSize:])
}

// ParseResponse reads an answer as a client does.
func ParseResponse(body []byte) (id uint64, result []byte, refused *Error, err error) {
	r, err := parseResponse(body)
	return r.ID, r.Result, r.Error, err
}

// ReadRecorded reads an answer as the one who waits for it does, where he is left to.
func ReadRecorded(body []byte) (id uint64, result *Recorded, ok bool) {
	if id, ok = resultOf(body); !ok {
		return 0, nil, false
	}
	result, ok = read[Recorded](body)
	return id, result, ok
}

// Ops is every operation.
func Ops() (all []Op) {
	for op := range calls {
		all = append(all, op)
	}
	return all
}
