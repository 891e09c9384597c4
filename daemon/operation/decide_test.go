package operation_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/daemon/operation"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

func refusal(t *testing.T, err error, want string) {
	t.Helper()
	var r *registry.Refusal
	require.ErrorAs(t, err, &r)
	require.Equal(t, want, r.Type, r.Message)
}

func TestDecisions(t *testing.T) {
	t.Parallel()
	var ahead atomic.Int64
	h := newHouse(t, options{clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }})
	token := h.deployed("0")

	t.Run("what does not hold is refused", func(t *testing.T) {
		o, other := h.mint(token, "1"), h.mint(token, "2")
		decide := func(who string, verb policy.Verb, envelope []byte) error {
			_, err := h.operations.Decide(h.patient(), h.actor(who), o.ID, verb, envelope)
			return err
		}
		refusal(t, decide("approver-1", policy.Approve, nil), registry.MissingField)
		refusal(t, decide("approver-1", policy.Approve, []byte("{}")), registry.ApprovalInvalid)
		refusal(t, decide("approver-2", policy.Approve, h.envelope(o, "approver-1", policy.Approve, "")), registry.ApprovalInvalid)
		refusal(t, decide("approver-1", policy.Reject, h.envelope(o, "approver-1", policy.Approve, "")), registry.ApprovalInvalid)
		refusal(t, decide("approver-1", policy.Approve, h.envelope(other, "approver-1", policy.Approve, "")), registry.ApprovalInvalid)
		refusal(t, decide("approver-1", policy.Approve, h.forged(o, "approver-1", "approver-2")), registry.ApprovalInvalid)
		_, err := h.operations.Decide(h.patient(), h.actor("approver-1"), "op_01J00000000000000000000000", policy.Approve, h.envelope(o, "approver-1", policy.Approve, ""))
		refusal(t, err, registry.TxNotFound)
		now, err := h.operations.Get(t.Context(), o.ID)
		require.NoError(t, err)
		require.Empty(t, now.Decisions)
	})
	t.Run("once", func(t *testing.T) {
		o := h.mint(token, "1")
		e := h.envelope(o, "approver-1", policy.Approve, "fine")
		for range 2 { // the same bytes again get the same answer
			after, err := h.operations.Decide(h.patient(), h.actor("approver-1"), o.ID, policy.Approve, e)
			require.NoError(t, err)
			require.Equal(t, operation.PendingAuthorization, after.Status)
			require.Len(t, after.Decisions, 1)
			require.Equal(t, "fine", after.Decisions[0].Reason)
		}
		_, err := h.operations.Decide(h.patient(), h.actor("approver-1"), o.ID, policy.Approve, h.envelope(o, "approver-1", policy.Approve, "once more"))
		refusal(t, err, registry.ApprovalDuplicate)

		awaiting := func(who string) bool {
			ops, _, _, err := h.operations.List(t.Context(), operation.Filter{AwaitingApprovalBy: who}, 50, 0, "")
			require.NoError(t, err)
			for _, x := range ops {
				if x.ID == o.ID {
					return true
				}
			}
			return false
		}
		require.False(t, awaiting("approver-1"))
		require.True(t, awaiting("approver-2"))
		require.False(t, awaiting("custodian-1"))
	})
	t.Run("one rejection ends it", func(t *testing.T) {
		o := h.mint(token, "1")
		h.decide(o, "approver-1", policy.Approve)
		after, err := h.operations.Decide(h.patient(), h.actor("approver-1"), o.ID, policy.Reject, h.envelope(o, "approver-1", policy.Reject, "wrong amount"))
		require.NoError(t, err)
		require.Equal(t, operation.Rejected, after.Status)
		require.Equal(t, "rejected by approver-1: wrong amount", after.FailureReason)
		require.Len(t, after.Decisions, 2)
		_, err = h.operations.Decide(h.patient(), h.actor("approver-2"), o.ID, policy.Approve, h.envelope(o, "approver-2", policy.Approve, ""))
		refusal(t, err, registry.AlreadyProcessed)
		_, err = h.operations.Cancel(h.patient(), operator, o.ID, "", nil)
		refusal(t, err, registry.AlreadyProcessed)
	})
	t.Run("withdrawn", func(t *testing.T) {
		o := h.mint(token, "1")
		after, err := h.operations.Cancel(h.patient(), operator, o.ID, "typing error", nil)
		require.NoError(t, err)
		require.Equal(t, operation.Cancelled, after.Status)
		require.Equal(t, "withdrawn by operator: typing error", after.FailureReason)
		_, err = h.operations.Decide(h.patient(), h.actor("approver-1"), o.ID, policy.Approve, h.envelope(o, "approver-1", policy.Approve, ""))
		refusal(t, err, registry.AlreadyProcessed)
	})
	t.Run("a reason that shows as something else", func(t *testing.T) {
		_, err := h.operations.Cancel(h.patient(), operator, h.mint(token, "1").ID, "fine\u202eenif", nil)
		refusal(t, err, registry.Validation)
	})
	t.Run("a withdrawn deployment gives the draft back", func(t *testing.T) {
		draft := h.token("0")
		o := h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: draft.ID})
		deploying, err := h.registry.Token(t.Context(), draft.ID)
		require.NoError(t, err)
		require.Equal(t, registry.TokenDeploying, deploying.Status)
		_, err = h.operations.Cancel(h.patient(), operator, o.ID, "", nil)
		require.NoError(t, err)
		again, err := h.registry.Token(t.Context(), draft.ID)
		require.NoError(t, err)
		require.Equal(t, registry.TokenDraft, again.Status)
		h.submit(operation.Request{Type: policy.OpDeployToken, TokenID: draft.ID})
	})
	t.Run("expired", func(t *testing.T) {
		amount := "1"
		o := h.submit(operation.Request{Type: policy.OpMint, TokenID: token.ID, Amount: &amount, IntentTTL: time.Hour,
			Recipient: &operation.Party{Type: operation.PartyVault, VaultAccountID: h.vault}})
		ahead.Store(int64(2 * time.Hour))
		defer ahead.Store(0)
		after := h.ends(o, operation.Cancelled)
		require.True(t, strings.HasPrefix(after.FailureReason, "expired at "), after.FailureReason)
	})
	t.Run("denied at signing", func(t *testing.T) {
		o := h.mint(token, "5000")
		h.decide(o, "approver-1", policy.Approve)
		h.applyPolicy(approvals(2), amountRule(policy.RuleMaxAmount, "1000"))
		h.decide(o, "approver-2", policy.Approve)
		after := h.ends(o, operation.Rejected)
		require.Contains(t, after.FailureReason, "MAX_AMOUNT")
		require.Nil(t, after.TransactionHash)
		require.Equal(t, "0", h.supply(token))
	})
	t.Run("a policy that asks for less comes too late for what waits", func(t *testing.T) {
		h.applyPolicy(approvals(3))
		o := h.mint(token, "3")
		require.Equal(t, 3, o.RequiredApprovals)
		h.decide(o, "approver-1", policy.Approve)
		now := h.decide(o, "approver-2", policy.Approve)
		require.Equal(t, operation.PendingAuthorization, now.Status)
		h.applyPolicy(approvals(2))
		// The versions that it was submitted under judge, too: three it stays.
		h.decide(o, "approver-3", policy.Approve)
		h.ends(o, operation.Completed)
	})
}

