package registry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

func custodian(n string) registry.Actor { return registry.Actor{Name: "custodian-" + n} }

// sign signs a proposal's document as its custodians would: over the bytes shown.
func (h *house) sign(p *registry.Policy, names ...string) []byte {
	h.t.Helper()
	var signers []*policy.Signer
	for _, n := range names {
		signers = append(signers, h.custodians["custodian-"+n])
	}
	e, err := policy.Sign(policy.PayloadType(policy.DocPolicy), p.Document, signers...)
	require.NoError(h.t, err)
	return e.Encode()
}

func TestAPolicyIsInForceWhenTheThresholdSigned(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	p, err := s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "mint-conservative", Rules: twoOfApprovers()}, nil)
	require.NoError(t, err)
	require.Equal(t, registry.PolicyPending, p.Status)
	require.Equal(t, 2, p.RequiredSignatures)
	doc, err := policy.ParsePolicy(p.Document)
	require.NoError(t, err, "custodians sign a document that the seal will take")
	require.Equal(t, "test-1", doc.Instance)
	require.EqualValues(t, 1, doc.Version)
	require.Nil(t, doc.Replaces)
	require.Equal(t, policy.DigestOf(p.Document), p.DocumentDigest)

	p, err = s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1"))
	require.NoError(t, err)
	require.Equal(t, registry.PolicyPending, p.Status)
	require.Equal(t, []string{"custodian-1"}, p.SignedBy)
	again, err := s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1"))
	require.NoError(t, err)
	require.Equal(t, p.SignedBy, again.SignedBy, "one custodian is one signature")
	require.Equal(t, 1, h.audits("policy.signed"))

	p, err = s.SignPolicy(t.Context(), custodian("3"), p.ID, h.sign(p, "3"))
	require.NoError(t, err)
	require.Equal(t, registry.PolicyActive, p.Status)
	require.Equal(t, []string{"custodian-1", "custodian-3"}, p.SignedBy)
	inForce, ok := s.Fold().Policy(p.ID)
	require.True(t, ok)
	require.Equal(t, p.DocumentDigest, inForce.Digest)
	p, err = s.SignPolicy(t.Context(), custodian("3"), p.ID, h.sign(p, "3"))
	require.NoError(t, err)
	require.Equal(t, registry.PolicyActive, p.Status)
	require.Equal(t, 1, h.audits("policy.activated"))
}

func TestSiblingsAreSupersededByTheOneInForce(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	spec := registry.PolicySpec{Name: "first", Rules: twoOfApprovers()}
	first, err := s.ProposePolicy(t.Context(), operator, spec, nil)
	require.NoError(t, err)
	spec.Name = "second"
	second, err := s.ProposePolicyVersion(t.Context(), operator, first.ID, spec, nil)
	require.NoError(t, err)
	require.EqualValues(t, 1, second.Version, "nothing is in force that it could follow")
	shown, err := s.Policy(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, "second", shown.Name)
	require.Len(t, shown.Proposals, 1)

	_, err = s.SignPolicy(t.Context(), custodian("1"), first.ID, h.sign(second, "1", "2"))
	require.NoError(t, err)
	shown, err = s.Policy(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, "second", shown.Name)
	require.Equal(t, registry.PolicyActive, shown.Status)
	require.Equal(t, []*registry.Policy{}, shown.Proposals)
	require.Len(t, shown.Superseded, 1)
	require.Equal(t, registry.PolicySuperseded, shown.Superseded[0].Status)
	require.Equal(t, second.DocumentDigest, shown.Superseded[0].SupersededBy)
	_, err = s.SignPolicy(t.Context(), custodian("1"), first.ID, h.sign(first, "1"))
	require.Contains(t, refused(t, err, registry.TxStateConflict), string(second.DocumentDigest))

	spec.Name = "third"
	third, err := s.ProposePolicyVersion(t.Context(), operator, first.ID, spec, nil)
	require.NoError(t, err)
	require.EqualValues(t, 2, third.Version)
	require.Equal(t, second.DocumentDigest, third.Replaces)
	spec.Name = "fourth"
	fourth, err := s.ProposePolicyVersion(t.Context(), operator, first.ID, spec, nil)
	require.NoError(t, err)
	shown, err = s.Policy(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, "second", shown.Name, "a proposal changes nothing")
	require.Equal(t, []string{"fourth", "third"}, []string{shown.Proposals[0].Name, shown.Proposals[1].Name})
	_, err = s.SignPolicy(t.Context(), custodian("2"), first.ID, h.sign(third, "2", "3"))
	require.NoError(t, err)
	_, err = s.SignPolicy(t.Context(), custodian("1"), first.ID, h.sign(fourth, "1"))
	refused(t, err, registry.TxStateConflict)
	shown, err = s.Policy(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, "third", shown.Name)
	require.Len(t, shown.Superseded, 1, "neither the version that was in force nor what that one superseded")
	require.Equal(t, fourth.DocumentDigest, shown.Superseded[0].DocumentDigest)
	require.Equal(t, shown.RequiredSignatures, shown.Superseded[0].RequiredSignatures)

	all, total, err := s.Policies(t.Context(), 50, 0)
	require.NoError(t, err)
	require.Equal(t, 1, total)
	require.Equal(t, "third", all[0].Name)
}

