package webhook

import (
	"errors"
	"fmt"
)

// Kind says what is wrong with what a caller asked for. The zero value is invalid.
type Kind int

const (
	_             Kind = iota
	InvalidURL         // malformed, not https, or it leads to an address that is refused
	InvalidEvents      // subscriptions
	InvalidText        // the description
	TextTooLong        // the description
	NotFound           // no such endpoint or delivery
	TooMany            // endpoints
	NotConfigured      // this appliance has no key for secrets
	Full               // as much waits for the endpoint as may
	TooSoon            // after the last test
	TooFar             // an offset, behind more of another status than a page passes by
)

// ErrCursor says that a cursor is not one that Deliveries gave.
var ErrCursor = errors.New("webhook: not a cursor of this list")

// Refusal is an error that a caller is meant to read. Nothing was stored.
type Refusal struct {
	Kind    Kind
	Message string // what is wrong with which value, and what to do; never a secret
}

func (r *Refusal) Error() string { return "webhook: " + r.Message }

func refuse(k Kind, format string, args ...any) *Refusal {
	return &Refusal{Kind: k, Message: fmt.Sprintf(format, args...)}
}

func noEndpoint(id string) error {
	return refuse(NotFound, "there is no webhook %q; GET /v1/webhooks lists them", id)
}
