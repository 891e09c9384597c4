package hsm

/*
// The part of CK_FUNCTION_LIST that is needed here: a version and the 68
// functions of PKCS#11 2.40 in the order of the standard's pkcs11f.h.
typedef unsigned long mw_ulong;
struct mw_list { unsigned char major, minor; void *fn[68]; };
enum { MW_INIT_TOKEN = 9, MW_INIT_PIN = 10, MW_SET_PIN = 11, MW_LOGIN = 18, MW_ENCRYPT = 30, MW_DECRYPT_INIT = 33, MW_DECRYPT = 34, MW_SIGN_INIT = 42, MW_SIGN = 43, MW_RANDOM = 64 };

struct mw_mechanism { mw_ulong number; void *param; mw_ulong size; };

// CK_GCM_PARAMS as of PKCS#11 2.40, errata 1.
struct mw_gcm { unsigned char *iv; mw_ulong iv_size, iv_bits; unsigned char *aad; mw_ulong aad_size, tag_bits; };

// What came of an Init and its final call: both return codes, of which the second
// counts only if the first is 0, and how many bytes were written.
struct mw_done { mw_ulong init, final, n; };

// What the wrapper library holds of a module (its struct ctx).
struct mw_ctx { void *handle; struct mw_list *list; };

static mw_ulong mw_login(struct mw_list *l, mw_ulong s, mw_ulong who, unsigned char *pin, mw_ulong n) {
	return ((mw_ulong (*)(mw_ulong, mw_ulong, unsigned char *, mw_ulong))l->fn[MW_LOGIN])(s, who, pin, n);
}

static mw_ulong mw_init_token(struct mw_list *l, mw_ulong slot, unsigned char *pin, mw_ulong n, unsigned char *label) {
	return ((mw_ulong (*)(mw_ulong, unsigned char *, mw_ulong, unsigned char *))l->fn[MW_INIT_TOKEN])(slot, pin, n, label);
}

static mw_ulong mw_init_pin(struct mw_list *l, mw_ulong s, unsigned char *pin, mw_ulong n) {
	return ((mw_ulong (*)(mw_ulong, unsigned char *, mw_ulong))l->fn[MW_INIT_PIN])(s, pin, n);
}

static mw_ulong mw_set_pin(struct mw_list *l, mw_ulong s, unsigned char *old, mw_ulong n, unsigned char *pin, mw_ulong m) {
	return ((mw_ulong (*)(mw_ulong, unsigned char *, mw_ulong, unsigned char *, mw_ulong))l->fn[MW_SET_PIN])(s, old, n, pin, m);
}

static mw_ulong mw_random(struct mw_list *l, mw_ulong s, unsigned char *out, mw_ulong n) {
	return ((mw_ulong (*)(mw_ulong, unsigned char *, mw_ulong))l->fn[MW_RANDOM])(s, out, n);
}

// One call, into the caller's buffer: no length query, so no second copy.
static mw_ulong mw_crypt(struct mw_list *l, int which, mw_ulong s, unsigned char *in, mw_ulong n, unsigned char *out, mw_ulong *m) {
	return ((mw_ulong (*)(mw_ulong, unsigned char *, mw_ulong, unsigned char *, mw_ulong *))l->fn[which])(s, in, n, out, m);
}

static struct mw_done mw_both(struct mw_list *l, int init, int final, mw_ulong s, struct mw_mechanism *m, mw_ulong key,
		unsigned char *in, mw_ulong n, unsigned char *out, mw_ulong room) {
	struct mw_done d = { 0, 0, room };
	d.init = ((mw_ulong (*)(mw_ulong, struct mw_mechanism *, mw_ulong))l->fn[init])(s, m, key);
	if (!d.init) d.final = mw_crypt(l, final, s, in, n, out, &d.n);
	return d;
}

// CK_SIGN_ADDITIONAL_CONTEXT of PKCS#11 3.2; hedge 0: as the token prefers.
struct mw_context { mw_ulong hedge; unsigned char *context; mw_ulong n; };

// with_context: the mechanism takes the parameter, also with an empty context.
static mw_ulong mw_sign_init(struct mw_list *l, mw_ulong s, mw_ulong number, mw_ulong key,
		int with_context, unsigned char *context, mw_ulong n) {
	struct mw_context c = { 0, n ? context : 0, n };
	struct mw_mechanism m = { number, with_context ? &c : 0, with_context ? sizeof c : 0 };
	return ((mw_ulong (*)(mw_ulong, struct mw_mechanism *, mw_ulong))l->fn[MW_SIGN_INIT])(s, &m, key);
}

static struct mw_done mw_sign(struct mw_list *l, mw_ulong s, mw_ulong number, mw_ulong key, int with_context, unsigned char *context, mw_ulong size,
		unsigned char *in, mw_ulong n, unsigned char *out, mw_ulong room) {
	struct mw_done d = { 0, 0, room };
	d.init = mw_sign_init(l, s, number, key, with_context, context, size);
	if (!d.init) d.final = mw_crypt(l, MW_SIGN, s, in, n, out, &d.n);
	return d;
}

static struct mw_done mw_open_gcm(struct mw_list *l, mw_ulong s, mw_ulong number, mw_ulong key, unsigned char *iv, mw_ulong iv_size,
		unsigned char *aad, mw_ulong aad_size, mw_ulong tag_bits, unsigned char *in, mw_ulong n, unsigned char *out, mw_ulong room) {
	struct mw_gcm g = { iv, iv_size, iv_size * 8, aad, aad_size, tag_bits };
	struct mw_mechanism m = { number, &g, sizeof g };
	return mw_both(l, MW_DECRYPT_INIT, MW_DECRYPT, s, &m, key, in, n, out, room);
}
*/
import "C"

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// raw calls the few C functions that a secret passes through, and those of every
// signature, with buffers of the caller's. The wrapper library's own versions call
// twice and free their buffers without wiping them.
type raw struct{ list *C.struct_mw_list }

