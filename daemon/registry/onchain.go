package registry

import (
	"bytes"
	"context"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/qrc20/bindings"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// contract packs and unpacks calls. Every template's contract answers the calls
// of the first one in the same way.
var contract = bindings.NewQRC20V1()

// lists packs and unpacks what only a contract with an allowlist and freezes
// answers.
var lists = bindings.NewQRC20RegulatedV1()

// Standing is what a regulated token's contract says of an account.
type Standing struct {
	Frozen  bool
	Allowed bool
}

// RoleHolders is who holds a role on the chain, sorted by address.
type RoleHolders struct {
	Role    qrc20.Role
	Holders []tx.Address
}

// Roles is every role of the token's template, in the template's order, with
// its holders. The roles are read one after another: a grant that is mined in
// between may show in one and not in another.
func (s *Service) Roles(ctx context.Context, t *Token) ([]RoleHolders, error) {
	template, ok := qrc20.TemplateByID(t.TemplateID)
	if !ok {
		return nil, fmt.Errorf("registry: token %s is of template %s, which this version does not have", t.ID, t.TemplateID)
	}
	roles := make([]RoleHolders, 0, len(template.Roles))
	for _, role := range template.Roles {
		members, err := read(ctx, s, t, contract.PackGetRoleMembers(qrc20.RoleID(role)), contract.UnpackGetRoleMembers)
		if err != nil {
			return nil, err
		}
		holders := make([]tx.Address, len(members))
		for i, m := range members {
			holders[i] = tx.Address(m)
		}
		slices.SortFunc(holders, func(a, b tx.Address) int { return bytes.Compare(a[:], b[:]) })
		roles = append(roles, RoleHolders{role, holders})
	}
	return roles, nil
}

// HasRole tells whether an account holds a role.
func (s *Service) HasRole(ctx context.Context, t *Token, role qrc20.Role, who tx.Address) (bool, error) {
	return read(ctx, s, t, contract.PackHasRole(qrc20.RoleID(role), common.Address(who)), contract.UnpackHasRole)
}

// TotalSupply is what exists of the token, in base units.
func (s *Service) TotalSupply(ctx context.Context, t *Token) (policy.Amount, error) {
	return readAmount(ctx, s, t, contract.PackTotalSupply(), contract.UnpackTotalSupply)
}

// Paused tells whether the token's contract is paused.
func (s *Service) Paused(ctx context.Context, t *Token) (bool, error) {
	return read(ctx, s, t, contract.PackPaused(), contract.UnpackPaused)
}

// BalanceOf is what an account holds of the token, in base units.
func (s *Service) BalanceOf(ctx context.Context, t *Token, who tx.Address) (policy.Amount, error) {
	return readAmount(ctx, s, t, contract.PackBalanceOf(common.Address(who)), contract.UnpackBalanceOf)
}

// Allowance is what spender may take of the owner's tokens, in base units.
func (s *Service) Allowance(ctx context.Context, t *Token, owner, spender tx.Address) (policy.Amount, error) {
	return readAmount(ctx, s, t, contract.PackAllowance(common.Address(owner), common.Address(spender)), contract.UnpackAllowance)
}

// StandingOf is where an account stands on the lists of a token whose template
// has them. The two are read one after the other: what is mined in between may
// show in one and not in the other.
func (s *Service) StandingOf(ctx context.Context, t *Token, who tx.Address) (Standing, error) {
	frozen, err := read(ctx, s, t, lists.PackFrozen(common.Address(who)), lists.UnpackFrozen)
	if err != nil {
		return Standing{}, err
	}
	allowed, err := read(ctx, s, t, lists.PackAllowed(common.Address(who)), lists.UnpackAllowed)
	return Standing{frozen, allowed}, err
}

// WalletBalance is what a wallet holds of its network's own currency, in base
// units.
func (s *Service) WalletBalance(ctx context.Context, w *Wallet) (policy.Amount, error) {
	c, err := s.networkOf(w.Network)
	if err != nil {
		return policy.Amount{}, err
	}
	balance, err := c.Balance(ctx, w.Address)
	if err != nil {
		return policy.Amount{}, err
	}
	return policy.AmountFromBig(balance)
}

// read calls the token's contract as nobody in particular, on the state of the
// newest block. A token without a contract is TOKEN_NOT_DEPLOYED.
func read[T any](ctx context.Context, s *Service, t *Token, call []byte, unpack func([]byte) (T, error)) (T, error) {
	var none T
	if t.ContractAddress == nil {
		return none, Refuse(NotDeployed, "token %s has no contract address yet; it is %s", t.ID, t.Status)
	}
	c, err := s.networkOf(t.Network)
	if err != nil {
		return none, err
	}
	answer, err := c.Call(ctx, tx.Address{}, *t.ContractAddress, call)
	if err != nil {
		return none, err
	}
	v, err := unpack(answer)
	if err != nil {
		return none, fmt.Errorf("registry: the answer of contract %s on %s: %w", t.ContractAddress, t.Network, err)
	}
	return v, nil
}

func readAmount(ctx context.Context, s *Service, t *Token, call []byte, unpack func([]byte) (*big.Int, error)) (policy.Amount, error) {
	n, err := read(ctx, s, t, call, unpack)
	if err != nil {
		return policy.Amount{}, err
	}
	return policy.AmountFromBig(n)
}

func (s *Service) networkOf(name string) (*chain.Client, error) {
	c, ok := s.chains[name]
	if !ok {
		return nil, fmt.Errorf("registry: the config has no network %s any more: %w", name, chain.ErrUnavailable)
	}
	return c, nil
}
