package hsm

import (
	"bytes"
	"context"
	"encoding/asn1"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// algorithm is a kind of key pair that the token makes, keeps and signs with
// itself.
type algorithm struct {
	generating, signing string // what metrics call it

	keyType  uint // CKA_KEY_TYPE
	generate uint // mechanism
	sign     uint // mechanism
	context  *string
	size     int // bytes of what C_Sign gives

	// params are ways to say in the public half's template what is wanted, tried
	// one after the other.
	params []*pkcs11.Attribute
	value  uint // the attribute of the public half that holds the key
	// decode takes that attribute: the key as it leaves this package, and in the
	// form that finish wants.
	decode func(value []byte) (public []byte, parsed any, err error)
	// encode is the way back, nil where a public key is the attribute's value.
	encode func(public []byte) []byte
	// finish verifies what C_Sign gave and makes it what it is to be; nil if it
	// does not verify.
	finish func(parsed any, message, sig []byte) []byte
}

// generatePairOf makes a key pair in the token, not extractable, with id as
// CKA_ID, and returns its public key. If the id has one already it returns that
// one's.
func (t *Token) generatePairOf(ctx context.Context, a *algorithm, label, id string) ([]byte, error) {
	if pub, err := t.publicOf(ctx, a, id); !errors.Is(err, ErrNotFound) {
		return pub, err
	}
	err := t.change(ctx, a.generating, func(s *session) error {
		if _, err := t.findPair(s, a, id); !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := t.dropHalf(s, a, id); err != nil {
			return err
		}
		_, _, err := t.generatePair(s, a, label, id, true)
		return err
	})
	if err != nil {
		return nil, err
	}
	return t.publicOf(ctx, a, id)
}

// halfTemplate finds a half of ours. Whoever reaches the token without a PIN can make
// private keys that are not CKA_PRIVATE, and public ones, with any id.
func halfTemplate(a *algorithm, class uint, id string) []*pkcs11.Attribute {
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class), pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, class == pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, a.keyType), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))}
}

// dropHalf removes a public half whose private one a crash prevented: beside the
// next pair's it would make the id ambiguous for ever. A private half is nothing
// that this package removes.
func (t *Token) dropHalf(s *session, a *algorithm, id string) error {
	if _, err := t.findOne(s, halfTemplate(a, pkcs11.CKO_PRIVATE_KEY, id)...); err == nil {
		return clean(fmt.Errorf("%w: the private key %q has no public half", ErrMismatch, id))
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	publics, err := t.findAll(s, maxListed, halfTemplate(a, pkcs11.CKO_PUBLIC_KEY, id)...)
	if err != nil || len(publics) == 0 {
		return err
	}
	t.log.Warn("public half of a key that was not made whole is removed", "id", id)
	return t.destroyAll(s, publics)
}

// generatePair makes a pair and refuses it if it is not what it must be. What is
// not to stay in the token goes with the session.
func (t *Token) generatePair(s *session, a *algorithm, label, id string, stays bool) (public, private pkcs11.ObjectHandle, err error) {
	secret := append(halfTemplate(a, pkcs11.CKO_PRIVATE_KEY, id),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, stays),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
	for _, params := range a.params {
		open := append(halfTemplate(a, pkcs11.CKO_PUBLIC_KEY, id),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, stays),
			pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
			params,
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
		public, private, err = t.p.GenerateKeyPair(s.h,
			[]*pkcs11.Mechanism{pkcs11.NewMechanism(a.generate, nil)}, open, secret)
		if err = wrap("C_GenerateKeyPair", err); classIn(err) == ClassInput {
			continue // another way to say it may be the token's
		}
		if err != nil {
			return 0, 0, err
		}
		if err := t.readBack(s, private); err != nil {
			_ = t.p.DestroyObject(s.h, private)
			_ = t.p.DestroyObject(s.h, public)
			return 0, 0, err
		}
		return public, private, nil
	}
	return 0, 0, err
}

// publicOf returns the public key of id, or ErrNotFound.
func (t *Token) publicOf(ctx context.Context, a *algorithm, id string) ([]byte, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if k := t.cached(id); k != nil && k.of == a {
		return bytes.Clone(k.public), nil
	}
	var pub []byte
	err := t.do(ctx, "find", func(s *session) error {
		k, err := t.findPair(s, a, id)
		if err == nil {
			pub = bytes.Clone(k.public)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return pub, nil
}

// signPair signs with the key id inside the token and verifies the signature with
// the public key that the id had when it was first seen. A stale handle is found
// again once. The message must not change any more: the call may outlive its caller.
func (t *Token) signPair(ctx context.Context, a *algorithm, id string, message []byte) ([]byte, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	var sig []byte
	err := t.do(ctx, a.signing, func(s *session) error {
		return t.withKey(s, id, func(s *session, id string) (*key, error) { return t.findPair(s, a, id) }, func(k *key) error {
			if k.of != a {
				return clean(fmt.Errorf("%w: key %q is of another kind", ErrMismatch, id))
			}
			out := make([]byte, a.size)
			n, err := t.raw.sign(s.h, a.sign, a.context, k.handle, message, out)
			if err != nil {
				return err
			}
			if n == a.size {
				sig = a.finish(k.parsed, message, out)
			}
			if sig == nil {
				return fmt.Errorf("%w: signature of %q does not verify", ErrMismatch, id)
			}
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// findPair finds the pair id: its private half's handle and its public key.
func (t *Token) findPair(s *session, a *algorithm, id string) (*key, error) {
	private, err := t.findOne(s, halfTemplate(a, pkcs11.CKO_PRIVATE_KEY, id)...)
	if err != nil {
		return nil, fmt.Errorf("private key %q: %w", id, err)
	}
	if err := t.readBack(s, private); err != nil {
		return nil, err
	}
	k, err := t.publicHalf(s, a, id, private)
	if errors.Is(err, ErrNotFound) || errors.Is(err, ErrMismatch) {
		k, err = t.knownHalf(s, a, id, private, err)
	}
	if err != nil {
		return nil, fmt.Errorf("public key %q: %w", id, err)
	}
	k.handle = private
	return t.remember(id, k)
}

func (t *Token) readPublic(s *session, a *algorithm, h pkcs11.ObjectHandle) (*key, error) {
	got, err := t.p.GetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(a.value, nil)})
	if err != nil {
		return nil, wrap("C_GetAttributeValue", err)
	}
	public, parsed, err := a.decode(got[0].Value)
	if err != nil {
		return nil, clean(err)
	}
	return &key{of: a, public: public, parsed: parsed}, nil
}

// octets takes the bytes out of a DER OCTET STRING; what has the size that they are
// to have, or is none, is the bytes. A point may look like DER by chance.
func octets(value []byte, size int) []byte {
	var inner []byte
	if len(value) == size {
		return value
	}
	if rest, err := asn1.Unmarshal(value, &inner); err == nil && len(rest) == 0 {
		return inner
	}
	return value
}