// rawOf takes the wrapper's own function list. Asking the module for another
// will not do: each answer of p11-kit-client.so is a client of its own, which
// knows nothing of the wrapper's sessions. The wrapper keeps the list to
// itself, so its layout is checked before it is believed.
func rawOf(p *pkcs11.Ctx) (*raw, error) {
	t := reflect.TypeFor[pkcs11.Ctx]()
	if t.NumField() != 1 || t.Field(0).Name != "ctx" || t.Size() != unsafe.Sizeof(uintptr(0)) {
		return nil, fmt.Errorf("hsm: the wrapper library's %s has another layout than this program knows", t)
	}
	c := *(**C.struct_mw_ctx)(unsafe.Pointer(p))
	if c == nil || c.list == nil || c.list.major != 2 && c.list.major != 3 {
		return nil, fmt.Errorf("hsm: the module has no PKCS#11 function list of version 2 or 3")
	}
	return &raw{c.list}, nil
}

func bytePtr(b []byte) *C.uchar { return (*C.uchar)(unsafe.Pointer(unsafe.SliceData(b))) }

func rawError(call string, rv C.mw_ulong) error {
	if rv == 0 {
		return nil
	}
	return &Error{Call: call, Code: uint(rv), Class: classOf(uint(rv))}
}

// login logs who (CKU_USER, CKU_SO) in with the bytes of pin as they are.
func (r *raw) login(s pkcs11.SessionHandle, who uint, pin []byte) error {
	return rawError("C_Login", C.mw_login(r.list, C.mw_ulong(s), C.mw_ulong(who), bytePtr(pin), C.mw_ulong(len(pin))))
}

// initToken makes the slot's token anew: whatever it held is gone.
func (r *raw) initToken(slot uint, soPIN []byte, label [maxLabel]byte) error {
	return rawError("C_InitToken", C.mw_init_token(r.list, C.mw_ulong(slot), bytePtr(soPIN), C.mw_ulong(len(soPIN)), bytePtr(label[:])))
}

// initPIN sets the user PIN of a token whose security officer is logged in.
func (r *raw) initPIN(s pkcs11.SessionHandle, pin []byte) error {
	return rawError("C_InitPIN", C.mw_init_pin(r.list, C.mw_ulong(s), bytePtr(pin), C.mw_ulong(len(pin))))
}

