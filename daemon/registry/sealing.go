package registry

import (
	"context"
	"errors"

	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// Unseal hands in one custodian's share and answers how far the quorum has come.
// The share is ciphertext to everybody but the seal's keeper, who says by name
// what is wrong with it.
func (s *Service) Unseal(ctx context.Context, a Actor, envelope []byte) (*seal.Status, error) {
	e, d, err := s.custodianDocument(a, policy.DocUnseal, envelope)
	if err != nil {
		return nil, err
	}
	if _, err := policy.ParseUnseal(e.Payload); err != nil {
		return nil, Refuse(ApprovalInvalid, "%v", err)
	}
	st, err := s.seal.Unseal(ctx, e)
	if err != nil {
		return nil, shareRefusal(err)
	}
	d.action, d.metadata["sealed"] = "seal.share_given", st.Sealed
	return st, s.tell(ctx, a, d)
}

// shareRefusal tells a custodian what is wrong with his share.
func shareRefusal(err error) error {
	var told *seal.Error
	if errors.As(err, &told) && told.Kind == seal.KindDuplicate {
		return Refuse(ApprovalDuplicate, "the seal refuses the share: %s", told.Message)
	}
	return sealRefusal(err, "the share")
}

// SealNow seals this appliance's seal on one custodian's document, at once.
func (s *Service) SealNow(ctx context.Context, a Actor, envelope []byte) (*seal.Status, error) {
	e, d, err := s.custodianDocument(a, policy.DocSeal, envelope)
	if err != nil {
		return nil, err
	}
	doc, err := policy.ParseSeal(e.Payload)
	if err != nil {
		return nil, Refuse(ApprovalInvalid, "%v", err)
	}
	st, err := s.seal.Seal(ctx, e)
	if err != nil {
		return nil, sealRefusal(err, "the document")
	}
	d.action, d.metadata["reason"] = "seal.sealed", doc.Reason
	return st, s.tell(ctx, a, d)
}

// Frozen is whether the ledger holds a subject frozen, and since which batch.
type Frozen struct {
	Subject  policy.Subject
	Frozen   bool
	Sequence uint64
}

// Freeze stops a token, a person or an appliance on one custodian's document,
// or lets it go on again on the threshold's.
func (s *Service) Freeze(ctx context.Context, a Actor, envelope []byte) (*Frozen, error) {
	e, _, err := s.custodianDocument(a, policy.DocFreeze, envelope)
	if err != nil {
		return nil, err
	}
	f, err := policy.ParseFreeze(e.Payload)
	if err != nil {
		return nil, Refuse(ApprovalInvalid, "%v", err)
	}
	recorded, err := s.seal.Freeze(ctx, seal.FreezeRequest{Envelope: e})
	if err != nil {
		return nil, sealRefusal(err, "the document")
	}
	if err := s.WaitCarried(ctx, recorded.Sequence); err != nil {
		return nil, err
	}
	return &Frozen{Subject: f.Subject, Frozen: f.Frozen, Sequence: recorded.Sequence}, nil
}

// custodianDocument reads an envelope of that kind that the caller, a custodian,
// signed, and begins what the audit log is told of it.
func (s *Service) custodianDocument(a Actor, document string, envelope []byte) (*policy.Envelope, happening, error) {
	charter, _ := s.fold.Charter()
	if charter == nil {
		return nil, happening{}, errNotReady
	}
	e, err := policy.ParseEnvelope(envelope)
	if err != nil {
		return nil, happening{}, Refuse(ApprovalInvalid, "%v", err)
	}
	if err := signedHimself(charter, document, a, e); err != nil {
		return nil, happening{}, err
	}
	return e, happening{resourceType: "seal", resourceID: charter.Instance, metadata: map[string]any{"documentDigest": string(e.PayloadDigest())}}, nil
}

// tell writes the audit entry of what happened elsewhere. The effect stands even
// if this fails: the caller asks again and gets the same answer.
func (s *Service) tell(ctx context.Context, a Actor, h happening) error {
	tx := s.store.Tx()
	tx.Audit(a.draft(h))
	_, err := tx.Commit(ctx)
	return err
}
