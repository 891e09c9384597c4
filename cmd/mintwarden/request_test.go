package main

import (
	"encoding/json/v2"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// TestRequests: what is typed becomes exactly this request.
func TestRequests(t *testing.T) {
	a := serve(t, newWorld(t))
	token, token6 := id("token", 1), id("token", 6) // with 18 and with 6 decimals
	treasury := `{"type":"vaultAccountId","vaultAccountId":"` + id("vault", 1) + `"}`
	wallet2 := `{"type":"walletId","walletId":"` + id("wallet", 2) + `"}`
	alice := account("alice").String()
	for _, tt := range []struct {
		args       []string
		path, body string
	}{
		{[]string{"token", "mint", token, "--amount", "1000", "--to", "treasury"}, token + "/mint",
			`{"amount":"1000000000000000000000","feeStrategy":"MEDIUM","recipient":` + treasury + `}`},
		{[]string{"token", "mint", token6, "--amount", "0.000001", "--to", alice, "--fee", "HIGH"}, token6 + "/mint",
			`{"amount":"1","feeStrategy":"HIGH","recipient":{"type":"address","address":"` + alice + `"}}`},
		{[]string{"token", "mint", token, "--amount", "1000", "--base-units", "--to", id("wallet", 2), "--performed-by", "treasury"}, token + "/mint",
			`{"amount":"1000","feeStrategy":"MEDIUM","recipient":` + wallet2 + `,"performedBy":` + treasury + `}`},
		{[]string{"token", "burn", token, "--amount", "0.5", "--from", id("vault", 1), "--replaces", id("op", 3)}, token + "/burn",
			`{"amount":"500000000000000000","feeStrategy":"MEDIUM","from":` + treasury + `,"replaces":"` + id("op", 3) + `"}`},
		{[]string{"token", "grant", token, "--role", "MINTER", "--to", "treasury"}, token + "/roles/grant",
			`{"role":"MINTER","feeStrategy":"MEDIUM","subject":` + treasury + `}`},
		{[]string{"token", "grant", token, "--role", "MINTER", "--subject", "treasury"}, token + "/roles/grant",
			`{"role":"MINTER","feeStrategy":"MEDIUM","subject":` + treasury + `}`},
		{[]string{"token", "revoke", token, "--role", "PAUSER", "--from", id("wallet", 2), "--performed-by", id("wallet", 2)}, token + "/roles/revoke",
			`{"role":"PAUSER","feeStrategy":"MEDIUM","subject":` + wallet2 + `,"performedBy":` + wallet2 + `}`},
		{[]string{"token", "deploy", token}, token + "/deploy", `{"feeStrategy":"MEDIUM"}`},
		{[]string{"token", "deploy", token, "--performed-by", id("wallet", 2)}, token + "/deploy",
			`{"deployerWalletId":"` + id("wallet", 2) + `","feeStrategy":"MEDIUM"}`},
		// What is ours moves its own tokens; a stranger's are moved out of an allowance, by the token's vault.
		{[]string{"token", "transfer", token, "--amount", "2", "--from", "treasury", "--to", alice}, token + "/transfers",
			`{"amount":"2000000000000000000","feeStrategy":"MEDIUM","from":` + treasury + `,"performedBy":` + treasury + `,"to":{"type":"address","address":"` + alice + `"}}`},
		{[]string{"token", "transfer", token, "--amount", "2", "--base-units", "--from", alice, "--to", id("wallet", 2)}, token + "/transfers",
			`{"amount":"2","feeStrategy":"MEDIUM","from":{"type":"address","address":"` + alice + `"},"to":` + wallet2 + `}`},
		{[]string{"token", "transfer", token, "--amount", "2", "--base-units", "--from", id("wallet", 2), "--to", alice, "--performed-by", "treasury"}, token + "/transfers",
			`{"amount":"2","feeStrategy":"MEDIUM","from":` + wallet2 + `,"performedBy":` + treasury + `,"to":{"type":"address","address":"` + alice + `"}}`},
		{[]string{"token", "pause", token, "--fee", "HIGH"}, token + "/pause", `{"feeStrategy":"HIGH"}`},
		{[]string{"token", "unpause", token, "--replaces", id("op", 3)}, token + "/unpause", `{"feeStrategy":"MEDIUM","replaces":"` + id("op", 3) + `"}`},
		{[]string{"token", "freeze", token, "--account", alice, "--reason", "court order 17"}, token + "/freeze",
			`{"feeStrategy":"MEDIUM","reason":"court order 17","subject":{"type":"address","address":"` + alice + `"}}`},
		{[]string{"token", "unfreeze", token, "--subject", "treasury", "--performed-by", id("wallet", 2)}, token + "/unfreeze",
			`{"feeStrategy":"MEDIUM","subject":` + treasury + `,"performedBy":` + wallet2 + `}`},
		{[]string{"token", "allow", token, "--account", id("wallet", 2)}, token + "/allowlist", `{"feeStrategy":"MEDIUM","subject":` + wallet2 + `}`},
		{[]string{"token", "disallow", token, "--account", alice}, token + "/allowlist/" + alice, ``},
	} {
		t.Run(fmt.Sprint(tt.args), func(t *testing.T) {
			got := mintwarden(t, append(tt.args, "--json", "--idempotency-key", "k-1")...)
			require.Equal(t, exitDone, got.code, got.err)
			require.Contains(t, got.out, id("op", 1))
			sent := a.requests[len(a.requests)-1]
			require.Equal(t, "/v1/tokens/"+tt.path, sent.path)
			require.Equal(t, "k-1", sent.key)
			if tt.body == "" {
				require.Empty(t, sent.body)
				return
			}
			require.JSONEq(t, tt.body, sent.body)
		})
	}
	before := len(a.requests)
	for _, args := range [][]string{
		{"token", "mint", token6, "--amount", "0.0000001", "--to", "treasury"},
		{"token", "mint", token, "--amount", "1", "--to", ""},
		{"token", "mint", token, "--amount", "1", "--to", "twins"}, // two vaults have that name
		{"token", "mint", token, "--amount", "1", "--to", "treasury", "--performed-by", alice},
		{"token", "transfer", token, "--amount", "1", "--from", "treasury"},
		{"token", "freeze", token},
		{"token", "freeze", token, "--account", alice, "--subject", alice},
		{"token", "disallow", token, "--account", alice, "--fee", "LOW"}, // the call takes none
		{"token", "pause", "nonsense"},
		{"token", "retire", "nonsense"},
		{"token", "estimate", token, "--performed-by", alice},
	} {
		got := mintwarden(t, args...)
		require.Equal(t, exitUsage, got.code, got.err)
	}
	got := mintwarden(t, "token", "mint", token, "--amount", "1", "--to", "nobody")
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, `no vault account is named "nobody"`)
	require.Len(t, a.requests, before)
}