// setPIN changes the PIN of whoever is logged in.
func (r *raw) setPIN(s pkcs11.SessionHandle, old, next []byte) error {
	return rawError("C_SetPIN", C.mw_set_pin(r.list, C.mw_ulong(s), bytePtr(old), C.mw_ulong(len(old)), bytePtr(next), C.mw_ulong(len(next))))
}

// random fills out from the token's generator.
func (r *raw) random(s pkcs11.SessionHandle, out []byte) error {
	return rawError("C_GenerateRandom", C.mw_random(r.list, C.mw_ulong(s), bytePtr(out), C.mw_ulong(len(out))))
}

// encrypt finishes a C_EncryptInit and returns how many bytes of out it wrote.
func (r *raw) encrypt(s pkcs11.SessionHandle, in, out []byte) (int, error) {
	n := C.mw_ulong(len(out))
	rv := C.mw_crypt(r.list, C.MW_ENCRYPT, C.mw_ulong(s), bytePtr(in), C.mw_ulong(len(in)), bytePtr(out), &n)
	return int(n), rawError("C_Encrypt", rv)
}

// sign is signInit and signFinal. It returns how many bytes of out it wrote.
func (r *raw) sign(s pkcs11.SessionHandle, mechanism uint, context *string, key pkcs11.ObjectHandle, msg, out []byte) (int, error) {
	if len(msg) == 0 {
		msg = []byte{0}[:0] // a null pointer is refused, even of no bytes
	}
	with, text := C.int(0), []byte(nil)
	if context != nil {
		with, text = 1, []byte(*context)
	}
	d := C.mw_sign(r.list, C.mw_ulong(s), C.mw_ulong(mechanism), C.mw_ulong(key), with, bytePtr(text), C.mw_ulong(len(text)),
		bytePtr(msg), C.mw_ulong(len(msg)), bytePtr(out), C.mw_ulong(len(out)))
	return bothDone(d, "C_SignInit", "C_Sign")
}

// signInit is C_SignInit; context, if there is one, is ML-DSA's (FIPS 204, at most
// 255 bytes).
func (r *raw) signInit(s pkcs11.SessionHandle, mechanism uint, key pkcs11.ObjectHandle, context *string) error {
	with, text := C.int(0), []byte(nil)
	if context != nil {
		with, text = 1, []byte(*context)
	}
	return rawError("C_SignInit", C.mw_sign_init(r.list, C.mw_ulong(s), C.mw_ulong(mechanism), C.mw_ulong(key),
		with, bytePtr(text), C.mw_ulong(len(text))))
}

// signFinal is the C_Sign that ends a signInit. It returns how many bytes of out it
// wrote.
func (r *raw) signFinal(s pkcs11.SessionHandle, msg, out []byte) (int, error) {
	if len(msg) == 0 {
		msg = []byte{0}[:0]
	}
	n := C.mw_ulong(len(out))
	rv := C.mw_crypt(r.list, C.MW_SIGN, C.mw_ulong(s), bytePtr(msg), C.mw_ulong(len(msg)), bytePtr(out), &n)
	return int(n), rawError("C_Sign", rv)
}

// openGCM is C_DecryptInit and C_Decrypt of AES-GCM. It returns how many bytes of
// out it wrote.
func (r *raw) openGCM(s pkcs11.SessionHandle, key pkcs11.ObjectHandle, iv, aad, in, out []byte) (int, error) {
	d := C.mw_open_gcm(r.list, C.mw_ulong(s), pkcs11.CKM_AES_GCM, C.mw_ulong(key),
		bytePtr(iv), C.mw_ulong(len(iv)), bytePtr(aad), C.mw_ulong(len(aad)), gcmTagSize*8,
		bytePtr(in), C.mw_ulong(len(in)), bytePtr(out), C.mw_ulong(len(out)))
	return bothDone(d, "C_DecryptInit", "C_Decrypt")
}

func bothDone(d C.struct_mw_done, init, final string) (int, error) {
	if d.init != 0 {
		return 0, rawError(init, d.init)
	}
	return int(d.n), rawError(final, d.final)
}
