package hsm

import (
	"bytes"
	"context"
	"crypto/aes"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/awnumar/memguard"
	"github.com/miekg/pkcs11"
)

const maxIDLength = 128 // bytes of a CKA_ID or label that we use

// key is a cached pair of handles, and what the key was when it was first
// seen in this process: whatever the handles name later must be the same.
type key struct {
	handle pkcs11.ObjectHandle // private or secret
	sure   atomic.Uint64       // the Token.epoch in which the handle was seen to name the key
	check  []byte              // an AES key's check value

	of     *algorithm // of a pair
	public []byte     // a pair's public key, as algorithm.decode gives it
	parsed any        // the same, ready to verify with
}

func checkID(id string) error {
	if len(id) == 0 || len(id) > maxIDLength {
		return fmt.Errorf("hsm: key id %q has %d bytes, want 1 to %d", id, len(id), maxIDLength)
	}
	return nil
}

// GenerateAESWrappingKey makes an AES-256 key in the token, not extractable,
// that encrypts and decrypts (wrapped seeds) and nothing else. If the id has
// a key already it is left as it is.
func (t *Token) GenerateAESWrappingKey(ctx context.Context, label, id string) error {
	if err := checkID(id); err != nil {
		return err
	}
	return t.change(ctx, "generate_aes", func(s *session) error {
		if _, err := t.findAES(s, id); !errors.Is(err, ErrNotFound) {
			return err
		}
		h, err := t.p.GenerateKey(s.h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_KEY_GEN, nil)}, []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES),
			pkcs11.NewAttribute(pkcs11.CKA_VALUE_LEN, 32),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
			pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
			pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
			pkcs11.NewAttribute(pkcs11.CKA_ENCRYPT, true),
			pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, true),
			pkcs11.NewAttribute(pkcs11.CKA_WRAP, false),
			pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
			pkcs11.NewAttribute(pkcs11.CKA_SIGN, false),
			pkcs11.NewAttribute(pkcs11.CKA_VERIFY, false),
			pkcs11.NewAttribute(pkcs11.CKA_DERIVE, false),
			pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		})
		if err != nil {
			return wrap("C_GenerateKey", err)
		}
		if err := t.readBack(s, h); err != nil {
			_ = t.p.DestroyObject(s.h, h)
			return err
		}
		return nil
	})
}

// readBack refuses a key that the token did not make as it was told: one token
// ignored SENSITIVE and EXTRACTABLE and said OK.
func (t *Token) readBack(s *session, h pkcs11.ObjectHandle) error {
	want := []struct {
		name string
		attr uint
		val  byte
	}{
		{"CKA_SENSITIVE", pkcs11.CKA_SENSITIVE, 1},
		{"CKA_EXTRACTABLE", pkcs11.CKA_EXTRACTABLE, 0},
		{"CKA_PRIVATE", pkcs11.CKA_PRIVATE, 1},
		{"CKA_NEVER_EXTRACTABLE", pkcs11.CKA_NEVER_EXTRACTABLE, 1},
		{"CKA_LOCAL", pkcs11.CKA_LOCAL, 1},
	}
	ask := make([]*pkcs11.Attribute, len(want))
	for i, w := range want {
		ask[i] = pkcs11.NewAttribute(w.attr, nil)
	}
	got, err := t.p.GetAttributeValue(s.h, h, ask)
	if err != nil {
		return wrap("C_GetAttributeValue", err)
	}
	for i, w := range want {
		if len(got[i].Value) != 1 || got[i].Value[0] != w.val {
			return fmt.Errorf("%w: %s is %x, want %02x", ErrMismatch, w.name, got[i].Value, w.val)
		}
	}
	return nil
}

// withKey runs f with the key id. The handle's CKA_ID is read back when it is
// first used after whatever makes handles doubtful; between two such events what f
// does must show by itself which key did it, and where that fails run reads the
// handle back afterwards. A handle that names something else is found again at once;
// one that is stale is forgotten, and run calls again in a new session. Either way
// find compares the key with what it was.
func (t *Token) withKey(s *session, id string, find func(*session, string) (*key, error), f func(*key) error) error {
	s.unread, s.unreadID = nil, ""
	epoch := t.epoch.Load() // before the look: what happens beside it is doubtful
	k := t.cached(id)
	var err error
	switch {
	case k == nil:
	case k.sure.Load() == epoch:
		s.unread, s.unreadID = k, id
	default:
		if err = t.names(s, k, id); errors.Is(err, errOtherKey) {
			t.renumbered(id)
			k, err = nil, nil
		} else if err == nil {
			k.sure.Store(epoch)
		}
	}
	if k == nil {
		if k, err = find(s, id); err == nil {
			k.sure.Store(epoch)
		}
	}
	if err == nil {
		err = f(k)
	}
	if classIn(err) == ClassHandle {
		t.forget(id)
	}
	return err
}

// doubt makes the next use of each handle read it back.
func (t *Token) doubt() { t.epoch.Add(1) }

// renumbered forgets a handle that was seen to name something else.
func (t *Token) renumbered(id string) {
	t.log.Warn("the token gave a key's handle to another object; the key is looked for again", "id", id)
	t.forget(id)
}

var errOtherKey = errors.New("handle names another key")

