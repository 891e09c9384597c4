package api

import (
	"context"
	"encoding/json/jsontext"
	"net/http"

	"github.com/gin-gonic/gin"

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

// signed hands a caller's signed document on to what records it and answers
// with what that gives.
func signed[T, M any](s *Server, c *gin.Context, form func(T) (M, error), take func(context.Context, registry.Actor, []byte) (T, error)) {
	r := requestOf(c)
	envelope, err := envelopeOf(r)
	if err != nil {
		s.refuse(c, err)
		return
	}
	change(s, c, http.StatusOK, form, recorded(s, func(ctx context.Context) (T, error) { return take(ctx, r.actor(), envelope) }))
}
