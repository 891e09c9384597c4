package registry

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/ethereum/go-ethereum/common"

	"github.com/mintwarden/mintwarden/chain"
	"github.com/mintwarden/mintwarden/chain/qrc20"
	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// inspect asks a contract what it is, at the newest final block, and looks at how it was made.
func (s *Service) inspect(ctx context.Context, spec ImportSpec) (*inspected, error) {
	c, err := s.networkOf(spec.Network)
	if err != nil {
		return nil, err
	}
	template, ok := qrc20.TemplateByID(spec.TemplateID)
	if !ok {
		return nil, Refuse(TemplateNotFound, "there is no template %+q", spec.TemplateID)
	}
	head, err := c.Head(ctx)
	if err != nil {
		return nil, err
	}
	newest, depth := head.Number, c.Network().Confirmations
	if common, ok := c.Common(); ok && common < newest {
		// What happens up to this block is looked at here, and behind it by the reconciliation: one node that says that
		// the chain is longer than it is must not have it begin where nobody gets.
		if newest = common; newest == 0 {
			return nil, fmt.Errorf("%w: network %q: its nodes were not all looked at since the start", chain.ErrUnavailable, spec.Network)
		}
	}
	if newest+1 <= depth {
		return nil, Refuse(Validation, "network %s has no final block yet", spec.Network)
	}
	found := &inspected{block: newest + 1 - depth}
	code, err := c.Code(ctx, spec.ContractAddress)
	if err != nil {
		return nil, err
	}
	if len(code) == 0 {
		return nil, Refuse(Validation, "there is no contract at %s on %s", spec.ContractAddress, spec.Network)
	}
	if err := found.ask(ctx, c, spec); err != nil {
		return nil, err
	}
	if err := s.holders(ctx, c, spec, template, found); err != nil {
		return nil, err
	}
	doubt, err := found.creation(ctx, c, spec, template, code)
	if err != nil {
		return nil, err
	}
	if doubt != "" {
		found.doubts = append(found.doubts, doubt)
	}
	return found, nil
}

// at calls the contract at the block; a contract that does not answer as a QRC-20's is refused.
func at[T any](ctx context.Context, c *chain.Client, to tx.Address, block uint64, what string, call []byte, unpack func([]byte) (T, error)) (T, error) {
	var none T
	answer, err := c.CallAt(ctx, tx.Address{}, to, call, block)
	var revert *chain.RevertError
	if err != nil && !errors.As(err, &revert) {
		return none, err
	}
	if err == nil {
		var v T
		if v, err = unpack(answer); err == nil {
			return v, nil
		}
	}
	return none, Refuse(Validation, "%s %v: %s: %v", to, errNoToken, what, err)
}

func (f *inspected) ask(ctx context.Context, c *chain.Client, spec ImportSpec) error {
	to := spec.ContractAddress
	var err error
	if f.name, err = at(ctx, c, to, f.block, "name", contract.PackName(), contract.UnpackName); err != nil {
		return err
	}
	if f.symbol, err = at(ctx, c, to, f.block, "symbol", contract.PackSymbol(), contract.UnpackSymbol); err != nil {
		return err
	}
	if f.decimals, err = at(ctx, c, to, f.block, "decimals", contract.PackDecimals(), contract.UnpackDecimals); err != nil {
		return err
	}
	supply, err := at(ctx, c, to, f.block, "totalSupply", contract.PackTotalSupply(), contract.UnpackTotalSupply)
	if err != nil {
		return err
	}
	if f.supply, err = policy.AmountFromBig(supply); err != nil {
		return err
	}
	top, err := at(ctx, c, to, f.block, "cap", contract.PackCap(), contract.UnpackCap)
	if err != nil {
		return err
	}
	if top.Cmp(noCap) == 0 {
		top = new(big.Int)
	}
	f.policy.MaxSupply, err = policy.AmountFromBig(top)
	return err
}

// holders refuses roles in the hands of others whom the request does not name: what they do with them would be
// nobody's.
func (s *Service) holders(ctx context.Context, c *chain.Client, spec ImportSpec, template *qrc20.Template, f *inspected) error {
	for _, role := range template.Roles {
		members, err := at(ctx, c, spec.ContractAddress, f.block, "holders of "+string(role), contract.PackGetRoleMembers(qrc20.RoleID(role)), contract.UnpackGetRoleMembers)
		if err != nil {
			return err
		}
		switch role {
		case qrc20.Minter:
			f.policy.Mintable = len(members) > 0
		case qrc20.Burner:
			f.policy.Burnable = len(members) > 0
		}
		for _, m := range members {
			who := tx.Address(m)
			if _, ours := s.fold.WalletByAddress(spec.Network, who); ours || slices.Contains(spec.External, who) {
				continue
			}
			return Refuse(Validation, "%s is held by %s, which is no wallet of this appliance and is not among externalHolders; have it revoked, or list it", role, who)
		}
	}
	// What the contract lists is what it wants to list; a wallet that is asked for by name cannot be left out.
	for _, who := range spec.External {
		if _, ours := s.fold.WalletByAddress(spec.Network, who); ours {
			return Refuse(Validation, "externalHolders names %s, which is a wallet of this appliance: what it does is not others'", who)
		}
		held := false
		for _, role := range template.Roles {
			has, err := at(ctx, c, spec.ContractAddress, f.block, "hasRole", contract.PackHasRole(qrc20.RoleID(role), common.Address(who)), contract.UnpackHasRole)
			if err != nil {
				return err
			}
			held = held || has
		}
		if !held {
			return Refuse(Validation, "externalHolders names %s, which holds no role", who)
		}
	}
	return nil
}

// creation tells why nobody knows what the contract's constructor did, or nothing: the transaction that made it has a
// template's init code as its input, byte for byte, and the code that stands there is what that makes.
func (f *inspected) creation(ctx context.Context, c *chain.Client, spec ImportSpec, template *qrc20.Template, code []byte) (doubt string, err error) {
	hash := spec.CreationTransactionHash
	if hash == nil {
		return "no creation transaction was named, so what the constructor did is not known", nil
	}
	st, err := c.Status(ctx, *hash)
	if err != nil {
		return "", err
	}
	if !st.Found {
		return "", Refuse(Validation, "creationTransactionHash: no node of %s knows %s", spec.Network, hash)
	}
	if !st.Final || !st.Success {
		return fmt.Sprintf("transaction %s is not final, or failed", hash), nil
	}
	if st.ContractAddress == nil || *st.ContractAddress != spec.ContractAddress {
		return fmt.Sprintf("transaction %s did not make %s by itself", hash, spec.ContractAddress), nil
	}
	sent, err := c.Transaction(ctx, *hash)
	if err != nil {
		return "", err
	}
	if sent == nil || sent.To != nil {
		return fmt.Sprintf("transaction %s is no contract creation", hash), nil
	}
	args, err := template.DecodeInitCode(sent.Input)
	if err != nil {
		return fmt.Sprintf("the input of transaction %s is no init code of %s: %v", hash, template.ID, err), nil
	}
	if err := template.CheckCode(code, args); err != nil {
		return fmt.Sprintf("the code at %s is not what its init code makes: %v", spec.ContractAddress, err), nil
	}
	if args.Name != f.name || args.Symbol != f.symbol || args.Decimals != f.decimals {
		return "name, symbol or decimals are not what the init code says", nil
	}
	f.policy.Mintable, f.policy.Burnable = args.Mintable, args.Burnable
	return "", nil
}
