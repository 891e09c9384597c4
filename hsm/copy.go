package hsm

import (
	"errors"

	"github.com/miekg/pkcs11"
)

// maxUncopied is how many copies in a row a token refuses until none is asked for any
// more. One or two may be a fault that passes, or memory that is full for a moment.
const maxUncopied = 3

// store has the token keep a new object: as a copy of one of the session's, or, where the
// token makes no such copy, at once.
//
// PKCS#11 has no one code for "not such a copy": vendors say that the call is not
// supported, that an action is prohibited, that an attribute is read only, of no such
// type or value, that the template is not consistent or complete, that there is no such
// object (it is the session's), or that the call failed. So whatever was said of this
// call alone has C_CreateObject tried, and what that says counts: a token that cannot
// make the object says so twice. What is said of session, login, device or PIN is no
// refusal of a copy.
func (t *Token) store(s *session, name string, value []byte) (pkcs11.ObjectHandle, error) {
	if t.uncopied.Load() < maxUncopied {
		h, err := t.copyIn(s, name, value)
		var refused *uncopiedError
		if err == nil {
			t.uncopied.Store(0)
		}
		if !errors.As(err, &refused) {
			return h, err
		}
		before := t.uncopied.Load()
		switch c := classIn(err); {
		case c == ClassInput, c == ClassHandle:
		case isPassing(err):
			// It may have made the object all the same, and the call that repeats all
			// looks for it first.
			if before == 0 {
				t.uncopied.Store(1)
				return 0, refused.error
			}
		default:
			return 0, refused.error
		}
		t.uncopied.Store(before + 1)
		s.odd = true
	}
	h, err := t.p.CreateObject(s.h, dataTemplate(name, value, true))
	return h, wrap("C_CreateObject", err)
}

// copyIn makes an object of the session and has the token keep a copy of it. SoftHSM2
// writes a new object's file anew for each of its attributes, and a copy's twice: that
// is a sixth of the time. Cut short it leaves the whole object, or nothing that a search
// finds.
func (t *Token) copyIn(s *session, name string, value []byte) (pkcs11.ObjectHandle, error) {
	h, err := t.p.CreateObject(s.h, dataTemplate(name, value, false))
	if err != nil {
		return 0, &uncopiedError{wrap("C_CreateObject", err)}
	}
	made, err := t.p.CopyObject(s.h, h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false)})
	if err != nil {
		_ = t.p.DestroyObject(s.h, h) // one that stays goes with the session, and no search finds it
		return 0, &uncopiedError{wrap("C_CopyObject", err)}
	}
	return made, wrap("C_DestroyObject", t.p.DestroyObject(s.h, h))
}

// uncopiedError is what the token said when it did not make the copy.
type uncopiedError struct{ error }

func (e *uncopiedError) Unwrap() error { return e.error }
