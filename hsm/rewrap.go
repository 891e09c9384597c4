package hsm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/pkcs11"
)

// maxListed bounds how many keys or envelopes of ours a token may hold, so that a
// listing ends.
const maxListed = 8192

// AESKeys lists the ids of the token's AES keys that begin with the prefix, sorted.
func (t *Token) AESKeys(ctx context.Context, prefix string) ([]string, error) {
	var ids []string
	err := t.do(ctx, "list_aes", func(s *session) error {
		found, err := t.labels(s, pkcs11.CKA_ID, aesTemplate()...)
		ids = found
		return err
	})
	return slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, prefix) }), err
}

// aesTemplate finds AES keys of ours. Whoever reaches the token without a PIN can make
// public ones with any id.
func aesTemplate() []*pkcs11.Attribute {
	return []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY), pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true), pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false)}
}

// labels reads one attribute of all objects that the template matches: sorted, each
// value once.
func (t *Token) labels(s *session, attribute uint, template ...*pkcs11.Attribute) ([]string, error) {
	all, err := t.findAll(s, maxListed, template...)
	if err != nil {
		return nil, err
	}
	seen := map[string]bool{}
	for _, h := range all {
		got, err := t.p.GetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(attribute, nil)})
		if err != nil { // also of a handle that is stale: what was not read is not known to be gone
			return nil, wrap("C_GetAttributeValue", err)
		}
		seen[string(got[0].Value)] = true
	}
	// A login that ended hides what is private.
	return slices.Sorted(maps.Keys(seen)), t.seesPrivate(s)
}

// listEnvelopes lists the ids of all envelopes.
func (t *Token) listEnvelopes(s *session) ([]string, error) {
	names, err := t.labels(s, pkcs11.CKA_LABEL, ourObjects()...)
	var ids []string
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, objectName("")); ok {
			ids = append(ids, id)
		}
	}
	return ids, err
}

// Rewrap has every envelope of the token wrapped under the AES key to, and tells how
// many were not. Of each the seed is decrypted into the session's locked buffer,
// encrypted again, and the new envelope must sign as the old one's public key says
// before it takes the old one's place: create the new, then destroy the old. Cut short
// anywhere, and run again, it finishes. Keys can be used meanwhile, in this process and
// in others.
func (t *Token) Rewrap(ctx context.Context, to string) (rewrapped int, err error) {
	var ids []string // whoever gave up leaves them to the call
	if err := t.do(ctx, "list_envelopes", func(s *session) (err error) {
		ids, err = t.listEnvelopes(s)
		return err
	}); err != nil {
		return 0, err
	}
	for _, id := range ids {
		did, err := t.rewrapOne(ctx, id, to)
		if err != nil {
			return rewrapped, fmt.Errorf("rewrapping key %q: %w", id, err)
		}
		if did {
			rewrapped++
		}
	}
	return rewrapped, nil
}

func (t *Token) rewrapOne(ctx context.Context, id, to string) (did bool, err error) {
	values, err := t.Objects(ctx, objectName(id))
	if err != nil {
		return false, err
	}
	var next *envelope
	var old [][]byte
	var from *envelope
	for _, value := range values { // several, where a run was cut short
		e, err := parseEnvelope(value)
		switch {
		case err != nil:
			return false, err
		case e.ID != id:
			return false, fmt.Errorf("%w: envelope of %q stands under %q", ErrMismatch, e.ID, id)
		case from != nil && (e.Scheme != from.Scheme || !bytes.Equal(e.PublicKey, from.PublicKey)):
			return false, fmt.Errorf("%w: two envelopes of %q are of two keys", ErrMismatch, id)
		}
		from = e
		if e.WrappingKey == to && next == nil {
			next = e
		} else {
			old = append(old, value)
		}
	}
	if len(old) == 0 {
		return false, nil
	}
	if next == nil {
		if next, err = t.wrapAgain(ctx, from, to); err != nil {
			return false, err
		}
	}
	// One that a run left is looked at like one that was just made.
	if err := t.signs(ctx, next); err != nil {
		return false, err
	}
	value, err := next.encode()
	if err != nil {
		return false, err
	}
	if err := t.ExchangeObject(ctx, objectName(id), value, old...); err != nil {
		return false, err
	}
	t.cacheMu.Lock()
	t.envelopes[id] = next
	t.cacheMu.Unlock()
	return true, nil
}

