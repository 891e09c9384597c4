package main

import (
	"context"
	"encoding/json/v2"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// consent is how a person says yes to what is shown.
type consent struct {
	key    string // file of the signing key
	yes    bool
	expect string
}

func (o *consent) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.key, "key", "", "your signing key: a PEM file (PKCS #8) that only you can read, or a pkcs11: URI (RFC 7512); default: that of --as")
	f.BoolVar(&o.yes, "yes", false, "sign without asking; outside a dev charter with --expect-digest only")
	f.StringVar(&o.expect, "expect-digest", "", "the digest of what you mean to sign, sha256:…, as you got it another way")
}

// check refuses flags that cannot lead to a signature, before anything is asked
// of the appliance.
func (o *consent) check() error {
	if o.expect != "" && !policy.Digest(o.expect).Valid() {
		return usagef("--expect-digest %q: want sha256: and 64 hex digits", o.expect)
	}
	return nil
}

// askable refuses where nobody can be asked and nothing said yes beforehand. The charter is nil
// where there is none yet.
func (o *consent) askable(c *cli, charter *policy.Charter) error {
	switch {
	case o.yes || c.terminal():
		return nil
	case charter != nil && charter.Environment == policy.Dev:
		return usagef("standard input is no terminal, so nobody can be asked; use --yes, which suffices under this dev charter")
	}
	return usagef("standard input is no terminal, so nobody can be asked; use --yes --expect-digest sha256:…")
}

// settled holds what is to be signed to what was expected. The charter is nil where there is none yet.
func (o *consent) settled(charter *policy.Charter, digest policy.Digest) error {
	if o.expect != "" && policy.Digest(o.expect) != digest {
		return unverified("this has digest %s, you expect %s; nothing was signed", digest, o.expect)
	}
	switch {
	case !o.yes || o.expect != "":
		return nil
	case charter == nil:
		return usagef("where there is no charter yet --yes needs --expect-digest, with the digest that the appliance's terminal shows")
	case charter.Environment != policy.Dev:
		return usagef("under a %s charter --yes needs --expect-digest with the digest of what you mean to sign", charter.Environment)
	}
	return nil
}

// ask is nil if the person at the terminal types yes.
func (c *cli) ask(ctx context.Context, o *consent, question string) error {
	if o.yes {
		if err := c.people().err; err != nil {
			return refused("nothing was signed: what it is could not be shown: %w", err)
		}
		return nil
	}
	said, err := c.typed(ctx, question+" Type yes to sign:")
	switch {
	case err != nil:
		return refused("nothing was signed: %w", err)
	case said != "yes":
		return refused("nothing was signed: you did not answer yes")
	}
	return nil
}

// people is where a person reads: standard output, but for --json, whose
// standard output is for a program.
func (c *cli) people() *printer {
	if c.json {
		return c.err
	}
	return c.out
}

// wire is an envelope as the API takes it.
func wire(e *policy.Envelope) (client.EnvelopeRequest, error) {
	var body client.EnvelopeRequest
	err := json.Unmarshal(e.Encode(), &body.Envelope)
	return body, err
}
