package api_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/daemon/pki"
)

// connect makes a client of package client for a user.
func (s *server) connect(user string, alg pki.Algorithm) *client.Client {
	s.t.Helper()
	ca := s.pki.ecdsa
	if alg == pki.MLDSA65 {
		ca = s.pki.pq
	}
	pair, err := ca.IssueClient(user, alg)
	require.NoError(s.t, err)
	dir := s.t.TempDir()
	file := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(s.t, os.WriteFile(path, b, 0o600))
		return path
	}
	c, err := client.New(client.Config{
		URL: s.url, CAFile: file("ca.crt", append(s.pki.ecdsa.Pair().Certificate, s.pki.pq.Pair().Certificate...)),
		CertFile: file("client.crt", pair.Certificate), KeyFile: file("client.key", pair.Key), APIKeyFile: file("apikey", []byte(s.keys[user])),
	})
	require.NoError(s.t, err)
	s.t.Cleanup(c.Close)
	return c
}

// TestClient: the Go client and this server agree on every type.
func TestClient(t *testing.T) {
	s := newHouse(t).serve()
	ctx := t.Context()
	operator, admin := s.connect("operator", pki.MLDSA65), s.connect("admin", pki.ECDSAP256)

	vault, err := operator.CreateVaultAccount(ctx, client.VaultAccountCreate{Name: "treasury"})
	require.NoError(t, err)
	wallet, err := operator.CreateWallet(ctx, vault.ID, client.WalletCreate{Network: network})
	require.NoError(t, err)
	require.Equal(t, client.WalletProtectionHsmWrapped, wallet.Protection)
	balance, err := operator.GetWalletBalance(ctx, wallet.ID)
	require.NoError(t, err)
	require.Equal(t, "QC", balance.Currency)
	supply := "1000000"
	token, err := operator.CreateToken(ctx, client.TokenCreate{
		Standard: "QRC-20", TemplateID: "tpl_qrc20_v1", Name: "Example", Symbol: "EIT", Decimals: 18, Network: network,
		SupplyPolicy: client.SupplyPolicy{Mintable: true, Burnable: true, MaxSupply: &supply},
		Admin:        client.TokenAdmin{VaultAccountID: vault.ID, ApprovalPolicyID: s.policyID},
	})
	require.NoError(t, err)
	op, err := operator.DeployToken(ctx, token.ID, client.DeployRequest{}, client.WithIdempotencyKey("deploy"))
	require.NoError(t, err)
	replayed := false
	again, err := operator.DeployToken(ctx, token.ID, client.DeployRequest{}, client.WithIdempotencyKey("deploy"), client.WithReplayed(&replayed))
	require.NoError(t, err)
	require.True(t, replayed)
	require.Equal(t, op, again)
	full, err := operator.GetTokenOperation(ctx, op.OperationID)
	require.NoError(t, err)
	require.NotEmpty(t, full.Intent)
	reason := "no longer needed"
	ended, err := operator.CancelTokenOperation(ctx, op.OperationID, client.CancelRequest{Reason: &reason})
	require.NoError(t, err)
	require.Equal(t, client.OperationStatusCANCELLED, ended.Status)

	n := 0
	for o, err := range operator.Operations(ctx, client.ListTokenOperationsParams{TokenID: &token.ID}) {
		require.NoError(t, err)
		require.Equal(t, op.OperationID, o.OperationID)
		n++
	}
	require.Equal(t, 1, n)
	n = 0
	for u, err := range admin.Users(ctx) {
		require.NoError(t, err)
		require.Contains(t, people, u.Name)
		n++
	}
	require.Len(t, people, n)
	n = 0
	for b, err := range operator.Batches(ctx, 1) {
		require.NoError(t, err)
		require.NotEmpty(t, b)
		n++
	}
	require.Equal(t, 4, n, "charter, policy, wallet, cancellation")

	for x, err := range operator.Transactions(ctx, client.ListTransactionsParams{TokenID: &token.ID}) {
		require.NoError(t, err)
		whole, err := operator.GetTransaction(ctx, x.ID)
		require.NoError(t, err)
		require.Equal(t, op.OperationID, whole.OperationID)
		require.Empty(t, whole.Replacements)
		_, err = operator.CancelTransaction(ctx, x.ID, client.CancelRequest{})
		var e *client.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 1715, e.Code)
	}
	estimate, err := operator.EstimateTransactionFee(ctx, client.EstimateTransactionFeeParams{Network: network, OperationType: client.OperationTypeMINT})
	require.NoError(t, err)
	require.Len(t, estimate.Strategies, 3)
	fill, err := operator.CancelWalletNonce(ctx, wallet.ID, client.CancelNonceRequest{Nonce: "0"})
	require.NoError(t, err)
	require.Equal(t, "0", fill.Nonce)
	var sheet strings.Builder
	format := client.ExportTransactionsParamsFormatCsv
	compliance := s.connect(s.userWith("compliance-1", "compliance_officer"), pki.ECDSAP256)
	require.NoError(t, compliance.ExportTransactions(ctx, client.ExportTransactionsParams{Format: &format}, &sheet))
	require.Equal(t, 3, strings.Count(sheet.String(), "\r\n"), "a header and two operations")
	var refused *client.Error
	require.ErrorAs(t, operator.ExportTransactions(ctx, client.ExportTransactionsParams{}, &sheet), &refused)
	require.Equal(t, 1001, refused.Code)

	_, err = operator.ListUsers(ctx, client.ListUsersParams{})
	require.NoError(t, err, "every role reads")
	_, err = admin.MintToken(ctx, token.ID, client.MintRequest{})
	var e *client.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 1001, e.Code)
	s.room.set(func() { s.room.sealed = true })
	_, err = operator.CreateVaultAccount(ctx, client.VaultAccountCreate{Name: "desk"})
	require.ErrorAs(t, err, &e)
	require.Equal(t, client.CodeSealed, e.Code)
}
