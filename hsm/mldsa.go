package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"github.com/cloudflare/circl/sign/mldsa/mldsa65"
	"github.com/miekg/pkcs11"
)

// mldsaProfiles are the ways in which modules spell ML-DSA-65. Luna from 7.9 and
// nShield from 13.8 on use the standard's; a module with numbers of its own gets an
// entry of its own.
var mldsaProfiles = []*algorithm{
	mldsaProfile(ckmMLDSAKeyPairGen, ckmMLDSA, ckkMLDSA, pkcs11.NewAttribute(ckaParameterSet, uint(ckpMLDSA65))), // PKCS#11 3.2
}

func mldsaProfile(generate, sign, keyType uint, set *pkcs11.Attribute) *algorithm {
	empty := ""
	return &algorithm{
		generating: "generate_ml-dsa-65", signing: "sign_ml-dsa-65_native",
		keyType: keyType, generate: generate, sign: sign, context: &empty, size: mldsa65SignatureSize,
		params: []*pkcs11.Attribute{set},
		value:  pkcs11.CKA_VALUE,
		decode: func(value []byte) ([]byte, any, error) {
			public, parsed := octets(value, publicKeySize), new(mldsa65.PublicKey)
			if parsed.UnmarshalBinary(public) != nil {
				return nil, nil, fmt.Errorf("%w: %d bytes are no public key of ML-DSA-65", ErrMismatch, len(value))
			}
			return bytes.Clone(public), parsed, nil
		},
		finish: func(parsed any, message, sig []byte) []byte {
			if !mldsa65.Verify(parsed.(*mldsa65.PublicKey), message, nil, sig) {
				return nil
			}
			return sig
		},
	}
}

// ErrUnsupported: the token does not have the mechanism.
var ErrUnsupported = errors.New("hsm: the token does not have the mechanism")

// mldsa returns how the token spells ML-DSA-65, or ErrUnsupported. The module's
// list of mechanisms is what it says; that it is so a key of the session shows,
// which is made, signs and goes. Found out once a process.
func (t *Token) mldsa(ctx context.Context) (*algorithm, error) {
	if a := t.native.Load(); a != nil {
		return a, a.missing()
	}
	var found *algorithm
	err := t.change(ctx, "profile", func(s *session) error {
		list, err := t.p.GetMechanismList(t.slot)
		if err != nil {
			return wrap("C_GetMechanismList", err)
		}
		has := func(number uint) bool {
			return slices.ContainsFunc(list, func(m *pkcs11.Mechanism) bool { return m.Mechanism == number })
		}
		for _, a := range mldsaProfiles {
			if !has(a.generate) || !has(a.sign) {
				continue
			}
			err := t.tryPair(s, a)
			if err == nil {
				found = a
				return nil
			}
			// What the token refuses, or does wrong, it does not have; anything else
			// says nothing about it.
			if classIn(err) != ClassInput && !errors.Is(err, ErrMismatch) {
				return err
			}
			t.log.Warn("the token lists ML-DSA but does not do it", "mechanism", a.sign, "error", err)
		}
		found = noAlgorithm
		return nil
	})
	if err != nil {
		return nil, err
	}
	t.native.Store(found)
	return found, found.missing()
}

// noAlgorithm stands for one that the token does not have.
var noAlgorithm = &algorithm{}

func (a *algorithm) missing() error {
	if a == noAlgorithm {
		return fmt.Errorf("%w: ML-DSA-65", ErrUnsupported)
	}
	return nil
}

// tryPair makes a pair that does not stay, signs with it and verifies.
func (t *Token) tryPair(s *session, a *algorithm) error {
	public, private, err := t.generatePair(s, a, "canary", "canary of a profile", false)
	if err != nil {
		return err
	}
	defer func() {
		_ = t.p.DestroyObject(s.h, private)
		_ = t.p.DestroyObject(s.h, public)
	}()
	k, err := t.readPublic(s, a, public)
	if err != nil {
		return err
	}
	message, sig := make([]byte, 32), make([]byte, a.size)
	if _, err := rand.Read(message); err != nil {
		return clean(err)
	}
	n, err := t.raw.sign(s.h, a.sign, a.context, private, message, sig)
	if err != nil {
		return err
	}
	if n != a.size || a.finish(k.parsed, message, sig) == nil {
		return fmt.Errorf("%w: its signature does not verify", ErrMismatch)
	}
	return nil
}

// GenerateMLDSA makes an ML-DSA-65 key in the token, not extractable, with id as
// CKA_ID, and returns its 1952-byte public key. If the id has a key already it
// returns that one's. A token without ML-DSA is ErrUnsupported.
func (t *Token) GenerateMLDSA(ctx context.Context, label, id string) ([]byte, error) {
	a, err := t.mldsa(ctx)
	if err != nil {
		return nil, err
	}
	return t.generatePairOf(ctx, a, label, id)
}

// MLDSAPublic returns the public key of id, ErrNotFound, or ErrUnsupported.
func (t *Token) MLDSAPublic(ctx context.Context, id string) ([]byte, error) {
	a, err := t.mldsa(ctx)
	if err != nil {
		return nil, err
	}
	return t.publicOf(ctx, a, id)
}

// SignMLDSA signs msg with the key id inside the token (CKM_ML_DSA, FIPS 204,
// empty context; hedged if the token prefers that) and verifies the signature with
// the public key that the id had when it was first seen.
func (t *Token) SignMLDSA(ctx context.Context, id string, msg []byte) ([]byte, error) {
	a, err := t.mldsa(ctx)
	if err != nil {
		return nil, err
	}
	return t.signPair(ctx, a, id, bytes.Clone(msg))
}
