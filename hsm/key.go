package hsm

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/asn1"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/miekg/pkcs11"
)

// Numbers of PKCS#11 3.x that the wrapper library lacks.
const (
	ckmEdwardsKeyPairGen = 0x1055 // CKM_EC_EDWARDS_KEY_PAIR_GEN
	ckmEdDSA             = 0x1057 // CKM_EDDSA
	ckkEdwards           = 0x40   // CKK_EC_EDWARDS
	ckmMLDSA             = 0x1d   // CKM_ML_DSA
	ckkMLDSA             = 0x4a   // CKK_ML_DSA

	userContextSpecific = 2 // CKU_CONTEXT_SPECIFIC

	p256PointSize        = 65   // bytes, uncompressed
	mldsa65SignatureSize = 3309 // bytes (FIPS 204)
)

// p256Params is the DER of the OID of P-256, as CKA_EC_PARAMS.
var p256Params = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}

// Two encodings of "Ed25519" are in use: the curve's OID (RFC 8410), and the
// name that PKCS#11 3.0 gives. Tokens take one or the other.
var edwardsParams = [][]byte{
	{0x06, 0x03, 0x2b, 0x65, 0x70},
	append([]byte{0x13, 0x0c}, "edwards25519"...),
}

const maxIDLength = 128 // bytes of a CKA_ID or label that we use

// key is a cached pair of handles, and what the key was when it was first
// seen in this process: whatever the handles name later must be the same.
type key struct {
	handle pkcs11.ObjectHandle // private or secret
	sure   atomic.Uint64       // the Token.epoch in which the handle was seen to name the key
	public []byte              // Ed25519 public key
	check  []byte              // an AES key's check value
}

func checkID(id string) error {
	if len(id) == 0 || len(id) > maxIDLength {
		return fmt.Errorf("hsm: key id %q has %d bytes, want 1 to %d", id, len(id), maxIDLength)
	}
	return nil
}

// GenerateEd25519 makes a signing key in the token, not extractable, with id
// as CKA_ID, and returns its 32-byte public key. If the id has a key already it
// returns that one's.
func (t *Token) GenerateEd25519(ctx context.Context, label, id string) (ed25519.PublicKey, error) {
	if pub, err := t.Ed25519Public(ctx, id); !errors.Is(err, ErrNotFound) {
		return pub, err
	}
	err := t.change(ctx, "generate_ed25519", func(s *session) error {
		if _, err := t.findPair(s, id); !errors.Is(err, ErrNotFound) {
			return err
		}
		if err := t.dropHalf(s, id); err != nil {
			return err
		}
		return t.generatePair(s, label, id)
	})
	if err != nil {
		return nil, err
	}
	return t.Ed25519Public(ctx, id)
}

// dropHalf removes a public half whose private one a crash prevented: beside the
// next pair's it would make the id ambiguous for ever. A private half is nothing
// that this package removes.
func (t *Token) dropHalf(s *session, id string) error {
	half := func(class uint) (pkcs11.ObjectHandle, error) {
		return t.findOne(s, pkcs11.NewAttribute(pkcs11.CKA_CLASS, class),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, uint(ckkEdwards)), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
	}
	if _, err := half(pkcs11.CKO_PRIVATE_KEY); err == nil {
		return clean(fmt.Errorf("%w: the private key %q has no public half", ErrMismatch, id))
	} else if !errors.Is(err, ErrNotFound) {
		return err
	}
	public, err := half(pkcs11.CKO_PUBLIC_KEY)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	t.log.Warn("public half of a key that was not made whole is removed", "id", id)
	return wrap("C_DestroyObject", t.p.DestroyObject(s.h, public))
}

func (t *Token) generatePair(s *session, label, id string) error {
	private := []*pkcs11.Attribute{
		pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, uint(ckkEdwards)),
		pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
		pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true),
		pkcs11.NewAttribute(pkcs11.CKA_SENSITIVE, true),
		pkcs11.NewAttribute(pkcs11.CKA_EXTRACTABLE, false),
		pkcs11.NewAttribute(pkcs11.CKA_SIGN, true),
		pkcs11.NewAttribute(pkcs11.CKA_DECRYPT, false),
		pkcs11.NewAttribute(pkcs11.CKA_UNWRAP, false),
		pkcs11.NewAttribute(pkcs11.CKA_DERIVE, false),
		pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)),
		pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
	}
	var last error
	for _, params := range edwardsParams {
		public := []*pkcs11.Attribute{
			pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
			pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, uint(ckkEdwards)),
			pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true),
			pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, false),
			pkcs11.NewAttribute(pkcs11.CKA_VERIFY, true),
			pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params),
			pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)),
			pkcs11.NewAttribute(pkcs11.CKA_LABEL, label),
		}
		pub, priv, err := t.p.GenerateKeyPair(s.h,
			[]*pkcs11.Mechanism{pkcs11.NewMechanism(ckmEdwardsKeyPairGen, nil)}, public, private)
		if err != nil {
			last = wrap("C_GenerateKeyPair", err)
			if classIn(last) == ClassInput {
				continue // the other encoding of the curve may be the token's
			}
			return last
		}
		if err := t.readBack(s, priv); err != nil {
			_ = t.p.DestroyObject(s.h, priv)
			_ = t.p.DestroyObject(s.h, pub)
			return err
		}
		return nil
	}
	return last
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

