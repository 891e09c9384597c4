package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/miekg/pkcs11"
)

const maxLabel = 32 // bytes of a token's label

// ErrTokenExists: a token of the label exists and has a user PIN.
var ErrTokenExists = errors.New("hsm: a token of that label exists")

// FindToken looks for the token of the label without logging in: its serial number
// and whether its user PIN was set. Two of the label are a *TokenError. Like
// InitToken it wants no Token of the module in this process; when ctx ends first, a
// module that does not answer keeps the goroutine that is stuck in it.
func FindToken(ctx context.Context, module, label string) (serial string, userPIN, found bool, err error) {
	var token *pkcs11.TokenInfo
	err = withModule(ctx, module, func(p *pkcs11.Ctx, _ *raw) error {
		_, have, _, err := slotsOf(p, label)
		token = have
		return err
	})
	if err != nil || token == nil {
		return "", false, false, err
	}
	return token.SerialNumber, token.Flags&pkcs11.CKF_USER_PIN_INITIALIZED != 0, true, nil
}

// InitToken makes a token of the label in a slot whose token was never initialized
// (C_InitToken), sets its user PIN (C_InitPIN), and returns its serial number. Of a
// token of the label that has no user PIN, as a crash between the two leaves it, it
// sets that; one that has is ErrTokenExists. PINs of a length that the token does
// not take are refused before anything is changed. It neither copies nor wipes the
// PINs.
//
// No Token of the module may be open in this process; signers may. The C calls
// cannot be interrupted: when ctx ends before they do, its error is returned, the
// token may still be made, and the PINs must stay readable until the process ends.
func InitToken(ctx context.Context, module, label string, soPIN, userPIN []byte, log *slog.Logger) (serial string, err error) {
	if len(label) == 0 || len(label) > maxLabel {
		return "", fmt.Errorf("hsm: token label %q has %d bytes, want 1 to %d", label, len(label), maxLabel)
	}
	err = withModule(ctx, module, func(p *pkcs11.Ctx, r *raw) (err error) {
		serial, err = initToken(p, r, label, soPIN, userPIN)
		return err
	})
	if err != nil {
		return "", err
	}
	log.Info("token made", "label", label, "serial", serial, "module", module)
	return serial, nil
}

// withModule runs f with the module started, in a goroutine that the caller leaves
// behind when ctx ends first.
func withModule(ctx context.Context, module string, f func(*pkcs11.Ctx, *raw) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		done <- func() (err error) {
			m, err := useModule(module)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, m.leave()) }()
			return f(m.p, m.raw)
		}()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func initToken(p *pkcs11.Ctx, r *raw, label string, soPIN, userPIN []byte) (serial string, err error) {
	slot, have, slots, err := slotsOf(p, label)
	if err != nil {
		return "", err
	}
	if have == nil && slots.free == nil {
		return "", fmt.Errorf("hsm: none of %d slots has a free token", slots.all)
	}
	if have == nil {
		slot = *slots.free
	} else if have.Flags&pkcs11.CKF_USER_PIN_INITIALIZED != 0 {
		return "", fmt.Errorf("%w: %q, serial %q", ErrTokenExists, label, have.SerialNumber)
	}
	if err := checkPINs(p, slot, soPIN, userPIN); err != nil {
		return "", err
	}
	if have == nil {
		var padded [maxLabel]byte
		for i := copy(padded[:], label); i < maxLabel; i++ {
			padded[i] = ' '
		}
		if err := r.initToken(slot, soPIN, padded); err != nil {
			return "", err
		}
	}
	s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return "", wrap("C_OpenSession", err)
	}
	defer func() { _ = p.CloseSession(s) }() // and with it the officer's login
	if err := r.login(s, pkcs11.CKU_SO, soPIN); err != nil {
		return "", err
	}
	if err := r.initPIN(s, userPIN); err != nil {
		return "", err
	}
	info, err := p.GetTokenInfo(slot)
	if err != nil {
		return "", wrap("C_GetTokenInfo", err)
	}
	if info.Label != label || info.Flags&pkcs11.CKF_USER_PIN_INITIALIZED == 0 {
		return "", fmt.Errorf("%w: the new token has label %q and flags 0x%x", ErrMismatch, info.Label, info.Flags)
	}
	return info.SerialNumber, nil
}

func checkPINs(p *pkcs11.Ctx, slot uint, soPIN, userPIN []byte) error {
	info, err := p.GetTokenInfo(slot)
	if err != nil {
		return wrap("C_GetTokenInfo", err)
	}
	for _, pin := range []struct {
		name  string
		bytes int
	}{{"security officer's PIN", len(soPIN)}, {"user PIN", len(userPIN)}} {
		if n := uint(pin.bytes); n < max(info.MinPinLen, 1) || n > info.MaxPinLen {
			return fmt.Errorf("hsm: %s has %d bytes, the token takes %d to %d", pin.name, n, info.MinPinLen, info.MaxPinLen)
		}
	}
	return nil
}

// slotsFound is how many slots there are, and the first whose token was never
// initialized, or nil.
type slotsFound struct {
	all  int
	free *uint
}

// slotsOf looks for the one token of the label, nil if there is none.
func slotsOf(p *pkcs11.Ctx, label string) (slot uint, have *pkcs11.TokenInfo, found slotsFound, err error) {
	slots, err := p.GetSlotList(true)
	if err != nil {
		return 0, nil, found, wrap("C_GetSlotList", err)
	}
	found.all = len(slots)
	for i, s := range slots {
		info, err := p.GetTokenInfo(s)
		if err != nil {
			return 0, nil, found, wrap("C_GetTokenInfo", err)
		}
		switch {
		case info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0:
			if found.free == nil {
				found.free = &slots[i]
			}
		case info.Label == label && have != nil:
			return 0, nil, found, &TokenError{Label: label, Found: 2, Slots: len(slots)}
		case info.Label == label:
			slot, have = s, &info
		}
	}
	return slot, have, found, nil
}
