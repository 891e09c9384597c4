package operation

import (
	"context"
	"math/big"
	"time"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// plan is a request with everything that it names looked up, on its way to become an operation.
type plan struct {
	id        string
	request   *Request
	requester string
	now       time.Time
	signing   bool   // nobody is asked any more: the seal is next
	rules     uint64 // Service.rules, from before it was judged

	token    *registry.Token
	tokenRev int64
	seen     bool // the token is as this process last saw it
	template *qrc20.Template
	chain    *chain.Client
	network  *policy.Network // the charter's

	wallet *registry.Wallet // performer
	admin  *registry.Wallet // the admin vault account's, of a deployment

	recipient, from, subject party

	nonce           *uint64 // of a CANCEL, which has no token
	amount          policy.Amount
	role            qrc20.Role
	lowest, highest uint64 // what the seal accepts as the gas limit
	fees            fees
	contested       string // what approvers are told of nodes that contradict each other about it; empty: they do not

	foreign  *Foreign     // whose transaction it is, where somebody else made it
	unsigned *tx.Unsigned // that, read
}

// party is a Party of the request: its text until checkValues has read it.
type party struct {
	given   bool
	text    string // where the caller gave an address
	address tx.Address
	wallet  *registry.Wallet
}

// fees is what the chain says a transaction costs now.
type fees struct {
	gas    uint64
	maxFee *big.Int // wei for a unit of gas
	tip    *big.Int
	cap    policy.Amount   // wei, of the whole transaction
	once   policy.Amount   // wei: what it may cost at maxFee
	limit  policy.Amount   // wei: what policy allows
	rule   *policy.InForce // whose MAX_FEE the limit is; nil: the charter's
}

// plan looks up what the request names; what does not exist is refused.
func (s *Service) plan(ctx context.Context, a registry.Actor, r *Request) (*plan, error) {
	return s.lookUp(ctx, a, r, false)
}

// lookUp is plan; with seen the token may be as this process last saw it. The plan is nil only where the token is read
// from the store and is not there.
func (s *Service) lookUp(ctx context.Context, a registry.Actor, r *Request, seen bool) (*plan, error) {
	p := &plan{id: store.NewID(IDPrefix), request: r, requester: a.Name, now: s.now()}
	if seen {
		p.token, p.tokenRev = s.registry.SeenTokenAt(r.TokenID)
		p.seen = p.token != nil
	}
	if !p.seen {
		var err error
		if p.token, p.tokenRev, err = s.registry.TokenAt(ctx, r.TokenID); err != nil {
			return nil, err
		}
	}
	return p, s.lookUpRest(ctx, p)
}

// lookUpRest looks up what the request names beside the token.
func (s *Service) lookUpRest(ctx context.Context, p *plan) (err error) {
	r := p.request
	var ok bool
	if p.chain, ok = s.chains[p.token.Network]; !ok {
		return registry.Refuse(registry.Validation, "network %s of token %s is not in this appliance's configuration", p.token.Network, p.token.ID)
	}
	charter, _ := s.registry.Fold().Charter()
	if p.network, ok = charter.Network(p.token.Network); !ok {
		return registry.Refuse(registry.Validation, "network %s of token %s is not in the charter", p.token.Network, p.token.ID)
	}
	if p.template, ok = qrc20.TemplateByID(p.token.TemplateID); !ok {
		return registry.Refuse(registry.TemplateNotFound, "template %s of token %s is not known", p.token.TemplateID, p.token.ID)
	}
	if p.wallet, err = s.performer(ctx, p); err != nil {
		return err
	}
	for _, x := range []struct {
		in  *Party
		out *party
	}{{r.Recipient, &p.recipient}, {r.From, &p.from}, {r.Subject, &p.subject}} {
		if *x.out, err = s.party(ctx, p, x.in); err != nil {
			return err
		}
	}
	return nil
}

// performer is the wallet that sends the transaction.
func (s *Service) performer(ctx context.Context, p *plan) (*registry.Wallet, error) {
	r := p.request
	if r.Type == policy.OpDeployToken {
		admin, err := s.registry.OldestWallet(ctx, p.token.AdminVaultAccountID, p.token.Network)
		if err != nil {
			return nil, err
		}
		p.admin = admin
		return s.deployer(ctx, p)
	}
	if r.PerformedBy == nil {
		return s.registry.OldestWallet(ctx, p.token.AdminVaultAccountID, p.token.Network)
	}
	by, err := s.party(ctx, p, r.PerformedBy)
	if err != nil {
		return nil, err
	}
	return by.wallet, nil
}

// deployer is the admin vault account's wallet, or another one of it that the request names, in one way or in two.
func (s *Service) deployer(ctx context.Context, p *plan) (*registry.Wallet, error) {
	r, w := p.request, p.admin
	named := []struct {
		field string
		by    *Party
	}{{"performedBy", r.PerformedBy}, {"deployerWalletId", nil}}
	if r.DeployerWalletID != "" {
		named[1].by = &Party{Type: PartyWallet, WalletID: r.DeployerWalletID}
	}
	for _, x := range named {
		by, err := s.party(ctx, p, x.by)
		if err != nil {
			return nil, err
		}
		if !by.given {
			continue
		}
		if by.wallet.VaultAccountID != p.token.AdminVaultAccountID {
			// The binding's performers are the deploying vault's wallets; the roles go to the admin vault's.
			return nil, registry.Refuse(registry.Validation, "%s: wallet %s is of vault account %s; it must be of the token's admin vault account %s",
				x.field, by.wallet.ID, by.wallet.VaultAccountID, p.token.AdminVaultAccountID)
		}
		w = by.wallet
	}
	if by := r.PerformedBy; by != nil && by.Type == PartyWallet && by.WalletID != w.ID {
		return nil, registry.Refuse(registry.Validation, "deployerWalletId is %s, performedBy is %s; name one of them", w.ID, by.WalletID)
	}
	return w, nil
}

// wallet is an active wallet on the token's network.
func (s *Service) wallet(ctx context.Context, p *plan, id string) (*registry.Wallet, error) {
	w, err := s.registry.Wallet(ctx, id)
	if err != nil {
		return nil, err
	}
	if w.Status != registry.WalletActive || w.Network != p.token.Network {
		return nil, registry.Refuse(registry.VaultNotFound, "wallet %s is %s on network %s; an active one on %s is needed", id, w.Status, w.Network, p.token.Network)
	}
	return w, nil
}

func (s *Service) party(ctx context.Context, p *plan, in *Party) (party, error) {
	if in == nil {
		return party{}, nil
	}
	var w *registry.Wallet
	var err error
	switch in.Type {
	case PartyAddress:
		return party{given: true, text: in.Address}, nil
	case PartyWallet:
		w, err = s.wallet(ctx, p, in.WalletID)
	default:
		w, err = s.registry.OldestWallet(ctx, in.VaultAccountID, p.token.Network)
	}
	if err != nil {
		return party{}, err
	}
	return party{given: true, wallet: w, address: w.Address}, nil
}

// sourceVault is the vault account whose wallet pays, if it is one of ours; policies of its scope judge, too.
func (s *Service) sourceVault(network string, source *tx.Address) string {
	if source == nil {
		return ""
	}
	w, ok := s.registry.Fold().WalletByAddress(network, *source)
	if !ok {
		return ""
	}
	return w.VaultAccountID
}

// operation is the stored form of the plan, not yet in any state.
func (p *plan) operation(i *policy.Intent, digest policy.Digest, v policy.Verdict) *Operation {
	o := &Operation{
		ID: p.id, Type: p.request.Type, TokenID: p.token.ID, Network: p.token.Network,
		WalletID: p.wallet.ID, Performer: p.wallet.Address, VaultID: p.wallet.VaultAccountID,
		Role: p.role, RequestedBy: p.requester, FeeStrategy: p.request.FeeStrategy, FeeCap: p.fees.cap,
		ApprovalPolicyID: p.token.ApprovalPolicyID, IntentDigest: digest, Replaces: p.request.Replaces,
	}
	if i != nil {
		o.ExpiresAt = i.ExpiresAt
		o.Recipient, o.From, o.Subject = i.Params.Recipient, i.Params.Source, i.Params.Subject
		if amount, ok := i.Amount(); ok {
			o.Amount = &amount
		}
	} else if p.amountGiven() {
		o.Amount = &p.amount
	}
	o.ApprovalGroup, _, o.RequiredApprovals = v.Approvals()
	o.PolicyID, o.PolicyVersion = asking(v, p.token.ApprovalPolicyID)
	return o
}

// asking is the policy behind Verdict.Approvals: the one whose approval rule asks for the most, and the
// token's own among equals or where nobody is asked.
func asking(v policy.Verdict, own string) (id string, version uint64) {
	group, _, need := v.Approvals()
	for _, r := range v.Rules {
		matches := r.PolicyID != "" && (need == 0 || (r.Need == need && r.Group == group))
		if matches && (id == "" || (r.PolicyID == own && id != own)) {
			id, version = r.PolicyID, r.PolicyVersion
		}
	}
	return id, version
}
