package policy

import (
	"fmt"
	"slices"
	"time"

	"github.com/mintwarden/mintwarden/chain/tx"
)

// IntentDomain is the domain of every intent, so that the bytes of one are nothing else's.
const IntentDomain = "mintwarden/intent"

// maxPolicies bounds the policies that one intent names.
const maxPolicies = 32

// Intent is what an approver signs: everything that reaches the chain follows from it, and from the
// nonce, gas limit and fees that the seal fills in within its cap (spec/formats.md).
type Intent struct {
	Format        int           `json:"format"`
	Domain        string        `json:"domain"`
	Instance      string        `json:"instance"`
	Epoch         uint64        `json:"epoch"`
	Charter       Digest        `json:"charter"` // the charter in force at submission
	OperationID   string        `json:"operationId"`
	OperationType OperationType `json:"operationType"`
	Network       string        `json:"network"`
	ChainID       uint64        `json:"chainId"`
	Scheme        tx.Scheme     `json:"scheme"` // of the performing wallet's key
	Token         Token         `json:"token"`  // zero for CANCEL
	Performer     Performer     `json:"performer"`
	Params        Params        `json:"params"`
	FeeCap        Amount        `json:"feeCap"`   // wei: the most that gas × max fee may come to
	Policies      []PolicyRef   `json:"policies"` // that judged the submission; a DEPLOY_TOKEN's first one becomes the binding's
	Requester     string        `json:"requester"`
	Replaces      string        `json:"replaces,omitzero"` // a FAILED operation that this one does again
	NotBefore     time.Time     `json:"notBefore"`
	ExpiresAt     time.Time     `json:"expiresAt"` // the first moment at which it is void
}

// Token is the token that an intent is about, as its binding has it.
type Token struct {
	ID              string      `json:"id"`
	ContractAddress *tx.Address `json:"contractAddress"` // nil for DEPLOY_TOKEN
	TemplateID      string      `json:"templateId"`
	Symbol          string      `json:"symbol"`
	Decimals        uint8       `json:"decimals"`
}

// Performer is the wallet that sends the transaction.
type Performer struct {
	WalletID string     `json:"walletId"`
	Address  tx.Address `json:"address"`
}

// PolicyRef names one version of a policy and its exact bytes.
type PolicyRef struct {
	ID      string `json:"id"`
	Version uint64 `json:"version"`
	Digest  Digest `json:"digest"`
}

// ParseIntent reads an intent strictly and checks every field and the relations between them.
// Errors wrap ErrDocument.
func ParseIntent(b []byte) (*Intent, error) { return parse[Intent]("intent", b) }

// Encode checks the intent and gives its JSON, the same bytes for the same intent. Errors wrap
// ErrDocument.
func (i *Intent) Encode() ([]byte, error) { return encodeDocument(i) }

// Check is nil if the intent is well-formed. Errors wrap ErrDocument.
func (i *Intent) Check() error {
	if err := i.check(); err != nil {
		return refused("intent", err)
	}
	return nil
}

func (i *Intent) check() error {
	if i.Domain != IntentDomain {
		return fmt.Errorf("domain %.80q, want %s", i.Domain, IntentDomain)
	}
	if err := first(checkFormat(i.Format), CheckName(i.Instance), checkDigest("charter", i.Charter), CheckID("op", i.OperationID),
		CheckName(i.Network), CheckName(i.Requester), checkInteger("epoch", i.Epoch), checkInteger("chainId", i.ChainID)); err != nil {
		return err
	}
	if !i.OperationType.Valid() {
		return fmt.Errorf("operation type %.40q is not known", i.OperationType)
	}
	if i.ChainID == 0 {
		return fmt.Errorf("chain id 0")
	}
	if !i.Scheme.Valid() {
		return fmt.Errorf("scheme %.40q is not known", i.Scheme)
	}
	if err := first(i.checkToken(), CheckID("wallet", i.Performer.WalletID), notZero("performer", i.Performer.Address),
		i.Params.check(i.OperationType), i.checkPolicies()); err != nil {
		return err
	}
	if i.OperationType == OpDeployToken && (*i.Params.Symbol != i.Token.Symbol || *i.Params.Decimals != i.Token.Decimals) {
		return fmt.Errorf("token %s with %d decimals is deployed as %s with %d", i.Token.Symbol, i.Token.Decimals, *i.Params.Symbol, *i.Params.Decimals)
	}
	if i.Replaces != "" {
		if err := CheckID("op", i.Replaces); err != nil {
			return fmt.Errorf("replaces: %w", err)
		}
		if i.Replaces == i.OperationID {
			return fmt.Errorf("operation %s replaces itself", i.OperationID)
		}
	}
	if err := first(checkTime("notBefore", i.NotBefore), checkTime("expiresAt", i.ExpiresAt)); err != nil {
		return err
	}
	if !i.NotBefore.Before(i.ExpiresAt) {
		return fmt.Errorf("expiresAt %s is not after notBefore", i.ExpiresAt.Format(time.RFC3339))
	}
	return nil
}

func (i *Intent) checkToken() error {
	t := i.Token
	if i.OperationType == OpCancel {
		if t != (Token{}) {
			return fmt.Errorf("CANCEL is about a nonce, yet names token %.64q", t.ID)
		}
		return nil
	}
	if err := first(CheckID("token", t.ID), checkTemplate(t.TemplateID), checkSymbol(t.Symbol), checkDecimals(t.Decimals)); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if i.OperationType == OpDeployToken {
		if t.ContractAddress != nil {
			return fmt.Errorf("DEPLOY_TOKEN of token %s, which has contract %s", t.ID, t.ContractAddress)
		}
		return nil
	}
	if t.ContractAddress == nil {
		return fmt.Errorf("%s of token %s, which has no contract", i.OperationType, t.ID)
	}
	return notZero("contractAddress", *t.ContractAddress)
}

func (i *Intent) checkPolicies() error {
	if len(i.Policies) == 0 || len(i.Policies) > maxPolicies {
		return fmt.Errorf("%d policies, want 1 to %d", len(i.Policies), maxPolicies)
	}
	for n, p := range i.Policies {
		if err := first(CheckID("pol", p.ID), checkDigest("policy", p.Digest), checkVersion(p.Version)); err != nil {
			return err
		}
		if slices.ContainsFunc(i.Policies[:n], func(before PolicyRef) bool { return before.ID == p.ID }) {
			return fmt.Errorf("policy %s twice", p.ID)
		}
	}
	return nil
}

// Amount is what amount rules judge, in base units; ok is false for operations without one.
// DEPLOY_TOKEN's is its initial supply.
func (i *Intent) Amount() (amount Amount, ok bool) {
	a := i.Params.Amount
	if i.OperationType == OpDeployToken {
		a = i.Params.InitialSupply
	}
	if a == nil || !i.OperationType.HasAmount() {
		return Amount{}, false
	}
	return *a, true
}

// AmountOperation is the type under which the amount is charged: see [OperationType.Counted].
func (i *Intent) AmountOperation() OperationType { return i.OperationType.Counted() }

// Addresses is everybody who is affected, as whitelists and blacklists judge it: recipient,
// subject, source, and the admin who receives a deployment's initial supply.
func (i *Intent) Addresses() []tx.Address {
	var out []tx.Address
	for _, a := range []*tx.Address{i.Params.Recipient, i.Params.Subject, i.Params.Source, i.Params.Admin} {
		if a != nil {
			out = append(out, *a)
		}
	}
	return out
}
