package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

// folders are where a demo identity's files lie, by the first word of its name.
var folders = map[string]string{"approver": "approvers", "custodian": "custodians", "operator": "keys", "admin": "keys", "viewer": "keys"}

// keylessError says that a demo identity is there and signs nothing.
type keylessError struct{ as string }

func (e *keylessError) Error() string {
	return fmt.Sprintf("%s has no signing key: approvers sign decisions, custodians sign policies", e.as)
}

// identityFile is the path of a demo identity's file, such as approvers/approver-1.key.
func (c *cli) identityFile(ending string) (string, error) {
	dir := os.Getenv(envDir)
	if dir == "" {
		return "", usagef("--as %s needs $%s; source the env file of the development appliance", c.as, envDir)
	}
	kind, _, _ := strings.Cut(c.as, "-")
	folder, ok := folders[kind]
	if !ok || strings.ContainsAny(c.as, "/\\") {
		return "", usagef("--as %q is none of operator, admin, viewer, approver-N, custodian-N", c.as)
	}
	path := filepath.Join(dir, folder, c.as+ending)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	} else if !errors.Is(err, os.ErrNotExist) {
		return "", usagef("--as %s: %w", c.as, err)
	}
	there := identities(kind)
	switch {
	case slices.Contains(there, c.as):
		return "", &codedError{exitRefused, &keylessError{c.as}}
	case len(there) == 0:
		return "", usagef("--as %s: there is no such identity, and no other %s in %s", c.as, kind, dir)
	}
	return "", usagef("--as %s: there is no such identity; there are %s", c.as, list(there))
}

// identities are the development appliance's demo identities of the kinds, all
// of them where none is named.
func identities(kinds ...string) []string {
	found, err := filepath.Glob(filepath.Join(os.Getenv(envDir), "*", "*.apikey"))
	if err != nil || os.Getenv(envDir) == "" {
		return nil
	}
	var out []string
	for _, path := range found {
		name := strings.TrimSuffix(filepath.Base(path), ".apikey")
		kind, _, _ := strings.Cut(name, "-")
		if folders[kind] == filepath.Base(filepath.Dir(path)) && (len(kinds) == 0 || slices.Contains(kinds, kind)) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// signer is the key that a person signs with: --key, or that of --as.
func (c *cli) signer(ctx context.Context, key string) (*policy.Signer, error) {
	if key == "" {
		if c.as == "" {
			return nil, usagef("name your signing key: --key FILE, or --as for a demo identity")
		}
		var err error
		if key, err = c.identityFile(".key"); err != nil {
			return nil, err
		}
	}
	return c.loadSigner(ctx, key)
}

// signing is the signer with the verified ledger to find him in. The signer is
// nil for an identity without a key, which the caller refuses with the names of
// those who could sign.
func (c *cli) signing(ctx context.Context, key string) (*policy.Signer, *ledger.Fold, error) {
	signer, err := c.signer(ctx, key)
	var keyless *keylessError
	if err != nil && !errors.As(err, &keyless) {
		return nil, nil, err
	}
	_, fold, unreached := c.verified(ctx)
	if unreached != nil && keyless != nil {
		return nil, nil, err
	}
	return signer, fold, unreached
}

// stranger says that the signing key, or the identity that has none, is of
// nobody who may sign here: no approver, no custodian.
func (c *cli) stranger(charter *policy.Charter, s *policy.Signer, what string) string {
	if s == nil && c.as == "" {
		return "no signing key is named (--key FILE)"
	}
	if s == nil {
		return c.as + " is no " + what
	}
	id := s.Public().KeyID()
	if p, _, ok := charter.PersonByKey(id); ok {
		return p.Name + " is no " + what
	}
	if m, _, ok := charter.CustodianByKey(id); ok {
		return m.Name + " is no " + what
	}
	return "the signing key " + id + " is nobody's of the charter in force"
}

// notHis refuses somebody who may not sign this: the command was typed as it
// should be. Who named no key at all typed too little.
func (c *cli) notHis(s *policy.Signer, format string, args ...any) error {
	if s == nil && c.as == "" {
		return usagef(format, args...)
	}
	return refused(format, args...)
}

// approver is the person who signs a decision; the error names who could.
func (c *cli) approver(charter *policy.Charter, s *policy.Signer, r *review) (*policy.Person, error) {
	if s != nil {
		if p, _, ok := charter.PersonByKey(s.Public().KeyID()); ok {
			return p, nil
		}
	}
	return nil, c.notHis(s, "%s; %s asks %s", c.stranger(charter, s, "approver"), r.intent.OperationID, r.askedWords(charter))
}

// custodian is who signs a policy; the error names who could.
func (c *cli) custodian(charter *policy.Charter, s *policy.Signer) (*policy.Custodian, error) {
	if s != nil {
		if m, _, ok := charter.CustodianByKey(s.Public().KeyID()); ok {
			return m, nil
		}
	}
	var members []string
	for _, m := range charter.Custodians.Members {
		members = append(members, m.Name)
	}
	return nil, c.notHis(s, "%s; policies are signed by %d of %s", c.stranger(charter, s, "custodian"), charter.Custodians.Threshold, list(members))
}

// askedWords says whom an operation asks, by the rules that judge it.
func (r *review) askedWords(charter *policy.Charter) string {
	var out []string
	for _, o := range r.verdict.Rules {
		if o.Group == "" || o.Need == 0 {
			continue
		}
		var who []string
		for group := range strings.SplitSeq(o.Group, ", ") {
			members, _ := charter.Group(group)
			who = append(who, fmt.Sprintf("%s (%s)", group, list(members)))
		}
		if words := fmt.Sprintf("%d of %s", o.Need, list(who)); !slices.Contains(out, words) {
			out = append(out, words)
		}
	}
	if len(out) == 0 {
		return "nobody"
	}
	return list(out)
}

// toPaste are commands that the next signers can paste: under a dev charter one
// for each of the first identities of this machine that still may sign, else one
// to fill in.
func (c *cli) toPaste(fold *ledger.Fold, command string, may, did []string, need int) []string {
	out := []string{}
	if fold != nil {
		if charter, _ := fold.Charter(); charter.Environment == policy.Dev {
			here := identities("approver", "custodian")
			for _, name := range may {
				if slices.Contains(here, name) && !slices.Contains(did, name) && len(out) < need {
					out = append(out, command+" --as "+name)
				}
			}
		}
	}
	if len(out) == 0 {
		out = append(out, command+" --key FILE")
	}
	return out
}
