package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/mintwarden/mintwarden/api/client"
)

func heading(title string) { fmt.Printf("\n== %s\n", title) }

func say(format string, args ...any) { fmt.Printf("   "+format+"\n", args...) }

// show prints an operation's status as it changes.
func (s *story) show(op *client.Operation) {
	line := string(op.Status)
	if op.BlockchainTransactionHash != nil {
		line += "  tx " + *op.BlockchainTransactionHash
	}
	if op.BlockNumber != nil {
		line += fmt.Sprintf("  block %d, %d confirmations", *op.BlockNumber, op.Confirmations)
	}
	say("%s", line)
}

func expect(what, got, want string) error {
	if got != want {
		return fmt.Errorf("%s is %q, want %q", what, got, want)
	}
	return nil
}

// figures compares the chain's supply and the treasury's balance, in tokens.
func (s *story) figures(supply, balance string) error {
	t, err := s.operator.GetToken(s.ctx, s.token.ID)
	if err != nil {
		return err
	}
	if t.TotalSupply == nil {
		return fmt.Errorf("token %s has no supply", t.ID)
	}
	b, err := s.operator.GetTokenBalance(s.ctx, s.token.ID, s.treasury.Address)
	if err != nil {
		return err
	}
	say("on chain: supply %s EIT, treasury %s EIT", whole(*t.TotalSupply), whole(b.Balance))
	if err := expect("supply", *t.TotalSupply, supply+unit); err != nil {
		return err
	}
	return expect("treasury's balance", b.Balance, balance+unit)
}

func (s *story) minters(want ...string) error {
	roles, err := s.operator.ListTokenRoles(s.ctx, s.token.ID)
	if err != nil {
		return err
	}
	for _, r := range roles.Roles {
		if r.Role != "MINTER" {
			continue
		}
		got := slices.Sorted(slices.Values(r.Holders))
		slices.Sort(want)
		say("on chain: MINTER is held by %s", strings.Join(got, ", "))
		return expect("holders of MINTER", strings.Join(got, " "), strings.Join(want, " "))
	}
	return fmt.Errorf("no role MINTER in %v", roles.Roles)
}

// table shows balances, supply and roles, all read from the chain.
func (s *story) table() error {
	t, err := s.operator.GetToken(s.ctx, s.token.ID)
	if err != nil {
		return err
	}
	roles, err := s.operator.ListTokenRoles(s.ctx, s.token.ID)
	if err != nil {
		return err
	}
	w := table.NewWriter()
	w.SetOutputMirror(os.Stdout)
	w.SetStyle(table.StyleLight)
	w.AppendHeader(table.Row{"account", "address", "EIT", "roles"})
	for _, a := range []struct {
		name   string
		wallet client.Wallet
		want   string
	}{{s.vault.Name, s.treasury, "500" + unit}, {s.partner.Name, s.desk, "0"}} {
		b, err := s.operator.GetTokenBalance(s.ctx, s.token.ID, a.wallet.Address)
		if err != nil {
			return err
		}
		var held []string
		for _, r := range roles.Roles {
			if slices.Contains(r.Holders, a.wallet.Address) {
				held = append(held, string(r.Role))
			}
		}
		w.AppendRow(table.Row{a.name, a.wallet.Address, whole(b.Balance), strings.Join(held, " ")})
		if err := expect(a.name+"'s balance", b.Balance, a.want); err != nil {
			return err
		}
	}
	w.AppendFooter(table.Row{"", "total supply", whole(*t.TotalSupply), ""})
	w.Render()
	for _, r := range roles.Roles {
		if err := expect("holders of "+string(r.Role), strings.Join(r.Holders, " "), s.treasury.Address); err != nil {
			return err
		}
	}
	return expect("supply", *t.TotalSupply, "500"+unit)
}

// whole shows base units as tokens of 18 decimals.
func whole(base string) string {
	if len(base) <= 18 {
		base = strings.Repeat("0", 19-len(base)) + base
	}
	units, rest := base[:len(base)-18], strings.TrimRight(base[len(base)-18:], "0")
	for i := len(units) - 3; i > 0; i -= 3 {
		units = units[:i] + "," + units[i:]
	}
	if rest != "" {
		return units + "." + rest
	}
	return units
}
