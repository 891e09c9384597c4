package client_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/mintwarden/mintwarden/api/client"
)

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="

var webhookNow = time.Date(2026, 4, 27, 10, 14, 0, 0, time.UTC)

// signed is a delivery as the Standard Webhooks library signs it.
func signed(tb testing.TB, id, body string, at time.Time) http.Header {
	tb.Helper()
	w, err := standardwebhooks.NewWebhook(webhookSecret)
	if err != nil {
		tb.Fatal(err)
	}
	signature, err := w.Sign(id, at, []byte(body))
	if err != nil {
		tb.Fatal(err)
	}
	h := http.Header{}
	h.Set("webhook-id", id)
	h.Set("webhook-timestamp", fmt.Sprint(at.Unix()))
	h.Set("webhook-signature", "v1,bm90IHRoaXM= "+signature)
	return h
}

func TestVerifyWebhook(t *testing.T) {
	body := `{"id":"evt_1","type":"token.minted","createdAt":"2026-04-27T10:14:00Z","tenantId":"acme","data":{"amount":"7"}}`
	e, err := client.VerifyWebhook(webhookSecret, signed(t, "evt_1", body, webhookNow), []byte(body), webhookNow.Add(time.Minute))
	if err != nil || e.Type != "token.minted" || string(e.Data) != `{"amount":"7"}` {
		t.Fatalf("%+v, %v", e, err)
	}
	for name, c := range map[string]struct {
		header http.Header
		body   string
		now    time.Time
		secret string
	}{
		"another body":          {signed(t, "evt_1", body, webhookNow), body + " ", webhookNow, webhookSecret},
		"another secret":        {signed(t, "evt_1", body, webhookNow), body, webhookNow, "whsec_AAAA"},
		"kept and sent again":   {signed(t, "evt_1", body, webhookNow), body, webhookNow.Add(6 * time.Minute), webhookSecret},
		"from the future":       {signed(t, "evt_1", body, webhookNow), body, webhookNow.Add(-6 * time.Minute), webhookSecret},
		"under another id":      {signed(t, "evt_2", body, webhookNow), body, webhookNow, webhookSecret},
		"without headers":       {http.Header{}, body, webhookNow, webhookSecret},
		"with half a signature": {http.Header{"Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {fmt.Sprint(webhookNow.Unix())}, "Webhook-Signature": {"v1"}}, body, webhookNow, webhookSecret},
	} {
		if _, err := client.VerifyWebhook(c.secret, c.header, []byte(c.body), c.now); !errors.Is(err, client.ErrWebhook) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := client.VerifyWebhook("secret!", http.Header{}, nil, webhookNow); err == nil || errors.Is(err, client.ErrWebhook) {
		t.Errorf("a malformed secret: %v", err)
	}
}

func FuzzVerifyWebhook(f *testing.F) {
	f.Add("evt_1", "1777284840", "v1,AAAA v2,x", []byte(`{"id":"evt_1"}`))
	f.Add("", "", "", []byte{})
	f.Fuzz(func(t *testing.T, id, stamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {stamp}, "Webhook-Signature": {signature}}
		if e, err := client.VerifyWebhook(webhookSecret, h, body, webhookNow); err == nil {
			t.Fatalf("%q verifies as %+v", signature, e) // nobody here has the secret
		}
	})
}

// An endpoint believes what verifies, answers at once, and looks up what it acts on.
func ExampleVerifyWebhook() {
	body := []byte(`{"id":"evt_1","type":"token.minted","createdAt":"2026-04-27T10:14:00Z","tenantId":"acme","data":{"operationId":"op_1"}}`)
	header := signed(&testing.T{}, "evt_1", string(body), webhookNow)
	event, err := client.VerifyWebhook(webhookSecret, header, body, webhookNow)
	if err != nil {
		fmt.Println("not believed:", err)
		return
	}
	fmt.Println(event.ID, event.Type, string(event.Data))
	// Output: evt_1 token.minted {"operationId":"op_1"}
}
