package hsm

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/mldsa"
	"encoding/asn1"
	"errors"
	"fmt"
	"io"
	"math/big"
	"sync"

	"github.com/miekg/pkcs11"
)

// Signer is a person's key in a PKCS#11 token: ECDSA P-256, Ed25519 or ML-DSA-65.
// Safe for concurrent use, one signature at a time. Unlike Token it has no pool and
// no watch: a person waits for it, and may have to touch the token.
type Signer struct {
	uri    *URI
	pin    PIN
	module *module
	public crypto.PublicKey

	slot uint

	mu     sync.Mutex
	h      pkcs11.SessionHandle
	key    pkcs11.ObjectHandle
	always bool // CKA_ALWAYS_AUTHENTICATE: the PIN again for each signature
	closed bool
}

var _ crypto.Signer = (*Signer)(nil)

// PIN asks for a token's user PIN. What it returns is wiped after its use.
type PIN func(ctx context.Context, tokenLabel string) ([]byte, error)

// OpenSigner opens the key that the pkcs11: URI names (ParseURI) and logs in to its
// token, unless the process is. The PIN comes from the URI's pin-source, a file of
// its owner's alone, else from pin; a token with a PIN pad asks for it itself. A
// wrong one is tried once: ErrWrongPIN. When ctx ends first, what is running is left
// behind and undone when it comes back.
func OpenSigner(ctx context.Context, uri string, pin PIN) (*Signer, error) {
	u, err := ParseURI(uri)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	type result struct {
		s   *Signer
		err error
	}
	opened, left := make(chan result), make(chan struct{})
	defer close(left)
	go func() {
		s, err := openSigner(ctx, u, pin)
		select {
		case opened <- result{s, err}:
		case <-left:
			if err == nil {
				_ = s.Close()
			}
		}
	}()
	select {
	case r := <-opened:
		return r.s, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func openSigner(ctx context.Context, u *URI, pin PIN) (_ *Signer, err error) {
	m, err := useModule(u.ModulePath)
	if err != nil {
		return nil, err
	}
	s := &Signer{uri: u, pin: pin, module: m}
	defer func() {
		if err != nil {
			_ = s.Close()
		}
	}()
	slot, info, err := s.findToken()
	if err != nil {
		return nil, err
	}
	h, err := m.p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return nil, wrap("C_OpenSession", err)
	}
	s.slot, s.h = slot, h
	if err := s.login(ctx, info); err != nil {
		return nil, err
	}
	return s, s.findKey()
}

// findToken looks for the one token that the URI names.
func (s *Signer) findToken() (uint, pkcs11.TokenInfo, error) {
	slots, err := s.module.p.GetSlotList(true)
	if err != nil {
		return 0, pkcs11.TokenInfo{}, wrap("C_GetSlotList", err)
	}
	var slot uint
	var token pkcs11.TokenInfo
	found := 0
	for _, c := range slots {
		info, err := s.module.p.GetTokenInfo(c)
		if err != nil {
			continue // another reader's trouble
		}
		if !s.uri.names(info) {
			continue
		}
		slot, token = c, info
		found++
	}
	if found != 1 {
		return 0, pkcs11.TokenInfo{}, &TokenError{Label: s.uri.Token, Serial: s.uri.Serial, Found: found, Slots: len(slots)}
	}
	return slot, token, nil
}

func (u *URI) names(i pkcs11.TokenInfo) bool {
	for _, f := range []struct{ want, have string }{{u.Token, i.Label}, {u.Serial, i.SerialNumber},
		{u.Manufacturer, i.ManufacturerID}, {u.Model, i.Model}} {
		if f.want != "" && f.want != f.have {
			return false
		}
	}
	return true
}

func (s *Signer) login(ctx context.Context, info pkcs11.TokenInfo) error {
	if info.Flags&pkcs11.CKF_LOGIN_REQUIRED == 0 {
		return nil
	}
	session, err := s.module.p.GetSessionInfo(s.h)
	if err != nil {
		return wrap("C_GetSessionInfo", err)
	}
	if session.State == pkcs11.CKS_RO_USER_FUNCTIONS {
		return nil // another key of this token is open
	}
	if info.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH != 0 {
		return s.authenticate(pkcs11.CKU_USER, nil)
	}
	return s.withPIN(ctx, info.Label, func(pin []byte) error { return s.authenticate(pkcs11.CKU_USER, pin) })
}

// withPIN asks for the PIN, from where the URI says.
func (s *Signer) withPIN(ctx context.Context, label string, f func(pin []byte) error) error {
	if s.uri.PINSource != "" {
		return withPINFile(s.uri.PINSource, f)
	}
	if s.pin == nil {
		return fmt.Errorf("hsm: token %q wants a PIN, and there is nobody to ask", label)
	}
	pin, err := s.pin(ctx, label)
	defer clear(pin)
	if err != nil {
		return err
	}
	if len(pin) == 0 {
		return fmt.Errorf("hsm: empty PIN for token %q", label)
	}
	return f(pin)
}

func (s *Signer) authenticate(who uint, pin []byte) error {
	err := s.module.raw.login(s.h, who, pin)
	switch {
	case classIn(err) == ClassOperator:
		return errors.Join(ErrWrongPIN, err)
	case isCode(err, pkcs11.CKR_USER_ALREADY_LOGGED_IN):
		return nil
	}
	return err
}

// Public returns an *ecdsa.PublicKey on P-256, an ed25519.PublicKey or an
// *mldsa.PublicKey of ML-DSA-65.
func (s *Signer) Public() crypto.PublicKey { return s.public }

// URI returns what the key was opened by.
func (s *Signer) URI() *URI { return s.uri }

// Sign signs as the standard library's keys do: for P-256 message is the SHA-256
// digest and the signature is ASN.1; for Ed25519 and ML-DSA-65 message is the whole
// message and opts is crypto.Hash(0) or *mldsa.Options. The token draws what is
// random. What it signed is verified before it is returned: ErrMismatch.
func (s *Signer) Sign(_ io.Reader, message []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	switch key := s.public.(type) {
	case *ecdsa.PublicKey:
		if opts.HashFunc() != crypto.SHA256 || len(message) != crypto.SHA256.Size() {
			return nil, fmt.Errorf("hsm: ECDSA P-256 signs a SHA-256 digest, not %d bytes of %v", len(message), opts.HashFunc())
		}
		raw, err := s.sign(pkcs11.CKM_ECDSA, nil, message, 64)
		if err != nil {
			return nil, err
		}
		sig, err := asn1.Marshal(struct{ R, S *big.Int }{new(big.Int).SetBytes(raw[:32]), new(big.Int).SetBytes(raw[32:])})
		return s.verified(sig, err == nil && ecdsa.VerifyASN1(key, message, sig))
	case ed25519.PublicKey:
		if opts.HashFunc() != 0 {
			return nil, fmt.Errorf("hsm: Ed25519 signs the message, not a digest of %v", opts.HashFunc())
		}
		sig, err := s.sign(ckmEdDSA, nil, message, ed25519.SignatureSize)
		if err != nil {
			return nil, err
		}
		return s.verified(sig, ed25519.Verify(key, message, sig))
	case *mldsa.PublicKey:
		o, ok := opts.(*mldsa.Options)
		if !ok {
			return nil, fmt.Errorf("hsm: ML-DSA signs with *mldsa.Options, not %T", opts)
		}
		sig, err := s.sign(ckmMLDSA, &o.Context, message, mldsa65SignatureSize)
		if err != nil {
			return nil, err
		}
		return s.verified(sig, mldsa.Verify(key, message, sig, o) == nil)
	}
	return nil, fmt.Errorf("hsm: a public key of %T", s.public)
}

func (s *Signer) verified(sig []byte, ok bool) ([]byte, error) {
	if !ok {
		return nil, fmt.Errorf("%w: the signature of %s does not verify", ErrMismatch, s.uri)
	}
	return sig, nil
}

// sign is C_SignInit, the PIN again if the key wants it each time, and C_Sign.
func (s *Signer) sign(mechanism uint, context *string, message []byte, size int) (sig []byte, err error) {
	defer func() {
		if err != nil {
			s.renew()
		}
	}()
	r := s.module.raw
	if err := r.signInit(s.h, mechanism, s.key, context); err != nil {
		return nil, err
	}
	if s.always {
		if err := s.again(); err != nil {
			return nil, err
		}
	}
	out := make([]byte, size)
	n, err := r.signFinal(s.h, message, out)
	if err == nil && n != size {
		err = fmt.Errorf("%w: a signature of %d bytes, want %d", ErrMismatch, n, size)
	}
	return out, err
}

// renew takes another session, for after an error this one may have an operation
// that is not over. The new one is opened first: the last one to close ends the
// login.
func (s *Signer) renew() {
	h, err := s.module.p.OpenSession(s.slot, pkcs11.CKF_SERIAL_SESSION)
	if err != nil {
		return // the next signature fails and tries again
	}
	_ = s.module.p.CloseSession(s.h)
	s.h = h
}

// again gives the PIN for the signature that was begun, whose session is worth
// nothing without it.
func (s *Signer) again() error {
	info, err := s.module.p.GetTokenInfo(s.slot)
	if err != nil {
		return wrap("C_GetTokenInfo", err)
	}
	if info.Flags&pkcs11.CKF_PROTECTED_AUTHENTICATION_PATH != 0 {
		return s.authenticate(userContextSpecific, nil)
	}
	return s.withPIN(context.Background(), info.Label, func(pin []byte) error { return s.authenticate(userContextSpecific, pin) })
}

// Close ends the session, and with the last one of the process the login; the last
// key of a module ends the module.
func (s *Signer) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if s.h != 0 {
		_ = s.module.p.CloseSession(s.h)
	}
	return s.module.leave()
}
