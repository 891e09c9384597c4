package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// application is the CKA_APPLICATION of every data object of ours. Data
// objects have no CKA_ID in PKCS#11; ours are found by this and their label.
const application = "mintwarden"

const maxObjectSize = 16 << 10 // bytes of a data object's value

// objectTemplate finds data objects of ours. Whoever reaches the token
// without a PIN can make public ones of any name.
func objectTemplate(name string) []*pkcs11.Attribute {
	return append(ourObjects(), pkcs11.NewAttribute(pkcs11.CKA_LABEL, name))
}

// ourObjects finds all data objects of ours.
func ourObjects() []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, application),
	}
}

// PutObject stores value as a private data object under name, unless the name
// is taken: then it is nil if the same bytes stand there, else ErrMismatch.
// What was stored is read back before it returns.
func (t *Token) PutObject(ctx context.Context, name string, value []byte) error {
	if err := checkID(name); err != nil {
		return err
	}
	if err := checkValue(name, value); err != nil {
		return err
	}
	value = bytes.Clone(value)
	return t.change(ctx, "put_object", func(s *session) error {
		switch old, err := t.readObject(s, name); {
		case err == nil && bytes.Equal(old, value):
			return nil
		case err == nil:
			return clean(fmt.Errorf("%w: object %q holds other bytes", ErrMismatch, name))
		case !errors.Is(err, ErrNotFound):
			return err
		}
		return t.createObject(s, name, value)
	})
}

func checkValue(name string, value []byte) error {
	if len(value) == 0 || len(value) > maxObjectSize {
		return fmt.Errorf("hsm: object %q has %d bytes, want 1 to %d", name, len(value), maxObjectSize)
	}
	return nil
}

// createObject makes the object and reads it back.
func (t *Token) createObject(s *session, name string, value []byte) error {
	h, err := t.store(s, name, value)
	if err != nil {
		return err
	}
	back, err := t.readHandle(s, h, name)
	if err != nil {
		return err
	}
	if !bytes.Equal(back, value) {
		return fmt.Errorf("%w: object %q reads back otherwise", ErrMismatch, name)
	}
	t.keepObject(name, h)
	return nil
}

// dataTemplate makes one, of the token or of the session.
func dataTemplate(name string, value []byte, ofToken bool) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, ofToken),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, !ofToken), // else its copy could not be told to stay
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, application),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, name),
		pkcs11.NewAttribute(pkcs11.CKA_VALUE, value),
	}
}

// Object returns the value of the data object name, or ErrNotFound; of two,
// ErrSeveral. Asked again it costs one call of the token, whatever that holds, and
// notices when the object was replaced, by this or another process, once the old
// one is destroyed.
func (t *Token) Object(ctx context.Context, name string) ([]byte, error) {
	if err := checkID(name); err != nil {
		return nil, err
	}
	var value []byte
	read := func(s *session) (err error) {
		value, err = t.readObject(s, name)
		return err
	}
	if err := t.look(ctx, "get_object", read); err != nil {
		return nil, err
	}
	return value, nil
}

// look runs f, which reads data objects, beside whatever else runs; and once more
// behind the lock, for which it waits as for a session, if what it saw may be an object
// that is being replaced: SoftHSM2 answers then that there is none, that what was just
// found is gone, or any code for a call that failed.
func (t *Token) look(ctx context.Context, call string, f func(*session) error) error {
	err := t.do(ctx, call, func(s *session) error {
		err := f(s)
		if c := classIn(err); err == nil || c != ClassInput && c != ClassHandle && c != 0 && !isPassing(err) {
			return err
		}
		if isClean(err) {
			return clean(errUnsettled)
		}
		return errUnsettled // and not f's, which would count as a fault of the module
	})
	if !errors.Is(err, errUnsettled) {
		return err
	}
	bounded, cancel := context.WithTimeout(ctx, t.cfg.Wait)
	defer cancel()
	err = t.change(bounded, call, f)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return ErrBusy // a call that makes an object may be stuck
	}
	return err
}

var errUnsettled = errors.New("the object may be being replaced")

// DestroyObject removes every data object of the name, or is ErrNotFound.
func (t *Token) DestroyObject(ctx context.Context, name string) error {
	if err := checkID(name); err != nil {
		return err
	}
	return t.change(ctx, "destroy_object", func(s *session) error {
		all, err := t.findAll(s, maxOfAName, objectTemplate(name)...)
		if err == nil && len(all) == 0 {
			err = t.nothing(s)
		}
		if err != nil {
			return fmt.Errorf("object %q: %w", name, err)
		}
		t.keepObject(name, 0)
		return t.destroyAll(s, all)
	})
}

// destroyAll destroys the objects; one that somebody else destroyed is no error.
func (t *Token) destroyAll(s *session, all []pkcs11.ObjectHandle) error {
	for _, h := range all {
		if err := wrap("C_DestroyObject", t.p.DestroyObject(s.h, h)); err != nil && classIn(err) != ClassHandle {
			return err
		}
	}
	return nil
}

// readObject reads the object by the handle that is kept for its name: one call,
// where a search costs with every object of the token. Each look reads what the
// handle names, too, for a number may name another object after a reconnect. A
// handle is invalid once its object was destroyed, by whatever process: then, or
// if it names something else, the object is looked for.
func (t *Token) readObject(s *session, name string) ([]byte, error) {
	if h := t.keptObject(name); h != 0 {
		value, err := t.readHandle(s, h, name)
		if classIn(err) != ClassHandle && !errors.Is(err, errOtherKey) {
			return value, err
		}
		t.keepObject(name, 0)
	}
	h, err := t.findOne(s, objectTemplate(name)...)
	if err != nil {
		return nil, fmt.Errorf("object %q: %w", name, err)
	}
	value, err := t.readHandle(s, h, name)
	if errors.Is(err, errOtherKey) {
		return nil, fmt.Errorf("%w: object %q: %w", ErrMismatch, name, err)
	}
	if err == nil {
		t.keepObject(name, h)
	}
	return value, err
}

// readHandle reads the value of the object name by a handle, or is errOtherKey if
// the handle names something else.
func (t *Token) readHandle(s *session, h pkcs11.ObjectHandle, name string) ([]byte, error) {
	template := objectTemplate(name)
	ask := make([]*pkcs11.Attribute, 0, len(template)+1)
	for _, want := range template {
		ask = append(ask, pkcs11.NewAttribute(want.Type, nil))
	}
	got, err := t.p.GetAttributeValue(s.h, h, append(ask, pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)))
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)) || errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_SENSITIVE)) {
		return nil, clean(errOtherKey) // a key has no application, and keeps its value to itself
	}
	if err != nil {
		return nil, wrap("C_GetAttributeValue", err)
	}
	for i, want := range template {
		if !bytes.Equal(got[i].Value, want.Value) {
			return nil, clean(errOtherKey)
		}
	}
	return bytes.Clone(got[len(template)].Value), nil
}

func (t *Token) keptObject(name string) pkcs11.ObjectHandle {
	t.cacheMu.RLock()
	defer t.cacheMu.RUnlock()
	return t.dataObjects[name]
}

// keepObject keeps the handle of a name's object; 0 forgets it.
func (t *Token) keepObject(name string, h pkcs11.ObjectHandle) {
	t.cacheMu.Lock()
	defer t.cacheMu.Unlock()
	if h == 0 {
		delete(t.dataObjects, name)
		return
	}
	t.dataObjects[name] = h
}
