package api_test

import (
	"fmt"
	"log/slog"
	"math/big"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api"
)

const holderAddress = "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"

// TestTokenLife: what these routes answer of a token that has no contract; the rest needs a signature and is
// tested where there is an HSM.
func TestTokenLife(t *testing.T) {
	s := newHouse(t).serve()
	vault, wallet := s.vault("treasury")
	token := s.token(vault)
	path := "/v1/tokens/" + token
	party := `{"type":"address","address":"` + holderAddress + `"}`
	privileged := []struct{ method, path, body string }{
		{"POST", "/transfers", `{"amount":"1","from":` + party + `,"to":` + party + `}`},
		{"POST", "/pause", ``}, {"POST", "/unpause", `{"feeStrategy":"LOW"}`},
		{"POST", "/freeze", `{"subject":` + party + `,"reason":"court order 17"}`}, {"POST", "/unfreeze", `{"subject":` + party + `}`},
		{"POST", "/allowlist", `{"subject":` + party + `}`}, {"POST", "/allowlist", `{"address":"` + holderAddress + `"}`}, {"DELETE", "/allowlist/" + holderAddress, ``},
	}
	for n, c := range privileged {
		s.as("operator", c.method, path+c.path, c.body).fails(400, 1101) // no Idempotency-Key
		s.as("operator", c.method, path+c.path, c.body, key(fmt.Sprint("draft", n))).fails(409, 1703)
		s.as("operator", c.method, "/v1/tokens/token_01J00000000000000000000000"+c.path, c.body, key(fmt.Sprint("unknown", n))).fails(404, 1112)
		s.as("viewer", c.method, path+c.path, c.body, key(fmt.Sprint("viewer", n))).fails(403, 1001)
	}
	s.as("operator", "POST", path+"/freeze", `{}`, key("k1")).fails(400, 1101)
	s.as("operator", "POST", path+"/freeze", `{"subject":`+party+`,"amount":"1"}`, key("k2")).fails(400, 1100)
	s.as("operator", "POST", path+"/allowlist", `{}`, key("a1")).fails(400, 1101)
	s.as("operator", "POST", path+"/allowlist", `{"subject":`+party+`,"address":"`+holderAddress+`"}`, key("a2")).fails(400, 1100)
	s.as("operator", "POST", path+"/transfers", `{"amount":1,"from":`+party+`,"to":`+party+`}`, key("k3")).fails(409, 1703)
	s.as("operator", "POST", path+"/pause", `{"replaces":"op_nope"}`, key("k4")).fails(409, 1703)

	for _, body := range []string{``, `{}`, `{"deployerWalletId":"` + wallet + `"}`} {
		e := is[api.DeploymentEstimate](s.as("viewer", "POST", path+"/deployment/estimate", body), 200)
		require.Equal(t, api.OperationTypeDEPLOYTOKEN, e.OperationType)
		require.Equal(t, network, e.Network)
		require.Equal(t, token, e.TokenID)
		require.Equal(t, fmt.Sprint(e.GasLimit), e.EstimatedGas)
		require.Equal(t, e.Strategies[1].MaxFee, e.EstimatedFeeWei)
		require.Empty(t, e.Warnings)
		require.Equal(t, api.DeploymentChecks{TemplateBytecodeHashMatches: true, DeployerHasFunds: true, DeployerNonceAvailable: true}, e.Checks)
		for n, strategy := range []api.FeeStrategy{api.FeeStrategyLOW, api.FeeStrategyMEDIUM, api.FeeStrategyHIGH} {
			require.Equal(t, strategy, e.Strategies[n].FeeStrategy)
			perGas, ok := new(big.Int).SetString(e.Strategies[n].MaxFeePerGas, 10)
			require.True(t, ok)
			require.Equal(t, perGas.Mul(perGas, big.NewInt(e.GasLimit)).String(), e.Strategies[n].MaxFee)
		}
	}
	s.as("viewer", "POST", path+"/deployment/estimate", `{"constructorArgs":{"symbol":"OTHER"}}`).fails(400, 1100)
	s.as("viewer", "POST", path+"/deployment/estimate", `{"deployerWalletId":"wallet_01J00000000000000000000000"}`).fails(404, 1400)
	require.Zero(t, is[api.OperationList](s.as("viewer", "GET", "/v1/token-operations", ""), 200).Pagination.Total)

	opID := is[api.DeployAccepted](s.as("operator", "POST", path+"/deploy", "", key("deploy")), 202).OperationID
	s.as("operator", "POST", path+"/retire", "", key("r1")).fails(409, 1301)
	s.as("viewer", "POST", path+"/retire", "", key("r2")).fails(403, 1001)
	s.as("operator", "POST", path+"/retire", "").fails(400, 1101)
	require.Equal(t, "PENDING_AUTHORIZATION", *is[api.Deployment](s.as("viewer", "GET", path+"/deployment", ""), 200).Status)
	is[api.Operation](s.as("operator", "POST", "/v1/token-operations/"+opID+"/cancel", ""), 200)
	retired := s.as("operator", "POST", path+"/retire", `{"reason":"redeemed in full"}`, key("r3"))
	require.Equal(t, api.TokenStatusRETIRED, is[api.Token](retired, 200).Status)
	again := s.as("operator", "POST", path+"/retire", `{"reason":"redeemed in full"}`, key("r3"))
	require.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	require.Equal(t, retired.body, again.body)
	s.as("operator", "POST", path+"/retire", "", key("r4")).fails(422, 1704)
	s.as("operator", "POST", path+"/deploy", "", key("r5")).fails(422, 1704)
	s.as("viewer", "POST", path+"/deployment/estimate", "").fails(422, 1704)
	for n, c := range privileged {
		s.as("operator", c.method, path+c.path, c.body, key(fmt.Sprint("retired", n))).fails(422, 1704)
	}
	require.Equal(t, api.TokenStatusRETIRED, is[api.TokenDetail](s.as("viewer", "GET", path, ""), 200).Status)
	is[api.Token](s.as("operator", "PATCH", path, `{"description":"of 2025"}`), 200)
}

