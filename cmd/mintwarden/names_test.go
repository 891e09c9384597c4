package main

import (
	"encoding/json/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/ledger"
)

func TestTokenBalance(t *testing.T) {
	serve(t, newWorld(t))
	for _, party := range []string{"treasury", id("vault", 1), id("wallet", 1), wallet(1).Address.String()} {
		got := mintwarden(t, "token", "balance", id("token", 1), party)
		require.Equal(t, exitDone, got.code, got.err)
		require.Contains(t, got.out, wallet(1).Address.String())
		require.Contains(t, got.out, "1.5 EIT")
		require.Contains(t, got.out, "1500000000000000000")
	}
	got := mintwarden(t, "token", "balance", id("token", 6), id("vault", 2), "--json")
	require.Equal(t, exitDone, got.code, got.err)
	var held tokenHeld
	require.NoError(t, json.Unmarshal([]byte(got.out), &held))
	require.Equal(t, tokenHeld{TokenID: id("token", 6), Symbol: "EIT", Decimals: 6, Total: "1500000000000000000",
		Balances: []walletHeld{{Address: wallet(2).Address.String(), WalletID: id("wallet", 2), Balance: "1500000000000000000"}}}, held)
	got = mintwarden(t, "token", "balance", id("token", 1), id("vault", 3))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "mintwarden wallet create --vault "+id("vault", 3)+" makes one")
	got = mintwarden(t, "token", "balance", id("token", 1), id("wallet", 9))
	require.Equal(t, exitRefused, got.code)
}

// TestNames: people read names beside ids, and every policy that judges.
func TestNames(t *testing.T) {
	w := newWorld(t)
	second := w.policy(1, nil, policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 1, ApproverGroup: "approvers"})
	second.ID, second.Name = id("pol", 2), "treasury desk"
	w.commit(ledger.Record{Policy: signed(t, policy.DocPolicy, second, "custodian-1", "custodian-2")})
	a := serve(t, w)
	i := w.mint(1)
	in, _ := w.fold.Policy(id("pol", 2))
	i.Policies = append(i.Policies, in.Ref())
	op := a.offer(i)
	op.Amount, op.TokenID, op.RecipientAddress = ptr("1000000000000000000000"), ptr(id("token", 1)), ptr(wallet(1).Address.String())
	op.BlockNumber, op.Confirmations = ptr(int64(7)), 1
	got := mintwarden(t, "operation", "show", i.OperationID)
	require.Equal(t, exitDone, got.code, got.err)
	for _, shown := range []string{id("pol", 1) + " (dev-default) v1", id("pol", 2) + " (treasury desk) v1", "1,000 EIT (1000000000000000000000)",
		id("wallet", 1) + " (treasury)", wallet(1).Address.String() + " (" + id("wallet", 1) + " of treasury)", "7, 1 confirmation "} {
		require.Contains(t, got.out, shown)
	}
	got = mintwarden(t, "operation", "list")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "│ 1,000 EIT │ 1000000000000000000000 │")

	op.OperationType, op.Amount = client.OperationTypeDEPLOYTOKEN, ptr("0")
	got = mintwarden(t, "operation", "show", i.OperationID)
	require.NotContains(t, got.out, "amount")

	got = mintwarden(t, "wallet", "list")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "│ hot 1 │ treasury │ "+id("vault", 1))
	got = mintwarden(t, "user", "list")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "oscar")
	got = mintwarden(t, "credential", "list")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, id("user", 9)+" (oscar)")
	require.Contains(t, got.out, id("user", 1)+" (ann)") // by the charter
	require.Contains(t, got.out, "all of the role")
}

// TestNamesOfAForgedLedger are left out, and the forgery is told.
func TestNamesOfAForgedLedger(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	a.offer(i)
	a.values = append([][]byte{}, a.values...)
	a.values[1] = a.values[2]
	got := mintwarden(t, "operation", "show", i.OperationID)
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.err, "WARNING: the appliance serves a ledger that does not verify")
	require.NotContains(t, got.out, "dev-default")
}

func TestAuditListSaysWhy(t *testing.T) {
	a := serve(t, newWorld(t))
	a.audit = chain(t, 2)
	got := mintwarden(t, "audit", "list")
	require.Equal(t, exitDone, got.code, got.err)
	require.NotContains(t, got.out, "why")
	a.audit[0].Metadata = []byte(`{"message":"MAX_AMOUNT: too much"}`)
	a.audit[1].Metadata = []byte(`{"reason":"not agreed\u202e"}`)
	got = mintwarden(t, "audit", "list")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "MAX_AMOUNT: too much")
	require.Contains(t, got.out, `not agreed\u202e`)

	a.audit[0].ResourceID = id("token", 1)
	a.audit[0].Metadata = []byte(`{"message":"MAX_AMOUNT: 2000000000000000000 is too much","rule":"MAX_AMOUNT","requested":"2000000000000000000"}`)
	got = mintwarden(t, "audit", "list")
	require.Contains(t, got.out, "MAX_AMOUNT: 2 EIT is too much")
}
