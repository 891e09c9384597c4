package hsm

import (
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// Class says what must happen after a return code. The zero value is invalid.
type Class int

const (
	_ Class = iota
	// ClassSession: the session is gone, a new one will do (0xB3, 0xB0).
	ClassSession
	// ClassHandle: the object's handle is stale, find it again (0x82, 0x60).
	ClassHandle
	// ClassLogin: the login is gone; the process must log in again (0x101).
	ClassLogin
	// ClassModule: the token or the library is gone or unwell; the module must
	// be started again (0x30, 0x32, 0x190; where a slot was lost with it, 0x03,
	// 0xE0, 0xE1; and 0x02, 0x05, 0x06 when repeated).
	ClassModule
	// ClassOperator: a person must act: the PIN is wrong, locked, or in another
	// way not what the token takes (0xA0 to 0xA4).
	ClassOperator
	// ClassInput: the call itself was refused, as every other code.
	ClassInput
)

// String returns the class as metrics and logs name it.
func (c Class) String() string {
	switch c {
	case ClassSession:
		return "session"
	case ClassHandle:
		return "handle"
	case ClassLogin:
		return "login"
	case ClassModule:
		return "module"
	case ClassOperator:
		return "operator"
	case ClassInput:
		return "input"
	}
	return "invalid"
}

// Error is a PKCS#11 call that returned something other than CKR_OK.
type Error struct {
	Call  string // the C function, "C_Sign"
	Code  uint   // its CK_RV
	Class Class
}

// Error names the call and the code, never an argument.
func (e *Error) Error() string {
	return fmt.Sprintf("hsm: %s returned 0x%x (%s)", e.Call, e.Code, e.Class)
}

// TokenError says that there is not exactly one token of the label and serial
// that were asked for.
type TokenError struct {
	Label, Serial string // Serial may be empty: any
	Found, Slots  int
}

// Error names what was looked for and how much there is.
func (e *TokenError) Error() string {
	return fmt.Sprintf("hsm: %d tokens with label %q and serial %q in %d slots, want 1", e.Found, e.Label, e.Serial, e.Slots)
}

var (
	// ErrBusy: no session became free within Config.Wait.
	ErrBusy = errors.New("hsm: all sessions are busy")
	// ErrStuck: the call did not come back within Config.CallTimeout. What it
	// was doing may still happen.
	ErrStuck = errors.New("hsm: the token does not answer")
	// ErrClosed: the token was closed.
	ErrClosed = errors.New("hsm: closed")
	// ErrBroken: the process must be started again before the token is usable.
	ErrBroken = errors.New("hsm: the module must be started again")
	// ErrNotFound: no object has that id.
	ErrNotFound = errors.New("hsm: no such key")
	// ErrSeveral: an id or a name that is to name one object names more. It is
	// ErrMismatch, too.
	ErrSeveral = errors.New("hsm: it names several objects")
	// ErrNotAuthentic: a wrapped seed does not decrypt, or decrypts to another key.
	ErrNotAuthentic = errors.New("hsm: wrapped seed is not authentic")
	// ErrMismatch: an object under a known id is not the one that it was, or
	// does not have the attributes that it must have.
	ErrMismatch = errors.New("hsm: key is not what it must be")
	// ErrWrongPIN: the token refused the PIN. It is not tried again.
	ErrWrongPIN = errors.New("hsm: the token refused the PIN")
)

func classOf(code uint) Class {
	switch code {
	case pkcs11.CKR_SESSION_HANDLE_INVALID, pkcs11.CKR_SESSION_CLOSED:
		return ClassSession
	case pkcs11.CKR_OBJECT_HANDLE_INVALID, pkcs11.CKR_KEY_HANDLE_INVALID:
		return ClassHandle
	case pkcs11.CKR_USER_NOT_LOGGED_IN:
		return ClassLogin
	case pkcs11.CKR_DEVICE_ERROR, pkcs11.CKR_DEVICE_REMOVED, pkcs11.CKR_CRYPTOKI_NOT_INITIALIZED,
		pkcs11.CKR_SLOT_ID_INVALID, pkcs11.CKR_TOKEN_NOT_PRESENT, pkcs11.CKR_TOKEN_NOT_RECOGNIZED,
		pkcs11.CKR_HOST_MEMORY, pkcs11.CKR_GENERAL_ERROR, pkcs11.CKR_FUNCTION_FAILED:
		return ClassModule
	case pkcs11.CKR_PIN_INCORRECT, pkcs11.CKR_PIN_INVALID, pkcs11.CKR_PIN_LEN_RANGE, pkcs11.CKR_PIN_EXPIRED, pkcs11.CKR_PIN_LOCKED:
		return ClassOperator
	}
	return ClassInput
}

// passing reports whether one occurrence of the code may be a passing fault;
// only its repetition means that the module is unwell.
func passing(code uint) bool {
	return code == pkcs11.CKR_HOST_MEMORY || code == pkcs11.CKR_GENERAL_ERROR || code == pkcs11.CKR_FUNCTION_FAILED
}

// isPassing is passing of an error.
func isPassing(err error) bool {
	var e *Error
	return errors.As(err, &e) && passing(e.Code)
}

// wrap types an error of the wrapper library.
func wrap(call string, err error) error {
	var p pkcs11.Error
	if errors.As(err, &p) {
		return &Error{Call: call, Code: uint(p), Class: classOf(uint(p))}
	}
	return err
}

func isCode(err error, code uint) bool {
	var e *Error
	return errors.As(err, &e) && e.Code == code
}

func classIn(err error) Class {
	var e *Error
	if errors.As(err, &e) {
		return e.Class
	}
	return 0
}
