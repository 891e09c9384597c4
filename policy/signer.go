package policy

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	"github.com/secure-systems-lab/go-securesystemslib/dsse"
)

// ErrSign says that a key could not sign.
var ErrSign = errors.New("cannot sign")

// Signer signs documents with one person's key, wherever that key is: a file, or a token behind
// the crypto.Signer.
type Signer struct {
	key    crypto.Signer
	public PublicKey
}

// NewSigner takes *ecdsa.PrivateKey on P-256, ed25519.PrivateKey, *mldsa.PrivateKey of ML-DSA-65,
// or anything that signs as one of them does. Errors wrap ErrKey.
func NewSigner(key crypto.Signer) (*Signer, error) {
	public, err := NewPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	return &Signer{key, public}, nil
}

// LoadSignerPEM takes one PEM block "PRIVATE KEY" (PKCS #8). Errors wrap ErrKey and never hold any
// of the text.
func LoadSignerPEM(text []byte) (*Signer, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(bytes.TrimSpace(rest)) != 0 {
		return nil, fmt.Errorf("%w: want one PEM block PRIVATE KEY", ErrKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: not PKCS #8", ErrKey)
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%w: %T does not sign", ErrKey, key)
	}
	return NewSigner(signer)
}

// GenerateKeyPEM makes a key of one of the three algorithms and gives both halves in PEM (PKCS #8
// and SubjectPublicKeyInfo). Errors wrap ErrKey.
func GenerateKeyPEM(alg Algorithm) (private, public []byte, err error) {
	var key crypto.Signer
	switch alg {
	case ECDSAP256:
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case Ed25519:
		_, key, err = ed25519.GenerateKey(rand.Reader)
	case MLDSA65:
		key, err = mldsa.GenerateKey(mldsa.MLDSA65())
	default:
		return nil, nil, fmt.Errorf("%w: algorithm %q", ErrKey, alg)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %v", ErrKey, err)
	}
	pub, err := NewPublicKey(key.Public())
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), pub.PEM(), nil
}

// Public is the key that verifies.
func (s *Signer) Public() PublicKey { return s.public }

// sign signs the payload and verifies what it signed, for a token or a faulty key may give
// anything.
func (s *Signer) sign(payloadType string, payload []byte) (Signature, error) {
	pae := dsse.PAE(payloadType, payload)
	var message []byte
	var opts crypto.SignerOpts
	switch s.public.Algorithm() {
	case ECDSAP256:
		sum := sha256.Sum256(pae)
		message, opts = sum[:], crypto.SHA256
	case Ed25519:
		message, opts = pae, crypto.Hash(0)
	case MLDSA65:
		message, opts = pae, &mldsa.Options{Context: payloadType}
	default:
		return Signature{}, fmt.Errorf("%w: %w", ErrSign, ErrKey)
	}
	sig, err := s.key.Sign(rand.Reader, message, opts)
	if err != nil {
		return Signature{}, fmt.Errorf("%w with %s: %w", ErrSign, s.public, err)
	}
	if !s.public.verify(payloadType, pae, sig) {
		return Signature{}, fmt.Errorf("%w with %s: the signature does not verify", ErrSign, s.public)
	}
	return Signature{KeyID: s.public.KeyID(), Sig: sig}, nil
}

// Sign makes an envelope of the payload with every signer's signature. Errors wrap ErrSign.
func Sign(payloadType string, payload []byte, signers ...*Signer) (*Envelope, error) {
	e := &Envelope{PayloadType: payloadType, Payload: payload}
	for _, s := range signers {
		if err := e.AddSignature(s); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// AddSignature signs the envelope's payload with one more key. A key that signed already is left
// as it is. Errors wrap ErrSign.
func (e *Envelope) AddSignature(s *Signer) error {
	for _, have := range e.Signatures {
		if have.KeyID == s.public.KeyID() {
			return nil
		}
	}
	if len(e.Signatures) >= MaxSignatures {
		return fmt.Errorf("%w: the envelope has %d signatures already", ErrSign, MaxSignatures)
	}
	sig, err := s.sign(e.PayloadType, e.Payload)
	if err != nil {
		return err
	}
	e.Signatures = append(e.Signatures, sig)
	return nil
}
