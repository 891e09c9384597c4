package operation_test

import (
	"encoding/json/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
)

// told is what an event says, as far as these tests look.
type told struct {
	Type string
	Data map[string]any
}

// events is what the outbox holds of one operation or token, in order.
func (h *house) events(id string) (out []told) {
	h.t.Helper()
	last := time.Time{}
	for kv, err := range h.store.All(h.t.Context(), store.Outbox, nil) {
		require.NoError(h.t, err)
		e, err := store.ParsePendingEvent(kv.Value)
		require.NoError(h.t, err)
		data := map[string]any{}
		require.NoError(h.t, json.Unmarshal(e.Data, &data))
		if e.Order != id && (e.Order != "" || data["tokenId"] != id) {
			continue
		}
		require.False(h.t, e.At.Before(last), "%s of %s is earlier than the one before", e.Type, id)
		last = e.At
		out = append(out, told{e.Type, data})
	}
	return out
}

func names(events []told) string {
	var out []string
	for _, e := range events {
		out = append(out, e.Type)
	}
	return strings.Join(out, " ")
}

// TestOperationsTell: what happened to an operation and to its token stands in the outbox, each once and in
// order, whichever path led there.
func TestOperationsTell(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("1000")
	require.Equal(t, "token.created", names(h.events(token.ID)))
	deploy := h.events(token.DeployOperationID)
	require.Equal(t, "token.deployment_requested approval.required approval.decision approval.decision token.deployed", names(deploy))
	require.Equal(t, token.ContractAddress.String(), deploy[4].Data["contractAddress"])

	mint := h.mint(token, "7")
	h.approve(mint)
	done := h.ends(mint, operation.Completed)
	tells := h.events(mint.ID)
	require.Equal(t, "token.mint_requested approval.required approval.decision approval.decision token.minted", names(tells))
	last := tells[4].Data
	require.Equal(t, done.TransactionHash.String(), last["transactionHash"])
	require.Equal(t, "7", last["amount"])
	require.Equal(t, "COMPLETED", last["status"])
	require.EqualValues(t, done.BlockNumber, last["blockNumber"])
	require.Equal(t, token.ID, last["tokenId"])
	require.Equal(t, "approver-1", tells[2].Data["approver"])
	require.Equal(t, "APPROVE", tells[2].Data["decision"])

	rejected := h.mint(token, "8")
	h.decide(rejected, "approver-1", policy.Reject)
	h.ends(rejected, operation.Rejected)
	require.Equal(t, "token.mint_requested approval.required approval.decision token.operation_rejected", names(h.events(rejected.ID)))

	cancelled := h.mint(token, "9")
	_, err := h.operations.Cancel(h.patient(), operator, cancelled.ID, "a mistake", nil)
	require.NoError(t, err)
	require.Equal(t, "token.mint_requested approval.required token.operation_cancelled", names(h.events(cancelled.ID)))

	text := "renamed"
	_, err = h.registry.UpdateToken(t.Context(), operator, token.ID, registry.TokenPatch{Description: &text}, nil)
	require.NoError(t, err)
	require.Equal(t, "token.created token.updated", names(h.events(token.ID)))

	// Carrying the whole ledger again tells nothing twice.
	before := h.events(mint.ID)
	h.stopDaemon()
	h.forgetCarried()
	h.startDaemon()
	require.True(t, slices.EqualFunc(before, h.events(mint.ID), func(a, b told) bool { return a.Type == b.Type }))
}
