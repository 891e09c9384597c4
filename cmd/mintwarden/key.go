package main

import (
	"context"
	"io/fs"
	"os"
	"strings"

	"github.com/mintwarden/mintwarden/hsm"
	"github.com/mintwarden/mintwarden/policy"
)

// isPKCS11 tells a URI of a key in a token (RFC 7512) from a file's path.
func isPKCS11(place string) bool { return strings.HasPrefix(place, "pkcs11:") }

// loadSigner opens a signing key: a PEM file that others cannot read, or a key in a token, whose PIN is
// read from the URI's pin-source or asked for at the terminal. The token is let
// go when the program ends.
func (c *cli) loadSigner(ctx context.Context, place string) (*policy.Signer, error) {
	if isPKCS11(place) {
		return c.tokenSigner(ctx, place)
	}
	info, err := os.Stat(place)
	if err != nil {
		return nil, usagef("signing key: %w", err)
	}
	others := fs.FileMode(0o077)
	if of := ownerOf(info); of != nil && of.uid != os.Geteuid() {
		others = 0o007 // what systemd or Kubernetes hands to a service is root's, and its group's
	}
	if err := unreadable("signing key", place, info, others); err != nil {
		return nil, err
	}
	text, err := os.ReadFile(place)
	if err != nil {
		return nil, usagef("signing key: %w", err)
	}
	defer clear(text)
	s, err := policy.LoadSignerPEM(text)
	if err != nil {
		return nil, usagef("signing key %s: %w", place, err)
	}
	return s, nil
}

// unreadable refuses a secret's file that others can read.
func unreadable(what, path string, info fs.FileInfo, others fs.FileMode) error {
	if info.Mode().Perm()&others == 0 {
		return nil
	}
	return usagef("%s %s can be read by others than its owner (%s): chmod 600 %s, and think of who has read it", what, path, info.Mode(), path)
}

func (c *cli) tokenSigner(ctx context.Context, uri string) (*policy.Signer, error) {
	if s, ok := c.tokens[uri]; ok { // one login, however often it signs
		return s.signer, nil
	}
	key, err := hsm.OpenSigner(ctx, uri, func(ctx context.Context, label string) ([]byte, error) {
		return c.hidden(ctx, "PIN of token "+label)
	})
	if err != nil {
		return nil, usagef("signing key: %w", err)
	}
	s, err := policy.NewSigner(key)
	if err != nil {
		_ = key.Close()
		return nil, usagef("signing key: %w", err)
	}
	if c.tokens == nil {
		c.tokens = map[string]tokenKey{}
	}
	c.tokens[uri] = tokenKey{s, key}
	return s, nil
}

// tokenKey is a person's key in a token that is open.
type tokenKey struct {
	signer *policy.Signer
	key    *hsm.Signer
}
