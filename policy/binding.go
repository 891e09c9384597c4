package policy

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// maxPerformers bounds the wallets of one binding, and the accounts of others.
const maxPerformers = 256

// Binding says what a token id is.
type Binding struct {
	Format          int        `json:"format"`
	Instance        string     `json:"instance"`
	Version         uint64     `json:"version"`
	Replaces        *Digest    `json:"replaces"` // null for version 1
	TokenID         string     `json:"tokenId"`
	Network         string     `json:"network"`
	ChainID         uint64     `json:"chainId"`
	ContractAddress tx.Address `json:"contractAddress"`
	TemplateID      string     `json:"templateId"`
	Symbol          string     `json:"symbol"`
	Decimals        uint8      `json:"decimals"`
	PolicyID        string     `json:"policyId"`   // must be among those that judge the token
	Performers      []string   `json:"performers"` // wallet ids that may send its operations, sorted
	Verified        bool       `json:"verified"`   // the creation code is a template's
	CreatedAt       time.Time  `json:"createdAt"`
	// External are accounts of others that hold roles on the contract, sorted: what they do with them is theirs.
	External []tx.Address `json:"external,omitzero"`
}

// ParseBinding reads a binding strictly. Errors wrap ErrDocument.
func ParseBinding(b []byte) (*Binding, error) { return parse[Binding]("binding", b) }

// Encode checks the binding and gives its JSON. Errors wrap ErrDocument.
func (b *Binding) Encode() ([]byte, error) { return encodeDocument(b) }

// Check is nil if the binding is well-formed. Errors wrap ErrDocument.
func (b *Binding) Check() error {
	if err := b.check(); err != nil {
		return refused("binding", err)
	}
	return nil
}

func (b *Binding) check() error {
	if err := first(checkFormat(b.Format), CheckName(b.Instance), checkReplaces(b.Version, b.Replaces), CheckID("token", b.TokenID),
		CheckName(b.Network), checkInteger("chainId", b.ChainID), notZero("contractAddress", b.ContractAddress),
		checkTemplate(b.TemplateID), checkSymbol(b.Symbol), checkDecimals(b.Decimals), CheckID("pol", b.PolicyID),
		checkTime("createdAt", b.CreatedAt)); err != nil {
		return err
	}
	if b.ChainID == 0 {
		return fmt.Errorf("chain id 0")
	}
	if len(b.Performers) == 0 || len(b.Performers) > maxPerformers {
		return fmt.Errorf("%d performers, want 1 to %d", len(b.Performers), maxPerformers)
	}
	if !slices.IsSorted(b.Performers) || len(slices.Compact(slices.Clone(b.Performers))) != len(b.Performers) {
		return fmt.Errorf("performers are not sorted, or one stands twice")
	}
	for _, w := range b.Performers {
		if err := CheckID("wallet", w); err != nil {
			return fmt.Errorf("performers: %w", err)
		}
	}
	if len(b.External) > maxPerformers {
		return fmt.Errorf("%d external accounts, want at most %d", len(b.External), maxPerformers)
	}
	for i, a := range b.External {
		if a == (tx.Address{}) || i > 0 && bytes.Compare(b.External[i-1][:], a[:]) >= 0 {
			return fmt.Errorf("external: %s is zero, not in order or there twice", a)
		}
	}
	return nil
}

// DeployBinding is the binding that an authorized DEPLOY_TOKEN makes: the contract follows from
// sender and nonce, the policy is the first that the intent names, performers are the wallets of
// the admin vault. replaced is the binding that it supersedes, or nil, with the digest of its bytes.
func (i *Intent) DeployBinding(contract tx.Address, performers []string, replaced *Binding, digest Digest, at time.Time) (*Binding, error) {
	if i.OperationType != OpDeployToken || len(i.Policies) == 0 {
		return nil, fmt.Errorf("%w: %s of %s makes no binding", ErrDocument, i.OperationType, i.OperationID)
	}
	b := &Binding{Format: Format, Instance: i.Instance, Version: 1, TokenID: i.Token.ID, Network: i.Network, ChainID: i.ChainID,
		ContractAddress: contract, TemplateID: i.Token.TemplateID, Symbol: i.Token.Symbol, Decimals: i.Token.Decimals,
		PolicyID: i.Policies[0].ID, Performers: slices.Compact(slices.Sorted(slices.Values(performers))), Verified: true,
		CreatedAt: Seconds(at)}
	if replaced != nil {
		b.Version, b.Replaces = replaced.Version+1, &digest
	}
	if err := b.Check(); err != nil {
		return nil, err
	}
	return b, nil
}
