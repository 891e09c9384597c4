package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/mintwarden/mintwarden/policy"
)

// writeCredential leaves the user PIN as an encrypted systemd credential, for an
// appliance that starts unattended: sealed to this machine's TPM or, where the
// charter accepts that, under the host's key. The PIN goes there by a pipe.
func (f *founding) writeCredential(ctx context.Context) error {
	path := f.opts.credential
	if path == "" || exists(path) {
		return nil
	}
	if err := f.openPINs(ctx); err != nil {
		return err
	}
	key := "tpm2"
	if f.plan.Flags.HostKeyAccepted || f.plan.Environment == policy.Dev {
		key = "auto" // the TPM where there is one
	}
	name := f.opts.loadedAs
	if name == "" {
		name = strings.TrimSuffix(filepath.Base(path), filepath.Ext(path))
	}
	cmd := exec.CommandContext(ctx, "systemd-creds", "encrypt", "--with-key="+key, "--name="+name, "-", "-")
	var out, said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(f.pins.user.Bytes()), &out, &said
	if err := cmd.Run(); err != nil {
		return refused("encrypting the PIN as a systemd credential (key %s): %w: %s", key, err, strings.TrimSpace(said.String()))
	}
	// The seal looks at it too, for what it is encrypted with.
	info, err := os.Stat(f.seal.State)
	if err != nil {
		return fmt.Errorf("the seal's state directory: %w", err)
	}
	if err := writeWhole(path, out.Bytes(), 0o600, ownerOf(info)); err != nil {
		return err
	}
	f.c.say("The PIN stands encrypted in %s, as credential %s: the unit loads it (LoadCredentialEncrypted=), and seal.toml names it under [pin].", path, name)
	return nil
}
