package dev_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

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
	mint := func() string { return e.made(t, e.mint(e.tokenID, `"2"`, toAddress(e.stranger)), http.StatusAccepted) }
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

	for _, c := range []struct {
		name string
		call call
		want want
	}{
		{"no envelope", call{method: "POST", path: "/v1/token-operations/" + id + "/approve", as: "approver-1", body: `{}`}, want{400, 1101, "envelope"}},
		{"no body", call{method: "POST", path: "/v1/token-operations/" + id + "/approve", as: "approver-1"}, want{400, 1101, ""}},
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
		id := e.made(t, e.mint(e.tokenID, `"2"`, toAddress(e.stranger)), http.StatusAccepted)
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

// testFlippedBits: no bit of an approval may be another. Payload and signature
// are flipped as bytes, the rest of the envelope as text.
func (e *edge) testFlippedBits(t *testing.T) {
	id := e.made(t, e.mint(e.tokenID, `"2"`, toAddress(e.stranger)), http.StatusAccepted)
	// The limit of requests holds for a key: the work is shared among several of the same person.
	user := e.user(t, "approver-1")
	keys := []string{"approver-1"}
	for i := range 7 {
		name := fmt.Sprint("approver-1 again ", i)
		e.credential(t, name, user, "")
		keys = append(keys, name)
	}
	good := e.envelope(t, "approver-1", "decision", e.decision(t, "approver-1", policy.Approve, id, ""))
	var parsed policy.Envelope
	if err := json.Unmarshal([]byte(good), &parsed); err != nil {
		t.Fatal(err)
	}
	var flips []string
	flip := func(b []byte, put func([]byte) string) {
		for bit := range 8 * len(b) {
			c := bytes.Clone(b)
			c[bit/8] ^= 1 << (bit % 8)
			flips = append(flips, put(c))
		}
	}
	flip(parsed.Payload, func(b []byte) string { c := parsed; c.Payload = b; return string(c.Encode()) })
	flip(parsed.Signatures[0].Sig, func(b []byte) string {
		c := parsed
		c.Signatures = []policy.Signature{{KeyID: parsed.Signatures[0].KeyID, Sig: b}}
		return string(c.Encode())
	})
	skeleton := signedOver(good, "@")
	flip([]byte(skeleton), func(b []byte) string {
		_, rest, _ := strings.Cut(good, `"payload":"`)
		payload, _, _ := strings.Cut(rest, `"`)
		return strings.Replace(string(b), "@", payload, 1)
	})
	ledger := e.accepted(t, call{method: "GET", path: "/v1/ledger?from=1&limit=1"}, http.StatusOK, nil)
	var next atomic.Int64
	var last sync.WaitGroup
	for _, key := range keys {
		for range 2 {
			last.Go(func() {
				for {
					n := int(next.Add(1)) - 1
					if n >= len(flips) || t.Context().Err() != nil {
						return
					}
					a, err := e.patient(t.Context(), decide(key, "approve", id, flips[n]))
					if err != nil {
						t.Errorf("flip %d: %v", n, err)
						return
					}
					if a.status != 422 && a.status != 400 {
						t.Errorf("flip %d of %d is answered with %d %s: %s", n, len(flips), a.status, a.body, flips[n])
					}
					if n < 8*(len(parsed.Payload)+len(parsed.Signatures[0].Sig)) {
						a.problem(t, want{422, 1202, ""})
					}
				}
			})
		}
	}
	last.Wait()
	t.Logf("%d envelopes with one bit flipped", len(flips))
	if got := e.get(t, id); len(got.Approvals) != 0 || got.Status != client.OperationStatusPENDINGAUTHORIZATION {
		t.Errorf("the operation is %s with %v", got.Status, got.Approvals)
	}
	var before, after struct {
		Head struct {
			Sequence int `json:"sequence"`
		} `json:"head"`
	}
	if err := json.Unmarshal(ledger.body, &before); err != nil {
		t.Fatal(err)
	}
	e.accepted(t, call{method: "GET", path: "/v1/ledger?from=1&limit=1"}, http.StatusOK, &after)
	if before != after {
		t.Errorf("the ledger went from %v to %v", before, after)
	}
	e.accepted(t, decide("approver-1", "approve", id, good), http.StatusOK, nil) // unflipped, it counts
	e.withdraw(t, id)
}

// patient sends again what the rate limit refused.
func (e *edge) patient(ctx context.Context, c call) (answer, error) {
	for {
		a, err := e.try(ctx, c)
		if err != nil || a.status != http.StatusTooManyRequests {
			return a, err
		}
		select {
		case <-ctx.Done():
			return a, ctx.Err()
		case <-time.After(time.Second): // Retry-After
		}
	}
}

// testApproverRequests: whoever asked for an operation cannot approve it, though
// an approver otherwise. No built-in role may do both at one time, so the person
// changes roles in between, in the store, as an admin's PATCH would have it.
func (e *edge) testApproverRequests(t *testing.T) {
	const name = "approver-2"
	user := e.user(t, name)
	e.becomes(t, user, "operator")
	mint := e.mint(e.tokenID, `"2"`, toAddress(e.stranger))
	mint.as = name
	var id string
	e.until(t, func() bool {
		a := e.send(t, mint)
		var to struct {
			OperationID string `json:"operationId"`
		}
		_ = json.Unmarshal(a.body, &to)
		id = to.OperationID
		return a.status == http.StatusAccepted
	})
	e.becomes(t, user, "approver")
	e.until(t, func() bool {
		return e.send(t, call{method: "POST", path: "/v1/token-operations/" + id + "/approve", as: name, body: `{}`}).status == http.StatusBadRequest
	})
	own := e.envelope(t, name, "decision", e.decision(t, name, policy.Approve, id, "mine"))
	e.refused(t, decide(name, "approve", id, own), want{422, 1202, name})
	if n := e.total(t, "/v1/token-operations?limit=1&tokenId="+e.tokenID+"&awaitingApprovalBy="+name+"&requestedBy="+name); n != 0 {
		t.Errorf("%d operations of %s's own wait for him", n, name)
	}
	// The two others are enough.
	e.approve(id, "approver-1", "approver-3")
	e.completed(id)
}

// becomes gives a user another role, in the store.
func (e *edge) becomes(t *testing.T, user, role string) {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(e.dir, "pki/etcd-mintwarden.crt"), filepath.Join(e.dir, "pki/etcd-mintwarden.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(mustRead(t, filepath.Join(e.dir, "pki/root-mldsa.crt"))) {
		t.Fatal("no root")
	}
	_, rest, _ := strings.Cut(string(mustRead(t, filepath.Join(e.dir, "config/mintwarden.toml"))), "endpoints = ['")
	endpoint, _, _ := strings.Cut(rest, "'")
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, TLS: &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: roots}, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	key := "/mw/user/" + user
	at, err := c.Get(e.context(), key)
	if err != nil || len(at.Kvs) != 1 {
		t.Fatalf("%s: %v, %v", key, at, err)
	}
	var value map[string]any
	if err := json.Unmarshal(at.Kvs[0].Value, &value); err != nil {
		t.Fatal(err)
	}
	value["role"] = role
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Put(e.context(), key, string(text)); err != nil {
		t.Fatal(err)
	}
}

