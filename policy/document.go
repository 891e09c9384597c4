package policy

import (
	"fmt"
	"time"
)

// maxRules bounds a policy's rules.
const maxRules = 64

// Policy is one version of a policy document.
type Policy struct {
	Format    int       `json:"format"`
	Instance  string    `json:"instance"`
	ID        string    `json:"id"`
	Version   uint64    `json:"version"`
	Replaces  *Digest   `json:"replaces"` // null for version 1
	Name      string    `json:"name"`
	Scope     Scope     `json:"scope"`
	Rules     []Rule    `json:"rules"`
	Retired   bool      `json:"retired,omitzero"` // it judges nothing any more
	CreatedAt time.Time `json:"createdAt"`
}

// Scope is what a policy covers: exactly one of its fields.
type Scope struct {
	All            bool   `json:"all,omitzero"`
	VaultAccountID string `json:"vaultAccountId,omitzero"`
	TokenID        string `json:"tokenId,omitzero"`
}

// InForce is a policy and the digest of the exact bytes that custodians signed.
type InForce struct {
	Policy *Policy `json:"policy"`
	Digest Digest  `json:"digest"`
}

// Ref names the version as intents do.
func (p *InForce) Ref() PolicyRef {
	return PolicyRef{ID: p.Policy.ID, Version: p.Policy.Version, Digest: p.Digest}
}

// ParsePolicy reads a policy strictly, every rule too. Whether a charter takes it is CheckPolicy's
// question. Errors wrap ErrDocument.
func ParsePolicy(b []byte) (*Policy, error) { return parse[Policy]("policy", b) }

// Encode checks the policy and gives its JSON. Errors wrap ErrDocument.
func (p *Policy) Encode() ([]byte, error) { return encodeDocument(p) }

// Check is nil if the policy is well-formed. Errors wrap ErrDocument.
func (p *Policy) Check() error {
	if err := p.check(); err != nil {
		return refused("policy", err)
	}
	return nil
}

func (p *Policy) check() error {
	if err := first(checkFormat(p.Format), CheckName(p.Instance), CheckID("pol", p.ID), checkReplaces(p.Version, p.Replaces),
		checkLabel(p.Name), p.Scope.check(), checkTime("createdAt", p.CreatedAt)); err != nil {
		return err
	}
	return checkRules(p.Rules)
}

func checkLabel(s string) error {
	if s == "" {
		return fmt.Errorf("%w name: empty", ErrShape)
	}
	return CheckText(s, maxLabel)
}

func (s Scope) check() error {
	switch s {
	case Scope{All: true}:
		return nil
	case Scope{VaultAccountID: s.VaultAccountID}:
		return CheckID("vault", s.VaultAccountID)
	case Scope{TokenID: s.TokenID}:
		return CheckID("token", s.TokenID)
	}
	return fmt.Errorf("scope %+v: want exactly one of all, vaultAccountId and tokenId", s)
}

// InScope is true where the policy covers an operation on the token that the performing vault
// sends and the source vault pays; an empty id is none. A retired policy covers nothing.
func InScope(p *Policy, tokenID, performerVault, sourceVault string) bool {
	switch {
	case p.Retired:
		return false
	case p.Scope.All:
		return true
	case p.Scope.TokenID != "":
		return p.Scope.TokenID == tokenID
	case p.Scope.VaultAccountID != "":
		return p.Scope.VaultAccountID == performerVault || p.Scope.VaultAccountID == sourceVault
	}
	return true // a scope that says nothing covers everything: that can only deny more
}