// TestAttack_ReadersFillTheStore: whoever may read leaves nothing in the store, with whatever keys he asks what is only
// asked, and no lines that drive others' out of the journal.
func TestAttack_ReadersFillTheStore(t *testing.T) {
	h := newHouse(t)
	var info journal
	s := h.serve(func(d *api.Deps) { d.Log = slog.New(slog.NewJSONHandler(&info, nil)) })
	vault, wallet := s.vault("treasury")
	token := s.token(vault)
	count := func() int64 {
		n, err := h.store.Count(t.Context(), "/mw/idem/")
		require.NoError(t, err)
		return n
	}
	before := count()
	for path, body := range map[string]string{
		"/v1/tokens/" + token + "/deployment/estimate": "",
		"/v1/policies/" + s.policyID + "/simulate":     `{"operationType":"DEPLOY_TOKEN","performedBy":{"type":"walletId","walletId":"` + wallet + `"}}`,
	} {
		for _, k := range []string{"k1", "k2", "k3", "k3"} {
			a := s.as("viewer", "POST", path, body, key(k))
			require.Equal(t, 200, a.status, "%s: %s", path, a.body)
			require.Empty(t, a.header.Get("Idempotency-Replayed"), path)
		}
		require.Equal(t, before, count(), path)
	}
	info.of(t, s.as("operator", "PATCH", "/v1/tokens/"+token, `{"tags":["a"]}`))
	require.NotContains(t, info.String(), `"user":"viewer"`)
}

// Why an account is frozen is what approvers and auditors ask next: the operation
// says it.
func TestAReasonIsTheOperations(t *testing.T) {
	s := newHouse(t).serve()
	s.userWith("compliance-1", "compliance_officer")
	vault, wallet := s.vault("treasury")
	token := s.deployed(vault, map[string]any{"templateId": "tpl_qrc20_regulated_v1"})
	own := `{"type":"walletId","walletId":"` + wallet + `"}`
	s.approved(s.asked("/v1/tokens/"+token+"/roles/grant", `{"role":"FREEZER","subject":`+own+`}`, "freezer"))
	freeze := is[api.AccountChangeAccepted](s.as("compliance-1", "POST", "/v1/tokens/"+token+"/freeze", `{"subject":`+toAddress(holderAddress)+`,"reason":"court order 17"}`, key("freeze")), 202)
	read := func() api.Operation {
		return is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+freeze.OperationID, ""), 200)
	}
	require.Equal(t, "court order 17", *read().Reason)
	s.approved(freeze.OperationID)
	require.Equal(t, "court order 17", *read().Reason)
	grant := is[api.OperationList](s.as("viewer", "GET", "/v1/token-operations?operationType=GRANT_ROLE", ""), 200).Data[0].OperationID
	require.Nil(t, is[api.Operation](s.as("viewer", "GET", "/v1/token-operations/"+grant, ""), 200).Reason)
}
