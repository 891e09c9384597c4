package hsm

import (
	"bytes"
	"context"
	"crypto/mldsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/secret"

	"github.com/cloudflare/circl/sign/dilithium/mode3"
	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/miekg/pkcs11"
)

// CreateSeedKey draws a seed (the token's generator XOR the system's), derives
// its public key, wraps the seed under the AES key wrappingKey and stores the
// envelope in the token under id. If the id has an envelope of the same scheme
// already, its public key is the answer; of another scheme, ErrMismatch.
func (t *Token) CreateSeedKey(ctx context.Context, id string, scheme Scheme, wrappingKey string) ([]byte, error) {
	if !scheme.wrapped() {
		return nil, fmt.Errorf("hsm: unknown scheme %q", scheme)
	}
	switch pub, have, err := t.SeedPublic(ctx, id); {
	case err == nil && have != scheme:
		return nil, fmt.Errorf("%w: key %q is of scheme %s, not %s", ErrMismatch, id, have, scheme)
	case !errors.Is(err, ErrNotFound):
		return pub, err
	}
	var made *envelope
	err := t.do(ctx, "wrap_seed", func(s *session) error {
		e, err := t.wrapNew(s, id, scheme, wrappingKey)
		made = e
		return err
	})
	if err != nil {
		return nil, err
	}
	value, err := made.encode()
	if err != nil {
		return nil, err
	}
	// A key that does not come back from its envelope, or does not sign, must never
	// get a name.
	if err := t.signs(ctx, made); err != nil {
		return nil, fmt.Errorf("hsm: new key %q: %w", id, err)
	}
	if err := t.PutObject(ctx, objectName(id), value); err != nil && !errors.Is(err, ErrMismatch) {
		return nil, err
	}
	// On ErrMismatch another caller was first; the envelope that stands counts.
	pub, have, err := t.SeedPublic(ctx, id)
	if err == nil && have != scheme {
		err = fmt.Errorf("%w: key %q is of scheme %s, not %s", ErrMismatch, id, have, scheme)
	}
	return pub, err
}

// signs is nil if the key comes back from its envelope and signs.
func (t *Token) signs(ctx context.Context, e *envelope) error {
	digest := sha256.Sum256([]byte(e.ID))
	sig, err := t.signWith(ctx, e, digest[:])
	if err == nil && !verify(e.Scheme, e.PublicKey, digest[:], sig) {
		err = fmt.Errorf("%w: its signature does not verify", ErrMismatch)
	}
	return err
}

// objectName is the label of an id's envelope.
func objectName(id string) string { return "seed:" + id }

func (t *Token) wrapNew(s *session, id string, scheme Scheme, wrappingKey string) (*envelope, error) {
	seed := s.secret.Bytes()[:seedSize]
	if err := t.raw.random(s.h, seed); err != nil {
		return nil, err
	}
	e := &envelope{Format: envelopeFormat, ID: id, Scheme: scheme, WrappingKey: wrappingKey,
		PublicKey: make([]byte, scheme.publicKeySize()), IV: make([]byte, gcmIVSize)}
	if _, err := rand.Read(e.IV); err != nil {
		return nil, clean(err)
	}
	var failed error
	secret.Do(func() {
		var own [seedSize]byte
		if _, failed = rand.Read(own[:]); failed != nil {
			return
		}
		subtle.XORBytes(seed, seed, own[:])
		k := derive(scheme, seed)
		defer k.wipe()
		copy(e.PublicKey, k.public)
	})
	if failed != nil {
		return nil, clean(failed)
	}
	if err := t.wrapSeed(s, e, seed); err != nil {
		return nil, err
	}
	return e, nil
}

// wrapSeed fills the envelope's ciphertext, and what is checked of it.
func (t *Token) wrapSeed(s *session, e *envelope, seed []byte) error {
	// What is encrypted with a wrong key looks like any other ciphertext: here the
	// handle is read back before, and once more before it decrypts.
	t.doubt()
	defer t.doubt()
	err := t.withKey(s, e.WrappingKey, t.findAES, func(k *key) error {
		params := pkcs11.NewGCMParams(e.IV, e.associated(), gcmTagSize*8)
		defer params.Free()
		if err := t.p.EncryptInit(s.h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_GCM, params)}, k.handle); err != nil {
			return wrap("C_EncryptInit", err)
		}
		out := make([]byte, seedSize+gcmTagSize)
		n, err := t.raw.encrypt(s.h, seed, out)
		if err != nil {
			return err
		}
		// Some HSMs draw the IV themselves and write it into the parameters.
		e.IV, e.Ciphertext = params.IV(), out[:n]
		return nil
	})
	if err != nil {
		return err
	}
	if err := e.check(); err != nil {
		return clean(err)
	}
	e.aad = e.associated()
	return nil
}

