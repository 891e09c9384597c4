package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	libsecp256k1 "github.com/ethereum/go-ethereum/crypto/secp256k1"
	"github.com/miekg/pkcs11"
)

var secp = &algorithm{
	generating: "generate_secp256k1", signing: "sign_secp256k1",
	keyType: pkcs11.CKK_EC, generate: pkcs11.CKM_EC_KEY_PAIR_GEN, sign: pkcs11.CKM_ECDSA, size: 64,
	params: []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, secp256k1Params)},
	value:  pkcs11.CKA_EC_POINT,
	decode: func(value []byte) ([]byte, any, error) {
		// Parsing finds that the point is on this curve, whatever the key's
		// parameters say: a P-256 point is not.
		point := octets(value, pointSize)
		if _, err := secp256k1.ParsePubKey(point); err != nil || len(point) != pointSize {
			return nil, nil, fmt.Errorf("%w: it is no uncompressed point of secp256k1 (%d bytes)", ErrMismatch, len(value))
		}
		public := bytes.Clone(point[1:])
		return public, public, nil
	},
	encode: func(public []byte) []byte { return append([]byte{4}, public...) },
	finish: func(parsed any, digest, sig []byte) []byte { return recoverable(parsed.([]byte), digest, sig) },
}

// GenerateSecp256k1 makes a signing key in the token, not extractable, with id as
// CKA_ID, and returns its public key: the 64 bytes of the uncompressed point,
// without the leading 4. If the id has a key already it returns that one's.
func (t *Token) GenerateSecp256k1(ctx context.Context, label, id string) ([]byte, error) {
	public, err := t.generatePairOf(ctx, secp, label, id)
	if err != nil {
		return nil, err
	}
	// A key that does not sign must not get an address.
	if _, err := t.SignSecp256k1(ctx, id, sha256.Sum256([]byte(id))); err != nil {
		return nil, fmt.Errorf("hsm: new key %q: %w", id, err)
	}
	return public, nil
}

// Secp256k1Public returns the public key of id, or ErrNotFound.
func (t *Token) Secp256k1Public(ctx context.Context, id string) ([]byte, error) {
	return t.publicOf(ctx, secp, id)
}

// SignSecp256k1 signs the digest with the key id inside the token (CKM_ECDSA) and
// returns 65 bytes r || s || v as Ethereum wants them: s is in the lower half of the
// group's order (EIP-2), v is 0 or 1. The signature was verified with the public key
// that the id had when it was first seen.
func (t *Token) SignSecp256k1(ctx context.Context, id string, digest [32]byte) ([]byte, error) {
	return t.signPair(ctx, secp, id, digest[:])
}

// recoverable returns a signature r || s of the digest with a low s and its recovery
// id, or nil if the key did not make it.
//
// A signature is the key's if R = (z/s)G + (r/s)Q has the x-coordinate r, and v is the
// parity of R's y-coordinate, so that computing R verifies and finds v at once, where
// recovering Q is tried twice for half of all signatures. libsecp256k1, in a third of
// the Go library's time, recovers (s'P - z'G)/r' of r', s', z' and the point P of
// x-coordinate r': with P = Q, s' = (r/s)r' and z' = -(z/s)r' that is R.
func recoverable(public, digest, sig []byte) []byte {
	var r, s, z, x secp256k1.ModNScalar
	if len(public) != pointSize-1 || len(sig) != 64 || r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:]) || r.IsZero() || s.IsZero() {
		return nil
	}
	if x.SetByteSlice(public[:32]) { // of no key that there is: one in 2^128
		return nil
	}
	if s.IsOverHalfOrder() { // tokens give either half; the negative one is as valid
		s.Negate()
	}
	out := make([]byte, 65)
	r.PutBytesUnchecked(out[:32])
	s.PutBytesUnchecked(out[32:64])
	z.SetByteSlice(digest)
	scale := s.InverseNonConst().Mul(&x) // r'/s
	var ask [65]byte
	var message [32]byte
	copy(ask[:32], public[:32])
	r.Mul(scale).PutBytesUnchecked(ask[32:64])
	ask[64] = public[63] & 1
	z.Mul(scale).Negate().PutBytesUnchecked(message[:])
	point, err := libsecp256k1.RecoverPubkey(message[:], ask[:])
	if err != nil || !bytes.Equal(point[1:33], sig[:32]) {
		return nil
	}
	out[64] = point[64] & 1
	return out
}
