package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// nextPolicy is version 2 as its document's bytes.
func nextPolicy(t *testing.T, w *world, change ...func(*policy.Policy)) []byte {
	in, _ := w.fold.Policy(id("pol", 1))
	most, err := policy.ParseAmount("2000000000000000000000")
	require.NoError(t, err)
	p := w.policy(2, &in.Digest, policy.Rule{Type: policy.RuleRequireApproval, MinApprovers: 2, ApproverGroup: "approvers"},
		policy.Rule{Type: policy.RuleMaxAmount, Amount: &most})
	for _, f := range change {
		f(p)
	}
	b, err := p.Encode()
	require.NoError(t, err)
	return b
}

func TestPolicySign(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	document := nextPolicy(t, w)
	a.propose(id("pol", 1), document)
	got := mintwarden(t, "policy", "sign", "dev-default", "--yes", "--key", keyFileOf(t, "custodian-3"))
	require.Equal(t, exitDone, got.code, got.err)
	for _, shown := range []string{
		"dev-default, version 2, covers everything",
		"- no more: MAX_AMOUNT: at most 1,000,000,000,000,000,000,000 base units an operation",
		"+ new: MAX_AMOUNT: at most 2,000,000,000,000,000,000,000 base units an operation",
		"Digest of the document: " + string(policy.DigestOf(document)),
		"signed: 1 of 2",
	} {
		require.Contains(t, got.out, shown)
	}
	require.NotContains(t, got.out, "no more: REQUIRE_APPROVAL")
	charter, _ := w.fold.Charter()
	names, err := charter.VerifyCustodians(policy.DocPolicy, a.sent()[0])
	require.NoError(t, err)
	require.Equal(t, []string{"custodian-3"}, names)
	require.Equal(t, document, a.sent()[0].Payload)

	got = mintwarden(t, "policy", "sign", "dev-default", "--yes", "--key", keyFileOf(t, "ann"))
	require.Equal(t, exitRefused, got.code)
	require.Contains(t, got.err, "ann is no custodian; policies are signed by 2 of custodian-1, custodian-2 and custodian-3")

	// A second time nothing is signed.
	got = mintwarden(t, "policy", "sign", "dev-default", "--key", keyFileOf(t, "custodian-3"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "already signed by custodian-3: 1 of 2")
	require.Len(t, a.sent(), 1)

	got = mintwarden(t, "policy", "withdraw", "dev-default")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "its open proposals are withdrawn")
	got = mintwarden(t, "policy", "withdraw", "dev-default") // its name still finds it
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "its retirement is proposed")
	require.Contains(t, got.out, "mintwarden policy sign "+id("pol", 1)+" --key FILE")
	got = mintwarden(t, "policy", "list")
	require.Contains(t, got.out, "retirement proposed, 0 of 2 signed")
}

func TestPolicySignRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(*policy.Policy)
		lie    func(*client.Policy)
		says   string
	}{
		{name: "a version that does not come next", change: func(p *policy.Policy) { p.Version = 3 }, says: "by the ledger the next one is version 2"},
		{name: "another predecessor", change: func(p *policy.Policy) { p.Replaces = ptr(policy.DigestOf([]byte("another"))) }, says: "by the ledger the next one"},
		{name: "another instance", change: func(p *policy.Policy) { p.Instance = "dev-2" }, says: "instance dev-2"},
		{name: "another policy's document", change: func(p *policy.Policy) { p.ID = id("pol", 2) }, says: "serves policy " + id("pol", 2)},
		{name: "an unknown group", change: func(p *policy.Policy) { p.Rules[0].ApproverGroup = "friends" }, says: "friends"},
		{name: "a quorum larger than its group", change: func(p *policy.Policy) { p.Rules[0].MinApprovers = 4 }, says: "larger than its group"},
		{name: "a false digest", lie: func(p *client.Policy) { p.DocumentDigest = string(policy.NoDigest) }, says: "with digest sha256:000"},
		{name: "no document", lie: func(p *client.Policy) { p.Document = []byte("{}") }, says: "is none"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			a := serve(t, w)
			var change []func(*policy.Policy)
			if tt.change != nil {
				change = append(change, tt.change)
			}
			p := a.propose(id("pol", 1), nextPolicy(t, w, change...))
			if tt.lie != nil {
				tt.lie(p)
			}
			got := mintwarden(t, "policy", "sign", id("pol", 1), "--yes", "--key", keyFileOf(t, "custodian-1"))
			require.Equal(t, exitUnverified, got.code, got.err)
			require.Contains(t, got.err, tt.says)
			require.Empty(t, a.sent())
		})
	}
}

