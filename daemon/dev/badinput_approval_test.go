package dev_test

import (
	"bytes"
	"encoding/json/v2"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// envelope is the JSON of an envelope over payload with the key of name.
func (e *edge) envelope(t *testing.T, name, document string, payload []byte) string {
	t.Helper()
	text, err := json.Marshal(e.signed(name, document, payload))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// decision is the payload of a decision by name on the operation.
func (e *edge) decision(t *testing.T, name string, verb policy.Verb, id, reason string) []byte {
	t.Helper()
	d := policy.Decision{Format: 1, Decision: verb, Intent: e.get(t, id).Intent, Approver: name, Reason: reason, DecidedAt: policy.Seconds(time.Now())}
	payload, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

func decide(who, verb, id, envelope string) call {
	return call{method: "POST", path: "/v1/token-operations/" + id + "/" + verb, as: who, body: `{"envelope":` + envelope + `}`}
}

// testApprovals: whose approval counts, of what, how often.
func (e *edge) testApprovals(t *testing.T) {
	mint := func() string {
		return e.made(t, e.mint(e.tokenID, `"2"`, addressParty(e.stranger)), http.StatusAccepted)
	}
	id, other := mint(), mint()
	payload := e.decision(t, "approver-1", policy.Approve, id, "test")
	good := e.envelope(t, "approver-1", "decision", payload)
	swap := func(from, to string) string {
		if !strings.Contains(good, from) {
			t.Fatalf("the envelope has no %q", from)
		}
		return strings.Replace(good, from, to, 1)
	}
	var parsed policy.Envelope
	if err := json.Unmarshal([]byte(good), &parsed); err != nil {
		t.Fatal(err)
	}
	signature, err := json.Marshal(parsed.Signatures[0])
	if err != nil {
		t.Fatal(err)
	}
	keyID := parsed.Signatures[0].KeyID
	text := string(payload)
	signedText := func(text string) string { return e.envelope(t, "approver-1", "decision", []byte(text)) }

	// A stranger: a user with the approver's role and a key of his own, of no group.
	e.member(t, "approver-9", "approver")
	private, _, err := policy.GenerateKeyPEM(policy.ECDSAP256)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := policy.LoadSignerPEM(private)
	if err != nil {
		t.Fatal(err)
	}
	alien, err := policy.Sign(policy.PayloadType("decision"), e.decision(t, "approver-9", policy.Approve, id, "let me in"), signer)
	if err != nil {
		t.Fatal(err)
	}

	var both policy.Envelope
	if err := json.Unmarshal([]byte(e.envelope(t, "approver-2", "decision", payload)), &both); err != nil {
		t.Fatal(err)
	}
	text2, err := json.Marshal(both.Signatures[0])
	if err != nil {
		t.Fatal(err)
	}
	second := string(text2)
	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"no envelope", call{method: "POST", path: "/v1/token-operations/" + id + "/approve", as: "approver-1", body: `{}`}, want{400, 1101, "envelope"}},
		{"no body", call{method: "POST", path: "/v1/token-operations/" + id + "/approve", as: "approver-1"}, want{400, 1101, ""}},
		{"of another intent", decide("approver-1", "approve", id, e.envelope(t, "approver-1", "decision", e.altered(t, payload, `"amount":"2"`, `"amount":"3"`))), want{422, 1202, id}},
		{"of a later expiry", decide("approver-1", "approve", id, e.envelope(t, "approver-1", "decision", e.altered(t, payload, `"expiresAt":"20`, `"expiresAt":"21`))), want{422, 1202, id}},
		{"of the intent written otherwise", decide("approver-1", "approve", id, e.envelope(t, "approver-1", "decision", e.altered(t, payload, `"format":1`, `"format": 1`))), want{422, 1202, id}},
		{"signed by two persons", decide("approver-1", "approve", id, strings.Replace(good, string(signature), string(signature)+","+second, 1)), want{422, 1202, ""}},
		{"null for an envelope", decide("approver-1", "approve", id, `null`), want{400, 1100, "envelope"}},
		{"by a stranger", decide("approver-9", "approve", id, string(alien.Encode())), want{422, 1202, ""}},
		{"sent by a stranger", decide("approver-9", "approve", id, good), want{422, 1202, "approver-9"}},
		{"sent by another approver", decide("approver-2", "approve", id, good), want{422, 1202, "approver-2"}},
		{"in another's name", decide("approver-2", "approve", id, e.envelope(t, "approver-2", "decision", payload)), want{422, 1202, "approver"}},
		{"in another's name, sent by him", decide("approver-1", "approve", id, e.envelope(t, "approver-2", "decision", payload)), want{422, 1202, "approver"}},
		{"signed by a custodian", decide("approver-1", "approve", id, e.envelope(t, "custodian-1", "decision", payload)), want{422, 1202, ""}},
		{"for another operation", decide("approver-1", "approve", other, good), want{422, 1202, other}},
		{"a rejection to approve", decide("approver-1", "approve", id, e.envelope(t, "approver-1", "decision", e.decision(t, "approver-1", policy.Reject, id, ""))), want{422, 1202, "REJECT"}},
		{"an approval to reject", decide("approver-1", "reject", id, good), want{422, 1202, "APPROVE"}},
		{"of another document", decide("approver-1", "approve", id, e.envelope(t, "approver-1", "policy", payload)), want{422, 1202, ""}},
		{"empty key id", decide("approver-1", "approve", id, swap(keyID, "")), want{422, 1202, "keyid"}},
		{"key id in capitals", decide("approver-1", "approve", id, swap(keyID, strings.ToUpper(keyID))), want{422, 1202, "keyid"}},
		{"no key id", decide("approver-1", "approve", id, swap(`"keyid":"`+keyID+`",`, "")), want{400, 1101, "keyid"}},
		{"duplicate signature", decide("approver-1", "approve", id, swap(string(signature), string(signature)+","+string(signature))), want{422, 1202, "twice"}},
		{"no signature", decide("approver-1", "approve", id, swap(string(signature), "")), want{422, 1202, "signatures"}},
		{"a bad signature beside a good one", decide("approver-1", "approve", id, swap(string(signature), string(signature)+`,{"keyid":"sha256:`+strings.Repeat("00", 32)+`","sig":"AAAA"}`)), want{422, 1202, ""}},
		{"unknown member", decide("approver-1", "approve", id, swap(`"payloadType"`, `"note":1,"payloadType"`)), want{400, 1100, "note"}},
		{"payload of nothing", decide("approver-1", "approve", id, signedOver(good, "")), want{422, 1202, ""}},
		{"payload in other base64", decide("approver-1", "approve", id, signedOver(good, "_-_-")), want{422, 1202, ""}},
		{"unknown field in the decision", decide("approver-1", "approve", id, signedText(strings.Replace(text, `"reason"`, `"urgent":true,"reason"`, 1))), want{422, 1202, "urgent"}},
		{"a name twice in the decision", decide("approver-1", "approve", id, signedText(strings.Replace(text, `"reason"`, `"reason":"a","reason"`, 1))), want{422, 1202, "reason"}},
		{"another format", decide("approver-1", "approve", id, signedText(strings.Replace(text, `"format":1`, `"format":2`, 1))), want{422, 1202, "format"}},
		{"two decisions", decide("approver-1", "approve", id, signedText(text+text)), want{422, 1202, ""}},
		{"control character in the reason", decide("approver-1", "approve", id, signedText(strings.Replace(text, `"reason":"test"`, `"reason":"te\u0007st"`, 1))), want{422, 1202, ""}},
		{"bidirectional override in the reason", decide("approver-1", "approve", id, signedText(strings.Replace(text, `"reason":"test"`, `"reason":"te\u202est"`, 1))), want{422, 1202, ""}},
	} {
		t.Run(c.name, func(t *testing.T) { e.refused(t, c.call, c.want) })
	}
	for _, op := range []string{id, other} {
		if got := e.get(t, op); len(got.Approvals) != 0 || got.Status != client.OperationStatusPENDINGAUTHORIZATION {
			t.Errorf("after refused decisions the operation is %s with %v", got.Status, got.Approvals)
		}
	}
	e.testRepeatedDecisions(t, id, other, good)
}

// altered is a decision whose intent says something else.
func (e *edge) altered(t *testing.T, payload []byte, from, to string) []byte {
	t.Helper()
	d, err := policy.ParseDecision(payload)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(d.Intent, []byte(from)) {
		t.Fatalf("the intent has no %s: %s", from, d.Intent)
	}
	d.Intent = bytes.Replace(d.Intent, []byte(from), []byte(to), 1)
	text, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// signedOver is an envelope with another payload text.
func signedOver(envelope, payload string) string {
	before, rest, _ := strings.Cut(envelope, `"payload":"`)
	_, after, _ := strings.Cut(rest, `"`)
	return before + `"payload":"` + payload + `"` + after
}

// testRepeatedDecisions: the same again is 200, another one is 1203, save a
// rejection after an approval; what has ended takes none.
func (e *edge) testRepeatedDecisions(t *testing.T, id, other, good string) {
	e.accepted(t, decide("approver-1", "approve", id, good), http.StatusOK, nil)
	t.Run("the same again", func(t *testing.T) {
		e.accepted(t, decide("approver-1", "approve", id, good), http.StatusOK, nil)
	})
	t.Run("twice by one person", func(t *testing.T) {
		second := e.envelope(t, "approver-1", "decision", e.decision(t, "approver-1", policy.Approve, id, "again"))
		e.refused(t, decide("approver-1", "approve", id, second), want{409, 1203, "approver-1"})
	})
	if got := e.get(t, id); len(got.Approvals) != 1 {
		t.Errorf("approvals: %v", got.Approvals)
	}
	t.Run("a rejection after an approval", func(t *testing.T) {
		e.accepted(t, decide("approver-1", "reject", id, e.envelope(t, "approver-1", "decision", e.decision(t, "approver-1", policy.Reject, id, "changed my mind"))), http.StatusOK, nil)
		if got := e.get(t, id); got.Status != client.OperationStatusREJECTED {
			t.Errorf("the operation is %s", got.Status)
		}
	})
	ended := func(t *testing.T, id string) {
		t.Helper()
		for _, verb := range []policy.Verb{policy.Approve, policy.Reject} {
			envelope := e.envelope(t, "approver-2", "decision", e.decision(t, "approver-2", verb, id, ""))
			e.refused(t, decide("approver-2", strings.ToLower(string(verb)), id, envelope), want{409, 1715, id})
		}
		e.refused(t, call{method: "POST", path: "/v1/token-operations/" + id + "/cancel", body: `{}`}, want{409, 1715, id})
	}
	t.Run("rejected", func(t *testing.T) { ended(t, id) })
	t.Run("cancelled", func(t *testing.T) { e.withdraw(t, other); ended(t, other) })
	t.Run("on its way", func(t *testing.T) {
		id := e.made(t, e.mint(e.tokenID, `"2"`, addressParty(e.stranger)), http.StatusAccepted)
		late := e.envelope(t, "approver-3", "decision", e.decision(t, "approver-3", policy.Approve, id, "late"))
		e.rpcCall("devnet_delay", `["0x6"]`)
		e.approve(id, "approver-1", "approver-2")
		e.reached(id, client.OperationStatusBROADCASTING)
		e.rpcCall("devnet_delay", `["0x0"]`)
		e.refused(t, decide("approver-3", "approve", id, late), want{409, 1301, id})
		e.refused(t, call{method: "POST", path: "/v1/token-operations/" + id + "/cancel", body: `{}`}, want{409, 1301, id})
		e.completed(id)
		e.refused(t, decide("approver-3", "approve", id, late), want{409, 1715, id})
	})
}