func TestAPolicyIsWithdrawnOrRetired(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	spec := registry.PolicySpec{Name: "p", Rules: twoOfApprovers()}
	p, err := s.ProposePolicy(t.Context(), operator, spec, nil)
	require.NoError(t, err)
	gone, err := s.DeletePolicy(t.Context(), operator, p.ID, nil)
	require.NoError(t, err)
	require.Equal(t, registry.PolicyRejected, gone.Status)
	_, err = s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1"))
	refused(t, err, registry.TxStateConflict)
	_, err = s.DeletePolicy(t.Context(), operator, p.ID, nil)
	refused(t, err, registry.TxStateConflict)

	p, err = s.ProposePolicy(t.Context(), operator, spec, nil)
	require.NoError(t, err)
	_, err = s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1", "2"))
	require.NoError(t, err)
	retire, err := s.DeletePolicy(t.Context(), operator, p.ID, nil)
	require.NoError(t, err)
	require.True(t, retire.Retired)
	require.Equal(t, registry.PolicyPending, retire.Status, "it needs the threshold")
	same, err := s.DeletePolicy(t.Context(), operator, p.ID, nil)
	require.NoError(t, err)
	require.Equal(t, retire.DocumentDigest, same.DocumentDigest)
	retired, err := s.SignPolicy(t.Context(), custodian("3"), p.ID, h.sign(retire, "2", "3"))
	require.NoError(t, err)
	require.Equal(t, registry.PolicyActive, retired.Status)
	require.True(t, retired.Retired)
	require.Equal(t, 1, h.audits("policy.retired"))
	require.Empty(t, s.Fold().PoliciesInScope("", "", ""))
	_, err = s.ProposePolicyVersion(t.Context(), operator, p.ID, spec, nil)
	require.Contains(t, refused(t, err, registry.TxStateConflict), "retired")
}

func TestSignaturesThatDoNotHoldAreRefused(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	p, err := s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "p", Rules: twoOfApprovers()}, nil)
	require.NoError(t, err)
	stranger := signer(t, policy.Ed25519)
	by := func(kind string, payload []byte, who ...*policy.Signer) []byte {
		e, err := policy.Sign(policy.PayloadType(kind), payload, who...)
		require.NoError(t, err)
		return e.Encode()
	}
	one := h.custodians["custodian-1"]
	for name, c := range map[string]struct {
		actor    registry.Actor
		envelope []byte
	}{
		"not an envelope":    {custodian("1"), []byte(`{}`)},
		"a stranger":         {registry.Actor{Name: "mallory"}, by(policy.DocPolicy, p.Document, stranger)},
		"a stranger beside":  {custodian("1"), by(policy.DocPolicy, p.Document, one, stranger)},
		"another's key":      {custodian("2"), h.sign(p, "1")},
		"another type":       {custodian("1"), by(policy.DocCharter, p.Document, one)},
		"other bytes":        {custodian("1"), by(policy.DocPolicy, append([]byte(" "), p.Document...), one)},
		"a broken signature": {custodian("1"), []byte(strings.Replace(string(h.sign(p, "1")), `"sig":"`, `"sig":"AAAA`, 1))},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := s.SignPolicy(t.Context(), c.actor, p.ID, c.envelope)
			refused(t, err, registry.ApprovalInvalid)
		})
	}
	_, err = s.SignPolicy(t.Context(), custodian("1"), store.NewID("pol_"), h.sign(p, "1"))
	refused(t, err, registry.TxNotFound)
	shown, err := s.Policy(t.Context(), p.ID)
	require.NoError(t, err)
	require.Empty(t, shown.SignedBy, "nothing of it was kept")
}

