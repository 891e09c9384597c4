package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// gatherPeople reads everybody's public keys: a charter with people, and without
// what only the seal knows.
func (c *cli) gatherPeople(ctx context.Context, y *ceremony) (*policy.Charter, error) {
	out := &policy.Charter{Custodians: policy.Custodians{Threshold: y.Custodians.Threshold}, Groups: y.Groups}
	if out.Groups == nil {
		out.Groups = map[string][]string{}
	}
	for _, m := range y.Custodians.Members {
		keys, err := c.publicKeys(ctx, m.PublicKeys)
		if err != nil {
			return nil, usagef("custodian %s: %w", m.Name, err)
		}
		out.Custodians.Members = append(out.Custodians.Members, policy.Custodian{Name: m.Name, Keys: keys})
	}
	for _, p := range y.Persons {
		keys, err := c.publicKeys(ctx, p.PublicKeys)
		if err != nil {
			return nil, usagef("person %s: %w", p.Name, err)
		}
		out.Persons = append(out.Persons, policy.Person{Name: p.Name, Keys: keys, Users: []string{}})
	}
	return out, nil
}

// publicKeys reads PEM files, and keys in tokens.
func (c *cli) publicKeys(ctx context.Context, places []string) ([]policy.PublicKey, error) {
	var out []policy.PublicKey
	for _, place := range places {
		if isPKCS11(place) {
			s, err := c.loadSigner(ctx, place)
			if err != nil {
				return nil, err
			}
			out = append(out, s.Public())
			continue
		}
		text, err := readBounded(place, maxPEM)
		if err != nil {
			return nil, err
		}
		key, err := policy.ParsePublicKeyPEM(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", place, err)
		}
		out = append(out, key)
	}
	return out, nil
}

// maxPEM bounds a key's file in bytes: an ML-DSA-65 private key in PEM has under 6 KiB.
const maxPEM = 16 << 10

// signer is a custodian's key where it is reached from here, nil for one who
// signs elsewhere. It must be the custodian's.
func (f *founding) signer(ctx context.Context, custodian string) (*policy.Signer, error) {
	if s, ok := f.signers[custodian]; ok {
		return s, nil
	}
	n := slices.IndexFunc(f.plan.Custodians.Members, func(m ceremonyCustodian) bool { return m.Name == custodian })
	if n < 0 || f.plan.Custodians.Members[n].Key == "" {
		return nil, nil
	}
	s, err := f.c.loadSigner(ctx, f.plan.Custodians.Members[n].Key)
	if err != nil {
		return nil, fmt.Errorf("custodian %s: %w", custodian, err)
	}
	if !slices.Contains(f.people.Custodians.Members[n].Keys, s.Public()) {
		return nil, usagef("custodian %s: the key at %s is %s, which is none of the public_keys", custodian, f.plan.Custodians.Members[n].Key, s.Public())
	}
	f.signers[custodian] = s
	return s, nil
}

// makeKeys has the seal make its keys in the token, or tell them again.
func (f *founding) makeKeys(ctx context.Context) (err error) {
	if _, err = f.await(ctx, "unsealed", func(s *seal.Status) bool { return !s.Sealed }); err != nil {
		return err
	}
	f.me, err = f.door.Init(ctx)
	return err
}

// appliance is what a charter says of this one.
func (f *founding) appliance() policy.Appliance {
	return policy.Appliance{ID: f.seal.Appliance, LedgerKey: f.me.LedgerKey, UnsealKey: f.me.UnsealKey,
		Token: policy.SecurityToken{Serial: f.me.Token.Serial, CheckValues: f.me.Token.CheckValues}}
}

// writeCharter writes charter 1 down, once: every custodian signs the same bytes.
func (f *founding) writeCharter(context.Context) error {
	charter, err := f.draftCharter()
	if err != nil {
		return err
	}
	document, err := charter.Encode()
	if err != nil {
		return usagef("charter 1 would not hold: %w", err)
	}
	path := f.path(workCharter)
	have, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return writeWhole(path, document, 0o644, nil)
	case err != nil:
		return err
	case string(have) != string(document):
		return refused("%s is another charter 1 than this ceremony makes: its file or the seal's keys changed since; if nobody is to sign that one, take %s away, and what was signed (%s, %s)",
			path, path, f.path(workSigned), f.path(workSignatures))
	}
	return nil
}

func (f *founding) draftCharter() (*policy.Charter, error) {
	y := f.plan
	c := &policy.Charter{Format: policy.Format, Instance: y.Instance, Version: 1, Environment: y.Environment, TenantID: y.Tenant,
		Networks: []policy.Network{}, Custodians: f.people.Custodians, Persons: []policy.Person{}, Groups: f.people.Groups,
		Appliances: []policy.Appliance{f.appliance()}, Limits: y.Limits.limits(), Flags: y.Flags.flags()}
	for n := range y.Networks {
		c.Networks = append(c.Networks, y.Networks[n].network())
	}
	for _, p := range f.people.Persons {
		id, ok := f.users.id(p.Name)
		if !ok {
			return nil, refused("%s has no user for person %s: the ceremony's file changed since; take it away to draw users anew", f.path(workUsers), p.Name)
		}
		p.Users = []string{id}
		c.Persons = append(c.Persons, p)
	}
	return c, nil
}

