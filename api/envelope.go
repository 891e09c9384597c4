package api

import (
	"encoding/json/jsontext"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// envelopeOf is the exact bytes of a body's envelope: whoever verifies it reads
// what the signer's program wrote, not what we made of it.
func envelopeOf(r *request) ([]byte, error) {
	b, err := bind[struct {
		Envelope       jsontext.Value `json:"envelope"`
		IdempotencyKey string         `json:"idempotencyKey"`
	}](r.raw)
	if err != nil {
		return nil, err
	}
	if len(b.Envelope) == 0 {
		return nil, fault(registry.MissingField, "envelope is missing: sign the document with your own key, as `mintwarden approve` does")
	}
	return b.Envelope, nil
}
