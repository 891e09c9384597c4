package operation_test

import (
	"encoding/json/v2"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

func address(a string) *operation.Party {
	return &operation.Party{Type: operation.PartyAddress, Address: a}
}

func text(s string) *string { return &s }

// TestRefusals walks the order of spec/api.md: each request is wrong in the named way and in later ones,
// and the first is what is answered.
func TestRefusals(t *testing.T) {
	t.Parallel()
	limit := amountRule(policy.RuleMaxAmount, "1000")
	h := newHouse(t, options{rules: []policy.Rule{approvals(2), limit}})
	own := &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}
	second := &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault2}
	stranger := address("0x00000000000000000000000000000000000000aa")
	draft := h.token("2000")
	fixed := h.token("0", func(s *registry.TokenSpec) {
		s.SupplyPolicy.Mintable, s.SupplyPolicy.Burnable = false, false
		s.InitialSupply, _ = policy.ParseAmount("50")
	})
	deploy := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: fixed.ID})
	live := h.deployed("1200")
	h.approve(deploy)
	h.ends(deploy, operation.Completed)
	self := address(live.ContractAddress.String())
	poor, err := h.registry.CreateVault(h.patient(), operator, registry.VaultSpec{Name: "without a wallet"}, nil)
	require.NoError(t, err)
	_, err = h.registry.CreateWallet(h.patient(), operator, h.vault2, registry.WalletSpec{Network: networkName, Label: "poor"}, nil)
	require.NoError(t, err)
	wallets, _, err := h.registry.WalletsOf(t.Context(), h.vault2, 10, 0)
	require.NoError(t, err)
	broke := &operation.Party{Type: operation.PartyWallet, WalletID: wallets[0].ID}
	third, err := h.registry.CreateWallet(h.patient(), operator, h.vault, registry.WalletSpec{Network: networkName}, nil)
	require.NoError(t, err)
	byThird := &operation.Party{Type: operation.PartyWallet, WalletID: third.ID}
	huge := "115792089237316195423570985008687907853269984665640564039457584007913129639936"

	type request = operation.Request
	mint := func(amount *string, to *operation.Party) request {
		return request{Type: policy.OpMint, TokenID: live.ID, Amount: amount, Recipient: to}
	}
	grant := func(role string, to *operation.Party) request {
		return request{Type: policy.OpGrantRole, TokenID: live.ID, Role: role, Subject: to}
	}
	burn := func(amount string, from *operation.Party) request {
		return request{Type: policy.OpBurn, TokenID: live.ID, Amount: &amount, From: from}
	}
	with := func(r request, edit func(*request)) request { edit(&r); return r }
	for name, c := range map[string]struct {
		r    request
		want string
	}{
		"no type":                  {request{TokenID: live.ID}, registry.Validation},
		"cancel is no token's":     {request{Type: policy.OpCancel, TokenID: live.ID}, registry.Validation},
		"no token":                 {request{Type: policy.OpPause}, registry.MissingField},
		"no amount":                {mint(nil, address("nonsense")), registry.MissingField},
		"no recipient":             {mint(text("-1"), nil), registry.MissingField},
		"no role":                  {grant("", second), registry.MissingField},
		"party without type":       {mint(text("-1"), &operation.Party{Address: "0x"}), registry.MissingField},
		"party of another type":    {mint(text("-1"), &operation.Party{Type: "email", Address: "x"}), registry.Validation},
		"party with two":           {mint(text("-1"), &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault, Address: "0x"}), registry.Validation},
		"performed by address":     {with(mint(text("1"), own), func(r *request) { r.PerformedBy = stranger }), registry.Validation},
		"fee strategy":             {with(mint(text("-1"), own), func(r *request) { r.FeeStrategy = "TURBO" }), registry.Validation},
		"unknown token":            {with(mint(text("-1"), own), func(r *request) { r.TokenID = "token_01J00000000000000000000000" }), registry.NotFound},
		"unknown vault":            {mint(text("-1"), &operation.Party{Type: operation.PartyVault, VaultAccountID: "vault_01J00000000000000000000000"}), registry.VaultNotFound},
		"vault without wallet":     {mint(text("-1"), &operation.Party{Type: operation.PartyVault, VaultAccountID: poor.ID}), registry.VaultNotFound},
		"unknown wallet":           {mint(text("-1"), &operation.Party{Type: operation.PartyWallet, WalletID: "wallet_01J00000000000000000000000"}), registry.VaultNotFound},
		"deployed twice":           {request{Type: policy.OpDeployToken, TokenID: live.ID}, registry.AlreadyDeployed},
		"not deployed":             {request{Type: policy.OpFreeze, TokenID: draft.ID, Subject: address("nonsense")}, registry.NotDeployed},
		"no such call":             {request{Type: policy.OpFreeze, TokenID: live.ID, Subject: address("nonsense")}, registry.OperationNotAllowed},
		"not mintable":             {with(mint(text("-1"), address("nonsense")), func(r *request) { r.TokenID = fixed.ID }), registry.OperationNotAllowed},
		"not burnable":             {with(burn("-1", address("nonsense")), func(r *request) { r.TokenID = fixed.ID }), registry.OperationNotAllowed},
		"no such role":             {grant("FREEZER", address("nonsense")), registry.OperationNotAllowed},
		"no role at all":           {grant("KING", address("nonsense")), registry.OperationNotAllowed},
		"role nobody can hold":     {with(grant("MINTER", address("nonsense")), func(r *request) { r.TokenID = fixed.ID }), registry.OperationNotAllowed},
		"address":                  {mint(text("-1"), address("nonsense")), registry.InvalidRecipient},
		"checksum":                 {mint(text("-1"), address("0x00000000000000000000000000000000000000aA")), registry.InvalidRecipient},
		"zero address":             {mint(text("-1"), address("0x0000000000000000000000000000000000000000")), registry.InvalidRecipient},
		"contract itself":          {mint(text("-1"), self), registry.InvalidRecipient},
		"negative":                 {mint(text("-1"), second), registry.InvalidTokenAmount},
		"hex":                      {mint(text("0x10"), second), registry.InvalidTokenAmount},
		"exponent":                 {mint(text("1e3"), second), registry.InvalidTokenAmount},
		"leading zero":             {mint(text("01"), second), registry.InvalidTokenAmount},
		"blank":                    {mint(text(" 1"), second), registry.InvalidTokenAmount},
		"empty":                    {mint(text(""), second), registry.InvalidTokenAmount},
		"no uint256":               {mint(&huge, second), registry.InvalidTokenAmount},
		"zero":                     {mint(text("0"), second), registry.InvalidTokenAmount},
		"cannot pay":               {with(mint(text("1201"), own), func(r *request) { r.PerformedBy = broke }), registry.TxInsufficientFunds},
		"above the supply":         {mint(text("1201"), second), registry.SupplyExceeded},
		"performer without MINTER": {with(mint(text("1100"), own), func(r *request) { r.PerformedBy = second }), registry.MintNotAllowed},
		"performer without BURNER": {with(burn("5", own), func(r *request) { r.PerformedBy = second }), registry.BurnNotAllowed},
		"performer without ADMIN":  {with(grant("MINTER", second), func(r *request) { r.PerformedBy = second }), registry.RoleRequired},
		"subject without the role": {request{Type: policy.OpRevokeRole, TokenID: live.ID, Role: "MINTER", Subject: second}, registry.RoleRequired},
		"above the balance":        {burn("5", own), registry.InvalidTokenAmount},
		"above the maximum amount": {mint(text("1001"), second), registry.PolicyDenied},
		"replaces nothing":         {with(mint(text("1"), own), func(r *request) { r.Replaces = "op_01J00000000000000000000000" }), registry.TxNotFound},
		"replaces a good one":      {with(mint(text("1"), own), func(r *request) { r.Replaces = deploy.ID }), registry.TxStateConflict},
		"other constructor":        {request{Type: policy.OpDeployToken, TokenID: draft.ID, ConstructorArgs: &operation.ConstructorArgs{Symbol: text("XYZ")}}, registry.Validation},
		"constructor's amount":     {request{Type: policy.OpDeployToken, TokenID: draft.ID, ConstructorArgs: &operation.ConstructorArgs{Cap: text("2e3")}}, registry.InvalidTokenAmount},
		"foreign deployer":         {request{Type: policy.OpDeployToken, TokenID: draft.ID, DeployerWalletID: h.wallet(h.vault2)}, registry.Validation},
		"deployed by a foreigner":  {request{Type: policy.OpDeployToken, TokenID: draft.ID, PerformedBy: second}, registry.Validation},
		"deployed by nobody": {request{Type: policy.OpDeployToken, TokenID: draft.ID,
			PerformedBy: &operation.Party{Type: operation.PartyVault, VaultAccountID: "vault_01J00000000000000000000000"}}, registry.VaultNotFound},
		"deployed by two": {request{Type: policy.OpDeployToken, TokenID: draft.ID, DeployerWalletID: h.wallet(h.vault), PerformedBy: byThird}, registry.Validation},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := h.operations.Submit(t.Context(), operator, c.r, nil)
			var r *registry.Refusal
			require.ErrorAs(t, err, &r)
			require.Equal(t, c.want, r.Type, r.Message)
		})
	}
	_, total, _, err := h.operations.List(t.Context(), operation.Filter{}, 50, 0, "")
	require.NoError(t, err)
	require.Equal(t, 2, total, "a refused request left an operation")

	t.Run("deployment by another wallet of the admin vault", func(t *testing.T) {
		e, err := h.operations.EstimateDeployment(t.Context(), operator, request{TokenID: draft.ID, PerformedBy: byThird})
		require.NoError(t, err)
		require.Equal(t, third.ID, e.Wallet.ID)
	})
	t.Run("denial leaves an audit entry", func(t *testing.T) {
		_, err := h.operations.Submit(t.Context(), operator, mint(text("1001"), second), nil)
		var r *registry.Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, "MAX_AMOUNT", r.Details["rule"])
		require.Equal(t, "1000", r.Details["limit"])
		require.Equal(t, "0", r.Details["used"], "an amount like the others")
		require.Equal(t, "1001", r.Details["requested"])
		require.Contains(t, h.pendingAudit(), r.Details["auditId"])
	})
	t.Run("paused", func(t *testing.T) {
		pause := h.submit(operation.Request{Type: policy.OpPause, TokenID: live.ID})
		h.approve(pause)
		h.ends(pause, operation.Completed)
		_, err := h.operations.Submit(t.Context(), operator, mint(text("1001"), second), nil)
		var r *registry.Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, registry.ComplianceFailed, r.Type, r.Message)
	})
	t.Run("no node", func(t *testing.T) {
		require.NoError(t, h.node.Close())
		_, err := h.operations.Submit(t.Context(), operator, mint(text("1"), second), nil)
		var r *registry.Refusal
		require.Error(t, err)
		require.False(t, errors.As(err, &r), "%v", err)
	})
}

