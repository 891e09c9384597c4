package ledger

import (
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// binding says what a token id is, on the custodians' word.
func (s *state) binding(at place, e *Enveloped) *Refusal {
	if r := s.threshold(policy.DocBinding, e); r != nil {
		return r
	}
	b, err := policy.ParseBinding(e.Payload)
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	if r := s.recovery.voids(b.CreatedAt); r != nil {
		return r
	}
	if r := s.bind(at, b, e, e.PayloadDigest()); r != nil {
		return r
	}
	s.documents.put(e.PayloadDigest(), at.sequence)
	return nil
}

// deployBinding says what a token id is because its deployment was authorized by the record before.
// It takes the place of another deployment's under which nothing was authorized, never of one that
// the custodians signed.
func (s *state) deployBinding(at place, b *policy.Binding) *Refusal {
	d := s.deploys
	if d == nil {
		return refuse(ReasonConflict, "the binding of token %s has no deployment before it", b.TokenID)
	}
	if b.ContractAddress != d.contract {
		return refuse(ReasonConflict, "the binding of token %s is of contract %s, the deployment makes %s", b.TokenID, b.ContractAddress, d.contract)
	}
	if !slices.Contains(b.Performers, d.wallet.WalletID) {
		return refuse(ReasonConflict, "the binding of token %s does not name its deployer %s as performer", b.TokenID, d.wallet.WalletID)
	}
	if i := d.intent; b.TokenID != i.Token.ID || b.Network != i.Network || b.ChainID != i.ChainID ||
		b.TemplateID != i.Token.TemplateID || b.Symbol != i.Token.Symbol || b.Decimals != i.Token.Decimals {
		return refuse(ReasonConflict, "the binding of token %s is not what the intent of its deployment says", b.TokenID)
	}
	if line, ok := s.bindings.get(b.TokenID); ok && line.used {
		return refuse(ReasonConflict, "token %s is bound to contract %s by the custodians, or operations were authorized there", b.TokenID, line.document.ContractAddress)
	}
	if !b.CreatedAt.Equal(at.time) {
		return refuse(ReasonConflict, "the binding of token %s is of %s, its batch of %s", b.TokenID, stamp(b.CreatedAt), stamp(at.time))
	}
	document, err := b.Encode()
	if err != nil {
		return refuse(ReasonDocument, "%w", err)
	}
	if r := s.bind(at, b, nil, policy.DigestOf(document)); r != nil {
		return r
	}
	s.deploys = nil
	return nil
}

// bind records a binding; one that custodians signed is used, so that no deployment may replace it.
func (s *state) bind(at place, b *policy.Binding, e *Enveloped, digest policy.Digest) *Refusal {
	if r := s.here(b.Instance); r != nil {
		return r
	}
	line, known := s.bindings.get(b.TokenID)
	var recorded []version
	if known {
		recorded = []version{{line.document.Version, line.digest, line.sequence}}
	}
	if r := succeeds("binding of token "+b.TokenID, recorded, b.Version, b.Replaces); r != nil {
		return r
	}
	network, ok := s.law.charter.Network(b.Network)
	if !ok || network.ChainID != b.ChainID {
		return refuse(ReasonDocument, "the charter has no network %s with chain id %d", b.Network, b.ChainID)
	}
	for _, p := range b.Performers {
		if w, ok := s.wallets.get(p); !ok || w.Network != b.Network {
			return refuse(ReasonUnknown, "performer %s is no wallet on %s", p, b.Network)
		}
	}
	where := contract{b.ChainID, b.ContractAddress}
	if owner, _ := s.contracts.get(where); owner != "" && owner != b.TokenID {
		return refuse(ReasonConflict, "contract %s on chain %d is token %s already", b.ContractAddress, b.ChainID, owner)
	}
	if known {
		s.contracts.put(contract{line.document.ChainID, line.document.ContractAddress}, "")
	}
	s.contracts.put(where, b.TokenID)
	s.bindings.put(b.TokenID, &bindingLine{document: b, envelope: e, digest: digest, sequence: at.sequence, view: b, used: e != nil})
	return nil
}

// grant adds a wallet of ours to whom a role was authorized to the performers.
func (s *state) grant(i *policy.Intent) {
	id, ok := s.addresses.get(account{i.Network, *i.Params.Subject})
	if !ok {
		return
	}
	line, ok := s.bindings.edit(i.Token.ID, (*bindingLine).clone)
	if !ok || slices.Contains(line.view.Performers, id) {
		return
	}
	view := *line.view
	view.Performers = append(slices.Clone(view.Performers), id)
	slices.Sort(view.Performers)
	line.view = &view
}

// use remembers that something was authorized under the token's binding.
func (s *state) use(tokenID string) {
	if line, ok := s.bindings.get(tokenID); !ok || line.used {
		return
	}
	if line, ok := s.bindings.edit(tokenID, (*bindingLine).clone); ok {
		line.used = true
	}
}

func (l *bindingLine) clone() *bindingLine {
	c := *l
	return &c
}
