// Package softhsm makes SoftHSM2 tokens for development and tests.
//
// A token is a directory of its own with its own softhsm2.conf, made in a child
// process (see maker.go), so that nothing of the machine's SoftHSM configuration
// is read or changed, and a caller that has the module loaded, with whatever
// configuration, is not disturbed. PINs reach the child through a pipe, never as
// arguments. Whoever uses the token must have SOFTHSM2_CONF set to
// Token.ConfPath before the module is loaded.
//
// It promises nothing about secrecy: the keys are files that are encrypted
// under the user PIN, on the disk.
package softhsm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mintwarden/mintwarden/hsm"
)

// EnvConf is the variable by which SoftHSM2 finds its configuration.
const EnvConf = "SOFTHSM2_CONF"

// modules is where Debian and others put the library.
var modules = []string{
	"/usr/lib/softhsm/libsofthsm2.so",
	"/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
	"/usr/local/lib/softhsm/libsofthsm2.so",
	"/usr/lib64/pkcs11/libsofthsm2.so",
}

// Token says how to reach a token.
type Token struct {
	ConfPath   string // value of SOFTHSM2_CONF
	ModulePath string
	Label      string
}

// Env returns the assignment that a child process needs.
func (t *Token) Env() string { return EnvConf + "=" + t.ConfPath }

// Config returns the hsm configuration of the token, to be filled further.
func (t *Token) Config() hsm.Config {
	return hsm.Config{Module: t.ModulePath, TokenLabel: t.Label}
}

// Module returns the path of the SoftHSM2 library on this machine.
func Module() (string, error) {
	for _, m := range modules {
		if _, err := os.Stat(m); err == nil {
			return m, nil
		}
	}
	return "", fmt.Errorf("softhsm: no libsofthsm2.so in %s (apt install softhsm2)", strings.Join(modules, ", "))
}

// Create makes a token with the label in dir, or finds the one that Create
// made there before: then it does not touch it. PINs are 4 to 255 bytes, a label
// 1 to 32.
func Create(ctx context.Context, dir, label string, soPIN, userPIN []byte) (*Token, error) {
	module, err := Module()
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	t := &Token{ConfPath: filepath.Join(dir, "softhsm2.conf"), ModulePath: module, Label: label}
	tokens := filepath.Join(dir, "tokens")
	if err := os.MkdirAll(tokens, 0o700); err != nil {
		return nil, err
	}
	// Written each time: the directory may have been moved since.
	conf := fmt.Sprintf("directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n", tokens)
	if err := os.WriteFile(t.ConfPath, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	// Written last and by rename: its presence means that the token is whole.
	done := filepath.Join(dir, "label")
	switch had, err := os.ReadFile(done); {
	case err == nil && string(had) == label:
		return t, nil
	case err == nil:
		return nil, fmt.Errorf("softhsm: %s holds token %q, not %q", dir, had, label)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, err
	}
	if err := empty(tokens); err != nil { // of an attempt that did not end
		return nil, err
	}
	if err := t.make(ctx, soPIN, userPIN); err != nil {
		return nil, err
	}
	if err := os.WriteFile(done+".new", []byte(label), 0o600); err != nil {
		return nil, err
	}
	return t, os.Rename(done+".new", done)
}

func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}
