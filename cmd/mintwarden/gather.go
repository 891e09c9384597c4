package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/policy"
)

// gathering is how custodians sign one document on several machines: an envelope
// in a file, which goes from one to the next. It holds no secret; who changes it
// on the way makes signatures that do not verify.
type gathering struct {
	consent
	file string
}

func (g *gathering) flags(cmd *cobra.Command) {
	g.consent.flags(cmd)
	cmd.Flags().StringVar(&g.file, "document", "", "file with the document and the signatures so far; made if it is not there")
}

// act is one kind of document that custodians sign, with what becomes of it.
type act struct {
	kind string // policy.Doc…
	need int    // signatures of custodians
	// draft gives the document where nobody signed one yet.
	draft func() (interface{ Encode() ([]byte, error) }, error)
	// show is what a person reads before signing; it refuses a document that is
	// not what was asked for, or cannot count.
	show func(payload []byte) error
	// apply hands in what enough custodians signed, unless that is done elsewhere.
	apply     func(ctx context.Context, e *policy.Envelope) error
	elsewhere string // where, and by which command; empty: here
	// next is the command for the next custodian, without --key.
	next string
}

// gathered is what --json prints of a document that custodians sign.
type gathered struct {
	Document policy.Digest `json:"document"`
	SignedBy []string      `json:"signedBy"`
	Required int           `json:"required"`
	Applied  bool          `json:"applied"`
	File     string        `json:"file,omitzero"`
}

// gather takes a document one signature further, and applies it when there are
// enough.
func (c *cli) gather(ctx context.Context, g *gathering, a act, charter *policy.Charter, s *policy.Signer) error {
	e, err := g.begin(a, charter)
	if err != nil {
		return err
	}
	signed := signers(charter, e)
	var custodian *policy.Custodian
	if len(signed) < a.need {
		if custodian, err = c.custodian(charter, s); err != nil {
			return err
		}
	}
	if err := a.show(e.Payload); err != nil {
		return err
	}
	if len(signed) > 0 {
		c.say("Signed by %s.", list(signed))
	}
	if custodian != nil && !slices.Contains(signed, custodian.Name) {
		if err := g.sign(ctx, c, charter, custodian, e, s); err != nil {
			return err
		}
		signed = signers(charter, e)
	}
	out := gathered{Document: e.PayloadDigest(), SignedBy: signed, Required: a.need, File: g.file}
	enough := len(signed) >= a.need
	if enough && a.elsewhere == "" {
		if err := a.apply(ctx, e); err != nil {
			return err
		}
		out.Applied = true
	}
	switch {
	case c.json:
		return c.showJSON(out)
	case out.Applied:
	case enough:
		c.say("That is enough. Hand it in on the appliance%s --socket SOCKET --document %s", a.elsewhere, g.file)
	default:
		c.say("Signed: %d of %d. The next custodian goes on with", len(signed), a.need)
		c.say("  %s --document %s --key FILE", a.next, g.file)
	}
	return nil
}

// draftEnding is of the file that holds a document which nobody signed yet, beside
// that of the envelope, which has at least one signature: so that a document keeps
// its digest from one run to the next.
const draftEnding = ".draft"

// begin is the envelope so far: that of the file, or else one of the document that
// was drafted before, or is now.
func (g *gathering) begin(a act, charter *policy.Charter) (*policy.Envelope, error) {
	e, err := g.load(a, charter)
	if err != nil || e != nil {
		return e, err
	}
	if g.file == "" && a.need > 1 {
		return nil, usagef("%d custodians have to sign this; name a file for the signatures with --document FILE", a.need)
	}
	e = &policy.Envelope{PayloadType: policy.PayloadType(a.kind)}
	if g.file != "" {
		if e.Payload, err = readBounded(g.file+draftEnding, policy.MaxDocument); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return e, err
		}
	}
	doc, err := a.draft()
	if err != nil {
		return nil, err
	}
	if e.Payload, err = doc.Encode(); err != nil {
		return nil, err
	}
	if g.file != "" {
		err = writeWhole(g.file+draftEnding, e.Payload, 0o644, nil)
	}
	return e, err
}

// sign asks, signs and keeps the signature.
func (g *gathering) sign(ctx context.Context, c *cli, charter *policy.Charter, custodian *policy.Custodian, e *policy.Envelope, s *policy.Signer) error {
	if err := g.askable(c, charter); err != nil {
		return err
	}
	c.people().printf("Digest of the document: %s\n", e.PayloadDigest())
	if g.file != "" || g.expect != "" { // else it was made of what was typed, just now
		if err := g.settled(charter, e.PayloadDigest()); err != nil {
			return err
		}
	}
	if err := c.ask(ctx, &g.consent, fmt.Sprintf("Sign this as %s?", custodian.Name)); err != nil {
		return err
	}
	if err := e.AddSignature(s); err != nil {
		return err
	}
	if g.file == "" {
		return nil
	}
	if err := writeWhole(g.file, append(e.Encode(), '\n'), 0o644, nil); err != nil {
		return err
	}
	if err := os.Remove(g.file + draftEnding); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// signer is the signing key, nil where none is named: a document that is signed
// already is handed in without one.
func (g *gathering) signer(ctx context.Context, c *cli) (*policy.Signer, error) {
	if g.key == "" && c.as == "" {
		return nil, nil
	}
	return c.signer(ctx, g.key)
}

// load reads the file, nil where it is not there yet. Every signature in it must
// hold.
func (g *gathering) load(a act, charter *policy.Charter) (*policy.Envelope, error) {
	if g.file == "" {
		return nil, nil
	}
	e, err := readEnvelope(g.file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := charter.VerifyCustodians(a.kind, e); err != nil {
		return nil, unverified("%s: %w", g.file, err)
	}
	return e, nil
}

func readEnvelope(path string) (*policy.Envelope, error) {
	text, err := readBounded(path, policy.MaxEnvelope+1)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		return nil, usage(err)
	}
	e, err := policy.ParseEnvelope(text)
	if err != nil {
		return nil, usagef("%s: %w", path, err)
	}
	return e, nil
}

// signers are the custodians whose keys the envelope names, sorted, each once.
func signers(charter *policy.Charter, e *policy.Envelope) []string {
	out := []string{}
	for _, id := range e.KeyIDs() {
		if m, _, ok := charter.CustodianByKey(id); ok {
			out = append(out, m.Name)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
