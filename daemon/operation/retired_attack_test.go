package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// One operator retires a live token, so that a minter gone rogue could not be revoked through us any more:
// what stops things is taken as before, approvals and all, and the token stays retired.
func TestAttackATokenIsRetiredToKeepARogueMinter(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{rules: []policy.Rule{approvals(1)}})
	d := h.open(regulated, "0")
	rogue := address("0x00000000000000000000000000000000000000AA")
	d.done(policy.OpGrantRole, role("MINTER"), of(rogue))
	d.done(policy.OpAllowlistAdd, of(rogue))
	_, err := h.operations.Retire(t.Context(), operator, d.token.ID, "nothing to see here", nil)
	require.NoError(t, err)
	for _, o := range []*operation.Operation{
		d.done(policy.OpRevokeRole, role("MINTER"), of(rogue)), d.done(policy.OpFreeze, of(rogue)),
		d.done(policy.OpAllowlistRemove, of(rogue)), d.done(policy.OpPause),
	} {
		require.Equal(t, 1, o.RequiredApprovals)
		require.Equal(t, registry.TokenRetired, d.status())
	}
	paused, err := h.registry.Paused(t.Context(), d.token)
	require.NoError(t, err)
	require.True(t, paused)
	d.refused(registry.OperationNotAllowed, "", policy.OpUnpause)
	d.refused(registry.OperationNotAllowed, "", policy.OpGrantRole, role("MINTER"), of(rogue))
}
