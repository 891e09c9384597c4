package hsm

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// findKey finds the private key and its public half.
func (s *Signer) findKey() error {
	key, err := s.findOne(s.template(pkcs11.CKO_PRIVATE_KEY)...)
	if err != nil {
		return fmt.Errorf("hsm: private key of %s: %w", s.uri, err)
	}
	got, err := s.module.p.GetAttributeValue(s.h, key, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, nil), pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
	if err != nil {
		return wrap("C_GetAttributeValue", err)
	}
	typ, id := got[0].Value, bytes.Clone(got[1].Value)
	s.key = key
	// A token that does not know the attribute does not ask again.
	if got, err := s.module.p.GetAttributeValue(s.h, key, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_AUTHENTICATE, nil)}); err == nil {
		s.always = bytes.Equal(got[0].Value, []byte{1})
	}
	public := s.template(pkcs11.CKO_PUBLIC_KEY)
	if len(id) != 0 { // two halves may have two labels, never two ids
		public = []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, id)}
	}
	half, err := s.findOne(append(public, &pkcs11.Attribute{Type: pkcs11.CKA_KEY_TYPE, Value: typ})...)
	if errors.Is(err, ErrNotFound) && len(id) != 0 {
		s.public, err = s.certified(id)
	} else if err == nil {
		s.public, err = s.publicKey(half, typ)
	}
	if err != nil {
		return fmt.Errorf("hsm: public key of %s: %w", s.uri, err)
	}
	return nil
}

func (s *Signer) template(class uint) []*pkcs11.Attribute {
	t := []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, class)}
	if s.uri.ID != nil {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_ID, s.uri.ID))
	}
	if s.uri.Object != "" {
		t = append(t, pkcs11.NewAttribute(pkcs11.CKA_LABEL, s.uri.Object))
	}
	return t
}

func (s *Signer) findOne(template ...*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	found, err := find(s.module.p, s.h, 1, template...)
	if err == nil && len(found) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return 0, err
	}
	return found[0], nil
}

// publicKey reads a public key object of the type (CKA_KEY_TYPE, in the machine's
// byte order).
func (s *Signer) publicKey(h pkcs11.ObjectHandle, typ []byte) (crypto.PublicKey, error) {
	is := func(t uint) bool { return bytes.Equal(typ, pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, t).Value) }
	read := func(attributes ...uint) ([]*pkcs11.Attribute, error) {
		var want []*pkcs11.Attribute
		for _, a := range attributes {
			want = append(want, pkcs11.NewAttribute(a, nil))
		}
		got, err := s.module.p.GetAttributeValue(s.h, h, want)
		return got, wrap("C_GetAttributeValue", err)
	}
	switch {
	case is(pkcs11.CKK_EC):
		got, err := read(pkcs11.CKA_EC_PARAMS, pkcs11.CKA_EC_POINT)
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(got[0].Value, p256Params) {
			return nil, fmt.Errorf("%w: its curve is not P-256", ErrMismatch)
		}
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), octets(got[1].Value, pointSize))
	case is(ckkEdwards):
		got, err := read(pkcs11.CKA_EC_POINT)
		if err != nil {
			return nil, err
		}
		return edwardsPoint(got[0].Value)
	case is(ckkMLDSA):
		got, err := read(pkcs11.CKA_VALUE)
		if err != nil {
			return nil, err
		}
		return mldsa.NewPublicKey(mldsa.MLDSA65(), octets(got[0].Value, publicKeySize))
	}
	return nil, fmt.Errorf("%w: key type %x, want ECDSA P-256, Ed25519 or ML-DSA-65", ErrMismatch, typ)
}

// certified reads the public key from a certificate of the id: PIV tokens keep it
// there and may have no object for it.
func (s *Signer) certified(id []byte) (crypto.PublicKey, error) {
	h, err := s.findOne(pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), pkcs11.NewAttribute(pkcs11.CKA_ID, id))
	if err != nil {
		return nil, err
	}
	got, err := s.module.p.GetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
	if err != nil {
		return nil, wrap("C_GetAttributeValue", err)
	}
	c, err := x509.ParseCertificate(got[0].Value)
	if err != nil {
		return nil, err
	}
	switch key := c.PublicKey.(type) {
	case ed25519.PublicKey:
		return key, nil
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return key, nil
		}
	case *mldsa.PublicKey:
		return key, nil
	}
	return nil, fmt.Errorf("%w: its certificate's key is none of ECDSA P-256, Ed25519, ML-DSA-65", ErrMismatch)
}