func TestIntent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("0")
	amount := "12"
	o := h.submit(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, IntentTTL: time.Hour,
		Recipient: address("0x00000000000000000000000000000000000000AA")})
	i, err := policy.ParseIntent(o.Intent)
	require.NoError(t, err)
	require.Equal(t, policy.DigestOf(o.Intent), o.IntentDigest)
	require.Equal(t, o.ID, i.OperationID)
	require.Equal(t, "12", i.Params.Amount.String())
	require.Equal(t, *token.ContractAddress, *i.Token.ContractAddress)
	require.Equal(t, h.policyID, i.Policies[0].ID)
	require.Equal(t, time.Hour, i.ExpiresAt.Sub(i.NotBefore))
	require.Equal(t, "operator", i.Requester)
	again, err := h.operations.Get(t.Context(), o.ID)
	require.NoError(t, err)
	require.Equal(t, o.Intent, again.Intent)

	twin := h.submit(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount,
		Recipient: address("0x00000000000000000000000000000000000000AA")})
	require.Contains(t, twin.Attention, o.ID, "approvers are not told that they may be approving twice")

	_, err = tx.ParseAddress(o.Recipient.String())
	require.NoError(t, err)
}

func TestOneIdempotencyKeyOneOperation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.token("0")
	idem := &store.Idempotent{Hash: "h", BodyHash: "b", Render: func(r any) (int, []byte, error) {
		b, err := json.Marshal(r.(*operation.Operation).ID)
		return 202, b, err
	}}
	results := make(chan error, 4)
	for range 4 {
		go func() {
			_, err := h.operations.Submit(t.Context(), operator, operation.Request{Type: policy.OpDeployToken, TokenID: token.ID}, idem)
			results <- err
		}()
	}
	made := 0
	for range 4 {
		var r *registry.Refusal
		switch err := <-results; {
		case err == nil:
			made++
		case errors.As(err, &r):
			require.Equal(t, registry.AlreadyDeployed, r.Type)
		default:
			require.ErrorIs(t, err, store.ErrIdempotencyLost)
		}
	}
	require.Equal(t, 1, made)
	ops, total, _, err := h.operations.List(t.Context(), operation.Filter{}, 50, 0, "")
	require.NoError(t, err)
	require.Equal(t, 1, total)
	record, ok, err := h.store.Idempotency(t.Context(), "h")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, fmt.Sprintf("%q", ops[0].ID), string(record.Body))
}

