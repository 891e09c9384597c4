package ledger

import (
	"crypto/ed25519"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/policy"
)

// charter takes charter 1 over an empty log, and every later one as the charter in force allows.
func (s *state) charter(at place, e *Enveloped) *Refusal {
	digest := e.PayloadDigest()
	if s.documents.has(digest) {
		return refuse(ReasonDuplicate, "charter %s is recorded already", digest)
	}
	var next *policy.Charter
	var err error
	switch {
	case s.law != nil:
		next, err = policy.CheckCharter(s.law.charter, s.law.digest, e)
	case digest != s.root:
		return refuse(ReasonDocument, "charter 1 is %s, want %s", digest, s.root)
	default:
		next, err = policy.CheckFirstCharter(e)
	}
	if err != nil {
		if r := s.sibling(e); r != nil && !errors.Is(err, policy.ErrEnvelope) {
			return r
		}
		return refuseDocument(err)
	}
	l, err := newLaw(next, e, at.sequence)
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	if r := s.expel(next); r != nil {
		return r
	}
	s.law, s.instance = l, next.Instance
	s.chain = append(s.chain[:len(s.chain):len(s.chain)], l)
	s.documents.put(digest, at.sequence)
	s.charters.put(digest, at.sequence)
	return nil
}

// sibling is not nil of a charter that would replace one which another charter replaced already.
func (s *state) sibling(e *Enveloped) *Refusal {
	c, err := policy.ParseCharter(e.Payload)
	if err != nil || c.Replaces == nil {
		return nil
	}
	for _, l := range s.chain {
		if l.charter.Replaces != nil && *l.charter.Replaces == *c.Replaces {
			return refuse(ReasonConflict, "charter %s was replaced by %s, recorded in batch %d", *c.Replaces, l.digest, l.sequence)
		}
	}
	return nil
}

func newLaw(c *policy.Charter, e *Enveloped, sequence uint64) (*law, error) {
	l := &law{charter: c, envelope: e, digest: e.PayloadDigest(), sequence: sequence, grouped: map[string]bool{}, authors: map[string]ed25519.PublicKey{}}
	for _, members := range c.Groups {
		for _, person := range members {
			l.grouped[person] = true
		}
	}
	for _, a := range c.Appliances {
		key, err := x509.ParsePKIXPublicKey(a.LedgerKey.SPKI())
		if err != nil {
			return nil, fmt.Errorf("ledger key of appliance %s: %w", a.ID, err)
		}
		ledgerKey, ok := key.(ed25519.PublicKey)
		if !ok {
			return nil, fmt.Errorf("ledger key of appliance %s is %T, want Ed25519", a.ID, key)
		}
		l.authors[a.ID] = ledgerKey
	}
	return l, nil
}

// expel remembers the keys that the next charter leaves out and refuses one that an earlier charter
// left out: what was once given up, because it was lost or stolen, never counts again.
func (s *state) expel(next *policy.Charter) *Refusal {
	admitted := keysOf(next)
	for key, owner := range admitted {
		if s.expelled.has(key) {
			return refuse(ReasonDocument, "a key of %s was removed by an earlier charter and is not admitted again", owner)
		}
	}
	if s.law == nil {
		return nil
	}
	for key := range keysOf(s.law.charter) {
		if _, ok := admitted[key]; !ok {
			s.expelled.put(key, struct{}{})
		}
	}
	return nil
}

// keysOf is every public key of a charter and whose it is.
func keysOf(c *policy.Charter) map[string]string {
	keys := map[string]string{}
	for _, m := range c.Custodians.Members {
		for _, k := range m.Keys {
			keys[k.KeyID()] = "custodian " + m.Name
		}
	}
	for _, p := range c.Persons {
		for _, k := range p.Keys {
			keys[k.KeyID()] = "person " + p.Name
		}
	}
	for _, a := range c.Appliances {
		keys[a.LedgerKey.KeyID()] = "appliance " + a.ID
		keys[string(policy.DigestOf(a.UnsealKey))] = "appliance " + a.ID
	}
	return keys
}
