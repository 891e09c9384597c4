package hsm_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/pkcs11"
	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

// withSession runs f in a session of its own, in which somebody else, with the
// user's PIN, made the token what it is.
func withSession(t *testing.T, f func(*pkcs11.Ctx, pkcs11.SessionHandle)) {
	t.Helper()
	p := pkcs11.New(token.ModulePath)
	require.NoError(t, p.Initialize())
	defer func() { require.NoError(t, p.Finalize()) }()
	s := sessionBeside(t, p)
	require.NoError(t, p.Login(s, pkcs11.CKU_USER, userPIN))
	f(p, s)
}

var (
	p256Params    = []byte{0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}
	p384Params    = []byte{0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22}
	ed25519Params = []byte{0x06, 0x03, 0x2b, 0x65, 0x70}
)

// makeKey makes a person's key in the token, as another program would.
func makeKey(t *testing.T, mechanism uint, params []byte, label, id string, more ...*pkcs11.Attribute) {
	t.Helper()
	withSession(t, func(p *pkcs11.Ctx, s pkcs11.SessionHandle) {
		half := func(more ...*pkcs11.Attribute) []*pkcs11.Attribute {
			a := append(more, pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_LABEL, label))
			if id != "" {
				a = append(a, pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)))
			}
			return a
		}
		_, _, err := p.GenerateKeyPair(s, []*pkcs11.Mechanism{pkcs11.NewMechanism(mechanism, nil)},
			half(pkcs11.NewAttribute(pkcs11.CKA_EC_PARAMS, params)),
			half(append(more, pkcs11.NewAttribute(pkcs11.CKA_PRIVATE, true), pkcs11.NewAttribute(pkcs11.CKA_SIGN, true))...))
		require.NoError(t, err)
	})
}

const ecdsaKeyPairGen, edwardsKeyPairGen = 0x1040, 0x1055

func uriOf(key, query string) string {
	return fmt.Sprintf("pkcs11:token=%s;%s?module-path=%s%s", token.Label, key, token.ModulePath, query)
}

func askFor(pin string) hsm.PIN {
	return func(context.Context, string) ([]byte, error) { return []byte(pin), nil }
}

func openSigner(t *testing.T, uri string, pin hsm.PIN) *hsm.Signer {
	t.Helper()
	s, err := hsm.OpenSigner(t.Context(), uri, pin)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestSigner(t *testing.T) {
	p256, ed := fresh("alice"), fresh("bob")
	makeKey(t, ecdsaKeyPairGen, p256Params, p256, p256)
	makeKey(t, edwardsKeyPairGen, ed25519Params, ed, ed)
	asked := []string{}
	alice := openSigner(t, uriOf("object="+p256, ""), func(_ context.Context, label string) ([]byte, error) {
		asked = append(asked, label)
		return []byte(userPIN), nil
	})
	require.Equal(t, []string{"unit"}, asked)
	require.Equal(t, p256, alice.URI().Object)
	bob := openSigner(t, uriOf("id="+ed, ""), nil)
	for i := range 20 {
		message := fmt.Append(nil, "message ", i)
		digest := sha256.Sum256(message)
		sig, err := alice.Sign(nil, digest[:], crypto.SHA256)
		require.NoError(t, err)
		require.True(t, ecdsa.VerifyASN1(alice.Public().(*ecdsa.PublicKey), digest[:], sig))
		sig, err = bob.Sign(nil, message, crypto.Hash(0))
		require.NoError(t, err)
		require.True(t, ed25519.Verify(bob.Public().(ed25519.PublicKey), message, sig))
	}
	_, err := alice.Sign(nil, []byte("a message"), crypto.Hash(0))
	require.ErrorContains(t, err, "SHA-256")
	_, err = alice.Sign(nil, []byte("a message"), crypto.SHA256)
	require.ErrorContains(t, err, "9 bytes")
	_, err = bob.Sign(nil, make([]byte, 64), crypto.SHA512)
	require.ErrorContains(t, err, "SHA-512")

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := alice.Sign(nil, make([]byte, 32), crypto.SHA256); err != nil {
				t.Error(err)
			}
			if _, err := bob.Sign(nil, nil, crypto.Hash(0)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.NoError(t, alice.Close())
	require.NoError(t, alice.Close())
	_, err = alice.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.ErrorIs(t, err, hsm.ErrClosed)
	_, err = bob.Sign(nil, []byte("m"), crypto.Hash(0))
	require.NoError(t, err, "the module is used by another key")
}

func TestSignerByPINFile(t *testing.T) {
	id := fresh("file")
	makeKey(t, ecdsaKeyPairGen, p256Params, id, id)
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), mode))
		return path
	}
	for _, text := range []string{userPIN, userPIN + "\n"} {
		s, err := hsm.OpenSigner(t.Context(), uriOf("object="+id, "&pin-source=file:"+write("pin", text, 0o600)), nil)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
	for name, path := range map[string]string{
		"for everyone": write("open", userPIN, 0o644),
		"empty":        write("empty", "\n", 0o600),
		"long":         write("long", strings.Repeat("1", 300), 0o600),
		"a directory":  dir,
		"none":         filepath.Join(dir, "none"),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hsm.OpenSigner(t.Context(), uriOf("object="+id, "&pin-source=file:"+path), nil)
			require.ErrorIs(t, err, hsm.ErrPINFile)
		})
	}
}