// A rejection that the seal records while its author is of no group ends nothing
// then. Once he is of one again nobody can approve the operation any more: it
// ends, and does not ask people in vain until it expires.
func TestARejecterWhoComesIntoTheGroupAfterwards(t *testing.T) {
	t.Parallel()
	h := newHouse(t, options{})
	token := h.deployed("0")
	o, other := h.mint(token, "1"), h.mint(token, "2")
	h.groups("approver-1", "approver-2")
	e, err := policy.ParseEnvelope(h.envelope(o, "approver-3", policy.Reject, "too late"))
	require.NoError(t, err)
	_, err = h.seal.Decide(h.patient(), e) // the API asked the charter before
	require.NoError(t, err)
	h.until("the word is carried in", func() bool {
		now, err := h.operations.Get(t.Context(), o.ID)
		return err == nil && len(now.Decisions) == 1 && now.Status == operation.PendingAuthorization
	})
	h.groups("approver-1", "approver-2", "approver-3")
	require.Equal(t, "rejected by approver-3", h.ends(o, operation.Rejected).FailureReason)
	h.approve(other)
	h.ends(other, operation.Completed)
}

// groups puts a charter in force that says who approves.
func (h *house) groups(approvers ...string) {
	h.t.Helper()
	was, digest := h.registry.Fold().Charter()
	next := *was
	next.Version, next.Replaces, next.Groups = was.Version+1, &digest, map[string][]string{"approvers": approvers}
	body, err := next.Encode()
	require.NoError(h.t, err)
	r, err := h.seal.CharterApply(h.t.Context(), h.sign(policy.DocCharter, body, "custodian-1", "custodian-2"))
	require.NoError(h.t, err)
	require.NoError(h.t, h.registry.WaitCarried(h.patient(), r.Sequence))
}

// forged is a decision of one person under another one's key.
func (h *house) forged(o *operation.Operation, who, by string) []byte {
	h.t.Helper()
	d := policy.Decision{Format: policy.Format, Decision: policy.Approve, Intent: o.Intent, Approver: who, DecidedAt: policy.Seconds(time.Now())}
	body, err := d.Encode()
	require.NoError(h.t, err)
	return h.sign(policy.DocDecision, body, by).Encode()
}
