package operation

import (
	"bytes"
	"context"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/registry"
	"github.com/mintwarden/mintwarden/policy"
)

// SignRequest hands the requester's own signature over an operation's intent to the seal and answers once
// it is recorded and carried in. Charters with signedRequests let nothing be signed without it. The same
// envelope again is no error.
func (s *Service) SignRequest(ctx context.Context, a registry.Actor, id string, envelope []byte) (*Operation, error) {
	o, _, err := s.load(ctx, id)
	if err != nil {
		return nil, err
	}
	e, err := policy.ParseEnvelope(envelope)
	if err != nil {
		return nil, registry.Refuse(registry.ApprovalInvalid, "%s", err)
	}
	if err := s.checkRequest(a, o, e); err != nil {
		return nil, err
	}
	if op, ok := s.registry.Fold().Operation(id); ok && slices.Contains(op.RequestPayloads, e.PayloadDigest()) {
		return o, nil
	}
	if o.Status.Terminal() {
		return nil, processed(o)
	}
	r, err := s.seal.Decide(ctx, e)
	if err != nil {
		return nil, s.decisionRefused(ctx, o, err)
	}
	if err := s.registry.WaitCarried(ctx, r.Sequence); err != nil {
		return nil, err
	}
	return s.Get(ctx, id)
}

// checkRequest: 1202. The envelope holds a request for exactly this operation's intent, signed by the
// person who asked for it and whose key sends it.
func (s *Service) checkRequest(a registry.Actor, o *Operation, e *policy.Envelope) error {
	invalid := func(format string, args ...any) error {
		return registry.Refuse(registry.ApprovalInvalid, format, args...)
	}
	charter, _ := s.registry.Fold().Charter()
	r, err := charter.VerifyRequest(e)
	if err != nil {
		return invalid("%s", err)
	}
	person, known := charter.PersonByUser(a.UserID)
	switch {
	case !known || person.Name != r.Requester:
		return invalid("the request is signed by %s, it was sent with the key of %s; they must be one person", r.Requester, a.Name)
	case r.Requester != o.RequestedBy:
		return invalid("operation %s was requested by %s, not by %s", o.ID, o.RequestedBy, r.Requester)
	case !bytes.Equal(r.Intent, o.Intent):
		return invalid("the request is for the intent %s, operation %s has %s", policy.DigestOf(r.Intent), o.ID, o.IntentDigest)
	}
	return nil
}
