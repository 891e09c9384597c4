package dev_test

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// A limit that is read in one step and counted in another is no limit. 64
// mints, all approved, against a DAILY_LIMIT that fits 10: exactly 10 are
// signed.
func TestSixtyFourApprovedMintsAgainstALimitOfTen(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	_, wallet, _ := a.treasury()
	// Asked for and approved while the limit is wide; then the custodians narrow it, and the seal judges by the narrow one.
	ids := make([]string, 64)
	for i := range ids {
		op, err := a.as("operator").MintToken(a.context(), token.ID, client.MintRequest{Amount: "100",
			Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}}, client.WithIdempotencyKey(fmt.Sprint("mint-", i)))
		if err != nil {
			t.Fatalf("mint %d: %v", i, err)
		}
		ids[i] = op.OperationID
		a.approve(ids[i], "approver-1")
	}
	a.limit(token.ID, "1000")
	for _, name := range []string{"operator", "approver-2"} {
		a.as(name) // made before the goroutines, which share the map
	}
	var last sync.WaitGroup
	for _, id := range ids {
		last.Go(func() {
			if _, err := a.decide("approver-2", policy.Approve, id); err != nil {
				t.Errorf("approve %s: %v", id, err)
			}
		})
	}
	last.Wait()
	ended := map[client.OperationStatus]int{}
	for _, id := range ids {
		ended[a.end(id).Status]++
	}
	if ended[client.OperationStatusCOMPLETED] != 10 || ended[client.OperationStatusREJECTED] != 54 {
		t.Errorf("ended %v, want 10 COMPLETED and 54 REJECTED", ended)
	}
	if got := a.supply(token.ID); got != "1000" {
		t.Errorf("supply is %s, want 1000: ten mints of 100", got)
	}
	a.intact()
}

// limit puts a DAILY_LIMIT on the token, signed by two custodians.
func (a *appliance) limit(tokenID, amount string) {
	a.t.Helper()
	a.twoOf("narrow", &tokenID, client.PolicyRule{Type: client.PolicyRuleTypeDAILYLIMIT, Amount: &amount})
}

// twoOf puts a policy in force that asks two of the approvers and says rules
// besides: of one token, or of everything.
func (a *appliance) twoOf(name string, tokenID *string, rules ...client.PolicyRule) *client.Policy {
	a.t.Helper()
	ctx := a.context()
	two, group := 2, "approvers"
	p, err := a.as("operator").CreatePolicy(ctx, client.PolicyWrite{Name: name, TokenID: tokenID, Rules: append([]client.PolicyRule{
		{Type: client.PolicyRuleTypeREQUIREAPPROVAL, MinApprovers: &two, ApproverGroup: &group}}, rules...)})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, custodian := range []string{"custodian-1", "custodian-3"} {
		p, err = a.as(custodian).SignPolicy(ctx, p.ID, client.EnvelopeRequest{Envelope: a.signed(custodian, "policy", p.Document)})
		if err != nil {
			a.t.Fatalf("%s signs: %v", custodian, err)
		}
	}
	if p.Status != client.PolicyStatusACTIVE {
		a.t.Fatalf("the policy is %s after two signatures", p.Status)
	}
	return p
}
