package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Format is of what serve keeps under Root, as a whole; the first release writes 1. It is raised when a program that knows only the one before
// could read something wrong, or lose something by writing it again; what it merely adds does not raise it.
const Format = 1

// formatKey holds the store's Format in decimal, written by the first serve and by whatever raises it.
const formatKey = Root + "format"

// ErrFormat says that the store is of another format than this program's. Nothing was written. The error is a
// *FormatError.
var ErrFormat = errors.New("store: another format")

// FormatError names both formats.
type FormatError struct{ Held string }

func (e *FormatError) Error() string {
	return fmt.Sprintf("store: it has format %+q, and this program knows %d alone: a newer mintwarden wrote it; install that version, or a later one, again", e.Held, Format)
}

// Is makes it an ErrFormat.
func (e *FormatError) Is(target error) bool { return target == ErrFormat }

// CheckFormat refuses a store of another format with a *FormatError, before anything is read from it or written to
// it, and marks one that has no mark yet, which is of format 1. To be called before the store is used by serve.
func (s *Store) CheckFormat(ctx context.Context) error {
	const unmarked = "1"
	held, _, there, err := s.Get(ctx, formatKey)
	if err == nil && !there {
		held = []byte(unmarked)
		t := s.Tx()
		t.PutIfAbsent(formatKey, held)
		if _, err = t.Commit(ctx); errors.Is(err, ErrConflict) {
			return s.CheckFormat(ctx) // another appliance was first
		}
	}
	if err != nil {
		return err
	}
	return checkFormat(held)
}

func checkFormat(held []byte) error {
	if string(held) != strconv.Itoa(Format) {
		return &FormatError{Held: string(held)}
	}
	return nil
}