// TestTokenLife: what is no operation answers at once.
func TestTokenLife(t *testing.T) {
	a := serve(t, newWorld(t))
	token := id("token", 1)
	got := mintwarden(t, "token", "retire", token, "--reason", "redeemed in full", "--idempotency-key", "k-2")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "RETIRED")
	sent := a.requests[len(a.requests)-1]
	require.Equal(t, "k-2", sent.key)
	require.JSONEq(t, `{"reason":"redeemed in full"}`, sent.body)

	got = mintwarden(t, "token", "estimate", token)
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "0.0042 QC")
	require.Contains(t, got.out, "the contract stands at "+account("alice").String())
	require.Contains(t, got.out, "WARNING: wallet_01 has 0 wei")
	require.JSONEq(t, `{}`, a.requests[len(a.requests)-1].body)
	got = mintwarden(t, "token", "estimate", token, "--json", "--performed-by", id("wallet", 2))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, `"maxFee": "4200000000000000"`)
	require.JSONEq(t, `{"deployerWalletId":"`+id("wallet", 2)+`"}`, a.requests[len(a.requests)-1].body)
}

func TestTokenCreate(t *testing.T) {
	a := serve(t, newWorld(t))
	got := mintwarden(t, "token", "create", "--name", "Example", "--symbol", "EIT", "--max-supply", "1000000.5", "--not-burnable",
		"--vault", "treasury", "--policy", id("pol", 1), "--tag", "a", "--tag", "b")
	require.Equal(t, exitDone, got.code, got.err)
	require.JSONEq(t, `{"standard":"QRC-20","templateId":"tpl_qrc20_v1","name":"Example","symbol":"EIT","decimals":18,"network":"`+network+`",
		"supplyPolicy":{"mintable":true,"burnable":false,"maxSupply":"1000000500000000000000000"},"tags":["a","b"],
		"admin":{"vaultAccountId":"`+id("vault", 1)+`","approvalPolicyId":"`+id("pol", 1)+`"}}`, a.requests[0].body)
	require.Contains(t, got.out, "Next: mintwarden token deploy")
}

