package hsm

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/miekg/pkcs11"
)

// A pair's public half is an object that whoever reaches the token without a PIN can
// destroy, and make others like it of. It stops no key: which public key is the private
// half's a signature shows, and what the token has lost is known elsewhere.

// canaryTag begins what a private half signs to show which public half is its own.
const canaryTag = "mintwarden/canary/v1\n"

// publicName is the name of the private data object that holds the public key id.
func publicName(id string) string { return "public:" + id }

// Known has the token ask f for the public key of an id whose public half it has lost;
// f returns nil where it knows none. What it says is tried, not believed. It must
// return soon, and must not use the token; it is called by several goroutines.
func (t *Token) Known(f func(id string) []byte) { t.known.Store(&f) }

// KeepEd25519Public has the token keep the public key of id in a private data object,
// too, from which it is taken if the public half is lost. That there is no key is
// nothing to do.
func (t *Token) KeepEd25519Public(ctx context.Context, id string) error {
	public, err := t.Ed25519Public(ctx, id)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err == nil {
		err = t.ReplaceObject(ctx, publicName(id), public)
	}
	return err
}

// publicHalf is, of the public keys that stand under the id, the one that the id had
// before in this process, or else the one by which a signature of the private half
// verifies.
func (t *Token) publicHalf(s *session, a *algorithm, id string, private pkcs11.ObjectHandle) (*key, error) {
	publics, err := t.findAll(s, maxOfAName, halfTemplate(a, pkcs11.CKO_PUBLIC_KEY, id)...)
	if err == nil && len(publics) == 0 {
		err = t.nothing(s)
	}
	if err != nil {
		return nil, err
	}
	var candidates []*key
	var unread error
	for _, h := range publics {
		k, err := t.readPublic(s, a, h)
		if errors.Is(err, ErrMismatch) {
			unread = err
			continue
		}
		if err != nil {
			return nil, err
		}
		if t.had(id, k) {
			return k, nil
		}
		candidates = append(candidates, k)
	}
	if len(candidates) == 0 {
		return nil, unread
	}
	return t.proven(s, a, id, private, candidates)
}

// knownHalf is the private half's public key where no public half of the token is: the
// one that the id had before in this process, that a data object holds, or that who uses
// the token knows. Where none of them is, either, it is lost, which is why there was none.
func (t *Token) knownHalf(s *session, a *algorithm, id string, private pkcs11.ObjectHandle, lost error) (*key, error) {
	var candidates []*key
	if k := t.lastOf(id); k != nil && k.of == a {
		candidates = append(candidates, &key{of: a, public: k.public, parsed: k.parsed})
	}
	kept, err := t.standing(s, publicName(id))
	if err != nil {
		return nil, err
	}
	var values [][]byte
	for _, o := range kept {
		values = append(values, o.value)
	}
	if f := t.known.Load(); f != nil {
		values = append(values, (*f)(id))
	}
	for _, v := range values {
		if a.encode != nil {
			v = a.encode(v)
		}
		if public, parsed, err := a.decode(v); err == nil {
			candidates = append(candidates, &key{of: a, public: public, parsed: parsed})
		}
	}
	if len(candidates) == 0 {
		return nil, lost
	}
	k, err := t.proven(s, a, id, private, candidates)
	if errors.Is(err, ErrMismatch) {
		return nil, lost
	}
	if err == nil {
		t.metrics.errors.WithLabelValues("public_half", errorLabel(ErrMismatch)).Inc()
		t.log.Error("the token has lost a key's public half, or it was taken away; it is taken from where it is known", "id", id, "error", lost)
	}
	return k, err
}

// proven is the candidate by which a signature of the private half verifies.
func (t *Token) proven(s *session, a *algorithm, id string, private pkcs11.ObjectHandle, candidates []*key) (*key, error) {
	message, sig := sha256.Sum256([]byte(canaryTag+id)), make([]byte, a.size)
	n, err := t.raw.sign(s.h, a.sign, a.context, private, message[:], sig)
	if err != nil {
		return nil, err
	}
	for _, k := range candidates {
		if n == a.size && a.finish(k.parsed, message[:], sig) != nil {
			return k, nil
		}
	}
	return nil, clean(fmt.Errorf("%w: none of %d is the private half's", ErrMismatch, len(candidates)))
}