// signCharter collects every custodian's signature over charter 1.
func (f *founding) signCharter(ctx context.Context) error {
	document, err := os.ReadFile(f.path(workCharter))
	if err != nil {
		return err
	}
	charter, err := policy.ParseCharter(document)
	if err != nil {
		return err
	}
	e := &policy.Envelope{PayloadType: policy.PayloadType(policy.DocCharter), Payload: document}
	if err := f.brought(charter, e); err != nil {
		return err
	}
	shown := false
	for _, m := range charter.Custodians.Members {
		if slices.Contains(signers(charter, e), m.Name) {
			continue
		}
		s, err := f.signer(ctx, m.Name)
		if err != nil {
			return err
		}
		if s == nil {
			continue
		}
		if !shown {
			f.c.showCharter(charter, nil, policy.DigestOf(document))
			shown = true
		}
		if err := f.c.ask(ctx, &consent{yes: f.opts.yes}, fmt.Sprintf("Does %s sign this?", m.Name)); err != nil {
			return err
		}
		if err := e.AddSignature(s); err != nil {
			return err
		}
		if err := writeWhole(f.path(workSigned), append(e.Encode(), '\n'), 0o644, nil); err != nil {
			return err
		}
	}
	if missing := unsigned(charter, e); len(missing) > 0 {
		return f.askForSignatures(missing, policy.DigestOf(document))
	}
	if _, err := policy.CheckFirstCharter(e); err != nil {
		return unverified("charter 1: %w", err)
	}
	f.signed = e
	f.c.say("Charter 1 is signed by every custodian.")
	return writeWhole(f.path(workSigned), append(e.Encode(), '\n'), 0o644, nil)
}

// unsigned are the custodians whose signature is missing.
func unsigned(charter *policy.Charter, e *policy.Envelope) []string {
	var out []string
	have := signers(charter, e)
	for _, m := range charter.Custodians.Members {
		if !slices.Contains(have, m.Name) {
			out = append(out, m.Name)
		}
	}
	return out
}

// brought adds the signatures of earlier runs and those that custodians brought.
func (f *founding) brought(charter *policy.Charter, e *policy.Envelope) error {
	files, err := filepath.Glob(f.path(workSignatures, "*.json"))
	if err != nil {
		return err
	}
	for _, path := range append([]string{f.path(workSigned)}, files...) {
		have, err := readEnvelope(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if string(have.Payload) != string(e.Payload) {
			return unverified("%s is signed over another charter than %s; take it away", path, f.path(workCharter))
		}
		if _, err := charter.VerifyCustodians(policy.DocCharter, have); err != nil {
			return unverified("%s: %w", path, err)
		}
		known := e.KeyIDs()
		for _, s := range have.Signatures {
			if !slices.Contains(known, s.KeyID) {
				e.Signatures = append(e.Signatures, s)
			}
		}
	}
	return nil
}

func (f *founding) askForSignatures(missing []string, digest policy.Digest) error {
	if err := os.MkdirAll(f.path(workSignatures), privateDir); err != nil {
		return err
	}
	return refused("charter 1 waits for the signature of %s. On a machine of their own, with %s, each runs: mintwarden charter sign --first %s --key KEY --out NAME.json; the digest there must be %s. Bring the files to %s and run this again",
		list(missing), f.path(workCharter), filepath.Base(f.path(workCharter)), digest, f.path(workSignatures))
}

// nameCharter roots the seal, and serve, in charter 1.
func (f *founding) nameCharter(context.Context) error {
	digest := f.signed.PayloadDigest()
	if err := writeWhole(f.path(workDigest), []byte(digest+"\n"), 0o644, nil); err != nil {
		return err
	}
	for _, path := range []string{f.plan.SealConfig, f.plan.ServeConfig} {
		if path == "" {
			continue
		}
		err := nameCharter1(path, digest)
		if errors.Is(err, errCharterNamed) {
			return refused("%w; if that charter never took effect, take the line away", err)
		}
		if err != nil {
			return err
		}
		if err := f.at("charter 1 named in " + filepath.Base(path)); err != nil {
			return err
		}
	}
	return nil
}

// applyCharter makes charter 1 the ledger's first batch.
func (f *founding) applyCharter(ctx context.Context) error {
	status, err := f.await(ctx, "unsealed", func(s *seal.Status) bool { return !s.Sealed })
	if err != nil || status.Initialized {
		return err
	}
	done, err := f.door.CharterApply(ctx, f.signed)
	if err != nil {
		return fmt.Errorf("charter 1: %w", err)
	}
	f.c.say("Charter 1 is in force: batch %d of the ledger. Its digest, which everything is verified from:", done.Sequence)
	f.c.say("  %s", f.signed.PayloadDigest())
	return nil
}

// showCharter is what a custodian reads: the whole of a first charter, or how a
// later one differs from that in force.
func (c *cli) showCharter(charter, inForce *policy.Charter, digest policy.Digest) {
	w := c.people()
	if inForce == nil {
		w.printf("%s", charterRows(charter, digest).render(w.width()))
		return
	}
	say := func(format string, args ...any) { w.printf("%s\n", wrapped(fmt.Sprintf(format, args...), w.width())) }
	say("Charter of %s, version %d. Against version %d, which is in force:", charter.Instance, charter.Version, inForce.Version)
	for _, words := range policy.CharterDifference(inForce, charter) {
		w.printf("%s\n", hanging("  - ", printable(strings.TrimSpace(words)), w.width()))
	}
	say("Digest of the document: %s", digest)
}