// TestWatch ends with the code that says how the operation ended.
func TestWatch(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	i := w.mint(1)
	op := a.offer(i)
	got := mintwarden(t, "operation", "watch", i.OperationID, "--timeout", "1ms")
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "did not come to its end within 1ms")

	op.Status, op.FailureReason = client.OperationStatusFAILED, ptr("reverted: \x1b[2Jcap")
	got = mintwarden(t, "operation", "watch", i.OperationID)
	require.Equal(t, exitOtherEnd, got.code)
	require.Contains(t, got.err, i.OperationID+` ended FAILED: reverted: \x1b[2Jcap`)

	op.History = []client.StatusChange{{Status: client.OperationStatusSIGNED}}
	require.Equal(t, exitDone, mintwarden(t, "operation", "watch", i.OperationID, "--until", "signed").code)

	op.Status = client.OperationStatusCOMPLETED
	got = mintwarden(t, "operation", "watch", i.OperationID, "--json")
	require.Equal(t, exitDone, got.code, got.err)
	var line client.Operation
	require.NoError(t, json.Unmarshal([]byte(got.out), &line))
	require.Equal(t, client.OperationStatusCOMPLETED, line.Status)

	got = mintwarden(t, "operation", "show", i.OperationID)
	require.Equal(t, exitDone, got.code, got.err)
	require.NotContains(t, got.out, "\x1b")
}

// TestCredentialCreate: the secret goes into a new file that only its owner
// reads, and nowhere else.
func TestCredentialCreate(t *testing.T) {
	a := serve(t, newWorld(t))
	path := filepath.Join(a.dir, "ci.apikey")
	create := []string{"credential", "create", "--user", id("user", 1), "--out", path, "--permission", "tokens:read"}
	got := mintwarden(t, create...)
	require.Equal(t, exitDone, got.code, got.err)
	require.NotContains(t, got.out, "qcs_test_secret")
	held, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "qcs_test_secret\n", string(held))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o600, info.Mode().Perm())

	// A file that is there is never written over, and then no key is made.
	before := len(a.requests)
	got = mintwarden(t, create...)
	require.Equal(t, exitUsage, got.code)
	require.Len(t, a.requests, before)

	// A refused request leaves no empty file.
	a.sealed = true
	other := filepath.Join(a.dir, "other.apikey")
	got = mintwarden(t, "credential", "create", "--user", id("user", 1), "--out", other)
	require.Equal(t, exitSealed, got.code, got.err)
	require.NoFileExists(t, other)
}

// TestAttackAnotherTransferThanAskedFor: a requester signs no transfer whose source or recipient the appliance
// exchanged.
func TestAttackAnotherTransferThanAskedFor(t *testing.T) {
	w := newWorld(t)
	i := w.mint(1)
	i.OperationType = policy.OpTransfer
	one, two, alice := wallet(1).Address, wallet(2).Address, account("alice")
	x := &expectation{operation: policy.OpTransfer, token: i.Token.ID, amount: i.Params.Amount.String(),
		source: client.Party{Type: client.PartyTypeVaultAccountID, VaultAccountID: ptr(id("vault", 1))},
		party:  client.Party{Type: client.PartyTypeAddress, Address: ptr(alice.String())}}
	i.Params.Source, i.Params.Recipient = &one, &alice
	require.NoError(t, x.met(w.fold, i))
	i.Params.Source = &two
	require.ErrorContains(t, x.met(w.fold, i), "it takes of "+two.String())
	i.Params.Source = nil
	require.Error(t, x.met(w.fold, i))
	i.Params.Source, i.Params.Recipient = &one, &two
	require.ErrorContains(t, x.met(w.fold, i), "it concerns "+two.String())
	i.Params.Source, i.Params.Recipient = &alice, &one
	require.Error(t, x.met(w.fold, i), "the other way round")
}
