package operation

import (
	"slices"

	"github.com/mintwarden/mintwarden/policy"
)

// judge says what the policies say of an intent now, with what the ledger holds as far as it was followed.
// The seal judges with authority; this is for answers and for the states before the signature.
func (s *Service) judge(i *policy.Intent, digest policy.Digest, decisions []policy.RecordedDecision) policy.Verdict {
	fold := s.registry.Fold()
	charter, _ := fold.Charter()
	in := policy.Input{
		Intent: i, IntentDigest: digest, Charter: charter, CharterKnown: fold.CharterKnown(i.Charter), Epoch: fold.Epoch(),
		Policies: s.judging(i), Decisions: decisions, Usage: fold, Now: s.now(),
	}
	if i.OperationType != policy.OpDeployToken && i.OperationType != policy.OpCancel {
		if b, ok := fold.Binding(i.Token.ID); ok {
			in.Binding = b
		}
	}
	if i.Token.ID != "" {
		in.Frozen = fold.Frozen(policy.Subject{TokenID: i.Token.ID})
	}
	for _, ref := range i.Policies {
		if slices.ContainsFunc(in.Policies, func(p *policy.InForce) bool { return p.Ref() == ref }) {
			continue
		}
		if p, ok := fold.PolicyVersion(ref.ID, ref.Version); ok {
			in.Submitted = append(in.Submitted, p)
		}
	}
	if charter != nil {
		for _, p := range charter.Persons {
			if fold.Frozen(policy.Subject{Person: p.Name}) {
				in.Suspended = append(in.Suspended, p.Name)
			}
		}
	}
	return policy.Judge(in)
}

// judging are the policies in force that cover the intent.
func (s *Service) judging(i *policy.Intent) []*policy.InForce {
	fold := s.registry.Fold()
	vault := ""
	if w, ok := fold.Wallet(i.Performer.WalletID); ok {
		vault = w.VaultAccountID
	}
	return fold.PoliciesInScope(i.Token.ID, vault, s.sourceVault(i.Network, i.Params.Source))
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
