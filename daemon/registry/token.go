package registry

import (
	"cmp"
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// TokenStatus is where a token stands in its life. The zero value is invalid.
type TokenStatus string

// The states of a token (spec: api, "Bodies").
const (
	TokenDraft     TokenStatus = "DRAFT"
	TokenDeploying TokenStatus = "DEPLOYING"
	TokenDeployed  TokenStatus = "DEPLOYED"
	TokenPaused    TokenStatus = "PAUSED"
	TokenRetired   TokenStatus = "RETIRED"
	TokenFailed    TokenStatus = "FAILED"
)

// Valid tells whether s is a state of a token.
func (s TokenStatus) Valid() bool {
	switch s {
	case TokenDraft, TokenDeploying, TokenDeployed, TokenPaused, TokenRetired, TokenFailed:
		return true
	}
	return false
}

// SupplyPolicy bounds a token's supply for its whole life: it is compiled into
// the contract.
type SupplyPolicy struct {
	Mintable bool `json:"mintable"`
	Burnable bool `json:"burnable"`
	// MaxSupply is in base units; zero means no cap.
	MaxSupply policy.Amount `json:"maxSupply"`
}

// Token is a token as the store holds it.
type Token struct {
	ID            string        `json:"id"`
	Standard      string        `json:"standard"`
	TemplateID    string        `json:"templateId"`
	Name          string        `json:"name"`
	Symbol        string        `json:"symbol"`
	Decimals      uint8         `json:"decimals"`
	InitialSupply policy.Amount `json:"initialSupply"` // base units
	SupplyPolicy  SupplyPolicy  `json:"supplyPolicy"`

	AdminVaultAccountID string `json:"adminVaultAccountId"`
	ApprovalPolicyID    string `json:"approvalPolicyId"`

	Network     string      `json:"network"`
	Status      TokenStatus `json:"status"`
	Description string      `json:"description,omitzero"`
	Tags        []string    `json:"tags"`

	// Set when the deployment is final on the chain.
	ContractAddress *tx.Address `json:"contractAddress,omitzero"`
	TransactionHash *tx.Hash    `json:"transactionHash,omitzero"`
	BlockNumber     uint64      `json:"blockNumber,omitzero"`
	DeployedAt      time.Time   `json:"deployedAt,omitzero"`

	// Imported: it was deployed elsewhere, and is what the custodians' binding says. InitialSupply is then what existed
	// at BlockNumber, where the import looked at it.
	Imported bool `json:"imported,omitzero"`
	// DeployOperationID is the latest operation that deploys it, whatever its
	// outcome; empty while none was submitted.
	DeployOperationID string `json:"deployOperationId,omitzero"`
	// LedgerSeq is the latest batch of the ledger that told of this token.
	LedgerSeq uint64 `json:"ledgerSeq,omitzero"`

	CreatedBy string    `json:"createdBy"`
	CreatedAt time.Time `json:"createdAt"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// TokenSpec is what is asked for when a token is made.
type TokenSpec struct {
	Standard, TemplateID, Name, Symbol string
	Decimals                           int
	InitialSupply                      policy.Amount
	SupplyPolicy                       SupplyPolicy
	AdminVaultAccountID                string
	ApprovalPolicyID                   string
	Network                            string
	Description                        string
	Tags                               []string
	// Bad is an amount of the request that does not hold; it is refused behind what the rest names.
	Bad error
}

// TokenPatch names what is to change; nil leaves a field as it is. All of it
// may change in DRAFT, later only Name, Description and Tags.
type TokenPatch struct {
	Standard, TemplateID, Name, Symbol *string
	Decimals                           *int
	InitialSupply                      *policy.Amount
	Mintable, Burnable                 *bool
	MaxSupply                          *policy.Amount
	AdminVaultAccountID                *string
	ApprovalPolicyID                   *string
	Network                            *string
	Description                        *string
	Tags                               *[]string
}

// TokenFilter narrows a list of tokens; empty fields do not.
type TokenFilter struct {
	Status              TokenStatus
	Standard            string
	Network             string
	AdminVaultAccountID string
}

// CreateToken makes a token in DRAFT: a plan, of which the chain knows nothing
// yet.
func (s *Service) CreateToken(ctx context.Context, a Actor, spec TokenSpec, idem *store.Idempotent) (*Token, error) {
	if err := checkDecimals(spec.Decimals); err != nil {
		return nil, err
	}
	now := s.second()
	t := &Token{
		ID: store.NewID(tokenPrefix), Standard: spec.Standard, TemplateID: spec.TemplateID, Name: spec.Name, Symbol: spec.Symbol,
		Decimals: uint8(spec.Decimals), InitialSupply: spec.InitialSupply, SupplyPolicy: spec.SupplyPolicy,
		AdminVaultAccountID: spec.AdminVaultAccountID, ApprovalPolicyID: spec.ApprovalPolicyID, Network: spec.Network,
		Status: TokenDraft, Description: spec.Description, Tags: slices.Clone(spec.Tags), CreatedBy: a.Name, CreatedAt: now, UpdatedAt: now,
	}
	if err := cmp.Or(s.checkToken(ctx, t), spec.Bad); err != nil {
		return nil, err
	}
	h := happening{"token.created", "token", t.ID, map[string]any{"name": t.Name, "symbol": t.Symbol, "network": t.Network, "templateId": t.TemplateID}}
	if err := create(ctx, s, s.tokens, store.Token(t.ID), t, a, h, idem); err != nil {
		return nil, err
	}
	return t, nil
}

// UpdateToken changes what the patch names: anything in DRAFT, later only name,
// description and tags, which live here and not on the chain.
func (s *Service) UpdateToken(ctx context.Context, a Actor, id string, p TokenPatch, idem *store.Idempotent) (*Token, error) {
	if !store.ValidID(tokenPrefix, id) {
		return nil, noToken(id)
	}
	if p == (TokenPatch{}) {
		return nil, Refuse(MissingField, "nothing was named that is to change")
	}
	if p.Decimals != nil {
		if err := checkDecimals(*p.Decimals); err != nil {
			return nil, err
		}
	}
	return update(ctx, s, s.tokens, store.Token(id), a, idem, noToken(id), func(t *Token) (happening, error) {
		before := *t
		field := p.draftOnly()
		if t.Imported && field != "" {
			return happening{}, Refuse(AlreadyDeployed, "token %s was deployed elsewhere: %s is what its contract says; name, description and tags can change", id, field)
		}
		if t.Status != TokenDraft && field != "" {
			return happening{}, Refuse(AlreadyDeployed, "token %s is %s: %s can change only in %s; name, description and tags still can", id, t.Status, field, TokenDraft)
		}
		changed := p.apply(t)
		if err := s.checkPatched(ctx, t); err != nil {
			return happening{}, err
		}
		if reflect.DeepEqual(before, *t) {
			return happening{}, nil
		}
		t.UpdatedAt = s.second()
		return happening{"token.updated", "token", t.ID, map[string]any{"fields": changed}}, nil
	})
}

// checkPatched checks a draft whole. A token beyond draft is checked for its
// texts only: its policy may have been retired since, which must not keep its
// description from being corrected.
func (s *Service) checkPatched(ctx context.Context, t *Token) error {
	if t.Status == TokenDraft {
		return s.checkToken(ctx, t)
	}
	return checkTokenText(t)
}

// draftOnly is the first field named that may change in DRAFT only.
func (p TokenPatch) draftOnly() string {
	for _, f := range []struct {
		name  string
		named bool
	}{
		{"standard", p.Standard != nil}, {"templateId", p.TemplateID != nil}, {"symbol", p.Symbol != nil},
		{"decimals", p.Decimals != nil}, {"initialSupply", p.InitialSupply != nil},
		{"supplyPolicy", p.Mintable != nil || p.Burnable != nil || p.MaxSupply != nil},
		{"admin.vaultAccountId", p.AdminVaultAccountID != nil}, {"admin.approvalPolicyId", p.ApprovalPolicyID != nil},
		{"network", p.Network != nil},
	} {
		if f.named {
			return f.name
		}
	}
	return ""
}

// apply writes the patch into t and lists what it named.
func (p TokenPatch) apply(t *Token) []string {
	fields := []string{}
	set := func(name string, named bool, write func()) {
		if named {
			write()
			fields = append(fields, name)
		}
	}
	set("standard", p.Standard != nil, func() { t.Standard = *p.Standard })
	set("templateId", p.TemplateID != nil, func() { t.TemplateID = *p.TemplateID })
	set("name", p.Name != nil, func() { t.Name = *p.Name })
	set("symbol", p.Symbol != nil, func() { t.Symbol = *p.Symbol })
	set("decimals", p.Decimals != nil, func() { t.Decimals = uint8(*p.Decimals) })
	set("initialSupply", p.InitialSupply != nil, func() { t.InitialSupply = *p.InitialSupply })
	set("supplyPolicy.mintable", p.Mintable != nil, func() { t.SupplyPolicy.Mintable = *p.Mintable })
	set("supplyPolicy.burnable", p.Burnable != nil, func() { t.SupplyPolicy.Burnable = *p.Burnable })
	set("supplyPolicy.maxSupply", p.MaxSupply != nil, func() { t.SupplyPolicy.MaxSupply = *p.MaxSupply })
	set("admin.vaultAccountId", p.AdminVaultAccountID != nil, func() { t.AdminVaultAccountID = *p.AdminVaultAccountID })
	set("admin.approvalPolicyId", p.ApprovalPolicyID != nil, func() { t.ApprovalPolicyID = *p.ApprovalPolicyID })
	set("network", p.Network != nil, func() { t.Network = *p.Network })
	set("description", p.Description != nil, func() { t.Description = *p.Description })
	set("tags", p.Tags != nil, func() { t.Tags = slices.Clone(*p.Tags) })
	return fields
}

// Token is one token; an unknown one is NOT_FOUND.
func (s *Service) Token(ctx context.Context, id string) (*Token, error) {
	t, _, err := s.TokenAt(ctx, id)
	return t, err
}

// TokenAt is a token and the revision of its key, for a change that another
// package makes with [Service.StageToken].
func (s *Service) TokenAt(ctx context.Context, id string) (*Token, int64, error) {
	if !store.ValidID(tokenPrefix, id) {
		return nil, 0, noToken(id)
	}
	t, rev, err := load[Token](ctx, s.store, store.Token(id))
	if err == nil && t == nil {
		err = noToken(id)
	}
	return t, rev, err
}

// SeenTokenAt is a token as the watch last told of it, which may be a moment old, and the revision of its key then; nil
// if the watch has told of none. It is not to be changed, and what is said or done on its word alone MUST be checked by
// [Service.TokenStands] or by a transaction that compares the revision.
func (s *Service) SeenTokenAt(id string) (*Token, int64) { return s.tokens.knownAt(store.Token(id)) }

// TokenStands reports whether a token's key is still at a revision.
func (s *Service) TokenStands(ctx context.Context, id string, rev int64) (bool, error) {
	_, now, _, err := s.store.Get(ctx, store.Token(id))
	return now == rev, err
}

// SeenToken is a token as the watch last told of it, which may be a moment old.
// It is not to be changed.
func (s *Service) SeenToken(ctx context.Context, id string) (*Token, error) {
	if !store.ValidID(tokenPrefix, id) {
		return nil, noToken(id)
	}
	t, err := s.tokens.get(ctx, s.store, store.Token(id))
	if err == nil && t == nil {
		err = noToken(id)
	}
	return t, err
}

// StageToken puts a changed token into tx, which then commits only if the token
// still stands at rev; tx must also hold the audit entry that tells of it.
func (s *Service) StageToken(tx *store.Tx, t *Token, rev int64) {
	t.UpdatedAt = s.second()
	tx.PutIf(store.Token(t.ID), encode(t), rev)
}

// Tokens lists tokens, newest first, and says how many fit the filter. Callers
// must not change what they get.
func (s *Service) Tokens(ctx context.Context, f TokenFilter, limit, offset int) ([]*Token, int, error) {
	return s.tokens.newest(ctx, s.store, f.fits, limit, offset)
}

func (f TokenFilter) fits(t *Token) bool {
	return (f.Status == "" || f.Status == t.Status) &&
		(f.Standard == "" || f.Standard == t.Standard) &&
		(f.Network == "" || f.Network == t.Network) &&
		(f.AdminVaultAccountID == "" || f.AdminVaultAccountID == t.AdminVaultAccountID)
}

func noToken(id string) error {
	return Refuse(NotFound, "there is no token %q; GET /v1/tokens lists them", id)
}
