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

// progress prints each status that an operation has been in, once, in order.
func (s *story) progress() func(*client.Operation) {
	printed, confirmations := 0, int64(0)
	return func(op *client.Operation) {
		for ; printed < len(op.History); printed++ {
			line := string(op.History[printed].Status)
			switch op.History[printed].Status {
			case client.OperationStatusSIGNED, client.OperationStatusBROADCASTING:
				line += "  tx " + value(op.BlockchainTransactionHash)
			case client.OperationStatusCONFIRMING:
				line += "  block " + value(op.BlockNumber)
			}
			say("%s", line)
		}
		if op.Confirmations > confirmations {
			confirmations = op.Confirmations
			say("  %d confirmations", confirmations)
		}
	}
}

func value[T any](v *T) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprint(*v)
}

// approved prints what an approver was shown: the first time whole, then its
// first sentence and what came of it.
func (s *story) approved(approver, out string) {
	lines := strings.Split(out, "\n")
	if !s.shown {
		s.shown = true
		for _, line := range lines {
			for i, part := range wrap(line, 110) {
				if i > 0 {
					part = "    " + part
				}
				say("  %s | %s", approver, part)
			}
		}
		return
	}
	headline, _, _ := strings.Cut(lines[0], ". ")
	for i, part := range wrap(headline, 110) {
		if i > 0 {
			part = "    " + part
		}
		say("  %s | %s", approver, part)
	}
	say("  %s | %s", approver, lines[len(lines)-1])
}

// wrap breaks a line at spaces so that a terminal does not break it in a word.
func wrap(line string, width int) []string {
	var out []string
	for len(line) > width {
		at := strings.LastIndexByte(line[:width], ' ')
		if at <= 0 {
			break
		}
		out, line = append(out, line[:at]), line[at+1:]
	}
	return append(out, line)
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
