package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

const wholeWay = "SUBMITTED PENDING_AUTHORIZATION APPROVED PENDING_SIGNATURE SIGNED BROADCASTING CONFIRMING COMPLETED"

func TestMainJob(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("1000000000000000000000000")
	require.Equal(t, registry.TokenDeployed, token.Status)
	require.NotNil(t, token.ContractAddress)

	mint := h.mint(token, "1000000000000000000000")
	require.Equal(t, operation.PendingAuthorization, mint.Status)
	require.Equal(t, 2, mint.RequiredApprovals)
	require.Equal(t, "approvers", mint.ApprovalGroup)
	h.approve(mint)
	done := h.ends(mint, operation.Completed)
	require.Equal(t, wholeWay, statuses(done))
	require.Equal(t, []string{"approver-1", "approver-2"}, done.ApprovedBy())
	require.NotZero(t, done.BlockNumber)
	require.Equal(t, "1000000000000000000000", h.supply(token))

	half := "500000000000000000000"
	burn := h.submit(operation.Request{Type: policy.OpBurn, TokenID: token.ID, Amount: &half, From: &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}})
	h.approve(burn)
	h.ends(burn, operation.Completed)
	require.Equal(t, half, h.supply(token))

	second := &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault2}
	grant := h.submit(operation.Request{Type: policy.OpGrantRole, TokenID: token.ID, Role: "MINTER", Subject: second})
	h.approve(grant)
	h.ends(grant, operation.Completed)
	amount := "7"
	other := h.submit(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, Recipient: second, PerformedBy: second})
	h.approve(other)
	h.ends(other, operation.Completed)
	revoke := h.submit(operation.Request{Type: policy.OpRevokeRole, TokenID: token.ID, Role: "MINTER", Subject: second})
	h.approve(revoke)
	h.ends(revoke, operation.Completed)

	pause := h.submit(operation.Request{Type: policy.OpPause, TokenID: token.ID})
	h.approve(pause)
	h.ends(pause, operation.Completed)
	paused, err := h.registry.Token(t.Context(), token.ID)
	require.NoError(t, err)
	require.Equal(t, registry.TokenPaused, paused.Status)

	ops, total, next, err := h.operations.List(t.Context(), operation.Filter{TokenID: token.ID}, 3, 0, "")
	require.NoError(t, err)
	require.Equal(t, 7, total)
	require.Equal(t, pause.ID, ops[0].ID)
	require.NotEmpty(t, next)
	ops, _, _, err = h.operations.List(t.Context(), operation.Filter{TokenID: token.ID, Type: policy.OpMint, Status: operation.Completed}, 50, 0, "")
	require.NoError(t, err)
	require.Len(t, ops, 2)
}