// until asks again until done.
func (e *edge) until(t *testing.T, done func() bool) {
	t.Helper()
	ctx := e.context()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatal("it did not come")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// testApproveAndCancel: of the approval that completes a quorum and a
// withdrawal at the same moment, one has its way: an operation that is
// withdrawn leaves nothing on the chain, one that is signed cannot be withdrawn.
func (e *edge) testApproveAndCancel(t *testing.T) {
	token := e.token(t, `"mintable":true,"burnable":true`)
	op := e.made(t, call{method: "POST", path: "/v1/tokens/" + token + "/deploy", key: draw(), body: `{}`}, http.StatusAccepted)
	e.approve(op, "approver-1", "approver-2")
	e.completed(op)
	const rounds = 24
	type race struct {
		id, approval     string
		approved, undone answer
	}
	races := make([]race, rounds)
	for i := range races {
		id := e.made(t, e.mint(token, `"1"`, toAddress(e.stranger)), http.StatusAccepted)
		e.approve(id, "approver-1")
		races[i] = race{id: id, approval: e.envelope(t, "approver-2", "decision", e.decision(t, "approver-2", policy.Approve, id, "go"))}
	}
	for i := range races {
		r := &races[i]
		start := make(chan struct{})
		var both sync.WaitGroup
		send := func(to *answer, c call) {
			both.Go(func() {
				<-start
				a, err := e.try(t.Context(), c)
				if err != nil {
					t.Error(err)
				}
				*to = a
			})
		}
		send(&r.approved, decide("approver-2", "approve", r.id, r.approval))
		send(&r.undone, call{method: "POST", path: "/v1/token-operations/" + r.id + "/cancel", body: `{}`})
		close(start)
		both.Wait()
	}
	ended := map[client.OperationStatus]int{}
	for _, r := range races {
		status := e.end(r.id).Status
		ended[status]++
		withdrawn := r.undone.status == http.StatusOK
		switch {
		case withdrawn != (status == client.OperationStatusCANCELLED):
			t.Errorf("%s ended as %s; the withdrawal was answered %d %s", r.id, status, r.undone.status, r.undone.body)
		case !withdrawn && status != client.OperationStatusCOMPLETED:
			t.Errorf("%s ended as %s", r.id, status)
		case !withdrawn && r.approved.status != http.StatusOK:
			t.Errorf("%s completed; the approval was answered %d %s", r.id, r.approved.status, r.approved.body)
		}
		for _, a := range []answer{r.approved, r.undone} {
			if a.status == http.StatusOK {
				continue
			}
			var told struct {
				Error problem `json:"error"`
			}
			_ = json.Unmarshal(a.body, &told)
			if a.status != 409 || told.Error.Code != 1301 && told.Error.Code != 1715 {
				t.Errorf("%s: the loser is answered %d %s", r.id, a.status, a.body)
			}
		}
	}
	t.Logf("ended %v", ended)
	if got, want := e.supply(token), fmt.Sprint(ended[client.OperationStatusCOMPLETED]); got != want {
		t.Errorf("supply is %s, %s mints completed", got, want)
	}
}
