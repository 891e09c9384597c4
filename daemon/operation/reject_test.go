package operation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// TestARejectionCountsByTheOperation: whoever was shown another intent under an operation's id and rejects that one
// has rejected the operation (spec/policy.md); his approval of it would be none.
func TestARejectionCountsByTheOperation(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("0")
	o, other := h.mint(token, "1"), h.mint(token, "2")
	decide := func(of *operation.Operation, verb policy.Verb) error {
		_, err := h.operations.Decide(h.patient(), h.actor("approver-1"), o.ID, verb, h.envelope(of, "approver-1", verb, ""))
		return err
	}
	i, err := policy.ParseIntent(o.Intent)
	require.NoError(t, err)
	seven := policy.AmountOf(7)
	i.Params.Amount = &seven
	shown := *o
	shown.Intent, err = i.Encode()
	require.NoError(t, err)

	refusal(t, decide(&shown, policy.Approve), registry.ApprovalInvalid)
	refusal(t, decide(other, policy.Reject), registry.ApprovalInvalid)
	require.NoError(t, decide(&shown, policy.Reject))
	require.Equal(t, operation.Rejected, h.now(o.ID).Status)
	require.Equal(t, operation.PendingAuthorization, h.now(other.ID).Status)
}
