package operation

import (
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// judge says what the policies say of an intent now, with what the ledger holds as far as it was followed.
// The seal judges with authority; this is for answers and for the states before the signature.
func (s *Service) judge(i *policy.Intent, digest policy.Digest) policy.Verdict {
	return s.registry.Fold().Judge(i, digest, s.now())
}

// approves reports whether the person is of a group that approves operations like o under the policies in
// force.
func (s *Service) approves(o *Operation, person string) bool {
	charter, _ := s.registry.Fold().Charter()
	if charter == nil {
		return false
	}
	for _, g := range approverGroups(s.inScope(o.TokenID, o.ApprovalPolicyID, o.VaultID, o.SourceVault)) {
		if members, ok := charter.Group(g); ok && slices.Contains(members, person) {
			return true
		}
	}
	return false
}