func TestPoliciesThatCannotBeAreRefusedWhenProposed(t *testing.T) {
	d := newDesk(t)
	vault, token := store.NewID("vault_"), store.NewID("token_")
	quorum := func(n uint32, group string) []policy.Rule {
		return []policy.Rule{{Type: policy.RuleRequireApproval, MinApprovers: n, ApproverGroup: group}}
	}
	for name, c := range map[string]struct {
		spec registry.PolicySpec
		kind string
		says string
	}{
		"no name":          {registry.PolicySpec{Rules: twoOfApprovers()}, registry.MissingField, "name"},
		"no rules":         {registry.PolicySpec{Name: "p"}, registry.Validation, "rules"},
		"unknown group":    {registry.PolicySpec{Name: "p", Rules: quorum(1, "nobody")}, registry.Validation, "nobody"},
		"too many":         {registry.PolicySpec{Name: "p", Rules: quorum(4, "approvers")}, registry.Validation, "4"},
		"quorum of none":   {registry.PolicySpec{Name: "p", Rules: quorum(0, "approvers")}, registry.Validation, "REQUIRE_APPROVAL"},
		"unknown rule":     {registry.PolicySpec{Name: "p", Rules: []policy.Rule{{Type: "SOMETIMES"}}}, registry.Validation, "SOMETIMES"},
		"unknown vault":    {registry.PolicySpec{Name: "p", Rules: twoOfApprovers(), VaultAccountID: vault}, registry.VaultNotFound, vault},
		"unknown token":    {registry.PolicySpec{Name: "p", Rules: twoOfApprovers(), TokenID: token}, registry.NotFound, token},
		"two scopes":       {registry.PolicySpec{Name: "p", Rules: twoOfApprovers(), TokenID: token, VaultAccountID: vault}, registry.Validation, "both"},
		"an override mark": {registry.PolicySpec{Name: "p\u202e", Rules: twoOfApprovers()}, registry.Validation, "name"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.s.ProposePolicy(t.Context(), operator, c.spec, nil)
			require.Contains(t, refused(t, err, c.kind), c.says)
		})
	}
	p, err := d.s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "p", Rules: twoOfApprovers(), VaultAccountID: d.vault.ID}, nil)
	require.NoError(t, err)
	require.Equal(t, policy.Scope{VaultAccountID: d.vault.ID}, p.Scope)
	propose := func(by string, rules []policy.Rule) error {
		_, err := d.s.ProposePolicyVersion(t.Context(), registry.Actor{Name: by}, p.ID, registry.PolicySpec{Name: "p", Rules: rules}, nil)
		return err
	}
	for n := range 16 {
		if n > 0 { // the first is the operator's
			require.NoError(t, propose([]string{"operator", "admin"}[n/8], twoOfApprovers()))
		}
		if n == 7 {
			require.Contains(t, refused(t, propose("operator", twoOfApprovers()), registry.TxStateConflict), "operator has 8", "nobody alone keeps the others from it")
		}
	}
	require.Contains(t, refused(t, propose("custodian-1", twoOfApprovers()), registry.TxStateConflict), "16")
	_, err = d.s.SignPolicy(t.Context(), custodian("1"), p.ID, d.sign(p, "1", "2"))
	require.NoError(t, err, "sixteen proposals fit the transaction that decides between them")
}

