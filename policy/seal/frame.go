package seal

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"
)

// MaxFrame is the longest JSON of a frame, in bytes.
const MaxFrame = 1 << 20

// MaxID is the greatest request id, 2^53 − 1: what every JSON reader keeps exact.
const MaxID = 1<<53 - 1

// headerSize is the length before each frame's JSON, in bytes.
const headerSize = 4

const (
	// readAhead is how much is read at once where more waits: a few requests, or two answers, so that each
	// costs no reads of its own. In bytes, a connection.
	readAhead = 16 << 10
	// keptFrame is the largest buffer that is used again, in bytes. An answer with a transaction has 8 KB.
	keptFrame = 64 << 10
)

// buffers are what frames are written into.
var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// newFrame is a frame without JSON, which is to be written behind its header.
func newFrame() *bytes.Buffer {
	b := buffers.Get().(*bytes.Buffer)
	b.Write(make([]byte, headerSize))
	return b
}

// finishFrame says in the header how much was written behind it: header and JSON are in one piece,
// so that one write carries both. Errors wrap ErrProtocol.
func finishFrame(b *bytes.Buffer) error {
	n := b.Len() - headerSize
	if n == 0 || n > MaxFrame {
		return fmt.Errorf("%w: frame of %d bytes, want 1 to %d", ErrProtocol, n, MaxFrame)
	}
	binary.BigEndian.PutUint32(b.Bytes(), uint32(n))
	return nil
}

// dropFrame ends the use of a frame and of its bytes.
func dropFrame(b *bytes.Buffer) {
	if b.Cap() <= keptFrame {
		b.Reset()
		buffers.Put(b)
	}
}

// readHeader waits for a frame and gives the length of its JSON. io.EOF is a clean end between
// frames; a length outside 1 to MaxFrame wraps ErrProtocol, and nothing can be read after it.
func readHeader(r io.Reader) (int, error) {
	var header [headerSize]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return 0, err
	}
	n := binary.BigEndian.Uint32(header[:])
	if n == 0 || n > MaxFrame {
		return 0, fmt.Errorf("%w: frame of %d bytes, want 1 to %d", ErrProtocol, n, MaxFrame)
	}
	return int(n), nil
}

// readBody reads a frame's JSON. It asks for memory as bytes arrive, so that a caller pays for a
// length by sending it.
func readBody(r io.Reader, n int) ([]byte, error) {
	const step = 64 << 10
	b := make([]byte, 0, min(n, step))
	for len(b) < n {
		have := len(b)
		b = append(b, make([]byte, min(n-have, step))...)
		if _, err := io.ReadFull(r, b[have:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
	}
	return b, nil
}
