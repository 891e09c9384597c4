package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of Qustody's dialect. Those of Standard Webhooks are webhook-id, webhook-timestamp and
// webhook-signature.
const (
	headerID        = "X-Webhook-ID"
	headerTimestamp = "X-Webhook-Timestamp"
	headerSignature = "X-Webhook-Signature"
	// headerNext carries, while a secret is being rotated, the signature by the new one in Qustody's dialect,
	// whose own header has room for one: there the old one stays until its time is over, so that a receiver
	// which has not changed yet goes on working.
	headerNext = "X-Webhook-Signature-Next"
)

// sign sets the headers of both dialects. secrets are the current one first, then the one before it while
// that is still good.
func sign(h http.Header, id string, at time.Time, body []byte, secrets []string) {
	stamp := strconv.FormatInt(at.Unix(), 10)
	var standard []string
	for _, s := range secrets {
		standard = append(standard, "v1,"+standardSignature(s, id, stamp, body))
	}
	h.Set("Webhook-Id", id)
	h.Set("Webhook-Timestamp", stamp)
	h.Set("Webhook-Signature", strings.Join(standard, " "))
	h.Set(headerID, id)
	h.Set(headerTimestamp, stamp)
	h.Set(headerSignature, plainSignature(secrets[len(secrets)-1], stamp, body))
	if len(secrets) > 1 {
		h.Set(headerNext, plainSignature(secrets[0], stamp, body))
	}
}

// standardSignature is that of https://www.standardwebhooks.com: the key is what the secret's base64 holds.
func standardSignature(secret, id, stamp string, body []byte) string {
	key, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix)) // ours always decodes
	m := hmac.New(sha256.New, key)
	m.Write([]byte(id + "." + stamp + "."))
	m.Write(body)
	return base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// plainSignature is Qustody's: the key is the secret as it was shown.
func plainSignature(secret, stamp string, body []byte) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(stamp + "."))
	m.Write(body)
	return hex.EncodeToString(m.Sum(nil))
}
