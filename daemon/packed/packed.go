// Package packed is the form of values in the store that repeat what others of their kind say: deflated (RFC 1951)
// with a dictionary that both sides know, behind one byte that marks the form.
//
// It promises that the exact bytes come back, that a value without the mark, as earlier versions wrote it, is read as
// it is, and that no value of the kind is stored larger than it is. A dictionary is part of the form: what it was
// when a value was written must be what it is when the value is read, so one that changes gets another mark.
//
// It does not keep anything secret, and does not say whether a value was tampered with: what is unpacked is parsed as
// strictly as before.
package packed

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"sync"
)

// ErrPacked says that a value bears the mark and is not what Pack makes.
var ErrPacked = errors.New("packed: not a packed value")

// Kind is one kind of values. Safe for concurrent use.
type Kind struct {
	mark       byte
	dictionary []byte
	writers    sync.Pool // of *flate.Writer, each with some 100 KiB
	readers    sync.Pool // of reader
}

// reader is what flate.NewReaderDict returns.
type reader interface {
	io.Reader
	flate.Resetter
}

// New is a kind whose packed values begin with mark, which no value of it begins with otherwise ('{' and '[' begin
// JSON). What values have in common stands in the dictionary, at most 32 KiB, the most common last.
func New(mark byte, dictionary string) *Kind {
	k := &Kind{mark: mark, dictionary: []byte(dictionary)}
	k.writers.New = func() any {
		w, err := flate.NewWriterDict(nil, flate.BestSpeed, k.dictionary)
		if err != nil {
			panic(err) // the level is a constant
		}
		return w
	}
	k.readers.New = func() any { return flate.NewReaderDict(nil, k.dictionary) }
	return k
}

// Pack is the value as it is stored: itself, where packing would not make it smaller.
func (k *Kind) Pack(value []byte) []byte {
	out := bytes.NewBuffer(make([]byte, 0, len(value)/2+64))
	out.WriteByte(k.mark)
	w := k.writers.Get().(*flate.Writer)
	defer k.writers.Put(w)
	w.Reset(out)
	_, _ = w.Write(value) // a buffer takes everything
	_ = w.Close()
	if out.Len() >= len(value) && !k.Packed(value) {
		return value
	}
	return out.Bytes()
}

// Packed reports whether a stored value bears the mark.
func (k *Kind) Packed(stored []byte) bool { return len(stored) > 0 && stored[0] == k.mark }

// Unpack is the value that is stored so. One of more than most bytes, or bytes behind its end, are ErrPacked.
func (k *Kind) Unpack(stored []byte, most int) ([]byte, error) {
	if !k.Packed(stored) {
		return stored, nil
	}
	from := bytes.NewReader(stored[1:])
	r := k.readers.Get().(reader)
	defer k.readers.Put(r)
	if err := r.Reset(from, k.dictionary); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacked, err)
	}
	out := bytes.NewBuffer(make([]byte, 0, min(4*len(stored), most+1)))
	if _, err := io.Copy(out, io.LimitReader(r, int64(most)+1)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPacked, err)
	}
	if out.Len() > most || from.Len() > 0 {
		return nil, fmt.Errorf("%w: it unpacks to %d bytes or more, at most %d may be, and %d are left", ErrPacked, out.Len(), most, from.Len())
	}
	return out.Bytes(), nil
}
