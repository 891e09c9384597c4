package main

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// TestAmountsInTokens: a refusal tells amounts in whole tokens, and leaves
// other numbers alone.
func TestAmountsInTokens(t *testing.T) {
	a := serve(t, newWorld(t))
	for _, tt := range []struct {
		kind    string
		message string
		details map[string]any
		want    string
	}{
		{"TOKEN_SUPPLY_EXCEEDED", "minting 2000000000000000000 would pass the maximum supply of 1500000000000000000: 0 exist and 1 are pending",
			map[string]any{"maxSupply": "1500000000000000000", "totalSupply": "0", "pending": "1", "requested": "2000000000000000000"},
			"minting 2 EIT would pass the maximum supply of 1.5 EIT: 0 EIT exist and 0.000000000000000001 EIT are pending"},
		{"TOKEN_INVALID_AMOUNT", "0x12 holds 1000000000000000000 base units of token token_1, less than 2000000000000000000",
			map[string]any{"available": "1000000000000000000", "requested": "2000000000000000000"},
			"0x12 holds 1 EIT of token token_1, less than 2 EIT"},
		{"POLICY_DENIED", "policy pol_1 version 1, DAILY_LIMIT: 2000000000000000000 after 1 is more than 1000000000000000000",
			map[string]any{"rule": "DAILY_LIMIT", "limit": "1000000000000000000", "used": "1", "requested": "2000000000000000000"},
			"policy pol_1 version 1, DAILY_LIMIT: 2 EIT after 0.000000000000000001 EIT is more than 1 EIT"},
		{"POLICY_DENIED", "policy pol_1 version 1, MAX_FEE: 2000000000000000000 wei", map[string]any{"rule": "MAX_FEE", "requested": "2000000000000000000"},
			"MAX_FEE: 2000000000000000000 wei"},
	} {
		a.denial = &client.ErrorBody{Code: 1705, Type: tt.kind, Message: tt.message, RequestID: "req_1", Details: tt.details}
		burn := []string{"token", "burn", id("token", 1), "--amount", "2", "--from", "treasury"}
		got := mintwarden(t, burn...)
		require.Equal(t, exitRefused, got.code)
		require.Contains(t, got.err, tt.want)
		got = mintwarden(t, append(burn, "--json")...) // programs get what the API said
		require.Contains(t, got.err, tt.message)
	}
}

// TestHintsAreOurs: no route of the API is told to a person who types commands.
func TestHintsAreOurs(t *testing.T) {
	for said, want := range map[string]string{
		"vault account v has no wallet on n; POST /v1/vault/accounts/" + id("vault", 1) + "/wallets makes one": "'mintwarden wallet create --vault " + id("vault", 1) + "' makes one",
		`there is no wallet "w"; GET /v1/vault/accounts/{id}/wallets lists a vault account's`:                  "'mintwarden wallet list' shows all",
		`there is no vault account "v"; GET /v1/vault/accounts lists them`:                                     "'mintwarden vault list' shows them",
		`there is no operation "o"; GET /v1/token-operations lists them`:                                       "'mintwarden operation list' shows them",
		`there is no token "t"; GET /v1/tokens lists them`:                                                     "'mintwarden token list' shows them",
		`there is no policy "p"; GET /v1/policies lists them`:                                                  "'mintwarden policy list' shows them",
		`there is no user "u"; GET /v1/users lists them`:                                                       "'mintwarden user list' shows them",
		`there is no credential "c"; GET /v1/credentials lists them`:                                           "'mintwarden credential list' shows them",
		`there is no template "t"; GET /v1/token-templates lists them`:                                         "there is tpl_qrc20_v1",
		"sign the document that GET /v1/policies/" + id("pol", 1) + " shows":                                   "sign what 'mintwarden policy sign " + id("pol", 1) + "' shows",
	} {
		got := spoken(&client.Error{Message: said})
		require.Contains(t, got, want)
		require.NotContains(t, got, "/v1/")
	}
}

// TestACertificateThatIsNotTaken: what the appliance's TLS refuses says which file it is about.
func TestACertificateThatIsNotTaken(t *testing.T) {
	a := serve(t, newWorld(t))
	other, err := pki.NewCA("other", pki.ECDSAP256)
	require.NoError(t, err)
	stranger, err := other.IssueClient("user", pki.ECDSAP256)
	require.NoError(t, err)
	require.NoError(t, writePair(a.dir, "stranger", stranger))
	t.Setenv(client.EnvCert, filepath.Join(a.dir, "stranger.crt"))
	t.Setenv(client.EnvKey, filepath.Join(a.dir, "stranger.key"))
	got := mintwarden(t, "policy", "list")
	require.Equal(t, exitUnreachable, got.code)
	require.Contains(t, got.err, "MINTWARDEN_CERT")
	require.Contains(t, got.err, "'mintwarden cert show FILE'")
}
