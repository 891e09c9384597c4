package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/miekg/pkcs11"
)

// PINs are those of a token. What is done with them neither copies nor wipes them.
type PINs struct{ User, SO []byte }

// ChangePINs gives the token of the label (and of the serial number, where it is not
// empty) new PINs (C_SetPIN): the security officer's first, then the user's, and each
// is confirmed by a login. Run again, after whatever cut it short, it finishes: a PIN
// that is not the old one any more may be the new one. So each of the two is tried
// once at most; where the token takes neither, the error is ErrWrongPIN. A PIN that is
// locked is not tried further. New PINs of a length that the token does not take are
// refused before anything is changed.
//
// Like InitToken it wants no Token of the module in this process, and when ctx ends
// first, what is under way may still happen and the PINs must stay readable until the
// process ends.
func ChangePINs(ctx context.Context, module, label, serial string, old, next PINs, log *slog.Logger) error {
	return withPINs(ctx, module, label, serial, func(c *pinChange) error {
		if err := checkPINs(c.p, c.slot, next.SO, next.User); err != nil {
			return err
		}
		for _, of := range []struct {
			name     string
			who      uint
			old, new []byte
		}{{"security officer's PIN", pkcs11.CKU_SO, old.SO, next.SO}, {"user PIN", pkcs11.CKU_USER, old.User, next.User}} {
			changed, err := c.change(of.who, of.old, of.new)
			if err != nil {
				return fmt.Errorf("hsm: %s: %w", of.name, err)
			}
			log.Info("PIN of the token", "which", of.name, "changed", changed)
		}
		return nil
	})
}

// TryPINs logs in with each PIN, once; an empty one is left out. ErrWrongPIN says that
// the token refused one. The rest is as with ChangePINs.
func TryPINs(ctx context.Context, module, label, serial string, pins PINs) error {
	return withPINs(ctx, module, label, serial, func(c *pinChange) error {
		for _, of := range []struct {
			who uint
			pin []byte
		}{{pkcs11.CKU_SO, pins.SO}, {pkcs11.CKU_USER, pins.User}} {
			if len(of.pin) == 0 {
				continue
			}
			if err := c.login(of.who, of.pin); err != nil {
				return err
			}
			if err := wrap("C_Logout", c.p.Logout(c.session)); err != nil {
				return err
			}
		}
		return nil
	})
}

// pinChange is a session in which nobody is logged in between its methods.
type pinChange struct {
	p       *pkcs11.Ctx
	raw     *raw
	slot    uint
	session pkcs11.SessionHandle
}

func withPINs(ctx context.Context, module, label, serial string, f func(*pinChange) error) error {
	return withModule(ctx, module, func(p *pkcs11.Ctx, r *raw) (err error) {
		slot, have, found, err := slotsOf(p, label)
		if err != nil {
			return err
		}
		if have == nil || serial != "" && have.SerialNumber != serial {
			return &TokenError{Label: label, Serial: serial, Slots: found.all}
		}
		s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
		if err != nil {
			return wrap("C_OpenSession", err)
		}
		defer func() { err = errors.Join(err, wrap("C_CloseSession", p.CloseSession(s))) }()
		return f(&pinChange{p, r, slot, s})
	})
}

func (c *pinChange) login(who uint, pin []byte) error {
	err := c.raw.login(c.session, who, pin)
	if classIn(err) == ClassOperator {
		return errors.Join(ErrWrongPIN, err)
	}
	return err
}

// change makes next the PIN; changed is false where it was already.
func (c *pinChange) change(who uint, old, next []byte) (changed bool, err error) {
	err = c.login(who, old)
	if isCode(err, pkcs11.CKR_PIN_INCORRECT) {
		if err := c.login(who, next); err != nil {
			return false, err
		}
		return false, wrap("C_Logout", c.p.Logout(c.session))
	}
	if err != nil {
		return false, err
	}
	set := c.raw.setPIN(c.session, old, next)
	if err := wrap("C_Logout", c.p.Logout(c.session)); err != nil {
		return false, errors.Join(set, err)
	}
	if set != nil {
		return false, set
	}
	if err := c.login(who, next); err != nil {
		return false, fmt.Errorf("the token said that it changed it, and does not take the new one: %w", err)
	}
	return true, wrap("C_Logout", c.p.Logout(c.session))
}
