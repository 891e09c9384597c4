package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// webhookTolerance is how far a delivery's time may be from the receiver's, either way: a request that
	// somebody kept cannot be sent again later.
	webhookTolerance = 5 * time.Minute
	// maxWebhook bounds a delivery, in bytes; the appliance's are far smaller.
	maxWebhook = 64 << 10
)

// ErrWebhook says that a request is no delivery of the appliance's: it does not verify, or is too old.
var ErrWebhook = errors.New("not a delivery that this secret signed")

// WebhookEvent is what a delivery tells. It is a hint: the operation's receipt and the chain are the proof.
type WebhookEvent struct {
	ID        string         `json:"id"` // evt_…; the same event may come more than once, under one id
	Type      string         `json:"type"`
	CreatedAt time.Time      `json:"createdAt"`
	TenantID  string         `json:"tenantId"`
	Data      jsontext.Value `json:"data"`
}

// VerifyWebhook reads a delivery that an endpoint got, and makes sure that the appliance sent it within the
// last five minutes: by the headers of Standard Webhooks, of whose signatures one must be by the endpoint's
// secret, whsec_…. body is the request's, byte for byte. The error is ErrWebhook for what must not be
// believed.
func VerifyWebhook(secret string, header http.Header, body []byte, now time.Time) (*WebhookEvent, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) == 0 {
		return nil, errors.New("client: the webhook's secret is not whsec_ and base64")
	}
	id, stamp := header.Get("webhook-id"), header.Get("webhook-timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" || len(body) > maxWebhook {
		return nil, fmt.Errorf("client: %w", ErrWebhook)
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > webhookTolerance || d < -webhookTolerance {
		return nil, fmt.Errorf("client: it was sent at %s: %w", time.Unix(seconds, 0).UTC().Format(time.RFC3339), ErrWebhook)
	}
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + stamp + "."))
	m.Write(body)
	want := m.Sum(nil)
	for s := range strings.FieldsSeq(header.Get("webhook-signature")) {
		version, text, _ := strings.Cut(s, ",")
		got, err := base64.StdEncoding.DecodeString(text)
		if version != "v1" || err != nil || !hmac.Equal(got, want) {
			continue
		}
		var e WebhookEvent
		if err := json.Unmarshal(body, &e); err != nil {
			return nil, fmt.Errorf("client: the delivery: %w", err)
		}
		if e.ID != id {
			return nil, fmt.Errorf("client: the header says %q, the body %q: %w", id, e.ID, ErrWebhook)
		}
		return &e, nil
	}
	return nil, fmt.Errorf("client: %w", ErrWebhook)
}
