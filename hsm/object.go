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

func objectTemplate(name string) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_DATA),
		pkcs11.NewAttribute(pkcs11.CKA_APPLICATION, application),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, name),
	}
}

// PutObject stores value as a private data object under name, unless the name
// is taken: then it is nil if the same bytes stand there, else ErrMismatch.
// What was stored is read back before it returns.
func (t *Token) PutObject(ctx context.Context, name string, value []byte) error {
	if err := checkID(name); err != nil {
		return err
	}
	if len(value) == 0 || len(value) > maxObjectSize {
		return fmt.Errorf("hsm: object %q has %d bytes, want 1 to %d", name, len(value), maxObjectSize)
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
		_, err := t.p.CreateObject(s.h, append(objectTemplate(name),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_MODIFIABLE, false),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE, value)))
		if err != nil {
			return wrap("C_CreateObject", err)
		}
		back, err := t.readObject(s, name)
		if err != nil {
			return err
		}
		if !bytes.Equal(back, value) {
			return fmt.Errorf("%w: object %q reads back otherwise", ErrMismatch, name)
		}
		return nil
	})
}

// Object returns the value of the data object name, or ErrNotFound.
func (t *Token) Object(ctx context.Context, name string) ([]byte, error) {
	if err := checkID(name); err != nil {
		return nil, err
	}
	var value []byte
	err := t.do(ctx, "get_object", func(s *session) (err error) {
		value, err = t.readObject(s, name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return value, nil
}

// DestroyObject removes the data object name, or is ErrNotFound.
func (t *Token) DestroyObject(ctx context.Context, name string) error {
	if err := checkID(name); err != nil {
		return err
	}
	return t.change(ctx, "destroy_object", func(s *session) error {
		h, err := t.findOne(s, objectTemplate(name)...)
		if err != nil {
			return fmt.Errorf("object %q: %w", name, err)
		}
		return wrap("C_DestroyObject", t.p.DestroyObject(s.h, h))
	})
}

func (t *Token) readObject(s *session, name string) ([]byte, error) {
	h, err := t.findOne(s, objectTemplate(name)...)
	if err != nil {
		return nil, fmt.Errorf("object %q: %w", name, err)
	}
	got, err := t.p.GetAttributeValue(s.h, h, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, nil), pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	if err != nil {
		return nil, wrap("C_GetAttributeValue", err)
	}
	if !bytes.Equal(got[0].Value, []byte{1}) {
		return nil, clean(fmt.Errorf("%w: object %q is not private", ErrMismatch, name))
	}
	return bytes.Clone(got[1].Value), nil
}