// TestAttack_ANameIsAnotherPolicys: a custodian names the policy, and the API says which one that is.
func TestAttack_ANameIsAnotherPolicys(t *testing.T) {
	other := func(t *testing.T, w *world, name string) []byte {
		p := w.policy(1, nil)
		p.ID, p.Name = id("pol", 2), name
		b, err := p.Encode()
		require.NoError(t, err)
		return b
	}
	sign := func(t *testing.T, name string) result {
		return mintwarden(t, "policy", "sign", name, "--yes", "--key", keyFileOf(t, "custodian-1"))
	}
	t.Run("of one in force", func(t *testing.T) {
		w := newWorld(t)
		a := serve(t, w)
		a.propose(id("pol", 2), other(t, w, "dev-default"))
		got := sign(t, "dev-default")
		require.Equal(t, exitRefused, got.code, got.err)
		require.Empty(t, a.sent())
	})
	t.Run("of none in force", func(t *testing.T) {
		w := newWorld(t)
		a := serve(t, w)
		a.propose(id("pol", 1), nextPolicy(t, w)).Name = "mint-limit"
		got := sign(t, "mint-limit")
		require.Equal(t, exitUnverified, got.code, got.err)
		require.Contains(t, got.err, `what is proposed there is named "dev-default"`)
		require.Empty(t, a.sent())
	})
	t.Run("as it is", func(t *testing.T) {
		w := newWorld(t)
		a := serve(t, w)
		a.propose(id("pol", 2), other(t, w, "mint-limit")).Name = "mint-limit"
		got := sign(t, "mint-limit")
		require.Equal(t, exitDone, got.code, got.err)
		require.Len(t, a.sent(), 1)
	})
}

// TestPolicySignPicks: with several proposals open the custodian says which.
func TestPolicySignPicks(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	mild := nextPolicy(t, w, func(p *policy.Policy) { p.Rules = p.Rules[:1] })
	other := *a.propose(id("pol", 1), mild)
	p := a.propose(id("pol", 1), nextPolicy(t, w))
	p.Proposals = &[]client.Policy{other}

	got := mintwarden(t, "policy", "sign", id("pol", 1), "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitUsage, got.code, got.err)
	require.Contains(t, got.err, string(policy.DigestOf(mild)))
	got = mintwarden(t, "policy", "sign", id("pol", 1), "--proposal", string(policy.DigestOf(mild)), "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitDone, got.code, got.err)
	require.Equal(t, mild, a.sent()[0].Payload)
	got = mintwarden(t, "policy", "sign", id("pol", 1), "--proposal", string(policy.NoDigest), "--yes", "--key", keyFileOf(t, "custodian-1"))
	require.Equal(t, exitRefused, got.code, got.err)
}

// TestPolicyList shows what is in force by the ledger, whatever the appliance says.
func TestPolicyList(t *testing.T) {
	w := newWorld(t)
	a := serve(t, w)
	p := a.propose(id("pol", 1), nextPolicy(t, w))
	p.Name = "something else"
	got := mintwarden(t, "policy", "list")
	require.Equal(t, exitDone, got.code, got.err)
	require.Contains(t, got.out, "dev-default")
	require.NotContains(t, got.out, "something else")
	require.Contains(t, got.out, "in force")
	require.Contains(t, got.out, "proposed, 0 of 2 signed")
}
