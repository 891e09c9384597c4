package operation

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// intent is what the plan's approvers will sign (spec/formats.md). A plan that cannot have one, because
// its token's policy does not judge it, is denied by policy when it is judged.
func (s *Service) intent(p *plan) (*policy.Intent, error) {
	fold := s.registry.Fold()
	charter, digest := fold.Charter()
	notBefore := policy.Seconds(p.now)
	i := &policy.Intent{
		Format: policy.Format, Domain: policy.IntentDomain, Instance: fold.Instance(), Epoch: fold.Epoch(), Charter: digest,
		OperationID: p.id, OperationType: p.request.Type, Network: p.network.Name, ChainID: p.network.ChainID, Scheme: p.wallet.Scheme,
		Token: policy.Token{ID: p.token.ID, ContractAddress: p.token.ContractAddress, TemplateID: p.token.TemplateID,
			Symbol: p.token.Symbol, Decimals: p.token.Decimals},
		Performer: policy.Performer{WalletID: p.wallet.ID, Address: p.wallet.Address},
		FeeCap:    p.fees.cap, Requester: p.requester, Replaces: p.request.Replaces,
		NotBefore: notBefore, ExpiresAt: notBefore.Add(s.lifetime(p.request.IntentTTL, charter)),
	}
	if p.request.Type == policy.OpDeployToken {
		i.Token.ContractAddress = nil
	}
	if err := p.params(i); err != nil {
		return nil, err
	}
	for _, in := range s.policiesOf(p) {
		i.Policies = append(i.Policies, in.Ref())
	}
	return i, nil
}

// lifetime is the asked or configured time to live, at most what the charter allows.
func (s *Service) lifetime(asked time.Duration, charter *policy.Charter) time.Duration {
	if asked == 0 {
		asked = s.ttl
	}
	return min(asked, charter.MaxIntentLifetime()).Truncate(time.Second)
}

// params fills in exactly the fields that the type has.
func (p *plan) params(i *policy.Intent) error {
	q := &i.Params
	address := func(x *party) *tx.Address { a := x.address; return &a }
	switch p.request.Type {
	case policy.OpMint:
		q.Amount, q.Recipient = &p.amount, address(&p.recipient)
	case policy.OpBurn:
		q.Amount, q.Source = &p.amount, address(&p.from)
	case policy.OpTransfer:
		q.Amount, q.Source, q.Recipient = &p.amount, address(&p.from), address(&p.recipient)
	case policy.OpGrantRole, policy.OpRevokeRole:
		q.Role, q.Subject = p.role, address(&p.subject)
	case policy.OpFreeze, policy.OpUnfreeze, policy.OpAllowlistAdd, policy.OpAllowlistRemove:
		q.Subject = address(&p.subject)
	case policy.OpCancel:
		n := strconv.FormatUint(*p.nonce, 10)
		q.Nonce = &n
	case policy.OpDeployToken:
		t := *p.token
		q.Name, q.Symbol, q.Decimals, q.Cap, q.Mintable, q.Burnable, q.InitialSupply, q.Admin = &t.Name, &t.Symbol, &t.Decimals,
			&t.SupplyPolicy.MaxSupply, &t.SupplyPolicy.Mintable, &t.SupplyPolicy.Burnable, &t.InitialSupply, &p.admin.Address
		code, err := q.InitCode(t.TemplateID)
		if err != nil {
			return registry.Refuse(registry.DeploymentFailed, "token %s cannot be deployed: %s", t.ID, err)
		}
		h := tx.HashOf(code)
		q.InitcodeKeccak = &h
	}
	return nil
}

// policiesOf are the policies in force whose scope covers the plan, the token's own first.
func (s *Service) policiesOf(p *plan) []*policy.InForce {
	return s.inScope(p.token.ID, p.token.ApprovalPolicyID, p.wallet.VaultAccountID, s.sourceVault(p.network.Name, p.source()))
}

func (p *plan) source() *tx.Address {
	if !p.from.given {
		return nil
	}
	return &p.from.address
}

func (s *Service) inScope(tokenID, own, performerVault, sourceVault string) []*policy.InForce {
	in := slices.Clone(s.registry.Fold().PoliciesInScope(tokenID, performerVault, sourceVault))
	slices.SortStableFunc(in, func(a, b *policy.InForce) int {
		switch {
		case a.Policy.ID == own && b.Policy.ID != own:
			return -1
		case b.Policy.ID == own && a.Policy.ID != own:
			return 1
		}
		return 0
	})
	return in
}

// missingPolicy is the verdict that no policy covers the plan, or not the token's own.
func (s *Service) missingPolicy(p *plan) (policy.Verdict, bool) {
	in := s.policiesOf(p)
	message := ""
	switch {
	case len(in) == 0 && p.request.Type == policy.OpCancel:
		message = fmt.Sprintf("no policy in force covers wallet %s", p.wallet.ID)
	case len(in) == 0:
		message = fmt.Sprintf("no policy in force covers token %s", p.token.ID)
	case p.request.Type != policy.OpCancel && in[0].Policy.ID != p.token.ApprovalPolicyID:
		message = fmt.Sprintf("policy %s, which token %s names, is not in force for it", p.token.ApprovalPolicyID, p.token.ID)
	}
	if message == "" {
		return policy.Verdict{}, false
	}
	o := policy.RuleOutcome{Rule: policy.ReasonPolicy, Outcome: policy.Deny, Message: message}
	return policy.Verdict{Outcome: policy.Deny, Rules: []policy.RuleOutcome{o}, Reported: &o}, true
}