// SeedPublic returns the public key and scheme under id, or ErrNotFound.
func (t *Token) SeedPublic(ctx context.Context, id string) ([]byte, Scheme, error) {
	e, err := t.envelope(ctx, id)
	if err != nil {
		return nil, "", err
	}
	return bytes.Clone(e.PublicKey), e.Scheme, nil
}

// SignSeed signs the digest with the wrapped key id. A seed that derives another
// public key than the stored one is ErrNotAuthentic. The signature is not verified
// here, but must be before it leaves: by the caller, with the public key that the
// caller knows for the wallet, which is worth more than the one that stands beside
// the seed.
func (t *Token) SignSeed(ctx context.Context, id string, digest [32]byte) ([]byte, error) {
	e, err := t.envelope(ctx, id)
	if err != nil {
		return nil, err
	}
	return t.signCurrent(ctx, e, digest[:])
}

// signCurrent is signWith, once more with what another process made of the envelope.
func (t *Token) signCurrent(ctx context.Context, e *envelope, message []byte) ([]byte, error) {
	sig, err := t.signWith(ctx, e, message)
	if now := t.current(ctx, e, err); now != nil {
		return t.signWith(ctx, now, message)
	}
	return sig, err
}

// SignSeedMessage signs a whole message with the wrapped key id, which must be of
// MLDSA44 (FIPS 204, empty context). It is verified before it leaves.
func (t *Token) SignSeedMessage(ctx context.Context, id string, message []byte) ([]byte, error) {
	e, err := t.envelope(ctx, id)
	if err != nil {
		return nil, err
	}
	if e.Scheme != MLDSA44 {
		return nil, fmt.Errorf("%w: key %q is of scheme %s, which signs digests only", ErrMismatch, id, e.Scheme)
	}
	sig, err := t.signCurrent(ctx, e, message)
	if err == nil && !verify(e.Scheme, e.PublicKey, message, sig) {
		err = fmt.Errorf("%w: a signature of %q does not verify", ErrMismatch, id)
	}
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// signingCalls are what metrics call the signatures.
var signingCalls = map[Scheme]string{Dilithium3: "sign_dilithium3", MLDSA65: "sign_ml-dsa-65", MLDSA44: "sign_ml-dsa-44"}

func (t *Token) signWith(ctx context.Context, e *envelope, message []byte) ([]byte, error) {
	var sig []byte
	err := t.do(ctx, signingCalls[e.Scheme], func(s *session) error {
		if err := t.unwrap(s, e); err != nil {
			return err
		}
		out := make([]byte, signatureSize(e.Scheme))
		ok := false
		secret.Do(func() {
			k := derive(e.Scheme, s.secret.Bytes()[:seedSize])
			defer k.wipe()
			if subtle.ConstantTimeCompare(k.public, e.PublicKey) == 1 {
				ok = k.sign(message, out) == nil
			}
		})
		s.secret.Wipe()
		if !ok {
			return clean(fmt.Errorf("%w: %q", ErrNotAuthentic, e.ID))
		}
		t.isAuthentic(e)
		sig = out
		return nil
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
}

// unwrap decrypts the seed into the session's locked buffer, in one C call.
func (t *Token) unwrap(s *session, e *envelope) error {
	return t.withKey(s, e.WrappingKey, t.findAES, func(k *key) error {
		n, err := t.raw.openGCM(s.h, k.handle, e.IV, e.aad, e.Ciphertext, s.secret.Bytes())
		var code *Error
		if errors.As(err, &code) && (code.Code == pkcs11.CKR_GENERAL_ERROR || code.Code == pkcs11.CKR_ENCRYPTED_DATA_INVALID) {
			// Both codes mean a bad tag on a decrypt. The session is dropped all
			// the same: nothing says that the token ended the operation. An
			// envelope that was authentic before did not change in our memory,
			// so there the code is the module's own trouble, and counts as that.
			if t.wasAuthentic(e) {
				return fmt.Errorf("%w: %q: %w", ErrNotAuthentic, e.ID, err)
			}
			return fmt.Errorf("%w: %q", ErrNotAuthentic, e.ID)
		}
		if err == nil && n != seedSize {
			return fmt.Errorf("%w: %q decrypts to %d bytes", ErrNotAuthentic, e.ID, n)
		}
		return err
	})
}

func (t *Token) wasAuthentic(e *envelope) bool {
	t.cacheMu.RLock()
	defer t.cacheMu.RUnlock()
	return e.authentic
}

// isAuthentic notes that e decrypted to the seed of its public key.
func (t *Token) isAuthentic(e *envelope) {
	if t.wasAuthentic(e) {
		return
	}
	t.cacheMu.Lock()
	defer t.cacheMu.Unlock()
	e.authentic = true
}

// envelope returns the envelope of id, from the cache or the token.
func (t *Token) envelope(ctx context.Context, id string) (*envelope, error) {
	t.cacheMu.RLock()
	e := t.envelopes[id]
	t.cacheMu.RUnlock()
	if e != nil {
		return e, nil
	}
	value, err := t.Object(ctx, objectName(id))
	if err != nil {
		return nil, err
	}
	e, err = parseEnvelope(value)
	if err != nil {
		return nil, fmt.Errorf("key %q: %w", id, err)
	}
	if e.ID != id {
		return nil, fmt.Errorf("%w: envelope of %q stands under %q", ErrMismatch, e.ID, id)
	}
	t.cacheMu.Lock()
	t.envelopes[id] = e
	t.cacheMu.Unlock()
	return e, nil
}

// CheckValue returns what tells the key id from any other: hex of an AES key's
// CKA_CHECK_VALUE, else hex of the SHA-256 of the public key.
func (t *Token) CheckValue(ctx context.Context, id string) (string, error) {
	for _, look := range []func() ([]byte, error){
		func() ([]byte, error) { pub, err := t.Ed25519Public(ctx, id); return pub, err },
		func() ([]byte, error) { pub, _, _, err := t.KeyPublic(ctx, id); return pub, err },
	} {
		pub, err := look()
		if err == nil {
			sum := sha256.Sum256(pub)
			return hex.EncodeToString(sum[:]), nil
		}
		if !errors.Is(err, ErrNotFound) {
			return "", err
		}
	}
	var check string
	err := t.do(ctx, "find", func(s *session) error {
		k, err := t.findAES(s, id)
		if err == nil {
			check = hex.EncodeToString(k.check)
		}
		return err
	})
	return check, err
}

// expanded is a key made from a seed. It lives inside secret.Do only.
type expanded struct {
	public []byte
	sign   func(message, out []byte) error
	wipe   func() // what is left on the heap is erased only once it is collected
}

func derive(scheme Scheme, seed []byte) expanded {
	if scheme == MLDSA44 {
		return deriveMLDSA44(seed)
	}
	in := (*[seedSize]byte)(seed)
	if scheme == Dilithium3 {
		pk, sk := mode3.NewKeyFromSeed(in)
		return expanded{pk.Bytes(), func(d, out []byte) error { mode3.SignTo(sk, d, out); return nil }, func() { *sk = mode3.PrivateKey{} }}
	}
	pk, sk := mldsa65.NewKeyFromSeed(in)
	return expanded{pk.Bytes(), func(d, out []byte) error { return mldsa65.SignTo(sk, d, nil, true, out) }, func() { *sk = mldsa65.PrivateKey{} }}
}

// deriveMLDSA44 goes by the standard library, which keeps the expanded key where
// only the collector reaches it; derive's caller is inside secret.Do, which erases
// it then.
func deriveMLDSA44(seed []byte) expanded {
	sk, err := mldsa.NewPrivateKey(mldsa.MLDSA44(), seed)
	if err != nil { // the library has no ML-DSA, or the seed is of another length
		return expanded{nil, func([]byte, []byte) error { return err }, func() {}}
	}
	return expanded{sk.PublicKey().Bytes(), func(m, out []byte) error {
		sig, err := sk.Sign(nil, m, nil)
		copy(out, sig)
		return err
	}, func() {}}
}

func signatureSize(scheme Scheme) int {
	if scheme == MLDSA44 {
		return mldsa.MLDSA44SignatureSize
	}
	if scheme == Dilithium3 {
		return mode3.SignatureSize
	}
	return mldsa65.SignatureSize
}

func verify(scheme Scheme, public, digest, sig []byte) bool {
	if scheme == MLDSA44 {
		pk, err := mldsa.NewPublicKey(mldsa.MLDSA44(), public)
		return err == nil && mldsa.Verify(pk, digest, sig, nil) == nil
	}
	if scheme == Dilithium3 {
		var pk mode3.PublicKey
		return pk.UnmarshalBinary(public) == nil && mode3.Verify(&pk, digest, sig)
	}
	var pk mldsa65.PublicKey
	return pk.UnmarshalBinary(public) == nil && mldsa65.Verify(&pk, digest, nil, sig)
}
