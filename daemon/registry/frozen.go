package registry

import "github.com/mintwarden/mintwarden/policy"

// TokenFrozen tells whether privileged operations on a token are stopped, as far as the ledger has been followed.
func (s *Service) TokenFrozen(id string) bool { return s.fold.Frozen(policy.Subject{TokenID: id}) }
