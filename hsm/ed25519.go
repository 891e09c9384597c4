package hsm

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"

	"github.com/miekg/pkcs11"
)

var edwards = &algorithm{
	generating: "generate_ed25519", signing: "sign_ed25519",
	keyType: ckkEdwards, generate: ckmEdwardsKeyPairGen, sign: ckmEdDSA, size: ed25519.SignatureSize,
	params: []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, ed25519Params), pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, ed25519Name)},
	value:  pkcs11.CKA_EC_POINT,
	decode: func(value []byte) ([]byte, any, error) {
		public, err := edwardsPoint(value)
		return public, public, err
	},
	finish: func(parsed any, message, sig []byte) []byte {
		if !ed25519.Verify(parsed.(ed25519.PublicKey), message, sig) {
			return nil
		}
		return sig
	},
}

// GenerateEd25519 makes a signing key in the token, not extractable, with id
// as CKA_ID, and returns its 32-byte public key, which it keeps as KeepEd25519Public
// does. If the id has a key already it returns that one's.
func (t *Token) GenerateEd25519(ctx context.Context, label, id string) (ed25519.PublicKey, error) {
	public, err := t.generatePairOf(ctx, edwards, label, id)
	if err == nil {
		err = t.KeepEd25519Public(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	return public, nil
}

// Ed25519Public returns the public key of id, or ErrNotFound.
func (t *Token) Ed25519Public(ctx context.Context, id string) (ed25519.PublicKey, error) {
	return t.publicOf(ctx, edwards, id)
}

// SignEd25519 signs msg (RFC 8032, pure) with the key id inside the token and
// verifies the signature with the public key that the id had when it was first
// seen. A stale handle is found again once.
func (t *Token) SignEd25519(ctx context.Context, id string, msg []byte) ([]byte, error) {
	return t.signPair(ctx, edwards, id, bytes.Clone(msg))
}

// edwardsPoint takes an Ed25519 key's CKA_EC_POINT: a DER OCTET STRING by the
// standard, 32 plain bytes by some.
func edwardsPoint(value []byte) (ed25519.PublicKey, error) {
	point := octets(value, ed25519.PublicKeySize)
	if len(point) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: a public key of %d bytes of an unknown form", ErrMismatch, len(value))
	}
	return bytes.Clone(point), nil
}
