package dev

import "crypto/rand"

// makeWebhookKey makes the bytes under which the secrets of webhooks are kept, once.
func (d *directory) makeWebhookKey() error {
	if d.exists("config", "webhook.key") {
		return nil
	}
	key := make([]byte, 32)
	rand.Read(key) // never fails: crypto/rand ends the program instead
	return d.write(key, "config", "webhook.key")
}