func TestSignerRefuses(t *testing.T) {
	id, twice, p384 := fresh("refused"), fresh("twice"), fresh("p384")
	makeKey(t, ecdsaKeyPairGen, p256Params, id, id)
	makeKey(t, ecdsaKeyPairGen, p384Params, p384, p384)
	for range 2 {
		makeKey(t, ecdsaKeyPairGen, p256Params, twice, fresh("twice"))
	}
	for name, c := range map[string]struct {
		uri  string
		pin  hsm.PIN
		want any
	}{
		"not a URI":       {"alice.key", askFor(userPIN), hsm.ErrURI},
		"unknown key":     {uriOf("object=nobody", ""), askFor(userPIN), hsm.ErrNotFound},
		"two keys":        {uriOf("object="+twice, ""), askFor(userPIN), hsm.ErrSeveral},
		"another curve":   {uriOf("object="+p384, ""), askFor(userPIN), hsm.ErrMismatch},
		"nobody to ask":   {uriOf("object="+id, ""), nil, "nobody to ask"},
		"empty PIN":       {uriOf("object="+id, ""), askFor(""), "empty PIN"},
		"wrong PIN":       {uriOf("object="+id, ""), askFor("wrong-pin"), hsm.ErrWrongPIN},
		"no answer":       {uriOf("object="+id, ""), func(context.Context, string) ([]byte, error) { return nil, os.ErrDeadlineExceeded }, os.ErrDeadlineExceeded},
		"unknown token":   {"pkcs11:token=other;object=x?module-path=" + token.ModulePath, askFor(userPIN), "0 tokens"},
		"another serial":  {uriOf("serial=other;object="+id, ""), askFor(userPIN), "0 tokens"},
		"another model":   {uriOf("model=other;manufacturer=SoftHSM%20project;object="+id, ""), askFor(userPIN), "0 tokens"},
		"unknown module":  {"pkcs11:token=unit;object=x?module-path=/nonexistent.so", askFor(userPIN), "cannot load"},
		"no module of it": {"pkcs11:token=unit;object=x?module-path=/etc/passwd", askFor(userPIN), "cannot load"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := hsm.OpenSigner(t.Context(), c.uri, c.pin)
			if want, ok := c.want.(error); ok {
				require.ErrorIs(t, err, want)
			} else {
				require.ErrorContains(t, err, c.want.(string))
			}
			require.NotContains(t, err.Error(), "wrong-pin")
		})
	}
	// What was refused left the module: it can be started again.
	require.NoError(t, openSigner(t, uriOf("object="+id, ""), askFor(userPIN)).Close())
}

// A wrong PIN is tried once, and the one that was asked for is wiped.
func TestSignerTriesAPINOnce(t *testing.T) {
	id := fresh("once")
	makeKey(t, ecdsaKeyPairGen, p256Params, id, id)
	require.NoError(t, os.RemoveAll(logins))
	pin := []byte("wrong-pin")
	uri := strings.Replace(uriOf("object="+id, ""), token.ModulePath, shim, 1)
	_, err := hsm.OpenSigner(t.Context(), uri, func(context.Context, string) ([]byte, error) { return pin, nil })
	require.ErrorIs(t, err, hsm.ErrWrongPIN)
	require.Equal(t, make([]byte, len(pin)), pin)
	require.Equal(t, "LF", string(read(t, logins)))
}

// A key that wants the PIN for each signature gets it.
func TestSignerOfAKeyThatAsksEachTime(t *testing.T) {
	id := fresh("always")
	makeKey(t, ecdsaKeyPairGen, p256Params, id, id, pkcs11.NewAttribute(pkcs11.CKA_ALWAYS_AUTHENTICATE, true))
	asked := 0
	s := openSigner(t, uriOf("object="+id, ""), func(context.Context, string) ([]byte, error) {
		asked++
		return []byte(userPIN), nil
	})
	for i := range 3 {
		_, err := s.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.NoError(t, err)
		require.Equal(t, 2+i, asked)
	}
}

