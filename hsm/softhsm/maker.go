package softhsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"

	"github.com/miekg/pkcs11"
)

// The maker is this very program, started again under a name of its own: it
// makes the token before main runs and ends. SoftHSM2 reads its configuration
// once a process and softhsm2-util takes PINs as arguments, which every user of
// the machine can read, so neither would do.
const makerName = "mintwarden-softhsm-maker"

const maxPIN = 255 // bytes, SoftHSM2's own limit

func init() {
	if len(os.Args) != 3 || os.Args[0] != makerName {
		return
	}
	if err := makeHere(os.Args[1], os.Args[2], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// make runs the maker with both PINs on its standard input.
func (t *Token) make(ctx context.Context, soPIN, userPIN []byte) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	var pins []byte
	for _, pin := range [][]byte{soPIN, userPIN} {
		if len(pin) > maxPIN {
			return fmt.Errorf("softhsm: PIN of %d bytes, want at most %d", len(pin), maxPIN)
		}
		pins = append(binary.BigEndian.AppendUint16(pins, uint16(len(pin))), pin...)
	}
	defer clear(pins)
	cmd := exec.CommandContext(ctx, exe)
	cmd.Args = []string{makerName, t.ModulePath, t.Label}
	cmd.Env = append(os.Environ(), t.Env())
	cmd.Stdin = bytes.NewReader(pins)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("softhsm: making token %q: %w: %s", t.Label, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// makeHere makes the token in this process, which must not have the module in
// use and ends soon: the wrapper library leaves copies of the PINs behind.
func makeHere(module, label string, in io.Reader) (err error) {
	var pins [2]string
	for i := range pins {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return fmt.Errorf("PIN not received: %w", err)
		}
		pin := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(in, pin); err != nil {
			return fmt.Errorf("PIN not received: %w", err)
		}
		pins[i] = string(pin)
	}
	if len(label) == 0 || len(label) > 32 {
		return fmt.Errorf("label %q has %d bytes, want 1 to 32", label, len(label))
	}
	p := pkcs11.New(module)
	if p == nil {
		return fmt.Errorf("cannot load module %q", module)
	}
	if err := p.Initialize(); err != nil {
		return fmt.Errorf("C_Initialize: %w", err)
	}
	defer func() { err = errors.Join(err, p.Finalize()) }()
	slot, err := freeSlot(p)
	if err != nil {
		return err
	}
	if err := p.InitToken(slot, pins[0], label); err != nil {
		return fmt.Errorf("C_InitToken: %w", err)
	}
	s, err := p.OpenSession(slot, pkcs11.CKF_SERIAL_SESSION|pkcs11.CKF_RW_SESSION)
	if err != nil {
		return fmt.Errorf("C_OpenSession: %w", err)
	}
	if err := p.Login(s, pkcs11.CKU_SO, pins[0]); err != nil {
		return fmt.Errorf("C_Login: %w", err)
	}
	if err := p.InitPIN(s, pins[1]); err != nil {
		return fmt.Errorf("C_InitPIN: %w", err)
	}
	return nil
}

// freeSlot is the slot that SoftHSM2 always keeps for the next token.
func freeSlot(p *pkcs11.Ctx) (uint, error) {
	slots, err := p.GetSlotList(true)
	if err != nil {
		return 0, fmt.Errorf("C_GetSlotList: %w", err)
	}
	for _, s := range slots {
		info, err := p.GetTokenInfo(s)
		if err != nil {
			return 0, fmt.Errorf("C_GetTokenInfo: %w", err)
		}
		if info.Flags&pkcs11.CKF_TOKEN_INITIALIZED == 0 {
			return s, nil
		}
	}
	return 0, fmt.Errorf("none of %d slots is free", len(slots))
}
