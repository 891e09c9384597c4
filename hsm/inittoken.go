package hsm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/miekg/pkcs11"
)

const maxLabel = 32 // bytes of a token's label

// LabelError says that a token of the label exists, so none is made.
type LabelError struct {
	Label, Serial string
}

// Error names the token that there is.
func (e *LabelError) Error() string {
	return fmt.Sprintf("hsm: a token with label %q exists (serial %q)", e.Label, e.Serial)
}

// InitToken makes a token of the label in a slot whose token was never initialized
// (C_InitToken), sets its user PIN (C_InitPIN), and returns its serial number. It
// refuses a label that exists with *LabelError, and PINs of a length that the token
// does not take before it changes anything. It neither copies nor wipes the PINs.
//
// The module must not be in use by this process, and is not afterwards. When the
// user PIN is refused the token stays, initialized, with the label and without one.
// The C calls cannot be interrupted: when ctx ends before they do, its error is
// returned and the token may still be made; the PINs must stay readable until the
// process ends then.
func InitToken(ctx context.Context, module, label string, soPIN, userPIN []byte, log *slog.Logger) (serial string, err error) {
	if len(label) == 0 || len(label) > maxLabel {
		return "", fmt.Errorf("hsm: token label %q has %d bytes, want 1 to %d", label, len(label), maxLabel)
	}
	if err := ctx.Err(); err != nil {
		return "", err
	}
	type result struct {
		serial string
		err    error
	}
	done := make(chan result, 1)
	go func() {
		serial, err := initToken(module, label, soPIN, userPIN)
		done <- result{serial, err}
	}()
	select {
	case r := <-done:
		if r.err == nil {
			log.Info("token made", "label", label, "serial", r.serial, "module", module)
		}
		return r.serial, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func initToken(module, label string, soPIN, userPIN []byte) (serial string, err error) {
	p := pkcs11.New(module)
	if p == nil {
		return "", fmt.Errorf("hsm: cannot load module %q", module)
	}
	r, err := rawOf(p)
	if err != nil {
		return "", err
	}
	if err := p.Initialize(); err != nil {
		return "", wrap("C_Initialize", err)
	}
	defer func() { err = errors.Join(err, wrap("C_Finalize", p.Finalize())) }()
	slot, err := freeSlot(p, module, label, soPIN, userPIN)
	if err != nil {
		return "", err
	}
	var padded [maxLabel]byte
	for i := copy(padded[:], label); i < maxLabel; i++ {
		padded[i] = ' '
	}
	if err := r.initToken(slot, soPIN, padded); err != nil {
		return "", err
	}
	s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return "", wrap("C_OpenSession", err)
	}
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

// freeSlot is the first slot whose token was never initialized.
func freeSlot(p *pkcs11.Ctx, module, label string, soPIN, userPIN []byte) (uint, error) {
	slots, err := p.GetSlotList(true)
	if err != nil {
		return 0, wrap("C_GetSlotList", err)
	}
	free, found := uint(0), false
	for _, s := range slots {
		info, err := p.GetTokenInfo(s)
		if err != nil {
			return 0, wrap("C_GetTokenInfo", err)
		}
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED != 0 {
			if info.Label == label {
				return 0, &LabelError{Label: label, Serial: info.SerialNumber}
			}
			continue
		}
		if found {
			continue
		}
		free, found = s, true
		for name, pin := range map[string][]byte{"security officer's PIN": soPIN, "user PIN": userPIN} {
			if n := uint(len(pin)); n < max(info.MinPinLen, 1) || n > info.MaxPinLen {
				return 0, fmt.Errorf("hsm: %s has %d bytes, the token takes %d to %d", name, n, info.MinPinLen, info.MaxPinLen)
			}
		}
	}
	if !found {
		return 0, fmt.Errorf("hsm: none of %d slots of %q has a free token", len(slots), module)
	}
	return free, nil
}
