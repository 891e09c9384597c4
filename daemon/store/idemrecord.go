package store

import (
	"bytes"
	"compress/flate"
	"encoding/json/v2"
	"errors"
	"fmt"
	"io"
	"sync"
)

// flaters are compressors that nobody uses now: each has several hundred KiB.
var flaters = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, flate.BestSpeed) // requests wait for it
	if err != nil {
		panic(err) // the level is a constant
	}
	return w
}}

// encode is the record's value: a line of JSON without the body, and behind its end the body, deflated: an answer is
// the largest thing that a request leaves, and is text that repeats itself.
func (r *IdempotencyRecord) encode() ([]byte, error) {
	if len(r.Body) > MaxTxBytes {
		return nil, fmt.Errorf("%w: an answer of %d bytes", ErrTooLarge, len(r.Body))
	}
	head := *r
	head.Body = nil
	text, err := json.Marshal(&head)
	if err != nil || r.Body == nil {
		return text, err
	}
	out := bytes.NewBuffer(append(text, '\n'))
	w := flaters.Get().(*flate.Writer)
	defer flaters.Put(w)
	w.Reset(out)
	if _, err := w.Write(r.Body); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

var errRecord = errors.New("not a record of idempotency")

// parseRecord is strict. A record of an earlier version has its body in the line.
func parseRecord(b []byte) (*IdempotencyRecord, error) {
	if len(b) > 2*MaxTxBytes {
		return nil, fmt.Errorf("%w: %d bytes", errRecord, len(b))
	}
	text, packed, has := bytes.Cut(b, []byte{'\n'})
	var r IdempotencyRecord
	if err := json.Unmarshal(text, &r, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("%w: %w", errRecord, err)
	}
	if !has {
		return &r, nil
	}
	if r.Body != nil {
		return nil, fmt.Errorf("%w: two bodies", errRecord)
	}
	from := bytes.NewReader(packed)
	body, err := io.ReadAll(io.LimitReader(flate.NewReader(from), MaxTxBytes+1))
	if err != nil {
		return nil, fmt.Errorf("%w: its body: %w", errRecord, err)
	}
	if len(body) > MaxTxBytes || from.Len() > 0 {
		return nil, fmt.Errorf("%w: a body of %d bytes or more, %d are left", errRecord, len(body), from.Len())
	}
	r.Body = body
	return &r, nil
}
