package hsm

import (
	"context"
	"errors"
	"fmt"
)

// Secp256k1 is Ethereum's ECDSA. Its keys are never wrapped seeds.
const Secp256k1 Scheme = "secp256k1"

// Protection says where a key is used.
type Protection string

const (
	// Native: made by the token, which never gives it away and signs itself.
	Native Protection = "hsm-native"
	// Wrapped: a seed under a key of the token, used in this process.
	Wrapped Protection = "hsm-wrapped"
)

// CreateKey makes a key of the scheme under id, in the token where the token has
// the scheme, else as a seed that the AES key wrappingKey wraps, and returns its
// public key. If the id has a key of the scheme, however protected, that one is the
// answer; of another scheme, ErrMismatch.
func (t *Token) CreateKey(ctx context.Context, id string, scheme Scheme, wrappingKey string) ([]byte, Protection, error) {
	switch public, have, protection, err := t.KeyPublic(ctx, id); {
	case err == nil && have != scheme:
		return nil, "", fmt.Errorf("%w: key %q is of scheme %s, not %s", ErrMismatch, id, have, scheme)
	case !errors.Is(err, ErrNotFound):
		return public, protection, err
	}
	switch scheme {
	case Secp256k1:
		public, err := t.GenerateSecp256k1(ctx, id, id)
		return public, Native, err
	case MLDSA65:
		public, err := t.GenerateMLDSA(ctx, id, id)
		if !errors.Is(err, ErrUnsupported) {
			return public, Native, err
		}
	}
	public, err := t.CreateSeedKey(ctx, id, scheme, wrappingKey)
	return public, Wrapped, err
}

// KeyPublic returns the public key, the scheme and the protection of what CreateKey
// made under id, or ErrNotFound.
func (t *Token) KeyPublic(ctx context.Context, id string) ([]byte, Scheme, Protection, error) {
	if a := t.algorithmOf(id); a != nil && a != edwards {
		public, err := t.publicOf(ctx, a, id)
		return public, schemeOf(a), Native, err
	}
	public, scheme, err := t.SeedPublic(ctx, id)
	if !errors.Is(err, ErrNotFound) {
		return public, scheme, Wrapped, err
	}
	public, err = t.Secp256k1Public(ctx, id)
	if !errors.Is(err, ErrNotFound) {
		return public, Secp256k1, Native, err
	}
	public, err = t.MLDSAPublic(ctx, id)
	if errors.Is(err, ErrUnsupported) {
		err = fmt.Errorf("key %q: %w", id, ErrNotFound)
	}
	return public, MLDSA65, Native, err
}

func schemeOf(a *algorithm) Scheme {
	if a == secp {
		return Secp256k1
	}
	return MLDSA65
}

// SignDigest signs the digest with what CreateKey made under id: SignSecp256k1,
// SignMLDSA of its 32 bytes, or SignSeed, whose signature the caller must verify.
func (t *Token) SignDigest(ctx context.Context, id string, digest [32]byte) ([]byte, error) {
	if a := t.algorithmOf(id); a != nil && a != edwards {
		return t.signPair(ctx, a, id, digest[:])
	}
	t.cacheMu.RLock()
	e := t.envelopes[id]
	t.cacheMu.RUnlock()
	if e != nil {
		return t.signWith(ctx, e, digest[:])
	}
	_, scheme, protection, err := t.KeyPublic(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case protection == Wrapped:
		return t.SignSeed(ctx, id, digest)
	case scheme == Secp256k1:
		return t.SignSecp256k1(ctx, id, digest)
	}
	return t.SignMLDSA(ctx, id, digest[:])
}

// algorithmOf is that of the pair id, if it was seen, also when its handle is not
// known any more.
func (t *Token) algorithmOf(id string) *algorithm {
	t.cacheMu.RLock()
	defer t.cacheMu.RUnlock()
	if k := t.keys[id]; k != nil {
		return k.of
	}
	return nil
}
