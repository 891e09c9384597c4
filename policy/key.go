package policy

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
)

// ErrKey says that a key is not one of the three kinds, or is not in its one encoding.
var ErrKey = errors.New("key not taken (want ECDSA P-256, Ed25519 or ML-DSA-65)")

// Algorithm is a kind of people's (and appliances') keys; the zero value is none.
type Algorithm string

// The algorithms of signed documents.
const (
	ECDSAP256 Algorithm = "ecdsa-p256" // ASN.1 signature over SHA-256 of the PAE
	Ed25519   Algorithm = "ed25519"    // over the PAE
	MLDSA65   Algorithm = "ml-dsa-65"  // over the PAE, with the payload type as context (FIPS 204)
)

// PostQuantum is true of ML-DSA-65.
func (a Algorithm) PostQuantum() bool { return a == MLDSA65 }

// maxSPKI bounds an encoded key in bytes; ML-DSA-65's, the longest, has 1974.
const maxSPKI = 2048

// PublicKey is a verification key in its canonical SubjectPublicKeyInfo. Its JSON form is the
// base64 of that. The zero value verifies nothing. Keys compare with ==.
type PublicKey struct {
	spki string
	id   string // KeyID, which follows from spki: hashing 2 KB for each look at a key adds up
}

func publicKeyOf(spki []byte) PublicKey {
	return PublicKey{string(spki), string(DigestOf(spki))}
}

// ParsePublicKey takes a DER SubjectPublicKeyInfo of one of the three kinds, in the encoding that
// the standard library itself gives to that key. Errors wrap ErrKey.
func ParsePublicKey(spki []byte) (PublicKey, error) {
	if len(spki) > maxSPKI {
		return PublicKey{}, fmt.Errorf("%w: %d bytes", ErrKey, len(spki))
	}
	key, err := x509.ParsePKIXPublicKey(spki)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%w: %v", ErrKey, err)
	}
	k, err := NewPublicKey(key)
	if err != nil {
		return PublicKey{}, err
	}
	if k.spki != string(spki) {
		return PublicKey{}, fmt.Errorf("%w: not its canonical encoding", ErrKey)
	}
	return k, nil
}

// NewPublicKey takes *ecdsa.PublicKey on P-256, ed25519.PublicKey or *mldsa.PublicKey of ML-DSA-65.
// Errors wrap ErrKey.
func NewPublicKey(key any) (PublicKey, error) {
	if algorithmOf(key) == "" {
		return PublicKey{}, fmt.Errorf("%w: %T", ErrKey, key)
	}
	spki, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return PublicKey{}, fmt.Errorf("%w: %v", ErrKey, err)
	}
	return publicKeyOf(spki), nil
}

// ParsePublicKeyPEM takes one PEM block "PUBLIC KEY". Errors wrap ErrKey.
func ParsePublicKeyPEM(text []byte) (PublicKey, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PUBLIC KEY" || len(bytes.TrimSpace(rest)) != 0 {
		return PublicKey{}, fmt.Errorf("%w: want one PEM block PUBLIC KEY", ErrKey)
	}
	return ParsePublicKey(block.Bytes)
}

func algorithmOf(key any) Algorithm {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return ECDSAP256
		}
	case ed25519.PublicKey:
		return Ed25519
	case *mldsa.PublicKey:
		if k.Parameters() == mldsa.MLDSA65() {
			return MLDSA65
		}
	}
	return ""
}

// key is the standard library's form, nil for the zero value. It is shared and never changed.
func (k PublicKey) key() any {
	if k.spki == "" {
		return nil
	}
	return parsedKeys.get(k.spki)
}

// IsZero is true of the zero value.
func (k PublicKey) IsZero() bool { return k.spki == "" }

// Algorithm is the kind of the key.
func (k PublicKey) Algorithm() Algorithm { return algorithmOf(k.key()) }

// SPKI is the DER SubjectPublicKeyInfo.
func (k PublicKey) SPKI() []byte { return []byte(k.spki) }

// KeyID is "sha256:" and the hex SHA-256 of the SubjectPublicKeyInfo: DSSE's keyid.
func (k PublicKey) KeyID() string {
	if k.id == "" {
		return string(DigestOf(nil)) // the zero value's
	}
	return k.id
}

// PEM is the PEM block "PUBLIC KEY".
func (k PublicKey) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte(k.spki)})
}

// String is the KeyID.
func (k PublicKey) String() string { return k.KeyID() }

// MarshalText gives the standard base64 of the SubjectPublicKeyInfo.
func (k PublicKey) MarshalText() ([]byte, error) {
	return []byte(base64.StdEncoding.EncodeToString([]byte(k.spki))), nil
}

// UnmarshalText takes what MarshalText gives. Errors wrap ErrKey.
func (k *PublicKey) UnmarshalText(text []byte) error {
	spki, err := decodeBase64(string(text), maxSPKI)
	if err != nil {
		return fmt.Errorf("%w: %v", ErrKey, err)
	}
	p, err := ParsePublicKey(spki)
	if err != nil {
		return err
	}
	*k = p
	return nil
}

// verify is true exactly if sig is this key's over the pre-authentication encoding pae of a
// payload of the given type.
func (k PublicKey) verify(payloadType string, pae, sig []byte) bool {
	switch key := k.key().(type) {
	case *ecdsa.PublicKey:
		sum := sha256.Sum256(pae)
		return ecdsa.VerifyASN1(key, sum[:], sig)
	case ed25519.PublicKey:
		return ed25519.Verify(key, pae, sig)
	case *mldsa.PublicKey:
		return mldsa.Verify(key, pae, sig, &mldsa.Options{Context: payloadType}) == nil
	}
	return false
}
