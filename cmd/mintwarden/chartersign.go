package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// charterProposal is a charter that is not in force yet.
type charterProposal struct {
	Charter  *policy.Charter `json:"charter"`
	Digest   policy.Digest   `json:"digest"`
	SignedBy []string        `json:"signedBy"` // by the appliance's word
	document []byte
}

// charterProposals reads the open proposals. What the appliance says beside them
// must be what the documents say.
func charterProposals(served *client.Charter) ([]charterProposal, error) {
	out := []charterProposal{}
	if served.Proposals == nil {
		return out, nil
	}
	for _, v := range *served.Proposals {
		if v.Status != client.CharterStatusPENDINGAUTHORIZATION {
			continue
		}
		doc, err := policy.ParseCharter(v.Document)
		if err != nil {
			return nil, unverified("what the appliance serves as a proposed charter is none: %w", err)
		}
		digest := policy.DigestOf(v.Document)
		if digest != policy.Digest(v.DocumentDigest) {
			return nil, unverified("the appliance serves a proposed charter with digest %s and calls it %s", digest, v.DocumentDigest)
		}
		out = append(out, charterProposal{doc, digest, v.SignedBy, v.Document})
	}
	return out, nil
}

// followsCharter is nil if the ledger would take the document as the next charter,
// signed by its custodians' threshold.
func followsCharter(fold *ledger.Fold, next *policy.Charter) error {
	charter, digest := fold.Charter()
	var replaces policy.Digest
	if next.Replaces != nil {
		replaces = *next.Replaces
	}
	switch {
	case next.Version != charter.Version+1 || replaces != digest:
		return unverified("it is version %d and replaces %s; by the ledger the next one is version %d and replaces %s", next.Version, orNothing(replaces), charter.Version+1, digest)
	case next.Instance != charter.Instance || next.TenantID != charter.TenantID || next.Environment != charter.Environment:
		return unverified("it is of instance %s, tenant %s, environment %s; none of these ever changes from %s, %s, %s",
			next.Instance, next.TenantID, next.Environment, charter.Instance, charter.TenantID, charter.Environment)
	}
	return nil
}

func (c *cli) charterPropose() *cobra.Command {
	var file, key string
	var yes bool
	cmd := &cobra.Command{
		Use:   "propose --charter FILE",
		Short: "Propose the next version of the charter",
		Long: `Propose the next version of the charter.

FILE holds the whole of it, as 'mintwarden charter show --next' prints it. What it
changes is shown in words, against the version that the verified ledger has in
force. It is in force once the custodians' threshold has signed it with
'mintwarden charter sign'.`,
		Example: `  mintwarden charter show --next > charter.json
  mintwarden charter propose --charter charter.json`,
		Args: none,
	}
	f := cmd.Flags()
	f.StringVar(&file, "charter", "", "file of the charter, JSON")
	f.BoolVar(&yes, "yes", false, "propose it without asking")
	keyFlag(f, &key)
	required(cmd, "charter")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error { return c.proposeCharter(ctx, file, key, yes) })
}

func (c *cli) proposeCharter(ctx context.Context, file, key string, yes bool) error {
	text, err := readBounded(file, policy.MaxDocument)
	if err != nil {
		return usagef("--charter: %w", err)
	}
	next, err := policy.ParseCharter(text)
	if err != nil {
		return usagef("--charter %s: %w", file, err)
	}
	api, fold, err := c.verified(ctx)
	if err != nil {
		return err
	}
	if err := followsCharter(fold, next); err != nil {
		return usagef("--charter %s: %w", file, err)
	}
	document, err := next.Encode()
	if err != nil {
		return err
	}
	inForce, _ := fold.Charter()
	c.showCharter(next, inForce, policy.DigestOf(document))
	if !yes && c.terminal() {
		if said, err := c.typed(ctx, "Propose this? Type yes:"); err != nil || said != "yes" {
			return refused("nothing was proposed: you did not answer yes")
		}
	}
	served, err := api.ProposeCharter(ctx, client.CharterWrite{Document: document}, keyed(key)...)
	if err != nil {
		return err
	}
	if c.json {
		return c.showJSON(served)
	}
	c.say("Proposed. It waits for the signatures of %d custodians:", inForce.Custodians.Threshold)
	for _, line := range c.toPaste(fold, "mintwarden charter sign", custodianNames(inForce), nil, int(inForce.Custodians.Threshold)) {
		c.say("  %s", line)
	}
	return nil
}

func custodianNames(c *policy.Charter) []string {
	var out []string
	for _, m := range c.Custodians.Members {
		out = append(out, m.Name)
	}
	return out
}

