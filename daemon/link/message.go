package link

import (
	"context"
	"crypto/rand"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

const (
	// path is the one thing that a peer answers.
	path        = "/v1/link"
	contentType = "application/json"
	// maxMessage bounds a request, in bytes: the largest holds an envelope.
	maxMessage = policy.MaxEnvelope + 8<<10
	// format is the version of what appliances say to each other.
	format = 1
	// nonceSize in bytes makes no two requests equal, so that an answer fits one
	// request alone.
	nonceSize = 16
)

// message is what one appliance asks another's seal.
type message struct {
	Format int            `json:"format"`
	Nonce  []byte         `json:"nonce"`
	Op     seal.Op        `json:"op"`
	Params jsontext.Value `json:"params"`
}

// answer is what the other appliance's seal said: a result or a refusal.
type answer struct {
	Format  int            `json:"format"`
	Request policy.Digest  `json:"request"` // of the exact bytes that this answers
	Result  jsontext.Value `json:"result,omitzero"`
	Error   *seal.Error    `json:"error,omitzero"`
}

func newMessage(op seal.Op, params any) ([]byte, error) {
	raw, err := json.Marshal(params)
	if err != nil {
		return nil, err
	}
	m := message{Format: format, Nonce: make([]byte, nonceSize), Op: op, Params: raw}
	if _, err := rand.Read(m.Nonce); err != nil {
		return nil, err
	}
	b, err := json.Marshal(m)
	if err == nil && len(b) > maxMessage {
		err = fmt.Errorf("request of %d bytes, at most %d", len(b), maxMessage)
	}
	return b, err
}

// parseMessage reads a peer's request strictly and gives what asks our seal.
func parseMessage(b []byte) (seal.Op, ask, error) {
	if len(b) > maxMessage {
		return "", nil, fmt.Errorf("request of %d bytes, at most %d", len(b), maxMessage)
	}
	var m message
	if err := json.Unmarshal(b, &m, json.RejectUnknownMembers(true)); err != nil {
		return "", nil, fmt.Errorf("request: %w", err)
	}
	if m.Format != format || len(m.Nonce) != nonceSize {
		return "", nil, fmt.Errorf("request of format %d with a nonce of %d bytes, want %d and %d", m.Format, len(m.Nonce), format, nonceSize)
	}
	decode, ok := ops[m.Op]
	if !ok {
		return "", nil, fmt.Errorf("op %.40q is not passed between appliances", string(m.Op))
	}
	a, err := decode(m.Params)
	if err != nil {
		return "", nil, fmt.Errorf("op %s: %w", m.Op, err)
	}
	return m.Op, a, nil
}

// parseAnswer reads a peer's answer strictly. It must be to the request of that
// digest and hold exactly one of result and error.
func parseAnswer(b []byte, request policy.Digest) (*answer, error) {
	if len(b) > seal.MaxFrame {
		return nil, fmt.Errorf("answer of more than %d bytes", seal.MaxFrame)
	}
	a := &answer{}
	if err := json.Unmarshal(b, a, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("answer: %w", err)
	}
	switch {
	case a.Format != format:
		return nil, fmt.Errorf("answer of format %d, want %d", a.Format, format)
	case a.Request != request:
		return nil, fmt.Errorf("answer to request %.80q, this one is %s", string(a.Request), request)
	case (a.Error == nil) == (a.Result == nil) || a.Result.Kind() == jsontext.KindNull:
		return nil, fmt.Errorf("answer to %s: want either a result or an error", request)
	case a.Error != nil && !a.Error.Kind.Valid():
		return nil, fmt.Errorf("answer to %s: unknown kind %.40q", request, string(a.Error.Kind))
	}
	return a, nil
}

// ask puts a peer's request to our own seal.
type ask func(context.Context, *seal.Client) (any, error)

// ops is every operation that is passed on, and nothing else: how a seal
// is, is unsealed and is sealed is its own appliance's business.
var ops = map[seal.Op]func(params jsontext.Value) (ask, error){
	seal.OpDecide:       asked(enveloped((*seal.Client).Decide)),
	seal.OpCharterApply: asked(enveloped((*seal.Client).CharterApply)),
	seal.OpPolicyApply:  asked(enveloped((*seal.Client).PolicyApply)),
	seal.OpBindingApply: asked(enveloped((*seal.Client).BindingApply)),
	seal.OpFreeze:       asked((*seal.Client).Freeze),
	seal.OpCancel: asked(func(c *seal.Client, ctx context.Context, q seal.CancelRequest) (*seal.Recorded, error) {
		return c.Cancel(ctx, q.OperationID, q.Reason)
	}),
	seal.OpAuthorize:    asked((*seal.Client).Authorize),
	seal.OpBump:         asked((*seal.Client).Bump),
	seal.OpSettle:       asked((*seal.Client).Settle),
	seal.OpCheckpoint:   asked((*seal.Client).Checkpoint),
	seal.OpWalletCreate: asked((*seal.Client).WalletCreate),
}

func asked[P, R any](method func(*seal.Client, context.Context, P) (*R, error)) func(jsontext.Value) (ask, error) {
	return func(params jsontext.Value) (ask, error) {
		var p P
		if err := json.Unmarshal(params, &p, json.RejectUnknownMembers(true)); err != nil {
			return nil, err
		}
		return func(ctx context.Context, c *seal.Client) (any, error) { return method(c, ctx, p) }, nil
	}
}

func enveloped(method func(*seal.Client, context.Context, *policy.Envelope) (*seal.Recorded, error)) func(*seal.Client, context.Context, seal.EnvelopeRequest) (*seal.Recorded, error) {
	return func(c *seal.Client, ctx context.Context, q seal.EnvelopeRequest) (*seal.Recorded, error) {
		return method(c, ctx, q.Envelope)
	}
}