// PIV tokens keep the public key in a certificate, and may have no object for it.
func TestSignerOfACertifiedKey(t *testing.T) {
	id, rsa := fresh("piv"), fresh("rsa")
	makeKey(t, ecdsaKeyPairGen, p256Params, id, id)
	makeKey(t, ecdsaKeyPairGen, p256Params, rsa, rsa)
	s, err := hsm.OpenSigner(t.Context(), uriOf("object="+id, ""), askFor(userPIN))
	require.NoError(t, err)
	public := s.Public()
	own := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "alice"}, NotAfter: time.Now().Add(time.Hour)}
	right, err := x509.CreateCertificate(rand.Reader, own, own, public, s)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	require.NoError(t, err)
	wrong, err := x509.CreateCertificate(rand.Reader, own, own, p384.Public(), p384)
	require.NoError(t, err)

	certify := func(id string, der []byte) {
		withSession(t, func(p *pkcs11.Ctx, s pkcs11.SessionHandle) {
			require.NoError(t, p.FindObjectsInit(s, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_PUBLIC_KEY), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id))}))
			found, _, err := p.FindObjects(s, 10)
			require.NoError(t, err)
			require.NoError(t, p.FindObjectsFinal(s))
			for _, h := range found {
				require.NoError(t, p.DestroyObject(s, h))
			}
			if der == nil {
				return
			}
			_, err = p.CreateObject(s, []*pkcs11.Attribute{
				pkcs11.NewAttribute(pkcs11.CKA_CLASS, pkcs11.CKO_CERTIFICATE), pkcs11.NewAttribute(pkcs11.CKA_CERTIFICATE_TYPE, pkcs11.CKC_X_509),
				pkcs11.NewAttribute(pkcs11.CKA_TOKEN, true), pkcs11.NewAttribute(pkcs11.CKA_ID, []byte(id)),
				pkcs11.NewAttribute(pkcs11.CKA_SUBJECT, []byte{0x30, 0}), pkcs11.NewAttribute(pkcs11.CKA_VALUE, der)})
			require.NoError(t, err)
		})
	}
	certify(id, nil)
	_, err = hsm.OpenSigner(t.Context(), uriOf("object="+id, ""), askFor(userPIN))
	require.ErrorIs(t, err, hsm.ErrNotFound)
	certify(id, right)
	piv := openSigner(t, uriOf("object="+id, ""), askFor(userPIN))
	require.Equal(t, public, piv.Public())
	_, err = piv.Sign(nil, make([]byte, 32), crypto.SHA256)
	require.NoError(t, err)
	require.NoError(t, piv.Close())

	certify(rsa, wrong)
	_, err = hsm.OpenSigner(t.Context(), uriOf("object="+rsa, ""), askFor(userPIN))
	require.ErrorIs(t, err, hsm.ErrMismatch)
}

// A module that hangs holds nobody, and what it opened too late is closed.
func TestOpeningASignerThatHangs(t *testing.T) {
	id := fresh("slow")
	makeKey(t, ecdsaKeyPairGen, p256Params, id, id)
	uri := strings.Replace(uriOf("object="+id, ""), token.ModulePath, shim, 1)
	require.NoError(t, os.RemoveAll(logins))
	tell(t, "C_FindObjects hang")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := hsm.OpenSigner(ctx, uri, askFor(userPIN))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = hsm.OpenSigner(ctx, uri, askFor(userPIN))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NoError(t, os.Remove(control))
	require.Eventually(t, func() bool { b, _ := os.ReadFile(logins); return strings.HasSuffix(string(b), "F") }, patience, time.Millisecond)
}

// What a token that misbehaves answers is an error, never a signature.
func TestSignerFaults(t *testing.T) {
	id := fresh("faulty")
	makeKey(t, ecdsaKeyPairGen, p256Params, id, id)
	uri := strings.Replace(uriOf("object="+id, ""), token.ModulePath, shim, 1)
	for _, call := range []string{"C_Initialize", "C_GetSlotList", "C_OpenSession", "C_GetSessionInfo", "C_Login",
		"C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue"} {
		t.Run(call, func(t *testing.T) {
			tell(t, call+" 0x30")
			_, err := hsm.OpenSigner(t.Context(), uri, askFor(userPIN))
			require.NoFileExists(t, control)
			var e *hsm.Error
			require.ErrorAs(t, err, &e)
			require.Equal(t, call, e.Call)
		})
	}
	s := openSigner(t, uri, askFor(userPIN))
	for _, call := range []string{"C_SignInit", "C_Sign"} {
		tell(t, call+" 0x30")
		_, err := s.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.NoFileExists(t, control)
		var e *hsm.Error
		require.True(t, errors.As(err, &e), call)
		_, err = s.Sign(nil, make([]byte, 32), crypto.SHA256)
		require.NoError(t, err, "in a new session")
	}
}

// A key is open, as a custodian's may be while the ceremony makes the token.
func TestInitTokenBesideASigner(t *testing.T) {
	made, err := softhsm.Create(t.Context(), t.TempDir(), "people", []byte("so-first"), []byte("pin-first"))
	require.NoError(t, err)
	t.Setenv(softhsm.EnvConf, made.ConfPath)
	tok, err := hsm.Open(t.Context(), made.Config(), []byte("pin-first"), quiet, nil)
	require.NoError(t, err)
	_, err = tok.GenerateEd25519(t.Context(), "carol", "carol")
	require.NoError(t, err)
	require.NoError(t, tok.Close())
	s := openSigner(t, "pkcs11:token=people;object=carol?module-path="+made.ModulePath, askFor("pin-first"))
	serial, err := hsm.InitToken(t.Context(), made.ModulePath, "second", []byte("so-second"), []byte("pin-second"), quiet)
	require.NoError(t, err)
	found, _, _, err := hsm.FindToken(t.Context(), made.ModulePath, "second")
	require.NoError(t, err)
	require.Equal(t, serial, found)
	_, err = s.Sign(nil, []byte("m"), crypto.Hash(0))
	require.NoError(t, err, "still logged in")
}
