package dev_test

import (
	"bytes"
	"context"
	"encoding/json/v2"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mintwarden/mintwarden/api/client"
	"github.com/mintwarden/mintwarden/policy"
)

// testFlippedBits: no bit of an approval may be another. Payload and signature
// are flipped as bytes, the rest of the envelope as text.
func (e *edge) testFlippedBits(t *testing.T) {
	id := e.made(t, e.mint(e.tokenID, `"2"`, addressParty(e.stranger)), http.StatusAccepted)
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
	// The same of a second kind of key, sent by its owner.
	edwards := e.envelope(t, "approver-2", "decision", e.decision(t, "approver-2", policy.Approve, id, ""))
	var second policy.Envelope
	if err := json.Unmarshal([]byte(edwards), &second); err != nil {
		t.Fatal(err)
	}
	sig := second.Signatures[0].Sig
	for bit := range 8 * len(sig) {
		c := second
		c.Signatures = []policy.Signature{{KeyID: second.Signatures[0].KeyID, Sig: bytes.Clone(sig)}}
		c.Signatures[0].Sig[bit/8] ^= 1 << (bit % 8)
		e.send(t, decide("approver-2", "approve", id, string(c.Encode()))).problem(t, want{422, 1202, "signature"})
	}
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
	var before struct {
		Head struct {
			Sequence int `json:"sequence"`
		} `json:"head"`
	}
	if err := json.Unmarshal(ledger.body, &before); err != nil {
		t.Fatal(err)
	}
	var since struct {
		Data [][]byte `json:"data"`
	}
	e.accepted(t, call{method: "GET", path: fmt.Sprintf("/v1/ledger?from=%d", before.Head.Sequence+1)}, http.StatusOK, &since)
	for _, batch := range since.Data { // checkpoints are signed meanwhile
		if bytes.Contains(batch, []byte(`"decision":`)) {
			t.Errorf("the ledger took a decision: %s", batch)
		}
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
