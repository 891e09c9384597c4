package hsm

/*
// The part of CK_FUNCTION_LIST that is needed here: a version and the 68
// functions of PKCS#11 2.40 in the order of the standard's pkcs11f.h.
typedef unsigned long mw_ulong;
struct mw_list { unsigned char major, minor; void *fn[68]; };
enum { MW_LOGIN = 18, MW_ENCRYPT = 30, MW_DECRYPT = 34, MW_RANDOM = 64 };

// What the wrapper library holds of a module (its struct ctx).
struct mw_ctx { void *handle; struct mw_list *list; };

static mw_ulong mw_login(struct mw_list *l, mw_ulong s, unsigned char *pin, mw_ulong n) {
	return ((mw_ulong (*)(mw_ulong, mw_ulong, unsigned char *, mw_ulong))l->fn[MW_LOGIN])(s, 1, pin, n);
}

static mw_ulong mw_random(struct mw_list *l, mw_ulong s, unsigned char *out, mw_ulong n) {
	return ((mw_ulong (*)(mw_ulong, unsigned char *, mw_ulong))l->fn[MW_RANDOM])(s, out, n);
}

// One call, into the caller's buffer: no length query, so no second copy.
static mw_ulong mw_crypt(struct mw_list *l, int which, mw_ulong s, unsigned char *in, mw_ulong n, unsigned char *out, mw_ulong *m) {
	return ((mw_ulong (*)(mw_ulong, unsigned char *, mw_ulong, unsigned char *, mw_ulong *))l->fn[which])(s, in, n, out, m);
}
*/
import "C"

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/miekg/pkcs11"
)

// raw calls the few C functions that a secret passes through, with buffers of
// the caller's. The wrapper library's own versions call twice and free their
// buffers without wiping them.
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

// login logs the user in with the bytes of pin as they are.
func (r *raw) login(s pkcs11.SessionHandle, pin []byte) error {
	return rawError("C_Login", C.mw_login(r.list, C.mw_ulong(s), bytePtr(pin), C.mw_ulong(len(pin))))
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

// decrypt finishes a C_DecryptInit and returns how many bytes of out it wrote.
func (r *raw) decrypt(s pkcs11.SessionHandle, in, out []byte) (int, error) {
	n := C.mw_ulong(len(out))
	rv := C.mw_crypt(r.list, C.MW_DECRYPT, C.mw_ulong(s), bytePtr(in), C.mw_ulong(len(in)), bytePtr(out), &n)
	return int(n), rawError("C_Decrypt", rv)
}