func (c *cli) charterSign() *cobra.Command {
	var o consent
	var digest, first, out string
	cmd := &cobra.Command{
		Use:   "sign",
		Short: "See what a proposed charter changes, in words, and sign it as a custodian",
		Long: `See what a proposed charter changes, in words, and sign it as a custodian.

The proposal must follow the charter that the verified ledger has in force. If it
does not, nothing is signed (exit code 5). Your signature is over exactly the
document that is shown.

With --first it is charter 1 itself, of which there is no ledger yet: a file that
'mintwarden init' left, on a machine of your own. Compare its digest with what the
appliance's terminal shows, and bring back what --out writes.`,
		Example: `  mintwarden charter sign --key ~/keys/custodian.pem
  mintwarden charter sign --as custodian-1 --proposal sha256:…
  mintwarden charter sign --first charter1.json --key ~/keys/carol.pem --out carol.json`,
		Args: none,
	}
	o.flags(cmd)
	f := cmd.Flags()
	f.StringVar(&digest, "proposal", "", "which proposal, by its digest, where several are open")
	f.StringVar(&first, "first", "", "file of charter 1, during the first ceremony")
	f.StringVar(&out, "out", "", "with --first: where your signature goes")
	cmd.MarkFlagsRequiredTogether("first", "out")
	return c.leaf(cmd, func(ctx context.Context, _ []string) error {
		if err := o.check(); err != nil {
			return err
		}
		if first != "" {
			return c.signFirstCharter(ctx, &o, first, out)
		}
		return c.signCharter(ctx, &o, policy.Digest(digest))
	})
}

func (c *cli) signCharter(ctx context.Context, o *consent, which policy.Digest) error {
	if which != "" && !which.Valid() {
		return usagef("--proposal %q: want sha256: and 64 hex digits", which)
	}
	signer, fold, err := c.signing(ctx, o.key)
	if err != nil {
		return err
	}
	charter, _ := fold.Charter()
	custodian, err := c.custodian(charter, signer)
	if err != nil {
		return err
	}
	p, err := c.openCharter(ctx, which)
	if err != nil {
		return err
	}
	if slices.Contains(p.SignedBy, custodian.Name) {
		return c.tell(p, "Already signed by %s: %d of %d; version %d waits for the others.", custodian.Name, len(p.SignedBy), charter.Custodians.Threshold, p.Charter.Version)
	}
	if err := followsCharter(fold, p.Charter); err != nil {
		return err
	}
	c.showCharter(p.Charter, charter, p.Digest)
	sequence, _ := fold.Head()
	c.people().printf("Checked against the ledger of %s, verified here up to batch %d.\n", printable(charter.Instance), sequence)
	e, err := c.signDocument(ctx, o, charter, policy.DocCharter, p.document, signer, custodian.Name)
	if err != nil {
		return err
	}
	body, err := wire(e)
	if err != nil {
		return err
	}
	signed, err := c.api.SignCharter(ctx, body)
	if err != nil {
		return err
	}
	if c.json {
		return c.showJSON(signed)
	}
	c.say("Signed: %d of %d; version %d is %s.", len(signed.SignedBy), signed.RequiredSignatures, signed.Version, signed.Status)
	return nil
}

// signDocument asks and signs exactly the bytes that were shown.
func (c *cli) signDocument(ctx context.Context, o *consent, charter *policy.Charter, kind string, document []byte, s *policy.Signer, name string) (*policy.Envelope, error) {
	if err := o.askable(c, charter); err != nil {
		return nil, err
	}
	if err := o.settled(charter, policy.DigestOf(document)); err != nil {
		return nil, err
	}
	if err := c.ask(ctx, o, fmt.Sprintf("Sign this as %s?", name)); err != nil {
		return nil, err
	}
	return policy.Sign(policy.PayloadType(kind), document, s)
}

// openCharter is the proposal that is meant.
func (c *cli) openCharter(ctx context.Context, which policy.Digest) (*charterProposal, error) {
	served, err := c.api.GetCharter(ctx)
	if err != nil {
		return nil, err
	}
	open, err := charterProposals(served)
	if err != nil {
		return nil, err
	}
	if which != "" {
		open = slices.DeleteFunc(open, func(p charterProposal) bool { return p.Digest != which })
	}
	switch len(open) {
	case 0:
		return nil, refused("no such charter is proposed")
	case 1:
		return &open[0], nil
	}
	var digests []string
	for _, p := range open {
		digests = append(digests, string(p.Digest))
	}
	return nil, usagef("%d charters are proposed; say which with --proposal: %s", len(open), list(digests))
}

// signFirstCharter signs charter 1 away from the appliance.
func (c *cli) signFirstCharter(ctx context.Context, o *consent, file, out string) error {
	if err := replaceable(out, policy.MaxEnvelope+1, policy.ParseEnvelope); err != nil {
		return err
	}
	document, err := readBounded(file, policy.MaxDocument)
	if err != nil {
		return usagef("--first: %w", err)
	}
	charter, err := policy.ParseCharter(document)
	if err != nil {
		return unverified("%s: %w", file, err)
	}
	if charter.Version != 1 {
		return unverified("%s is version %d of a charter, not the first", file, charter.Version)
	}
	signer, err := c.signer(ctx, o.key)
	if err != nil {
		return err
	}
	custodian, err := c.custodian(charter, signer)
	if err != nil {
		return err
	}
	c.showCharter(charter, nil, policy.DigestOf(document))
	e, err := c.signDocument(ctx, o, charter, policy.DocCharter, document, signer, custodian.Name)
	if err != nil {
		return err
	}
	if err := writeWhole(out, append(e.Encode(), '\n'), 0o644, nil); err != nil {
		return err
	}
	return c.tell(e, "Signed by %s. Bring %s to the appliance.", custodian.Name, out)
}