// A submission rests on the token as its process last saw it. What another appliance did to it a moment ago counts all
// the same: nothing is taken for what the token was, and nothing is refused or denied for it.
func TestAttack_ATokenChangedAMomentAgo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("1000")
	mint := operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: text("1"), Recipient: address("0x00000000000000000000000000000000000000aa")}
	change := func(f func(*registry.Token)) {
		now, rev, err := h.registry.TokenAt(t.Context(), token.ID)
		require.NoError(t, err)
		f(now)
		tx := h.store.Tx()
		h.registry.StageToken(tx, now, rev)
		_, err = tx.Commit(t.Context())
		require.NoError(t, err)
	}
	refused := func(kind string) {
		_, err := h.operations.Submit(t.Context(), operator, mint, nil)
		var r *registry.Refusal
		require.ErrorAs(t, err, &r)
		require.Equal(t, kind, r.Type, r.Message)
	}
	for range 8 {
		change(func(t *registry.Token) { t.Status = registry.TokenRetired })
		refused(registry.OperationNotAllowed)
		change(func(t *registry.Token) { t.Status = registry.TokenDeployed })
		h.submit(mint)
		own := token.ApprovalPolicyID
		change(func(t *registry.Token) { t.ApprovalPolicyID = "pol_01J00000000000000000000000" })
		refused(registry.PolicyDenied)
		change(func(t *registry.Token) { t.ApprovalPolicyID = own })
		h.submit(mint)
	}
}