// large is rules whose document is nearly as large as one may be.
func large() []policy.Rule {
	rules := twoOfApprovers()
	for len(rules) < 20 {
		r := policy.Rule{Type: policy.RuleBlacklistAddress}
		for range 60 {
			r.Addresses = append(r.Addresses, tx.Address{byte(len(rules)), byte(len(r.Addresses))})
		}
		rules = append(rules, r)
	}
	return rules
}

// TestAttack_LargePoliciesFillNoMemory: whoever may propose has nobody's list, and nobody's look at one policy, read
// more than a bound; all of it can be read.
func TestAttack_LargePoliciesFillNoMemory(t *testing.T) {
	d := newDesk(t)
	const many, bound = 24, 640 << 10
	for range many {
		_, err := d.s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "large", Rules: large()}, nil)
		require.NoError(t, err)
	}
	seen, pages := map[string]bool{}, 0
	for offset, total := 0, many; offset < total; pages++ {
		page, n, err := d.s.Policies(t.Context(), 200, offset)
		require.NoError(t, err)
		require.NotEmpty(t, page)
		bytes := 0
		for _, p := range page {
			seen[p.ID] = true
			bytes += len(p.Document)
		}
		require.Less(t, bytes, bound)
		offset, total = offset+len(page), n
	}
	require.GreaterOrEqual(t, len(seen), many)
	require.Greater(t, pages, 1)

	p, err := d.s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "large", Rules: large()}, nil)
	require.NoError(t, err)
	for n := range 16 {
		by := registry.Actor{Name: fmt.Sprint("proposer-", n%4)}
		_, err = d.s.ProposePolicyVersion(t.Context(), by, p.ID, registry.PolicySpec{Name: "large", Rules: large()}, nil)
		if err != nil {
			require.Contains(t, refused(t, err, registry.TxStateConflict), "bytes")
		}
	}
	p, err = d.s.Policy(t.Context(), p.ID)
	require.NoError(t, err)
	bytes := len(p.Document)
	for _, open := range p.Proposals {
		bytes += len(open.Document)
	}
	require.Less(t, bytes, bound)
	require.Greater(t, len(p.Proposals), 1)
}

func TestTheThresholdIsKeptWhileTheSealIsAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	p, err := s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "p", Rules: twoOfApprovers()}, nil)
	require.NoError(t, err)
	h.room.refuse(seal.ErrUnreachable)
	_, err = s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1", "2"))
	require.ErrorIs(t, err, seal.ErrUnreachable)
	h.room.refuse(seal.Errorf(seal.KindSealed, "sealed"))
	_, err = s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1"))
	kind, _ := seal.KindOf(err)
	require.Equal(t, seal.KindSealed, kind)
	h.room.refuse(seal.Errorf(seal.KindInvalid, "no"))
	_, err = s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1"))
	refused(t, err, registry.ApprovalInvalid)
	h.room.refuse(nil)
	p, err = s.SignPolicy(t.Context(), custodian("1"), p.ID, h.sign(p, "1"))
	require.NoError(t, err)
	require.Equal(t, registry.PolicyActive, p.Status, "the same envelope again has the seal asked again")
}

func TestSignersAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	s, _ := h.serve()
	other, _ := h.serve()
	for range 5 {
		p, err := s.ProposePolicy(t.Context(), operator, registry.PolicySpec{Name: "p", Rules: twoOfApprovers()}, nil)
		require.NoError(t, err)
		errs := make(chan error, 3)
		for i, svc := range []*registry.Service{s, other, s} {
			n := string(rune('1' + i))
			envelope := h.sign(p, n)
			go func() {
				_, err := svc.SignPolicy(context.WithoutCancel(t.Context()), custodian(n), p.ID, envelope)
				errs <- err
			}()
		}
		for range 3 {
			require.NoError(t, <-errs)
		}
		got, err := other.Policy(t.Context(), p.ID)
		require.NoError(t, err)
		require.Equal(t, registry.PolicyActive, got.Status)
		require.GreaterOrEqual(t, len(got.SignedBy), 2)
	}
	require.Equal(t, 5, h.audits("policy.activated"))
}
