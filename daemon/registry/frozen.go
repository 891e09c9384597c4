package registry

import (
	"slices"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// TokenFrozen tells whether privileged operations on a token are stopped, as far as the ledger has been followed.
func (s *Service) TokenFrozen(id string) bool { return s.fold.Frozen(policy.Subject{TokenID: id}) }

// ExternalHolders are the accounts of others that a token's binding lists: what they do with their roles is theirs. A
// wallet of ours is none, whatever custodians signed.
func (s *Service) ExternalHolders(id string) []tx.Address {
	b, ok := s.fold.Binding(id)
	if !ok {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(b.External), func(who tx.Address) bool {
		_, ours := s.fold.WalletByAddress(b.Network, who)
		return ours
	})
}