// wrapAgain is the envelope's seed under another key.
func (t *Token) wrapAgain(ctx context.Context, from *envelope, to string) (*envelope, error) {
	next := &envelope{Format: from.Format, ID: from.ID, Scheme: from.Scheme, WrappingKey: to, PublicKey: from.PublicKey, IV: make([]byte, gcmIVSize)}
	if _, err := rand.Read(next.IV); err != nil {
		return nil, err
	}
	err := t.do(ctx, "rewrap_seed", func(s *session) error {
		if err := t.unwrap(s, from); err != nil {
			return err
		}
		defer s.secret.Wipe()
		return t.wrapSeed(s, next, s.secret.Bytes()[:seedSize])
	})
	return next, err
}

// DestroyAESKey destroys the AES key id, if no envelope of the token is under it; else
// it is ErrMismatch. That there is none is nothing to do.
func (t *Token) DestroyAESKey(ctx context.Context, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	return t.change(ctx, "destroy_aes", func(s *session) error {
		if err := t.underNone(s, id); err != nil {
			return err
		}
		all, err := t.findAll(s, maxOfAName, append(aesTemplate(), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))...)
		if err == nil {
			err = t.seesPrivate(s)
		}
		if err != nil {
			return err
		}
		t.forget(id)
		return t.destroyAll(s, all)
	})
}

// underNone is nil if no envelope of the token is under the AES key. One search, for
// each costs with what the token holds.
func (t *Token) underNone(s *session, key string) error {
	all, err := t.findAll(s, maxListed, ourObjects()...)
	if err != nil {
		return err
	}
	for _, h := range all {
		got, err := t.p.GetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_LABEL, nil), pkcs11.NewAttribute(pkcs11.CKA_VALUE, nil)})
		if err != nil { // also of a handle that is stale: what was not read is not known to be gone
			return wrap("C_GetAttributeValue", err)
		}
		id, ok := strings.CutPrefix(string(got[0].Value), objectName(""))
		if !ok {
			continue
		}
		e, err := parseEnvelope(got[1].Value)
		if err != nil {
			return clean(fmt.Errorf("key %q: %w", id, err))
		}
		if e.WrappingKey == key {
			return clean(fmt.Errorf("%w: key %q is wrapped under %q still", ErrMismatch, id, key))
		}
	}
	return t.seesPrivate(s)
}

// WrappedUnder is the AES key that the wrapped key id is under, as the token has it now;
// of one that is not wrapped, ErrNotFound.
func (t *Token) WrappedUnder(ctx context.Context, id string) (string, error) {
	value, err := t.Object(ctx, objectName(id))
	if err != nil {
		return "", err
	}
	e, err := parseEnvelope(value)
	if err != nil {
		return "", fmt.Errorf("key %q: %w", id, err)
	}
	if e.ID != id {
		return "", fmt.Errorf("%w: envelope of %q stands under %q", ErrMismatch, e.ID, id)
	}
	return e.WrappingKey, nil
}

// current is the envelope that stands in the token now, where the one that was cached
// is under a key that is gone: another process rewrapped it. Else it is nil.
func (t *Token) current(ctx context.Context, e *envelope, failed error) *envelope {
	if !errors.Is(failed, ErrNotFound) {
		return nil
	}
	t.cacheMu.Lock()
	if t.envelopes[e.ID] == e {
		delete(t.envelopes, e.ID)
	}
	t.cacheMu.Unlock()
	now, err := t.envelope(ctx, e.ID)
	if err != nil || now.WrappingKey == e.WrappingKey {
		return nil
	}
	return now
}
