package api_test

import (
	"encoding/csv"
	"encoding/json/v2"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
	"github.com/mintwarden/mintwarden/policy"
)

// TestTransactions: the chain side of operations is listed, read and decided on
// under ids of its own, and exported whole.
func TestTransactions(t *testing.T) {
	s := newHouse(t).serve()
	vault, wallet := s.vault("treasury")
	token := s.deployed(vault, nil)
	mint := func(n int) string {
		return s.asked("/v1/tokens/"+token+"/mint", fmt.Sprintf(`{"amount":"%d","recipient":%s}`, n, toAddress(somebody)), fmt.Sprint("mint-", n))
	}
	done, waiting, refused, withdrawn := mint(1), mint(2), mint(3), mint(4)
	s.approved(done)
	txreq := func(op string) string { return "txreq_" + strings.TrimPrefix(op, "op_") }

	t.Run("by another name", func(t *testing.T) {
		s := s.in(t)
		path := func(op, verb string) string { return "/v1/transactions/" + txreq(op) + "/" + verb }
		op := is[api.Operation](s.as("approver-1", "POST", path(waiting, "approve"), s.decision("approver-1", policy.Approve, waiting)), 200)
		require.Equal(t, []string{"approver-1"}, op.ApprovedBy)
		op = is[api.Operation](s.as("approver-3", "POST", path(refused, "reject"), s.decision("approver-3", policy.Reject, refused)), 200)
		require.Equal(t, api.OperationStatusREJECTED, op.Status)
		op = is[api.Operation](s.as("operator", "POST", path(withdrawn, "cancel"), `{"reason":"=1+1, \"sic\""}`), 200)
		require.Equal(t, api.OperationStatusCANCELLED, op.Status)
		s.as("operator", "POST", path(withdrawn, "cancel"), "").fails(409, 1715)
		s.as("operator", "POST", "/v1/transactions/txreq_nope/cancel", "").fails(404, 1300)
		s.as("operator", "POST", "/v1/transactions/"+withdrawn+"/cancel", "").fails(404, 1300)
	})
	t.Run("read", func(t *testing.T) {
		s := s.in(t)
		x := is[api.Transaction](s.as("viewer", "GET", "/v1/transactions/"+txreq(done), ""), 200)
		require.Equal(t, "1", *x.Nonce, "the deployment had the first")
		require.Len(t, x.Replacements, 1)
		require.Equal(t, *x.TransactionHash, x.Replacements[0].TransactionHash)
		require.Equal(t, x.Replacements[0].MaxFeePerGas, *x.MaxFeePerGas)
		require.NotNil(t, x.Replacements[0].SignedAt)
		require.False(t, x.Replacements[0].SignedAt.Before(x.CreatedAt))
		require.NotNil(t, x.BlockNumber)
		require.GreaterOrEqual(t, x.Confirmations, int64(2))
		x = is[api.Transaction](s.as("viewer", "GET", "/v1/transactions/"+txreq(refused), ""), 200)
		require.Nil(t, x.Nonce)
		require.Empty(t, x.Replacements)
		s.as("viewer", "GET", "/v1/transactions/txreq_nope", "").fails(404, 1300)
		s.as("viewer", "GET", "/v1/transactions/"+txreq("op_00000000000000000000000000"), "").fails(404, 1300)
	})
	t.Run("lists", func(t *testing.T) {
		s := s.in(t)
		page := func(query string) api.TransactionList {
			return is[api.TransactionList](s.as("viewer", "GET", "/v1/transactions"+query, ""), 200)
		}
		require.Equal(t, 5, page("").Pagination.Total)
		require.Equal(t, 2, page("?status=COMPLETED").Pagination.Total)
		require.Equal(t, 4, page("?operationType=MINT&tokenId="+token+"&requestedBy=operator&network="+network+"&walletId="+wallet).Pagination.Total)
		require.Zero(t, page("?network=elsewhere").Pagination.Total)
		require.Zero(t, page("?to=2026-01-01T00:00:00Z").Pagination.Total)
		require.Equal(t, 5, page("?from=2026-01-01T00:00:00Z").Pagination.Total)
		first := page("?limit=2")
		require.Equal(t, txreq(withdrawn), first.Data[0].ID, "newest first")
		second := page("?limit=2&cursor=" + *first.Pagination.NextCursor)
		require.Equal(t, page("?limit=2&offset=2").Data, second.Data)
		for _, bad := range []string{"?limit=0", "?limit=201", "?offset=-1", "?offset=10001", "?cursor=x", "?cursor=x&offset=1", "?limit=1&limit=2"} {
			s.as("viewer", "GET", "/v1/transactions"+bad, "").fails(400, 1108)
		}
		s.as("viewer", "GET", "/v1/transactions?status=DONE", "").fails(400, 1100)
		s.as("viewer", "GET", "/v1/transactions?from=yesterday", "").fails(400, 1100)
	})
	t.Run("export", func(t *testing.T) {
		s := s.in(t)
		s.as("viewer", "GET", "/v1/transactions/export", "").fails(403, 1001)
		compliance := s.userWith("compliance-1", "compliance_officer")
		all := is[[]api.TransactionSummary](s.as(compliance, "GET", "/v1/transactions/export?format=json", ""), 200)
		require.Equal(t, is[api.TransactionList](s.as("viewer", "GET", "/v1/transactions", ""), 200).Data, all)
		require.Empty(t, is[[]api.TransactionSummary](s.as(compliance, "GET", "/v1/transactions/export?format=json&network=elsewhere", ""), 200))

		sheet := s.as(compliance, "GET", "/v1/transactions/export?format=csv", "")
		require.Equal(t, 200, sheet.status)
		require.Equal(t, "text/csv; charset=utf-8", sheet.header.Get("Content-Type"))
		require.Equal(t, `attachment; filename="transactions.csv"`, sheet.header.Get("Content-Disposition"))
		lines, err := csv.NewReader(strings.NewReader(string(sheet.body))).ReadAll()
		require.NoError(t, err)
		require.Len(t, lines, 1+len(all))
		for i, line := range lines[1:] {
			sameLine(t, lines[0], line, all[i])
		}
		require.Contains(t, string(sheet.body), `"withdrawn by operator: =1+1, ""sic"""`, "what a person wrote is quoted, and no formula")
		require.Equal(t, sheet.body, s.as(compliance, "GET", "/v1/transactions/export", "").body, "a sheet unless JSON is asked for")
		empty := s.as(compliance, "GET", "/v1/transactions/export?format=csv&network=elsewhere", "")
		require.Equal(t, strings.Join(lines[0], ",")+"\r\n", string(empty.body))
	})
	t.Run("what a fee comes to", func(t *testing.T) {
		s := s.in(t)
		e := is[api.FeeEstimate](s.as("viewer", "GET", "/v1/transactions/estimate-fee?network="+network+"&operationType=MINT", ""), 200)
		require.Len(t, e.Strategies, 3)
		require.Positive(t, e.GasLimit)
		s.as("viewer", "GET", "/v1/transactions/estimate-fee?network=elsewhere&operationType=MINT", "").fails(404, 1112)
		s.as("viewer", "GET", "/v1/transactions/estimate-fee?network="+network, "").fails(400, 1101)
	})
	t.Run("a nonce is used up", func(t *testing.T) {
		s := s.in(t)
		path := "/v1/wallets/" + wallet + "/cancel-nonce"
		s.as("operator", "POST", path, `{"nonce":"2"}`).fails(400, 1101)
		s.as("operator", "POST", path, `{"nonce":"1"}`, key("taken")).fails(409, 1301)
		s.as("operator", "POST", path, `{"nonce":"9"}`, key("ahead")).fails(409, 1301)
		s.as("operator", "POST", path, `{"nonce":2}`, key("number")).fails(400, 1100)
		s.as("operator", "POST", "/v1/wallets/wallet_nope/cancel-nonce", `{"nonce":"2"}`, key("nobody")).fails(404, 1400)
		a := is[api.CancelNonceAccepted](s.as("operator", "POST", path, `{"nonce":"2"}`, key("fill")), 202)
		require.Nil(t, a.TokenID)
		op := s.approved(a.OperationID)
		require.Nil(t, op.TokenID)
		require.Equal(t, "2", *is[api.Transaction](s.as("viewer", "GET", "/v1/transactions/"+a.TransactionRequestID, ""), 200).Nonce)
	})
}

// sameLine holds a line of the sheet against the same transaction in JSON.
func sameLine(t *testing.T, names, line []string, want api.TransactionSummary) {
	t.Helper()
	raw, err := json.Marshal(want)
	require.NoError(t, err)
	var fields map[string]any
	require.NoError(t, json.Unmarshal(raw, &fields))
	require.Len(t, names, len(fields))
	for i, name := range names {
		v, ok := fields[name]
		require.True(t, ok, name)
		switch {
		case v == nil:
			require.Empty(t, line[i], name)
		default:
			require.Equal(t, fmt.Sprint(v), line[i], name)
		}
	}
}