// Ed25519Public returns the public key of id, or ErrNotFound.
func (t *Token) Ed25519Public(ctx context.Context, id string) (ed25519.PublicKey, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if k := t.cached(id); k != nil && k.public != nil {
		return bytes.Clone(k.public), nil
	}
	var pub []byte
	err := t.do(ctx, "find", func(s *session) error {
		k, err := t.findPair(s, id)
		if err == nil {
			pub = bytes.Clone(k.public)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return pub, nil
}

// SignEd25519 signs msg (RFC 8032, pure) with the key id inside the token and
// verifies the signature with the public key that the id had when it was first
// seen. A stale handle is found again once.
func (t *Token) SignEd25519(ctx context.Context, id string, msg []byte) ([]byte, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	msg = bytes.Clone(msg) // the call may outlive its caller
	var sig []byte
	err := t.do(ctx, "sign_ed25519", func(s *session) error {
		return t.withKey(s, id, t.findPair, func(k *key) error {
			out := make([]byte, ed25519.SignatureSize)
			n, err := t.raw.sign(s.h, ckmEdDSA, k.handle, msg, out)
			if err != nil {
				return err
			}
			if n != len(out) || len(k.public) != ed25519.PublicKeySize || !ed25519.Verify(k.public, msg, out) {
				return fmt.Errorf("%w: signature of %q does not verify", ErrMismatch, id)
			}
			sig = out
			return nil
		})
	})
	if err != nil {
		return nil, err
	}
	return sig, nil
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

// findPair finds the Ed25519 key id and its public half.
func (t *Token) findPair(s *session, id string) (*key, error) {
	priv, err := t.findOne(s, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PRIVATE_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, uint(ckkEdwards)), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
	if err != nil {
		return nil, fmt.Errorf("private key %q: %w", id, err)
	}
	pub, err := t.findOne(s, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, uint(ckkEdwards)), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
	if err != nil {
		return nil, fmt.Errorf("public key %q: %w", id, err)
	}
	got, err := t.p.GetAttributeValue(s.h, pub, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_EC_POINT, nil)})
	if err != nil {
		return nil, wrap("C_GetAttributeValue", err)
	}
	point, err := edwardsPoint(got[0].Value)
	if err != nil {
		return nil, clean(fmt.Errorf("public key %q: %w", id, err))
	}
	if err := t.readBack(s, priv); err != nil {
		return nil, err
	}
	return t.remember(id, &key{handle: priv, public: point})
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

// octets takes the bytes out of a DER OCTET STRING; what has the size that they are
// to have, or is none, is the bytes. A point may look like DER by chance.
func octets(value []byte, size int) []byte {
	var inner []byte
	if len(value) == size {
		return value
	}
	if rest, err := asn1.Unmarshal(value, &inner); err == nil && len(rest) == 0 {
		return inner
	}
	return value
}

// findAES finds the AES key id; its check value stands for the key.
func (t *Token) findAES(s *session, id string) (*key, error) {
	h, err := t.findOne(s, pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_SECRET_KEY),
		pkcs11.NewAttribute(pkcs11.CKA_KEY_TYPE, pkcs11.CKK_AES), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
	if err != nil {
		return nil, fmt.Errorf("AES key %q: %w", id, err)
	}
	if err := t.readBack(s, h); err != nil {
		return nil, err
	}
	got, err := t.p.GetAttributeValue(s.h, h, []*pkcs11.Attribute{pkcs11.NewAttribute(pkcs11.CKA_CHECK_VALUE, nil)})
	if err != nil {
		return nil, wrap("C_GetAttributeValue", err)
	}
	return t.remember(id, &key{handle: h, check: bytes.Clone(got[0].Value)})
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
		t.keys[id] = &key{public: k.public, check: k.check}
	}
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
