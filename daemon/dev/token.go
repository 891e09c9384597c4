package dev

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/mintwarden/mintwarden/hsm/softhsm"
)

// Token is a PKCS#11 token that is there already, for those who want to see this
// appliance on theirs. Without a module dev makes a SoftHSM2 token of its own.
type Token struct {
	Module string   // path of the library
	Label  string   // of the token, initialized
	PIN    string   // file that holds the user PIN and nothing else
	SOPIN  string   // file with the security officer's, which the custodians' shares keep too
	Paths  []string // what the library reads and writes beside what every one does, absolute
}

// check refuses half a token before anything is made.
func (t *Token) check() error {
	if t.Module == "" {
		if t.Label != "" || t.PIN != "" || t.SOPIN != "" || len(t.Paths) > 0 {
			return errors.New("dev: --hsm-token, --hsm-pin, --hsm-so-pin and --hsm-paths go with --hsm-module")
		}
		return nil
	}
	if t.Label == "" || t.PIN == "" || t.SOPIN == "" {
		return errors.New("dev: --hsm-module needs --hsm-token, --hsm-pin and --hsm-so-pin")
	}
	for _, p := range append([]string{t.Module, t.PIN, t.SOPIN}, t.Paths...) {
		if !filepath.IsAbs(p) {
			return fmt.Errorf("dev: path %q of the token is not absolute", p)
		}
	}
	return nil
}

// sealToken is what the seal is told of its token.
type sealToken struct {
	hsm     sealHSM
	pin     string // file
	sandbox sealSandbox
	env     []string
}

// sealSessions bounds the seal's sessions with the token.
const sealSessions = 16

// pinFiles are where the token's PINs stand.
func (a *appliance) pinFiles() map[string]string {
	if a.o.HSM.Module != "" {
		return map[string]string{"pin": a.o.HSM.PIN, "so-pin": a.o.HSM.SOPIN}
	}
	return map[string]string{"pin": a.path("hsm", "pin"), "so-pin": a.path("hsm", "so-pin")}
}

// token is the one that the options name, or a SoftHSM2 token with PINs that
// nobody sees.
func (a *appliance) token(ctx context.Context) (*sealToken, error) {
	if t := a.o.HSM; t.Module != "" {
		return &sealToken{hsm: sealHSM{Module: t.Module, Token: t.Label, Sessions: sealSessions}, pin: t.PIN,
			sandbox: sealSandbox{Read: t.Paths, Write: t.Paths}}, nil
	}
	pins := map[string][]byte{}
	for _, name := range []string{"pin", "so-pin"} {
		if !a.exists("hsm", name) {
			raw := make([]byte, 24)
			if _, err := rand.Read(raw); err != nil {
				return nil, fmt.Errorf("dev: %w", err)
			}
			if err := a.write([]byte(base64.RawURLEncoding.EncodeToString(raw)), "hsm", name); err != nil {
				return nil, err
			}
		}
		pin, err := a.read("hsm", name)
		if err != nil {
			return nil, fmt.Errorf("dev: %w", err)
		}
		pins[name] = pin
	}
	t, err := softhsm.Create(ctx, a.path("hsm", "token"), tokenLabel, pins["so-pin"], pins["pin"])
	if err != nil {
		return nil, fmt.Errorf("dev: %w", err)
	}
	return &sealToken{hsm: sealHSM{Module: t.ModulePath, Token: t.Label, Sessions: sealSessions}, pin: a.path("hsm", "pin"), env: []string{t.Env()}}, nil
}
