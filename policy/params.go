package policy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
)

// Params are an operation's parameters. Which of them an intent holds is decided by its type: no
// more, no fewer (spec/formats.md). Amounts are base units.
type Params struct {
	Amount         *Amount     `json:"amount,omitzero"`
	Source         *tx.Address `json:"source,omitzero"`
	Recipient      *tx.Address `json:"recipient,omitzero"`
	Role           qrc20.Role  `json:"role,omitzero"`
	Subject        *tx.Address `json:"subject,omitzero"`
	Name           *string     `json:"name,omitzero"`
	Symbol         *string     `json:"symbol,omitzero"`
	Decimals       *uint8      `json:"decimals,omitzero"`
	Cap            *Amount     `json:"cap,omitzero"` // 0: none
	Mintable       *bool       `json:"mintable,omitzero"`
	Burnable       *bool       `json:"burnable,omitzero"`
	InitialSupply  *Amount     `json:"initialSupply,omitzero"`
	Admin          *tx.Address `json:"admin,omitzero"`
	InitcodeKeccak *tx.Hash    `json:"initcodeKeccak,omitzero"`
	Nonce          *string     `json:"nonce,omitzero"` // decimal, below 2^64-1
}

// maxNonce is the greatest nonce that a transaction may have (EIP-2681).
const maxNonce = 1<<64 - 2

// paramFields is the exact set of each type, in the order of the struct.
var paramFields = map[OperationType][]string{
	OpDeployToken:     {"name", "symbol", "decimals", "cap", "mintable", "burnable", "initialSupply", "admin", "initcodeKeccak"},
	OpMint:            {"amount", "recipient"},
	OpBurn:            {"amount", "source"},
	OpTransfer:        {"amount", "source", "recipient"},
	OpGrantRole:       {"role", "subject"},
	OpRevokeRole:      {"role", "subject"},
	OpPause:           {},
	OpUnpause:         {},
	OpFreeze:          {"subject"},
	OpUnfreeze:        {"subject"},
	OpAllowlistAdd:    {"subject"},
	OpAllowlistRemove: {"subject"},
	OpCancel:          {"nonce"},
}

// present names the fields that are there, in the order of the struct.
func (p *Params) present() []string {
	out := make([]string, 0, 4) // most have two
	for _, f := range [...]struct {
		name  string
		there bool
	}{
		{"amount", p.Amount != nil}, {"source", p.Source != nil}, {"recipient", p.Recipient != nil},
		{"role", p.Role != ""}, {"subject", p.Subject != nil}, {"name", p.Name != nil},
		{"symbol", p.Symbol != nil}, {"decimals", p.Decimals != nil}, {"cap", p.Cap != nil},
		{"mintable", p.Mintable != nil}, {"burnable", p.Burnable != nil},
		{"initialSupply", p.InitialSupply != nil}, {"admin", p.Admin != nil},
		{"initcodeKeccak", p.InitcodeKeccak != nil}, {"nonce", p.Nonce != nil},
	} {
		if f.there {
			out = append(out, f.name)
		}
	}
	return out
}

func (p *Params) check(t OperationType) error {
	// Both are in the order of the struct.
	if have := p.present(); !slices.Equal(have, paramFields[t]) {
		want := slices.Sorted(slices.Values(paramFields[t]))
		slices.Sort(have)
		return fmt.Errorf("params of %s: have {%s}, want {%s}", t, strings.Join(have, ", "), strings.Join(want, ", "))
	}
	for _, a := range []struct {
		name string
		at   *tx.Address
	}{{"recipient", p.Recipient}, {"source", p.Source}, {"subject", p.Subject}, {"admin", p.Admin}} {
		if a.at != nil && a.at.IsZero() {
			return fmt.Errorf("params of %s: %s is the zero address", t, a.name)
		}
	}
	if p.Amount != nil && p.Amount.Is0() {
		return fmt.Errorf("params of %s: amount 0", t)
	}
	if p.Role != "" && !p.Role.Valid() {
		return fmt.Errorf("params of %s: role %.40q is not known", t, p.Role)
	}
	if p.Nonce != nil {
		if n, err := ParseAmount(*p.Nonce); err != nil || n.Cmp(AmountOf(maxNonce)) > 0 {
			return fmt.Errorf("params of %s: nonce %.40q: want a decimal of at most 2^64-2", t, *p.Nonce)
		}
	}
	if t == OpDeployToken {
		return p.checkDeploy()
	}
	return nil
}

func (p *Params) checkDeploy() error {
	if *p.Name == "" {
		return fmt.Errorf("params of DEPLOY_TOKEN: empty name")
	}
	if err := first(CheckText(*p.Name, maxTokenName), checkSymbol(*p.Symbol), checkDecimals(*p.Decimals)); err != nil {
		return fmt.Errorf("params of DEPLOY_TOKEN: %w", err)
	}
	if !p.Cap.Is0() && p.InitialSupply.Cmp(*p.Cap) > 0 {
		return fmt.Errorf("params of DEPLOY_TOKEN: initial supply %s is above the cap %s", p.InitialSupply, p.Cap)
	}
	if p.InitcodeKeccak.IsZero() {
		return fmt.Errorf("params of DEPLOY_TOKEN: initcodeKeccak is zero")
	}
	return nil
}
