package dev_test

import (
	"encoding/json/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// Under a charter with signedRequests two approvals are not enough: the
// operation waits until whoever asked for it has signed that he did, so that the
// API's word on who asked is not taken. The charter goes through the API.
func TestUnderSignedRequestsTheRequesterSignsToo(t *testing.T) {
	a := startAppliance(t, filepath.Join(t.TempDir(), "appliance"))
	token := a.deployed()
	private, _, err := policy.GenerateKeyPEM(policy.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	operator, err := policy.LoadSignerPEM(private)
	if err != nil {
		t.Fatal(err)
	}
	a.nextCharter(func(c *policy.Charter) {
		c.Flags.SignedRequests = true
		c.Persons = append(c.Persons, policy.Person{Name: "operator", Keys: []policy.PublicKey{operator.Public()}, Users: []string{a.userID("operator")}})
	}, "custodian-1", "custodian-3")

	_, wallet, _ := a.treasury()
	op, err := a.as("operator").MintToken(a.context(), token.ID, client.MintRequest{Amount: "7",
		Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}})
	if err != nil {
		t.Fatal(err)
	}
	a.approve(op.OperationID, "approver-1", "approver-2")
	now, err := a.as("operator").GetTokenOperation(a.context(), op.OperationID)
	if err != nil || now.Status != client.OperationStatusPENDINGAUTHORIZATION {
		t.Fatalf("with two approvals and no signed request the operation is %s, %v", now.Status, err)
	}
	request, err := (&policy.Request{Format: 1, Intent: now.Intent, Requester: "operator", RequestedAt: policy.Seconds(time.Now())}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	send := func(as string, s *policy.Signer, payload []byte) error {
		e, err := policy.Sign(policy.PayloadType(policy.DocRequest), payload, s)
		if err != nil {
			t.Fatal(err)
		}
		var wire client.Envelope
		if err := json.Unmarshal(e.Encode(), &wire); err != nil {
			t.Fatal(err)
		}
		_, err = a.as(as).SignTokenOperationRequest(a.context(), op.OperationID, client.EnvelopeRequest{Envelope: wire})
		return err
	}
	if err := send("approver-1", operator, request); !refusedAs(err, 1001) {
		t.Errorf("an approver sends what the operator signed: %v", err)
	}
	other, err := a.as("operator").MintToken(a.context(), token.ID, client.MintRequest{Amount: "7",
		Recipient: client.Party{Type: client.PartyTypeWalletID, WalletID: &wallet.ID}})
	if err != nil {
		t.Fatal(err)
	}
	another, err := a.as("operator").GetTokenOperation(a.context(), other.OperationID)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere, err := (&policy.Request{Format: 1, Intent: another.Intent, Requester: "operator", RequestedAt: policy.Seconds(time.Now())}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := send("operator", operator, elsewhere); !refusedAs(err, 1202) {
		t.Errorf("another operation's request: %v", err)
	}
	for range 2 { // the same again is no error
		if err := send("operator", operator, request); err != nil {
			t.Fatalf("the operator signs his request: %v", err)
		}
	}
	a.completed(op.OperationID)
	if err := send("operator", operator, request); err != nil {
		t.Errorf("the same again after the end: %v", err)
	}
	if got := a.supply(token.ID); got != "7" {
		t.Errorf("supply is %s", got)
	}
	a.intact()
}

// nextCharter puts a changed charter in force, by custodians.
func (a *appliance) nextCharter(change func(*policy.Charter), custodians ...string) {
	a.t.Helper()
	shown, err := a.as("viewer").GetCharter(a.context())
	if err != nil {
		a.t.Fatal(err)
	}
	c := a.charter()
	digest := policy.Digest(shown.DocumentDigest)
	c.Version, c.Replaces = c.Version+1, &digest
	change(c)
	document, err := c.Encode()
	if err != nil {
		a.t.Fatal(err)
	}
	p, err := a.as(custodians[0]).ProposeCharter(a.context(), client.CharterWrite{Document: document})
	if err != nil {
		a.t.Fatal(err)
	}
	for _, name := range custodians {
		if p, err = a.as(name).SignCharter(a.context(), client.EnvelopeRequest{Envelope: a.signed(name, policy.DocCharter, document)}); err != nil {
			a.t.Fatalf("%s signs: %v", name, err)
		}
	}
	if p.Status != client.CharterStatusACTIVE {
		a.t.Fatalf("the charter is %s", p.Status)
	}
}

func (a *appliance) userID(name string) string {
	a.t.Helper()
	for u, err := range a.as("admin").Users(a.context()) {
		if err != nil {
			a.t.Fatal(err)
		}
		if u.Name == name {
			return u.ID
		}
	}
	a.t.Fatalf("no user %s", name)
	return ""
}
