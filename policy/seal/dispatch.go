package seal

import (
	"bytes"
	"context"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"errors"
	"fmt"

	"github.com/mintwarden/mintwarden/chain/tx"
	"github.com/mintwarden/mintwarden/policy"
)

// call decodes one operation's members out of a whole request and asks the handler.
type call func(ctx context.Context, h Handler, request []byte) (result any, err error)

// calls is every operation. What is not here is not an operation.
var calls = map[Op]call{
	OpStatus:       plain(Handler.Status),
	OpInit:         plain(Handler.Init),
	OpUnseal:       enveloped(Handler.Unseal),
	OpSeal:         with(Handler.Seal),
	OpWalletCreate: with(Handler.WalletCreate),
	OpWalletProve:  with(Handler.WalletProve),
	OpCharterApply: enveloped(Handler.CharterApply),
	OpPolicyApply:  enveloped(Handler.PolicyApply),
	OpBindingApply: enveloped(Handler.BindingApply),
	OpJoin:         enveloped(Handler.Join),
	OpRecover:      enveloped(Handler.Recover),
	OpFreeze:       with(Handler.Freeze),
	OpDecide:       enveloped(Handler.Decide),
	OpCancel:       with(Handler.Cancel),
	OpAuthorize:    with(Handler.Authorize),
	OpBump:         with(Handler.Bump),
	OpSettle:       with(Handler.Settle),
	OpCheckpoint:   with(Handler.Checkpoint),
	OpMetrics:      plain(Handler.Metrics),
	OpRenew:        with(Handler.Renew),
	OpRotate:       enveloped(Handler.Rotate),
}

// request is the wire's: the members of params stand beside id and op.
type request[P any] struct {
	ID     uint64 `json:"id"`
	Op     Op     `json:"op"`
	Params P      `json:",embed"`
}

// response is the wire's: exactly one of Result and Error is there.
type response struct {
	ID     uint64         `json:"id"`
	Result jsontext.Value `json:"result,omitzero"`
	Error  *Error         `json:"error,omitzero"`
}

// decode reads a request strictly: no unknown or repeated member, and none missing, null or in
// another spelling than encoding it again gives.
func decode[P any](frame []byte) (P, error) {
	var r request[P]
	if err := json.Unmarshal(frame, &r, json.RejectUnknownMembers(true)); err != nil {
		return r.Params, Errorf(KindInvalid, "request: %s", misread(err))
	}
	b := buffers.Get().(*bytes.Buffer)
	defer dropFrame(b)
	if err := json.MarshalWrite(b, r); err != nil {
		return r.Params, Errorf(KindInvalid, "request: %v", err)
	}
	again := b.Bytes()
	if bytes.Equal(again, frame) { // as our own client writes it
		return r.Params, nil
	}
	have, want := jsontext.Value(bytes.Clone(frame)), jsontext.Value(again)
	whole := jsontext.CanonicalizeRawInts(false) // as they are spelled, for 2^53 and more too
	if err := errors.Join(have.Canonicalize(whole), want.Canonicalize(whole)); err != nil {
		return r.Params, Errorf(KindInvalid, "request: %v", err)
	}
	if !bytes.Equal(have, want) {
		return r.Params, Errorf(KindInvalid, "request: op %s: a member is missing, null or not spelled as it must be", r.Op)
	}
	return r.Params, nil
}

// misread says where and why a request was not taken, without the names that our types have.
func misread(err error) string {
	var s *json.SemanticError
	switch {
	case !errors.As(err, &s):
		return err.Error()
	case s.Err != nil:
		return fmt.Sprintf("%s: %v", s.JSONPointer, s.Err)
	}
	return fmt.Sprintf("%s: a JSON %s does not fit here", s.JSONPointer, s.JSONKind)
}

func plain[R any](method func(Handler, context.Context) (R, error)) call {
	return func(ctx context.Context, h Handler, frame []byte) (any, error) {
		if _, err := decode[Nothing](frame); err != nil {
			return nil, err
		}
		return method(h, ctx)
	}
}

func with[P, R any](method func(Handler, context.Context, P) (R, error)) call {
	return func(ctx context.Context, h Handler, frame []byte) (any, error) {
		params, err := decode[P](frame)
		if err != nil {
			return nil, err
		}
		if p, ok := any(params).(bounded); ok {
			if err := p.bounds(); err != nil {
				return nil, err
			}
		}
		return method(h, ctx, params)
	}
}

func enveloped[R any](method func(Handler, context.Context, *policy.Envelope) (R, error)) call {
	return func(ctx context.Context, h Handler, frame []byte) (any, error) {
		params, err := decode[EnvelopeRequest](frame)
		if err != nil {
			return nil, err
		}
		if params.Envelope == nil {
			return nil, Errorf(KindInvalid, "request: member envelope is missing")
		}
		if err := envelopeBounds(params.Envelope); err != nil {
			return nil, err
		}
		return method(h, ctx, params.Envelope)
	}
}

// bounded is a request whose members no document could be if they were longer: it is refused
// before it waits for anything.
type bounded interface{ bounds() error }

func (r AuthorizeRequest) bounds() error {
	if len(r.Intent) > policy.MaxDocument {
		return Errorf(KindInvalid, "request: intent of %d bytes, want at most %d", len(r.Intent), policy.MaxDocument)
	}
	if len(r.Unsigned) > tx.MaxSize {
		return Errorf(KindInvalid, "request: unsigned transaction of %d bytes, want at most %d", len(r.Unsigned), tx.MaxSize)
	}
	return nil
}

func (r SealRequest) bounds() error { return envelopeBounds(r.Envelope) }

func (r RenewRequest) bounds() error { return envelopeBounds(r.Envelope) }

func (r FreezeRequest) bounds() error { return envelopeBounds(r.Envelope) }

func envelopeBounds(e *policy.Envelope) error {
	switch {
	case e == nil:
		return nil
	case len(e.Payload) > policy.MaxDocument:
		return Errorf(KindInvalid, "request: envelope with a payload of %d bytes, want at most %d", len(e.Payload), policy.MaxDocument)
	case len(e.Signatures) > policy.MaxSignatures:
		return Errorf(KindInvalid, "request: envelope with %d signatures, want at most %d", len(e.Signatures), policy.MaxSignatures)
	}
	return nil
}

var _, _, _, _ bounded = AuthorizeRequest{}, SealRequest{}, FreezeRequest{}, RenewRequest{}
