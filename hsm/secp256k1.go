package hsm

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
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
		public, err := secp256k1.ParsePubKey(point)
		if err != nil || len(point) != pointSize {
			return nil, nil, fmt.Errorf("%w: it is no uncompressed point of secp256k1 (%d bytes)", ErrMismatch, len(value))
		}
		return bytes.Clone(point[1:]), public, nil
	},
	finish: func(parsed any, digest, sig []byte) []byte {
		return recoverable(parsed.(*secp256k1.PublicKey), digest, sig)
	},
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

// recoverable verifies a signature r || s of the digest and returns it with a low
// s and its recovery id, or nil. One multiplication does both: the point that
// verification computes is the one that recovery has to guess, so its y says v.
func recoverable(public *secp256k1.PublicKey, digest, sig []byte) []byte {
	var r, s, e secp256k1.ModNScalar
	if len(sig) != 64 || r.SetByteSlice(sig[:32]) || s.SetByteSlice(sig[32:]) || r.IsZero() || s.IsZero() {
		return nil
	}
	if s.IsOverHalfOrder() { // tokens give either half; the negative one is as valid
		s.Negate()
	}
	e.SetByteSlice(digest)
	w := new(secp256k1.ModNScalar).InverseValNonConst(&s)
	u1 := new(secp256k1.ModNScalar).Mul2(&e, w)
	u2 := new(secp256k1.ModNScalar).Mul2(&r, w)
	var q, a, b, x secp256k1.JacobianPoint
	public.AsJacobian(&q)
	secp256k1.ScalarBaseMultNonConst(u1, &a)
	secp256k1.ScalarMultNonConst(u2, &q, &b)
	secp256k1.AddNonConst(&a, &b, &x)
	if x.Z.IsZero() {
		return nil
	}
	x.ToAffine()
	// An x of the group's order or more would ask for a v that Ethereum does not
	// take; one in 2^127 is, so it counts as one that does not verify.
	var have secp256k1.ModNScalar
	if have.SetByteSlice(x.X.Bytes()[:]) || !have.Equals(&r) {
		return nil
	}
	out := make([]byte, 65)
	r.PutBytesUnchecked(out[:32])
	s.PutBytesUnchecked(out[32:64])
	if x.Y.IsOdd() {
		out[64] = 1
	}
	return out
}