// names is nil if the handle of k still names the private or secret key id; a
// public half has the same id.
func (t *Token) names(s *session, k *key, id string) error {
	got, err := t.p.GetAttributeValue(s.h, k.handle, []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, nil), pkcs11.NewAttribute(pkcs11.CKA_ID, nil)})
	if errors.Is(err, pkcs11.Error(pkcs11.CKR_ATTRIBUTE_TYPE_INVALID)) {
		return errOtherKey // what has no id is no key: a data object
	}
	if err != nil {
		return wrap("C_GetAttributeValue", err)
	}
	class := uint(pkcs11.CKO_PRIVATE_KEY)
	if k.public == nil {
		class = pkcs11.CKO_SECRET_KEY
	}
	if !bytes.Equal(got[0].Value, pkcs11.NewAttribute(pkcs11.CKA_CLASS, class).Value) || string(got[1].Value) != id {
		return errOtherKey
	}
	return nil
}

// findAES finds the AES key id; its check value stands for the key.
func (t *Token) findAES(s *session, id string) (*key, error) {
	h, err := t.findOne(s, append(aesTemplate(), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))...)
	if err != nil {
		return nil, fmt.Errorf("AES key %q: %w", id, err)
	}
	if err := t.readBack(s, h); err != nil {
		return nil, err
	}
	check, err := t.checkValue(s, h)
	if err != nil {
		return nil, err
	}
	return t.remember(id, &key{handle: h, check: check})
}

// checkValue is an AES key's CKA_CHECK_VALUE. A token that keeps none (opencryptoki)
// is given the block to encrypt of which the standard takes it.
func (t *Token) checkValue(s *session, h pkcs11.ObjectHandle) ([]byte, error) {
	const size = 3 // bytes
	got, err := t.p.GetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CHECK_VALUE, nil)})
	if err == nil && len(got[0].Value) >= size {
		return bytes.Clone(got[0].Value[:size]), nil
	}
	if err = wrap("C_GetAttributeValue", err); err != nil && !isCode(err, pkcs11.CKR_ATTRIBUTE_TYPE_INVALID) {
		return nil, err
	}
	if err := t.p.EncryptInit(s.h, []*pkcs11.Mechanism{pkcs11.NewMechanism(pkcs11.CKM_AES_ECB, nil)}, h); err != nil {
		return nil, wrap("C_EncryptInit", err)
	}
	// The whole block is GCM's hash key: it stays here. The session's own buffer may
	// hold a seed that is about to be wrapped.
	secret := memguard.NewBuffer(aes.BlockSize)
	defer secret.Destroy()
	block := secret.Bytes()
	if n, err := t.raw.encrypt(s.h, make([]byte, aes.BlockSize), block); err != nil || n != aes.BlockSize {
		return nil, errors.Join(fmt.Errorf("%w: an AES block of %d bytes", ErrMismatch, n), err)
	}
	return bytes.Clone(block[:size]), nil
}

// findOne finds the one object that the template matches. Two are refused: an
// id must not name two keys.
func (t *Token) findOne(s *session, template ...*pkcs11.Attribute) (pkcs11.ObjectHandle, error) {
	found, err := t.findAll(s, 1, template...)
	if err != nil {
		return 0, err
	}
	if len(found) == 0 {
		return 0, t.nothing(s)
	}
	return found[0], nil
}

// nothing says why no object was found.
func (t *Token) nothing(s *session) error {
	if err := t.seesPrivate(s); err != nil {
		return err
	}
	return clean(ErrNotFound)
}

// seesPrivate is nil if the session sees private objects: without a login they are
// not there, and no code says so.
func (t *Token) seesPrivate(s *session) error {
	info, err := t.p.GetSessionInfo(s.h)
	if err != nil {
		return wrap("C_GetSessionInfo", err)
	}
	if info.State != pkcs11.CKS_RW_USER_FUNCTIONS {
		return &Error{Call: "C_FindObjects", Code: pkcs11.CKR_USER_NOT_LOGGED_IN, Class: ClassLogin}
	}
	return nil
}

func (t *Token) cached(id string) *key {
	t.cacheMu.RLock()
	defer t.cacheMu.RUnlock()
	if k := t.keys[id]; k != nil && k.handle != 0 {
		return k
	}
	return nil
}

// forget drops the handle and keeps what the key was.
func (t *Token) forget(id string) {
	t.cacheMu.Lock()
	defer t.cacheMu.Unlock()
	if k := t.keys[id]; k != nil {
		t.keys[id] = &key{check: k.check, of: k.of, public: k.public, parsed: k.parsed}
	}
}

// lastOf is what the id was when it was seen in this process, with or without a handle.
func (t *Token) lastOf(id string) *key {
	t.cacheMu.RLock()
	defer t.cacheMu.RUnlock()
	return t.keys[id]
}

// had is true if the id was seen to be k's in this process.
func (t *Token) had(id string, k *key) bool {
	old := t.lastOf(id)
	return old != nil && old.of == k.of && bytes.Equal(old.public, k.public)
}

// remember caches k, unless the id once named another key.
func (t *Token) remember(id string, k *key) (*key, error) {
	t.cacheMu.Lock()
	defer t.cacheMu.Unlock()
	if old := t.keys[id]; old != nil && !(bytes.Equal(old.public, k.public) && bytes.Equal(old.check, k.check)) {
		return nil, clean(fmt.Errorf("%w: id %q names another key than before", ErrMismatch, id))
	}
	t.keys[id] = k
	return k, nil
}
