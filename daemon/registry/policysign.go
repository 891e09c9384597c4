package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/mintwarden/mintwarden/daemon/store"
	"github.com/mintwarden/mintwarden/policy"
	"github.com/mintwarden/mintwarden/policy/seal"
)

// SignPolicy adds the signatures of an envelope to the proposal whose bytes it
// holds. The one that reaches the custodians' threshold has the seal record the
// policy, and returns when that is carried in. The same envelope again gives
// the same answer, and has the seal asked again if it could not be before.
func (s *Service) SignPolicy(ctx context.Context, a Actor, id string, envelope []byte) (*Policy, error) {
	if _, _, err := s.policyHeadAt(ctx, id); err != nil {
		return nil, err
	}
	e, err := policy.ParseEnvelope(envelope)
	if err != nil {
		return nil, Refuse(ApprovalInvalid, "%v", err)
	}
	p, err := s.collect(ctx, a, id, e)
	if err != nil {
		return nil, err
	}
	if p.Status != PolicyPending || len(p.SignedBy) < p.RequiredSignatures {
		return p, nil
	}
	if err := s.applyPolicy(ctx, p); err != nil {
		return nil, err
	}
	return s.policyByDigest(ctx, id, p.DocumentDigest)
}

// collect verifies the envelope against the charter in force and stores what is
// new in it beside the signatures that the proposal already has.
func (s *Service) collect(ctx context.Context, a Actor, id string, e *policy.Envelope) (*Policy, error) {
	charter, _ := s.fold.Charter()
	if charter == nil {
		return nil, errNotReady
	}
	for range maxAttempts {
		p, err := s.policyByDigest(ctx, id, e.PayloadDigest())
		if err != nil {
			return nil, err
		}
		if err := signedHimself(charter, policy.DocPolicy, a, e); err != nil {
			return nil, err
		}
		switch p.Status {
		case PolicyActive:
			return p, nil
		case PolicySuperseded:
			return nil, Refuse(TxStateConflict, "this proposal of policy %s is superseded by %s; propose again on the version in force", id, p.SupersededBy)
		case PolicyRejected:
			return nil, Refuse(TxStateConflict, "this proposal of policy %s was withdrawn", id)
		}
		var added []string
		p.SignedBy, p.Signatures, added = merge(charter, p.Signatures, e)
		if len(added) == 0 {
			return p, nil
		}
		tx := s.store.Tx()
		tx.PutIf(policyVersionKey(id, p.name), encode(p), p.rev)
		tx.Audit(a.draft(happening{"policy.signed", "policy", id, map[string]any{
			"version": p.Version, "documentDigest": string(p.DocumentDigest), "signedBy": added, "signatures": len(p.SignedBy), "required": p.RequiredSignatures,
		}}))
		if _, err = tx.Commit(ctx); lostRace(err) {
			continue
		}
		return p, err
	}
	return nil, fmt.Errorf("registry: policy %s: %w", id, store.ErrConflict)
}

// signedHimself refuses an envelope that is not signed by custodians alone, or
// not by the one whose bearer key sends it.
func signedHimself(c *policy.Charter, document string, a Actor, e *policy.Envelope) error {
	signers, err := c.VerifyCustodians(document, e)
	if err != nil {
		return Refuse(ApprovalInvalid, "%v", err)
	}
	if !slices.Contains(signers, a.Name) {
		return Refuse(ApprovalInvalid, "the envelope is signed by %v, but the bearer key is %s's; a custodian sends what he signed himself", signers, a.Name)
	}
	return nil
}

// merge adds to have the envelope's signatures of custodians who had not signed
// yet, and names everybody who signed and those who are new. Signatures of keys
// that the charter no longer has go.
func merge(c *policy.Charter, have []policy.Signature, e *policy.Envelope) (signedBy []string, signatures []policy.Signature, added []string) {
	byName := map[string]policy.Signature{}
	for _, sig := range have {
		if who, _, ok := c.CustodianByKey(sig.KeyID); ok {
			byName[who.Name] = sig
		}
	}
	for _, sig := range e.Signatures {
		who, _, ok := c.CustodianByKey(sig.KeyID)
		if !ok {
			continue
		}
		if _, signed := byName[who.Name]; !signed {
			byName[who.Name] = sig
			added = append(added, who.Name)
		}
	}
	signedBy, signatures = []string{}, []policy.Signature{}
	for name := range byName {
		signedBy = append(signedBy, name)
	}
	slices.Sort(signedBy)
	for _, name := range signedBy {
		signatures = append(signatures, byName[name])
	}
	slices.Sort(added)
	return signedBy, signatures, added
}

// applyPolicy hands the collected signatures to the seal and waits until the
// ledger's word of it is carried in.
func (s *Service) applyPolicy(ctx context.Context, p *Policy) error {
	recorded, err := s.seal.PolicyApply(ctx, &policy.Envelope{
		PayloadType: policy.PayloadType(policy.DocPolicy), Payload: p.Document, Signatures: p.Signatures,
	})
	if err != nil {
		return sealRefusal(err, "policy "+p.ID)
	}
	return s.WaitCarried(ctx, recorded.Sequence)
}

// sealRefusal turns what the seal says of a signed document into what a caller
// is told. Anything that is not about the document stays as it is: the API has
// its own words for a seal that is sealed or silent.
func sealRefusal(err error, what string) error {
	var told *seal.Error
	if !errors.As(err, &told) {
		return err
	}
	switch told.Kind {
	case seal.KindInvalid, seal.KindDenied:
		return Refuse(ApprovalInvalid, "the seal refuses %s: %s", what, told.Message)
	case seal.KindConflict, seal.KindDuplicate:
		return Refuse(TxStateConflict, "the seal refuses %s: %s", what, told.Message)
	}
	return err
}

// policyByDigest finds the version of a policy whose document has the digest
// among those that can still be signed or are in force, and then among all.
func (s *Service) policyByDigest(ctx context.Context, id string, d policy.Digest) (*Policy, error) {
	head, _, err := s.policyHeadAt(ctx, id)
	if err != nil {
		return nil, err
	}
	known, err := s.policyVersions(ctx, head)
	if err != nil {
		return nil, err
	}
	for _, p := range append(slices.Clone(known.open), known.active, known.latest) {
		if p != nil && p.DocumentDigest == d {
			return p, nil
		}
	}
	for kv, err := range s.store.All(ctx, policyVersionKey(id, ""), nil) {
		if err != nil {
			return nil, err
		}
		name := kv.Key[len(policyVersionKey(id, "")):]
		state := store.KV{Key: policyStateKey(id, name)}
		if state.Value, state.ModRevision, _, err = s.store.Get(ctx, state.Key); err != nil {
			return nil, err
		}
		p, err := decodeVersion(name, kv, state)
		if err != nil {
			return nil, err
		}
		if p.DocumentDigest == d {
			return p, nil
		}
	}
	return nil, Refuse(ApprovalInvalid, "the envelope holds bytes of digest %s, which no proposal of policy %s has; sign the document that GET /v1/policies/%s shows", d, id, id)
}
