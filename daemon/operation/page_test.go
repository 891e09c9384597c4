package operation

import (
	"slices"
	"strings"
	"testing"

	"github.com/mintwarden/mintwarden/daemon/metrics/guidetest"
)

// Whoever looks up what an operation waits for, or what an alarm means, finds it.
func TestEveryWordOfAttentionHasItsRow(t *testing.T) {
	want := []string{attentionFeeCap, attentionVersions, attentionRefused, "TX_BROADCAST_FAILED", attentionNodes, attentionDiffer,
		attentionGap, attentionHSM, attentionCourier}
	got := guidetest.Rows(t, "chain/chains.md", "Chains and nodes that misbehave")
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the page tells of %v, there are %v", got, want)
	}
	page := guidetest.Section(t, "daemon/metrics/guide.md", "MintwardenOperationAlarm")
	for _, alarm := range []string{nonceStolen, "DEEP_REORG", attentionDiffer, "CODE_DIFFERS"} {
		if !strings.Contains(page, "`"+alarm+"`") {
			t.Errorf("the guide does not tell of the alarm %s", alarm)
		}
	}
}

// The page of webhooks tells of every event of an operation, and of no other but those of a token's own record.
func TestEveryEventHasItsRow(t *testing.T) {
	want := []string{eventApprovalRequired, eventApprovalDecision, eventRejected, eventCancelled, eventFailed, eventReconciliationFailed,
		"token.created", "token.updated", "token.retired"}
	for _, names := range eventsOf {
		for _, name := range []string{names.requested, names.completed, names.failed} {
			if name != "" {
				want = append(want, name)
			}
		}
	}
	got := slices.DeleteFunc(guidetest.Rows(t, "api/webhooks.md", "What the endpoint gets"), func(name string) bool {
		return !strings.Contains(name, ".") // the names of headers
	})
	slices.Sort(want)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("the page tells of %v, there are %v", got, want)
	}
}
