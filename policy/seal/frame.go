package seal

import (
	"encoding/binary"
	"fmt"
	"io"
)

// MaxFrame is the longest JSON of a frame, in bytes.
const MaxFrame = 1 << 20

// MaxID is the greatest request id, 2^53 − 1: what every JSON reader keeps exact.
const MaxID = 1<<53 - 1

// headerSize is the length before each frame's JSON, in bytes.
const headerSize = 4

// frame is header and JSON in one piece, so that one write carries both. Errors wrap ErrProtocol.
func frame(json []byte) ([]byte, error) {
	if len(json) == 0 || len(json) > MaxFrame {
		return nil, fmt.Errorf("%w: frame of %d bytes, want 1 to %d", ErrProtocol, len(json), MaxFrame)
	}
	b := make([]byte, headerSize, headerSize+len(json))
	binary.BigEndian.PutUint32(b, uint32(len(json)))
	return append(b, json...), nil
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
