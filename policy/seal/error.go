package seal

import (
	"errors"
	"fmt"
)

// Kind is why the seal did not do what it was asked; the zero value is none.
type Kind string

// The kinds (spec formats.md, “Seal socket”). What a caller may do: change the request (invalid,
// denied, conflict, duplicate), wait for people or time (wait, queued, sealed, clock), ask again
// (store, hsm, busy), ask another (notAuthor).
const (
	KindInvalid   Kind = "invalid"   // the request, a signature or a document does not hold
	KindDenied    Kind = "denied"    // a policy denies
	KindWait      Kind = "wait"      // a policy waits for approvals or a delay
	KindConflict  Kind = "conflict"  // what was recorded before excludes it
	KindDuplicate Kind = "duplicate" // this person, or this document, is recorded otherwise already
	KindQueued    Kind = "queued"    // the wallet's outstanding transactions are as many as the charter allows
	KindSealed    Kind = "sealed"    // there is no HSM login
	KindClock     Kind = "clock"     // the clock is in doubt
	KindStore     Kind = "store"     // the ledger cannot be read or written, or the seal itself is at fault: the outcome is in doubt
	KindHSM       Kind = "hsm"       // the HSM does not answer
	KindBusy      Kind = "busy"      // more is under way than the seal takes, or the request ran out of time
	KindNotAuthor Kind = "notAuthor" // another appliance writes the ledger; Error.Appliance names it
)

// Valid is true of the kinds above.
func (k Kind) Valid() bool {
	switch k {
	case KindInvalid, KindDenied, KindWait, KindConflict, KindDuplicate, KindQueued, KindSealed, KindClock,
		KindStore, KindHSM, KindBusy, KindNotAuthor:
		return true
	}
	return false
}

// Error is the seal's refusal. Its message names what was wrong and holds no secret.
type Error struct {
	Kind      Kind   `json:"kind"`
	Message   string `json:"message"`
	Appliance string `json:"appliance,omitzero"` // with KindNotAuthor: who is, empty if nobody is known to be
}

func (e *Error) Error() string {
	if e.Appliance != "" {
		return fmt.Sprintf("seal: %s (author is %s): %s", e.Kind, e.Appliance, e.Message)
	}
	return fmt.Sprintf("seal: %s: %s", e.Kind, e.Message)
}

// Errorf makes an Error.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// KindOf is the kind of an error that the seal answered with; ok is false if err is none.
func KindOf(err error) (kind Kind, ok bool) {
	var e *Error
	if !errors.As(err, &e) {
		return "", false
	}
	return e.Kind, true
}

var (
	// ErrUnreachable says that the seal did not answer: its socket is not there, the connection
	// broke, or it was silent for too long. Whether the request took effect is unknown.
	ErrUnreachable = errors.New("seal unreachable")
	// ErrProtocol says that the other end does not speak this protocol.
	ErrProtocol = errors.New("seal protocol broken")
	// ErrClosed says that the client was closed.
	ErrClosed = errors.New("seal client closed")
)
