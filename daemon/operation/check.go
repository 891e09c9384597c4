package operation

import (
	"context"
	"slices"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// checkShape refuses what a request of its type must have and lacks, and fills in defaults.
func checkShape(r *Request) error {
	if !r.Type.Valid() || r.Type == policy.OpCancel {
		return registry.Refuse(registry.Validation, "operation type %q is not a token operation", string(r.Type))
	}
	if r.TokenID == "" {
		return registry.Refuse(registry.MissingField, "tokenId is missing")
	}
	if r.FeeStrategy == "" {
		r.FeeStrategy = chain.Medium
	}
	if !r.FeeStrategy.Valid() {
		return registry.Refuse(registry.Validation, "feeStrategy %q is none of LOW, MEDIUM, HIGH", string(r.FeeStrategy))
	}
	if r.IntentTTL < 0 {
		return registry.Refuse(registry.Validation, "the time to live of an intent is %s; it must not be negative", r.IntentTTL)
	}
	var need []string
	switch r.Type {
	case policy.OpMint:
		need = []string{"amount", "recipient"}
	case policy.OpBurn:
		need = []string{"amount", "from"}
	case policy.OpTransfer:
		need = []string{"amount", "from", "to"}
	case policy.OpGrantRole, policy.OpRevokeRole:
		need = []string{"role", "subject"}
	case policy.OpFreeze, policy.OpUnfreeze, policy.OpAllowlistAdd, policy.OpAllowlistRemove:
		need = []string{"subject"}
	}
	parties := map[string]*Party{"recipient": r.Recipient, "to": r.Recipient, "from": r.From, "subject": r.Subject}
	for _, field := range need {
		if (field == "amount" && r.Amount == nil) || (field == "role" && r.Role == "") ||
			(field != "amount" && field != "role" && parties[field] == nil) {
			return registry.Refuse(registry.MissingField, "%s is missing", field)
		}
	}
	for _, x := range []struct {
		name string
		p    *Party
	}{{"recipient", r.Recipient}, {"from", r.From}, {"subject", r.Subject}, {"performedBy", r.PerformedBy}} {
		if err := x.p.check(x.name); err != nil {
			return err
		}
	}
	if r.PerformedBy != nil && r.PerformedBy.Type == PartyAddress {
		return registry.Refuse(registry.Validation, "performedBy is an address; it must be a walletId or a vaultAccountId")
	}
	return nil
}

func (p *Party) check(name string) error {
	if p == nil {
		return nil
	}
	fields := map[PartyType]string{PartyAddress: p.Address, PartyWallet: p.WalletID, PartyVault: p.VaultAccountID}
	value, known := fields[p.Type]
	switch {
	case p.Type == "":
		return registry.Refuse(registry.MissingField, "%s.type is missing; it is address, walletId or vaultAccountId", name)
	case !known:
		return registry.Refuse(registry.Validation, "%s.type %q is none of address, walletId, vaultAccountId", name, string(p.Type))
	case value == "":
		return registry.Refuse(registry.MissingField, "%s.%s is missing", name, p.Type)
	}
	for kind, v := range fields {
		if kind != p.Type && v != "" {
			return registry.Refuse(registry.Validation, "%s is of type %s, yet has %s %q", name, p.Type, kind, v)
		}
	}
	return nil
}

// checkState: 1702 and 1703, and 1704 of a retired token, save what stops things where there is a contract.
func (p *plan) checkState() error {
	t := p.token
	if t.Status == registry.TokenRetired && (t.ContractAddress == nil || !stops[p.request.Type]) {
		return retired(t)
	}
	if p.request.Type == policy.OpDeployToken {
		if t.Imported {
			return registry.Refuse(registry.AlreadyDeployed, "token %s was deployed elsewhere; it can be used once the custodians have signed its binding", t.ID)
		}
		if t.Status == registry.TokenDraft || t.Status == registry.TokenFailed {
			return nil
		}
		if t.ContractAddress != nil {
			return registry.Refuse(registry.AlreadyDeployed, "token %s is deployed already, at %s", t.ID, t.ContractAddress)
		}
		return registry.Refuse(registry.AlreadyDeployed, "token %s is %s: operation %s deploys it", t.ID, t.Status, t.DeployOperationID)
	}
	if t.ContractAddress == nil {
		return registry.Refuse(registry.NotDeployed, "token %s has no contract address yet; it is %s", t.ID, t.Status)
	}
	return nil
}

// checkTemplate: 1704.
func (p *plan) checkTemplate() error {
	t, r := p.token, p.request
	supply := func(allowed bool, word string) error {
		if allowed {
			return nil
		}
		return registry.Refuse(registry.OperationNotAllowed, "token %s is not %s by its supply policy", t.ID, word)
	}
	for _, m := range methods(r.Type) {
		if !p.template.HasMethod(m) {
			return registry.Refuse(registry.OperationNotAllowed, "template %s of token %s has no %s", t.TemplateID, t.ID, m)
		}
	}
	switch r.Type {
	case policy.OpMint:
		return supply(t.SupplyPolicy.Mintable, "mintable")
	case policy.OpBurn:
		return supply(t.SupplyPolicy.Burnable, "burnable")
	case policy.OpGrantRole, policy.OpRevokeRole:
		p.role = qrc20.Role(r.Role)
		if !p.template.HasRole(p.role) {
			return registry.Refuse(registry.OperationNotAllowed, "template %s of token %s has no role %q; it has %v", t.TemplateID, t.ID, r.Role, p.template.Roles)
		}
		if r.Type == policy.OpRevokeRole {
			return nil // whoever holds what nobody should must be stopped all the more
		}
		if p.role == qrc20.Minter {
			return supply(t.SupplyPolicy.Mintable, "mintable")
		}
		if p.role == qrc20.Burner {
			return supply(t.SupplyPolicy.Burnable, "burnable")
		}
	}
	return nil
}

// methods are the contract methods that an operation may call.
func methods(t policy.OperationType) []qrc20.Method {
	switch t {
	case policy.OpMint:
		return []qrc20.Method{qrc20.Mint}
	case policy.OpBurn:
		return []qrc20.Method{qrc20.Burn, qrc20.BurnFrom}
	case policy.OpTransfer:
		return []qrc20.Method{qrc20.Transfer, qrc20.TransferFrom}
	case policy.OpGrantRole:
		return []qrc20.Method{qrc20.GrantRole}
	case policy.OpRevokeRole:
		return []qrc20.Method{qrc20.RevokeRole}
	case policy.OpPause:
		return []qrc20.Method{qrc20.Pause}
	case policy.OpUnpause:
		return []qrc20.Method{qrc20.Unpause}
	case policy.OpFreeze:
		return []qrc20.Method{qrc20.Freeze}
	case policy.OpUnfreeze:
		return []qrc20.Method{qrc20.Unfreeze}
	case policy.OpAllowlistAdd:
		return []qrc20.Method{qrc20.Allow}
	case policy.OpAllowlistRemove:
		return []qrc20.Method{qrc20.Disallow}
	}
	return nil
}

// amountGiven reports whether the type has an amount of its own in the request.
func (p *plan) amountGiven() bool {
	return p.request.Amount != nil && (p.request.Type == policy.OpMint || p.request.Type == policy.OpBurn || p.request.Type == policy.OpTransfer)
}

// checkValues: 1712 and 1713.
func (p *plan) checkValues() error {
	for _, x := range []struct {
		name string
		p    *party
	}{{"recipient", &p.recipient}, {"from", &p.from}, {"subject", &p.subject}} {
		if err := p.checkParty(x.name, x.p); err != nil {
			return err
		}
	}
	if p.amountGiven() {
		a, err := policy.ParseAmount(*p.request.Amount)
		if err != nil {
			return registry.Refuse(registry.InvalidTokenAmount, "amount %.100q is %s", *p.request.Amount, policy.ErrAmount)
		}
		if a.Is0() {
			return registry.Refuse(registry.InvalidTokenAmount, "amount is 0; it must be at least 1 base unit")
		}
		p.amount = a
	}
	if p.request.Type == policy.OpDeployToken {
		return p.checkConstructor()
	}
	return nil
}

func (p *plan) checkParty(name string, x *party) error {
	if !x.given {
		return nil
	}
	if x.wallet == nil {
		a, err := tx.ParseAddress(x.text)
		if err != nil {
			return registry.Refuse(registry.InvalidRecipient, "%s: %s", name, err)
		}
		x.address = a
	}
	if x.address.IsZero() {
		return registry.Refuse(registry.InvalidRecipient, "%s is the zero address", name)
	}
	if c := p.token.ContractAddress; c != nil && x.address == *c {
		return registry.Refuse(registry.InvalidRecipient, "%s is %s, the contract of token %s itself", name, c, p.token.ID)
	}
	return nil
}

// checkConstructor: what the request repeats of the token must equal it.
func (p *plan) checkConstructor() error {
	a, t := p.request.ConstructorArgs, p.token
	if a == nil {
		return nil
	}
	differs := func(field string, given, own any) error {
		return registry.Refuse(registry.Validation, "constructorArgs.%s is %v, the token's own is %v; change the draft first", field, given, own)
	}
	for _, x := range []struct {
		field string
		given *string
	}{{"cap", a.Cap}, {"initialSupply", a.InitialSupply}} {
		if x.given == nil {
			continue
		}
		if _, err := policy.ParseAmount(*x.given); err != nil {
			return registry.Refuse(registry.InvalidTokenAmount, "constructorArgs.%s %.100q is %s", x.field, *x.given, policy.ErrAmount)
		}
	}
	for _, x := range []struct {
		field string
		given *string
		own   string
	}{{"name", a.Name, t.Name}, {"symbol", a.Symbol, t.Symbol}, {"cap", a.Cap, t.SupplyPolicy.MaxSupply.String()}, {"initialSupply", a.InitialSupply, t.InitialSupply.String()}} {
		if x.given != nil && *x.given != x.own {
			return differs(x.field, *x.given, x.own)
		}
	}
	for _, x := range []struct {
		field string
		given *bool
		own   bool
	}{{"mintable", a.Mintable, t.SupplyPolicy.Mintable}, {"burnable", a.Burnable, t.SupplyPolicy.Burnable}} {
		if x.given != nil && *x.given != x.own {
			return differs(x.field, *x.given, x.own)
		}
	}
	if a.Decimals != nil && *a.Decimals != int(t.Decimals) {
		return differs("decimals", *a.Decimals, t.Decimals)
	}
	return nil
}

// checkReplaces: what is done again must be a failed operation of the same token and type.
func (s *Service) checkReplaces(ctx context.Context, p *plan) error {
	id := p.request.Replaces
	if id == "" {
		return nil
	}
	if !store.ValidID(IDPrefix, id) {
		return registry.Refuse(registry.TxNotFound, "replaces: there is no operation %q", id)
	}
	o, _, err := s.load(ctx, id)
	if err != nil {
		return err
	}
	if o.Status != Failed || o.TokenID != p.token.ID || o.Type != p.request.Type {
		return registry.Refuse(registry.TxStateConflict, "replaces: operation %s is a %s of token %s and %s; only a FAILED %s of token %s can be replaced",
			id, o.Type, o.TokenID, o.Status, p.request.Type, p.token.ID)
	}
	return nil
}

// approverGroups are the groups whose members approve under these policies.
func approverGroups(policies []*policy.InForce) []string {
	var out []string
	var walk func(*policy.Quorum)
	walk = func(q *policy.Quorum) {
		if q == nil {
			return
		}
		if q.Group != "" {
			out = append(out, q.Group)
		}
		for _, sub := range slices.Concat(q.All, q.Any) {
			walk(sub)
		}
		if q.KOf != nil {
			for _, sub := range q.KOf.Of {
				walk(sub)
			}
		}
	}
	for _, p := range policies {
		for _, r := range p.Policy.Rules {
			if r.ApproverGroup != "" {
				out = append(out, r.ApproverGroup)
			}
			walk(r.Quorum)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
