package softhsm

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"

	"github.com/mintwarden/mintwarden/hsm"
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
// use.
func makeHere(module, label string, in io.Reader) error {
	var pins [2][]byte
	for i := range pins {
		var head [2]byte
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return fmt.Errorf("PIN not received: %w", err)
		}
		pins[i] = make([]byte, binary.BigEndian.Uint16(head[:]))
		defer clear(pins[i])
		if _, err := io.ReadFull(in, pins[i]); err != nil {
			return fmt.Errorf("PIN not received: %w", err)
		}
	}
	_, err := hsm.InitToken(context.Background(), module, label, pins[0], pins[1], slog.New(slog.DiscardHandler))
	return err
}
